"""Health: what works and what does not, by component; the page, /readyz and the stack light read it."""

import threading
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import structlog

from edge_agent.observability.metrics import COMPONENT_UP

log = structlog.get_logger(__name__)


_NEEDED_FOR_PARTS = frozenset({"camera", "recording", "challenge"})


class Condition(StrEnum):
    """How a component is doing."""

    STARTING = "starting"
    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentHealth:
    """One component's condition, since when, and a sentence for people.

    Attributes:
        acknowledged: who has seen it, and when; empty until then, and again when the condition changes.
    """

    component: str
    condition: Condition
    detail: str
    since: datetime
    acknowledged: str = ""


class Health:
    """A thread-safe board of component conditions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._board: dict[str, ComponentHealth] = {}

    def report(self, component: str, condition: Condition, detail: str = "", *, at: datetime) -> bool:
        """Note a condition; True when it changed. Logged once when a thing goes away, once when it returns."""
        with self._lock:
            known = self._board.get(component)
            changed = known is None or known.condition is not condition
            since = at if known is None or changed else known.since
            self._board[component] = ComponentHealth(
                component=component,
                condition=condition,
                detail=detail,
                since=since,
                acknowledged="" if known is None or changed else known.acknowledged,
            )
        COMPONENT_UP.labels(component=component).set(1 if condition is Condition.OK else 0)
        if changed:
            say = log.info if condition in (Condition.OK, Condition.STARTING) else log.warning
            say("condition changed", component=component, condition=condition.value, detail=detail)
        return changed

    def acknowledge(self, component: str, by: str) -> None:
        """Note that somebody has seen it; nothing else changes, and nothing at all while it is well."""
        with self._lock:
            known = self._board.get(component)
            if known is not None and known.condition is not Condition.OK:
                self._board[component] = replace(known, acknowledged=by)

    def alarms(self) -> list[ComponentHealth]:
        """What is not well: degraded or down."""
        return [entry for entry in self.board() if entry.condition in (Condition.DEGRADED, Condition.DOWN)]

    def board(self) -> list[ComponentHealth]:
        """All components, by name."""
        with self._lock:
            return [self._board[name] for name in sorted(self._board)]

    def blocking(self) -> list[ComponentHealth]:
        """What keeps parts from being inspected: cameras that are away, results that cannot be written down, a
        challenge that was not passed."""
        return [
            entry
            for entry in self.board()
            if entry.condition is Condition.DOWN and entry.component.partition(":")[0] in _NEEDED_FOR_PARTS
        ]

    def worst(self) -> Condition:
        """The worst condition on the board; STARTING when it is empty."""
        order = [Condition.OK, Condition.STARTING, Condition.DEGRADED, Condition.DOWN]
        conditions = [entry.condition for entry in self.board()]
        return max(conditions, key=order.index, default=Condition.STARTING)
