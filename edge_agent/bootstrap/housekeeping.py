"""What keeps the box tidy: retention, expiry, and the gauges of /metrics."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import structlog

from edge_agent.config.plant import RetentionSection
from edge_agent.observability import metrics
from edge_agent.observability.health import Condition, Health
from edge_agent.ports import Clock, ImageStore, Store, UnitOfWork

log = structlog.get_logger(__name__)

_LITTLE_BYTES = 1024**3
_BATCHES = 50


class Housekeeping:
    """The timed jobs' work; each call is short."""

    def __init__(
        self,
        *,
        store: Store,
        images: ImageStore,
        retention: RetentionSection,
        telemetry_days: float,
        state: Path,
        health: Health,
        clock: Clock,
    ) -> None:
        self._store = store
        self._images = images
        self._retention = retention
        self._telemetry = timedelta(days=telemetry_days)
        self._state = state
        self._health = health
        self._clock = clock

    def measure(self) -> None:
        """Bring the gauges up to date."""
        now = self._clock.now()
        with self._store.reader() as unit:
            counts = unit.outbox.counts()
            oldest = unit.outbox.oldest_pending()
            incidents, orders = len(unit.incidents.open()), len(unit.orders.list(open_only=True))
        for state, count in counts.items():
            metrics.OUTBOX_ROWS.labels(state).set(count)
        metrics.OUTBOX_OLDEST_S.set((now - oldest).total_seconds() if oldest else 0.0)
        metrics.INCIDENTS_OPEN.set(incidents)
        metrics.ORDERS_OPEN.set(orders)
        free = shutil.disk_usage(self._state).free
        metrics.STORE_FREE_BYTES.set(free)
        condition = Condition.DEGRADED if free < _LITTLE_BYTES else Condition.OK
        self._health.report("disk", condition, f"{free / 1024**3:.1f} GiB free", at=now)

    def expire_messages(self) -> None:
        """Set aside messages that are no longer worth sending."""
        with self._store.unit(durable=False) as unit:
            expired = unit.outbox.expire(self._clock.now())
            unit.commit()
        if expired:
            metrics.OUTBOX_SHED.labels("expired").inc(expired)
            log.warning("messages expired unsent", count=expired)

    def prune(self) -> None:
        """Apply the retention rules."""
        now = self._clock.now()
        old = now - timedelta(days=self._retention.rows_days)
        sent = now - timedelta(days=self._retention.sent_messages_days)
        removed = {
            "images": self._images.prune(now=now),
            "samples": self._in_batches(lambda unit: unit.plant.prune(now - self._telemetry)),
            "inspections": self._in_batches(lambda unit: unit.inspections.prune(old)),
            "messages_out": self._in_batches(lambda unit: unit.outbox.prune(sent)),
            "steps": self._in_batches(lambda unit: unit.steps.prune(old)),
            "shadow_looks": self._in_batches(lambda unit: unit.shadow_looks.prune(old)),
            "messages_in": self._in_batches(lambda unit: unit.inbox.prune(old)),
        }
        if any(removed.values()):
            log.info("retention applied", **removed)

    def _in_batches(self, prune: Callable[[UnitOfWork], int]) -> int:
        """Prune in small transactions, so that an inspection never waits long for the writer; the rest next time."""
        removed = 0
        for _ in range(_BATCHES):
            with self._store.unit(durable=False) as unit:
                count = prune(unit)
                unit.commit()
            removed += count
            if count == 0:
                break
        return removed
