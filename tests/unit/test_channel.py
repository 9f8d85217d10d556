"""The channel's ledger is exact, whatever happens."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.runtime.channel import Channel


@given(st.sampled_from(["refuse", "drop"]), st.integers(1, 4), st.lists(st.booleans(), max_size=60))
def test_ledger(when_full: str, capacity: int, steps: list[bool]) -> None:
    channel: Channel[int] = Channel(capacity, when_full=when_full)  # type: ignore[arg-type]
    out = []
    for number, is_offer in enumerate(steps):
        if is_offer:
            channel.offer(number)
        elif (item := channel.take(0)) is not None:
            out.append(item)
    ledger = channel.ledger
    assert ledger.offered == ledger.taken + ledger.dropped + ledger.refused + ledger.left
    assert out == sorted(out)
    assert ledger.left <= capacity


def test_drop_keeps_the_newest() -> None:
    channel: Channel[int] = Channel(1, when_full="drop")
    for number in range(5):
        assert channel.offer(number)
    assert channel.take(0) == 4


def test_take_wakes_up_for_an_offer() -> None:
    channel: Channel[str] = Channel(1)
    got: list[str | None] = []
    reader = threading.Thread(target=lambda: got.append(channel.take(30)))
    reader.start()
    channel.offer("x")
    reader.join(30)
    assert got == ["x"]


def test_capacity_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Channel(0)


def test_emptiness_is_awaited() -> None:
    channel: Channel[int] = Channel(2)
    assert channel.await_empty(0)
    channel.offer(1)
    assert not channel.await_empty(0.01)
    taker = threading.Timer(0.02, channel.take, (1,))
    taker.start()
    assert channel.await_empty(5)
    taker.join()
