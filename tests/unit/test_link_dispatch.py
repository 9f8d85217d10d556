"""Dispatch of what comes in: order, acknowledgement, retries, and what happens when a handler has a bug."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from edge_agent.adapters.link import dispatch
from edge_agent.adapters.link.connection import Arrived
from edge_agent.adapters.link.dispatch import FAILURES_TOLERATED, LOSSY_AT_MOST, Dispatcher, Route, covers
from edge_agent.domain.faults import Transient
from edge_agent.domain.message import InboundMessage
from tests.fakes.clock import FakeClock


class Acks:
    """Counts acknowledgements, and lets a test wait for them."""

    def __init__(self) -> None:
        self.mids: list[int] = []
        self._changed = threading.Condition()

    def __call__(self, arrived: Arrived) -> None:
        with self._changed:
            self.mids.append(arrived.mid)
            self._changed.notify_all()

    def until(self, count: int) -> list[int]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.mids) >= count, timeout=10)
        return self.mids


def arrived(mid: int, topic: str = "in/x", body: bytes = b"{}") -> Arrived:
    return Arrived(epoch=1, mid=mid, qos=1, retain=False, topic=topic, body=body, properties={})


@contextmanager
def running(
    handler: Callable[[InboundMessage], None], acks: Acks, *, keep: bool = True, start: bool = True
) -> Iterator[Dispatcher]:
    made = Dispatcher(clock=FakeClock(), acknowledge=acks)
    made.add(Route(topic_filter="in/+", handler=handler, qos=1, keep=keep))
    if start:
        made.start()
    try:
        yield made
    finally:
        made.stop(5)


def test_acknowledged_in_order_after_the_handler() -> None:
    acks, seen = Acks(), []
    with running(lambda message: seen.append((message.topic, len(acks.mids))), acks) as dispatcher:
        assert [dispatcher.offer(arrived(mid)) for mid in range(5)] == [False] * 5
        assert acks.until(5) == [0, 1, 2, 3, 4]
    assert [before for _, before in seen] == [0, 1, 2, 3, 4]


def test_a_transient_failure_is_tried_again_and_only_then_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "RETRY_AFTER_S", 0.01)
    acks, attempts = Acks(), []

    def full(message: InboundMessage) -> None:
        attempts.append(message)
        if len(attempts) < 4:
            raise Transient("disk full")

    with running(full, acks) as dispatcher:
        dispatcher.offer(arrived(7))
        assert acks.until(1) == [7]
        dispatcher.raise_bug()
    assert len(attempts) == 4


def test_a_bug_reaches_the_supervisor_and_the_message_is_let_go_in_the_end() -> None:
    acks, tried = Acks(), threading.Semaphore(0)

    def broken(message: InboundMessage) -> None:
        tried.release()
        raise KeyError("bug")

    with running(broken, acks) as dispatcher:
        for attempt in range(1, FAILURES_TOLERATED + 1):
            dispatcher.offer(arrived(attempt))
            assert tried.acquire(timeout=10)
        assert acks.until(1) == [FAILURES_TOLERATED], "acknowledged at the last attempt only"
    with pytest.raises(KeyError):
        dispatcher.raise_bug()
    dispatcher.raise_bug()


def test_what_may_be_lost_is_acknowledged_at_once_and_the_oldest_goes() -> None:
    acks, seen, done = Acks(), [], threading.Event()

    def count(message: InboundMessage) -> None:
        seen.append(message.body)
        if message.body == b"last":
            done.set()

    with running(count, acks, keep=False, start=False) as dispatcher:
        for mid in range(LOSSY_AT_MOST + 10):
            assert dispatcher.offer(arrived(mid, body=str(mid).encode()))
        dispatcher.offer(arrived(1, body=b"last"))
        assert dispatcher.dropped == 11
        dispatcher.start()
        assert done.wait(10)
    assert seen[0] == b"11"
    assert len(seen) == LOSSY_AT_MOST
    assert acks.mids == []


def test_large_ones_that_may_be_lost_are_bounded_in_bytes() -> None:
    """A large Sparkplug birth is telemetry; a flood of them is not."""
    seen: list[int] = []
    done = threading.Event()

    def take(message: InboundMessage) -> None:
        seen.append(len(message.body))
        if message.body == b"last":
            done.set()

    with running(take, Acks(), keep=False, start=False) as dispatcher:
        for mid in range(20):
            dispatcher.offer(arrived(mid, body=b"x" * 2**20))
        dispatcher.offer(arrived(1, body=b"last"))
        assert dispatcher.dropped == 5
        dispatcher.start()
        assert done.wait(10)
    assert sum(seen) <= dispatch.LOSSY_BYTES
    assert seen[0] == 2**20


def test_too_many_to_keep_stay_with_the_broker_until_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "KEPT_AT_MOST", 3)
    acks, asked = Acks(), threading.Event()
    made = Dispatcher(clock=FakeClock(), acknowledge=acks, ask_again=asked.set)
    made.add(Route(topic_filter="in/+", handler=lambda message: None, qos=1, keep=True))
    for mid in range(5):
        assert not made.offer(arrived(mid))
    assert (made.dropped, asked.is_set()) == (2, False)
    made.start()
    try:
        assert asked.wait(10), "the broker is asked again"
        assert acks.until(3) == [0, 1, 2], "after what was there"
        asked.clear()
        made.offer(arrived(3))
        acks.until(4)
    finally:
        made.stop(5)
    assert not asked.is_set(), "once"


def test_what_is_kept_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "KEPT_BYTES", 100)
    with running(lambda message: None, Acks(), start=False) as dispatcher:
        for mid, size in enumerate((60, 50, 40)):
            dispatcher.offer(arrived(mid, body=b"x" * size))
        assert dispatcher.dropped == 1


def test_one_subscription_for_each_filter_with_the_highest_qos() -> None:
    made = Dispatcher(clock=FakeClock(), acknowledge=Acks())
    for topic_filter, qos in (("a", 0), ("b", 1), ("a", 1)):
        made.add(Route(topic_filter=topic_filter, handler=lambda message: None, qos=qos, keep=True))
    assert made.filters() == [("a", 1), ("b", 1)]


# wide, narrow: does the first match all that the second matches?
COVERED = [
    ("in/cmd/+", "in/cmd/trigger", True),
    ("in/#", "in/cmd/+", True),
    ("in/#", "in", True),
    ("#", "a/b", True),
    ("in/+/x", "in/+/x", True),
    ("in/cmd/+", "in/cmd/a/b", False),
    ("in/cmd/+", "in/cmd", False),
    ("in/cmd/+", "in/cmd/#", False),
    ("in/cmd/a", "in/cmd/+", False),
    ("in/+/b", "in/a/c", False),
]


@pytest.mark.parametrize(("wide", "narrow", "is_covered"), COVERED)
def test_a_filter_within_a_wider_one(wide: str, narrow: str, is_covered: bool) -> None:
    assert covers(wide, narrow) is is_covered


def test_what_a_wider_filter_brings_anyway_is_not_subscribed_to() -> None:
    """mosquitto may deliver a message once for each subscription that matches."""
    made = Dispatcher(clock=FakeClock(), acknowledge=Acks())
    for topic_filter, qos in (("in/cmd/trigger", 1), ("in/cmd/+", 1), ("t/+", 0), ("t/a", 1)):
        made.add(Route(topic_filter=topic_filter, handler=lambda message: None, qos=qos, keep=True))
    assert made.filters() == [("in/cmd/+", 1), ("t/+", 0), ("t/a", 1)]
