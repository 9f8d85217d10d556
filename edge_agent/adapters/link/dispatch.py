"""What comes in: queued by the network thread, handled on one dispatch thread, acknowledged after the handler.

Two queues. Messages that must be kept wait for their handler's commit. The broker's view of our Receive Maximum should
bound them, but mosquitto 2.0 keeps to it only until the first acknowledgement: what finds the queue full is left with
the broker, unacknowledged, and asked for again with a new connection when there is room. The rest (telemetry) is
acknowledged at once and the oldest are dropped when the handler is too slow.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

import structlog
from paho.mqtt.matcher import MQTTMatcher

from edge_agent.adapters.link.connection import Arrived
from edge_agent.domain.faults import Transient
from edge_agent.domain.message import InboundMessage
from edge_agent.observability import metrics
from edge_agent.ports import Clock, InboundHandler

log = structlog.get_logger(__name__)

KEPT_AT_MOST = 10_000
KEPT_BYTES = 32 * 2**20
"""A MES that confirms a backlog of days answers faster than receipts are written down."""
LATER_AT_MOST = 400
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


class Waiting:
    """Messages in the order of arrival, so many and so many bytes at most."""

    def __init__(self, *, at_most: int, bytes_at_most: int) -> None:
        self._at_most, self._bytes_at_most = at_most, bytes_at_most
        self._held: deque[Arrived] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, arrived: Arrived) -> bool:
        """False when there is no room."""
        with self._lock:
            size = self._bytes + len(arrived.body)
            if len(self._held) >= self._at_most or (self._held and size > self._bytes_at_most):
                return False
            self._held.append(arrived)
            self._bytes = size
            return True

    def take(self) -> Arrived | None:
        """The oldest."""
        with self._lock:
            if not self._held:
                return None
            taken = self._held.popleft()
            self._bytes -= len(taken.body)
            return taken


class Dispatcher:
    """Hands messages to handlers.

    Args:
        ask_again: makes a new connection, so that the broker repeats what was left with it.

    Attributes:
        dropped: messages dropped or left with the broker since the start, and those that found no handler.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        acknowledge: Callable[[Arrived], None],
        ask_again: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock, self._acknowledge, self._ask_again = clock, acknowledge, ask_again
        self._matcher = MQTTMatcher()  # type: ignore[no-untyped-call]
        self._routes: list[Route] = []
        self._kept = Waiting(at_most=KEPT_AT_MOST, bytes_at_most=KEPT_BYTES)
        self._lossy = Waiting(at_most=LOSSY_AT_MOST, bytes_at_most=LOSSY_BYTES)
        self._left_behind = False
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
        if not self._kept.put(arrived):
            self._leave_behind(arrived.topic)

    def _leave_behind(self, topic: str) -> None:
        self.dropped += 1
        if not self._left_behind:
            log.warning("too many messages wait to be handled; the broker keeps the rest for now", topic=topic)
        self._left_behind = True

    def _offer_lossy(self, arrived: Arrived) -> None:
        while not self._lossy.put(arrived):
            self._lossy.take()
            self.dropped += 1
            metrics.SAMPLES_LOST.labels("dropped").inc()

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
                self._fetch_left_behind()
                self._work.wait(WAIT_S)
                self._work.clear()
            else:
                self._handle(arrived)

    def _next(self) -> Arrived | None:
        """Those whose time for another try has come, then kept ones, then the rest."""
        if self._later and self._later[0][0] <= time.monotonic():
            return self._later.pop(0)[1]
        return self._kept.take() or self._lossy.take()

    def _fetch_left_behind(self) -> None:
        """There is room again."""
        if self._left_behind and not self._later:
            self._left_behind = False
            log.info("there is room again; the broker is asked for the messages that it kept")
            self._ask_again()

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
        if len(self._later) < LATER_AT_MOST:
            self._later.append((time.monotonic() + RETRY_AFTER_S, arrived))
        else:
            self._leave_behind(arrived.topic)

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
