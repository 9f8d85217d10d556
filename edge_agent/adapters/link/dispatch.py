"""What comes in: queued by the network thread, handled on one dispatch thread, acknowledged after the handler.

Two queues. Messages that must be kept wait for their handler's commit; the broker's view of our Receive Maximum
bounds them. The rest (telemetry) is acknowledged at once and the oldest are dropped when the handler is too slow.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

import structlog
from paho.mqtt.matcher import MQTTMatcher

from edge_agent.adapters.link.connection import RECEIVE_MAXIMUM, Arrived
from edge_agent.domain.faults import Transient
from edge_agent.domain.message import InboundMessage
from edge_agent.observability import metrics
from edge_agent.ports import Clock, InboundHandler

log = structlog.get_logger(__name__)

KEPT_AT_MOST = RECEIVE_MAXIMUM * 4
"""More than the Receive Maximum: after a reconnect the broker repeats what is still queued here."""
LOSSY_AT_MOST = 2_000
LOSSY_BYTES = 16 * 2**20
"""All of them together: a birth of a large Sparkplug edge node may be one megabyte."""
FAILURES_TOLERATED = 3
FAILURES_REMEMBERED = 100
WAIT_S = 0.2
RETRY_AFTER_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A subscription with its handler."""

    topic_filter: str
    handler: InboundHandler
    qos: int
    keep: bool


class Dispatcher:
    """Hands messages to handlers.

    Attributes:
        dropped: messages dropped since the start, and those that found no handler.
    """

    def __init__(self, *, clock: Clock, acknowledge: Callable[[Arrived], None]) -> None:
        self._clock, self._acknowledge = clock, acknowledge
        self._matcher = MQTTMatcher()  # type: ignore[no-untyped-call]
        self._routes: list[Route] = []
        self._kept: queue.Queue[Arrived] = queue.Queue(KEPT_AT_MOST)
        self._lossy: deque[Arrived] = deque()
        self._lossy_bytes = 0
        self._lossy_lock = threading.Lock()
        self._later: list[tuple[float, Arrived]] = []
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._bug: Exception | None = None
        self._failures: dict[bytes, int] = {}
        self._in_trouble: set[str] = set()
        self.dropped = 0
        self._thread: threading.Thread | None = None

    def add(self, route: Route) -> None:
        """Before `start` only."""
        self._routes.append(route)
        same = [known for known in self._routes if known.topic_filter == route.topic_filter]
        self._matcher[route.topic_filter] = tuple(same)

    def filters(self) -> list[tuple[str, int]]:
        """What to subscribe to: each filter once, with the highest QoS asked for.

        Filters that lie in a wider one are left out: a broker may deliver a message once for each.
        """
        wanted: dict[str, int] = {}
        for route in self._routes:
            wanted[route.topic_filter] = max(route.qos, wanted.get(route.topic_filter, 0))
        return [
            (narrow, qos)
            for narrow, qos in wanted.items()
            if not any(wide != narrow and covers(wide, narrow) and wanted[wide] >= qos for wide in wanted)
        ]

    def start(self) -> None:
        """Begin handling; again after a `stop`, too.

        Raises:
            Transient: a handler of the run before has not returned yet.
        """
        if self._thread is not None and self._thread.is_alive():
            raise Transient("a handler is still at work")
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="mqtt-dispatch", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Finish the message in hand and end; what is queued is sent again by the broker."""
        self._stopping.set()
        self._work.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def raise_bug(self) -> None:
        """Raise what a handler raised, so that the supervisor sees it."""
        bug, self._bug = self._bug, None
        if bug is not None:
            raise bug

    # --- the network thread -----------------------------------------------------------------------------------------

    def offer(self, arrived: Arrived) -> bool:
        """Called in paho's callback: queue it and return; True when it may be acknowledged at once."""
        keep = any(route.keep for route in self._matching(arrived.topic))
        if keep:
            self._offer_kept(arrived)
        else:
            self._offer_lossy(arrived)
        self._work.set()
        return not keep

    def _offer_kept(self, arrived: Arrived) -> None:
        try:
            self._kept.put_nowait(arrived)
        except queue.Full:
            self.dropped += 1
            log.error("too many messages wait to be handled; the broker keeps this one", topic=arrived.topic)

    def _offer_lossy(self, arrived: Arrived) -> None:
        with self._lossy_lock:
            self._lossy.append(arrived)
            self._lossy_bytes += len(arrived.body)
            while len(self._lossy) > LOSSY_AT_MOST or self._lossy_bytes > LOSSY_BYTES:
                self._lossy_bytes -= len(self._lossy.popleft().body)
                self.dropped += 1
                metrics.SAMPLES_LOST.labels("dropped").inc()

    def _take_lossy(self) -> Arrived | None:
        with self._lossy_lock:
            if not self._lossy:
                return None
            taken = self._lossy.popleft()
            self._lossy_bytes -= len(taken.body)
            return taken

    def _matching(self, topic: str) -> list[Route]:
        return [route for routes in self._matches(topic) for route in routes]

    def _matches(self, topic: str) -> Iterator[tuple[Route, ...]]:
        found: Iterator[tuple[Route, ...]] = self._matcher.iter_match(topic)  # type: ignore[no-untyped-call]
        return found

    # --- the dispatch thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            arrived = self._next()
            if arrived is None:
                self._work.wait(WAIT_S)
                self._work.clear()
            else:
                self._handle(arrived)

    def _next(self) -> Arrived | None:
        """Those whose time for another try has come, then kept ones, then the rest."""
        if self._later and self._later[0][0] <= time.monotonic():
            return self._later.pop(0)[1]
        try:
            return self._kept.get_nowait()
        except queue.Empty:
            return self._take_lossy()

    def _handle(self, arrived: Arrived) -> None:
        routes = self._matching(arrived.topic)
        if not routes:
            self.dropped += 1
        try:
            message = self._message(arrived)
            for route in routes:
                route.handler(message)
        except Transient as error:
            self._try_later(arrived, error)
            return
        except Exception as error:  # handed to the supervisor in raise_bug
            log.exception("a bug in the handler of a message", topic=arrived.topic, excerpt=arrived.body[:200])
            self._bug = error
            if not self._given_up(arrived):
                return
        if arrived.topic in self._in_trouble:
            self._in_trouble.discard(arrived.topic)
            log.info("messages are handled again", topic=arrived.topic)
        if any(route.keep for route in routes):
            self._acknowledge(arrived)

    def _given_up(self, arrived: Arrived) -> bool:
        """Unacknowledged, it comes again after the restart; the third time it is let go: no restart would help."""
        name = sha256(arrived.topic.encode() + b"\n" + arrived.body).digest()
        self._failures[name] = self._failures.get(name, 0) + 1
        if len(self._failures) > FAILURES_REMEMBERED:
            del self._failures[next(iter(self._failures))]
        return self._failures.get(name, 0) >= FAILURES_TOLERATED

    def _try_later(self, arrived: Arrived, error: Transient) -> None:
        if arrived.topic not in self._in_trouble and len(self._in_trouble) < FAILURES_REMEMBERED:
            self._in_trouble.add(arrived.topic)
            log.warning("messages cannot be handled now, trying again", topic=arrived.topic, error=str(error))
        if len(self._later) < KEPT_AT_MOST:
            self._later.append((time.monotonic() + RETRY_AFTER_S, arrived))

    def _message(self, arrived: Arrived) -> InboundMessage:
        return InboundMessage(
            source="",
            message_id="",
            topic=arrived.topic,
            body=arrived.body,
            received_at=self._clock.now(),
            properties=arrived.properties,
        )


def covers(wide: str, narrow: str) -> bool:
    """Does the wide topic filter match whatever the narrow one matches?"""
    mine, theirs = wide.split("/"), narrow.split("/")
    for place, level in enumerate(mine):
        if level == "#":
            return True
        if place >= len(theirs) or theirs[place] == "#" or level not in ("+", theirs[place]):
            return False
    return len(mine) == len(theirs)
