"""The link's decisions that need no broker: waiting, retrying, finding poison, reporting."""

from random import Random

import pytest

from edge_agent.adapters.link import relay
from edge_agent.adapters.link.backoff import CAP_S, Backoff
from edge_agent.adapters.link.relay import POISON_STRIKES, PoisonWatch, Retry, Sent
from edge_agent.contract.complaints import ErrorReporter
from edge_agent.domain.message import Ack, Departure, Lane
from tests.fakes.clock import START, FakeClock
from tests.fakes.plant_samples import SENDER, uid


def row(sequence: int) -> Departure:
    return Departure(
        sequence=sequence,
        message_id=str(uid(sequence)),
        lane=Lane.FINDINGS,
        ack=Ack.RECEIPT,
        attempts=0,
        expires_us=None,
        topic="out/x",
        body=b"{}",
        retain=False,
        content_type="",
        correlation="",
        response_topic="",
        properties="{}",
        created_us=0,
    )


def flying(*sequences: int, at_s: float = float("inf")) -> dict[int, Sent]:
    """Rows on their way; sent just now unless told otherwise."""
    return {sequence: Sent(row=row(sequence), at_s=at_s) for sequence in sequences}


def test_an_absent_broker_is_asked_less_and_less_often_but_at_least_every_minute_and_a_half() -> None:
    backoff = Backoff(Random(1))
    waits = [backoff.after_failure() for _ in range(20)]
    assert waits[0] < 1
    assert max(waits) <= CAP_S * 1.5
    assert min(waits[10:]) >= CAP_S * 0.5
    assert backoff.after_loss(held_s=60) < 1, "it was there: soon again"


def test_two_boxes_with_one_id_calm_down() -> None:
    """Each holds the connection until the other comes back."""
    boxes = [Backoff(Random(1)), Backoff(Random(2))]
    wait_s, takeovers, elapsed_s = 1.0, 0, 0.0
    while elapsed_s < 3600:
        wait_s = boxes[takeovers % 2].after_loss(held_s=wait_s)
        elapsed_s += wait_s
        takeovers += 1
    assert takeovers < 150
    assert all(box.flapping for box in boxes)


def test_a_good_connection_is_forgiven() -> None:
    backoff = Backoff(Random(1))
    for _ in range(8):
        backoff.after_loss(held_s=0.1)
    assert backoff.flapping
    assert backoff.after_loss(held_s=600) < 1
    assert not backoff.flapping


@pytest.mark.parametrize(("attempts", "low_s", "high_s"), [(0, 24, 36), (1, 48, 72), (3, 192, 288), (30, 480, 720)])
def test_retries_double_up_to_ten_minutes(attempts: int, low_s: float, high_s: float) -> None:
    wait = (Retry(30).times(START)(attempts) - START).total_seconds()
    assert low_s <= wait <= high_s


def test_the_guilty_row_is_found_among_many() -> None:
    watch = PoisonWatch()
    assert watch.connection_lost(flying(1, 2, 3), 0x80) is None
    assert watch.suspicious, "now one at a time"
    watch.acquit([1])
    for _ in range(POISON_STRIKES - 1):
        assert watch.connection_lost(flying(2), 0x80) is None
    guilty = watch.connection_lost(flying(2), 0x80)
    assert guilty is not None
    assert guilty.sequence == 2
    assert not watch.suspicious


def test_an_answered_row_is_innocent() -> None:
    watch = PoisonWatch()
    for _ in range(10):
        assert watch.connection_lost(flying(5), 0x80) is None
        watch.acquit([5])
    assert not watch.suspicious


def test_suspicion_ends_when_the_suspects_are_never_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = PoisonWatch()
    watch.connection_lost(flying(1, 2), 0x80)
    assert watch.suspicious
    monkeypatch.setattr(relay.time, "monotonic", lambda: float("inf"))
    assert not watch.suspicious


@pytest.mark.parametrize("code", [0x8B, 0x8D, 0x8E])
def test_orderly_losses_accuse_nobody(code: int) -> None:
    watch = PoisonWatch()
    for _ in range(10):
        assert watch.connection_lost(flying(5), code) is None


def test_rows_sent_long_ago_are_not_suspected() -> None:
    watch = PoisonWatch()
    for _ in range(10):
        assert watch.connection_lost(flying(5, at_s=0.0), 0x80) is None
    assert not watch.suspicious


def test_errors_about_errors_do_not_flood() -> None:
    clock = FakeClock()
    reporter = ErrorReporter(sender=SENDER, clock=clock)

    def made() -> int:
        results = [
            reporter.made("inbound-invalid", topic="t", reason_code="x", detail="d", original=b"") for _ in range(100)
        ]
        return sum(each is not None for each in results)

    assert made() == ErrorReporter.PER_HOUR
    assert made() == 0
    clock.advance(hours=1)
    assert made() == ErrorReporter.PER_HOUR
