"""A PLC's side of a request for an inspection, whatever the protocol: edges, sequence, heartbeat, product read-back."""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from edge_agent.domain.faults import Transient
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.ports import Clock

log = structlog.get_logger(__name__)

COUNTER = 0x10000
_LONGEST_GAP = 1_000
"""A larger step of the sequence is a counter that began anew."""
PRODUCT_EVERY_S = 0.25
"""How often the PLC's product is read while no part is there."""
MAX_REFUSED = 100

Product = int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the PLC wrote beside its trigger."""

    sequence: int
    part_id: str
    product: Product = None
    """The PLC's own number or name; None: there is only one product."""


class Memory(Protocol):
    """The PLC's memory, as the trigger sees it. All raise Transient when the PLC is away."""

    def connect(self) -> None:
        """Raises ConfigError, too: what is configured is not there."""
        ...

    def poll(self) -> tuple[bool, object]:
        """Is the trigger set, and the PLC's heartbeat (None: it is not watched)."""
        ...

    def request(self) -> Request:
        """What stands beside the trigger now."""
        ...

    def product(self) -> Product:
        """What the PLC wants to make."""
        ...

    def echo(self, product: Product) -> None:
        """Say back which product is ready; None: that one is not known here."""
        ...

    def close(self) -> None:
        """Safe to call twice and after a failure."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is agreed with the PLC, besides addresses."""

    name: str
    """Of the PLC, for messages."""
    protocol: str
    poll_s: float
    heartbeat_timeout_s: float
    ack_timeout_s: float
    hold_while_busy: bool
    echoes_product: bool
    products: Mapping[int, str]
    product_id: str | None


class PlcTrigger:
    """Implements ``ports.TriggerSource``.

    A shot is the rising edge of the trigger. One that is already set when the connection is made counts as an edge: the
    PLC is waiting for an answer, perhaps since before a restart of this box; unless it is the request that was taken
    last, whose connection was lost in between: that part is not inspected twice.

    A request that comes while an answer is owed was made by a PLC that no longer waits for that answer. It is counted
    as missed and refused (held), unless the line has several parts under way by design (``while_busy: queue``).
    """

    patient = False

    def __init__(
        self,
        memory: Memory,
        terms: Terms,
        *,
        station_id: str,
        strata: Mapping[str, str],
        clock: Clock,
        owes: Callable[[], bool] = lambda: False,
        recipes: Collection[str] | None = None,
    ) -> None:
        """Args:
        owes: does the station owe an answer to an earlier request?
        recipes: products that can be inspected; None: not known, every configured one is said to be ready.
        """
        self._memory, self._terms = memory, terms
        self._station_id, self._strata, self._clock = station_id, dict(strata), clock
        self._owes, self._recipes = owes, recipes
        self._closed = threading.Event()
        self._was_set = False
        self._last: Request | None = None
        self._missed = 0
        self._refused: list[tuple[Shot, Reason]] = []
        self._beat: object = None
        self._beat_ns = self._next_product_ns = 0
        self._echoed: Product | object = object()
        self._set_since_ns = 0
        self._ack_missing = False

    def open(self) -> None:
        """Connect. Raises Transient when the PLC does not answer, ConfigError for memory that it has not."""
        self.close()
        self._closed.clear()
        self._memory.connect()
        is_set, beat = self._memory.poll()
        self._beat, self._beat_ns = beat, self._clock.monotonic_ns()
        self._echoed, self._next_product_ns = object(), 0
        self._was_set = is_set and self._memory.request() == self._last
        if self._was_set:
            log.info("the request that is set was taken before", station=self._station_id, plc=self._terms.name)
        self._follow_product()

    def wait(self, timeout_s: float) -> Shot | None:
        """Poll until the trigger rises. Raises Transient when the connection or the PLC's heartbeat is lost."""
        deadline_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            is_set, beat = self._memory.poll()
            self._watch(beat)
            rose, self._was_set = is_set and not self._was_set, is_set
            if rose:
                shot = self._take()
                if shot is not None:
                    return shot
            self._watch_ack(is_set)
            self._follow_product()
            if self._clock.monotonic_ns() >= deadline_ns or self._closed.wait(self._terms.poll_s):
                return None

    def missed(self) -> int:
        """Gaps in the PLC's sequence, and requests that came while an answer was owed."""
        return self._missed

    def refusals(self) -> list[tuple[Shot, Reason]]:
        """Requests that came while an answer was owed; once."""
        taken, self._refused = self._refused, []
        return taken

    def close(self) -> None:
        """Disconnect."""
        self._closed.set()
        self._memory.close()

    # --- one request ------------------------------------------------------------------------------------------------

    def _take(self) -> Shot | None:
        """The shot of the request that rose now; None where it was refused."""
        triggered_ns, triggered_at = self._clock.monotonic_ns(), self._clock.now()
        asked = self._memory.request()
        self._count_gap(asked)
        self._last, self._set_since_ns, self._ack_missing = asked, triggered_ns, False
        shot = Shot(
            shot_id=self._clock.new_id(),
            station_id=self._station_id,
            part_id=asked.part_id or f"{self._station_id}-{asked.sequence}",
            product_id=self._product_id(asked.product),
            trigger_id=f"{self._terms.protocol}-{asked.sequence}",
            triggered_at=triggered_at,
            triggered_ns=triggered_ns,
            sequence=asked.sequence,
            strata=self._strata,
        )
        if not (self._terms.hold_while_busy and self._owes()):
            return shot
        self._missed += 1
        text = "the trigger came while the answer to an earlier one was owed"
        log.warning("trigger missed", station=self._station_id, part=shot.part_id, sequence=asked.sequence, why=text)
        if len(self._refused) < MAX_REFUSED:
            self._refused.append((shot, Reason(code="trigger.while_busy", text=text)))
        return None

    def _product_id(self, product: Product) -> str:
        """A product that is in no table has no recipe either: the part is held, with that reason."""
        fallback = self._terms.product_id
        if product is None:
            return fallback or ""
        if isinstance(product, str):
            return product or fallback or "unknown"
        return self._terms.products.get(product, fallback or f"unknown-{product}")

    def _count_gap(self, asked: Request) -> None:
        gap = 0 if self._last is None else (asked.sequence - self._last.sequence) % COUNTER - 1
        if self._last is not None and 0 < gap <= _LONGEST_GAP:
            self._missed += gap
            log.warning("triggers missed", station=self._station_id, after=self._last.sequence, before=asked.sequence)

    # --- what is watched meanwhile ----------------------------------------------------------------------------------

    def _watch(self, beat: object) -> None:
        now_ns = self._clock.monotonic_ns()
        if beat is None or beat != self._beat:
            self._beat, self._beat_ns = beat, now_ns
        elif now_ns - self._beat_ns > self._terms.heartbeat_timeout_s * 1e9:
            raise Transient(f"{self._terms.name}: its heartbeat stopped at {beat}")

    def _watch_ack(self, is_set: bool) -> None:
        """The PLC takes its trigger back when it has taken the answer."""
        if not is_set or self._owes() or self._ack_missing:
            return
        if self._clock.monotonic_ns() - self._set_since_ns > self._terms.ack_timeout_s * 1e9:
            self._ack_missing = True
            log.warning("the PLC leaves its trigger set; it did not take the answer", plc=self._terms.name)

    def _follow_product(self) -> None:
        """Say back which product is ready, whenever the PLC chooses another."""
        now_ns = self._clock.monotonic_ns()
        if not self._terms.echoes_product or now_ns < self._next_product_ns:
            return
        self._next_product_ns = now_ns + int(PRODUCT_EVERY_S * 1e9)
        product = self._memory.product()
        if product != self._echoed:
            is_known = self._is_known(product)
            self._memory.echo(product if is_known else None)
            self._echoed = product
            log.info("product selected", station=self._station_id, product=product, ready=is_known)

    def _is_known(self, product: Product) -> bool:
        if isinstance(product, int) and product not in self._terms.products:
            return False
        return self._recipes is None or self._product_id(product) in self._recipes
