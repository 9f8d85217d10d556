"""The clock the other tests rely on."""

from datetime import timedelta

from tests.fakes.clock import START, FakeClock


def test_time_moves_only_when_told() -> None:
    clock = FakeClock()
    assert clock.now() == START == clock.now()
    before_ns = clock.monotonic_ns()
    assert clock.advance(1.5, minutes=1) == START + timedelta(seconds=61.5) == clock.now()
    assert clock.monotonic_ns() - before_ns == 61_500_000_000


def test_a_stepped_back_wall_clock_leaves_durations_and_ids_in_order() -> None:
    clock = FakeClock()
    first, before_ns = clock.new_id(), clock.monotonic_ns()
    clock.set(START - timedelta(days=1))
    second = clock.new_id()
    assert first < second
    assert clock.monotonic_ns() == before_ns
    assert {first.version, second.version} == {7}


def test_ids_are_the_same_in_every_run_and_differ_between_nodes() -> None:
    def ids(node: int) -> list[str]:
        clock = FakeClock(node=node)
        return [str(clock.new_id()) for _ in range(3)]

    assert ids(0) == ids(0)
    assert not set(ids(0)) & set(ids(1))
