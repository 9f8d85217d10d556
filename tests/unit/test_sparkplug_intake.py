"""Sparkplug metrics as the box's samples, and what the diagnosis makes of a sensor that died."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from edge_agent.contract.sparkplug.edge_node import NODE, EdgeNode, Publication, Tag
from edge_agent.contract.sparkplug.host import Source
from edge_agent.contract.sparkplug.payload import DataType
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.plant import Sample
from edge_agent.responding.plant_records import Thinning
from edge_agent.responding.sparkplug_intake import SparkplugIntake
from tests.fakes.clock import FakeClock

COUNT = Source(group="g", node="n", metric="Temperature")
LATE_MS = 1 << 62


class Plant:
    """An edge node, and an intake that hears it."""

    def __init__(self, *, allowed: bool = True) -> None:
        self.clock = FakeClock()
        self.node = EdgeNode(group="g", node="n", tags=[Tag(name="Temperature", datatype=DataType.DOUBLE)], devices={})
        self.node.will(0)
        self.samples: list[Sample] = []
        self.asked: list[str] = []
        self.intake = SparkplugIntake(
            signals={COUNT: "oven"},
            accept=self.samples.append,
            clock=self.clock,
            publish=(lambda topic, body: self.asked.append(topic)) if allowed else None,
        )

    @property
    def now_ms(self) -> int:
        return int(self.clock.now().timestamp() * 1_000)

    def hear(self, messages: list[Publication]) -> None:
        for one in messages:
            self.intake.on_message(
                InboundMessage(
                    source="mqtt", message_id="", topic=one.topic, body=one.body, received_at=self.clock.now()
                )
            )

    def says(self, value: float, at_ms: int | None = None) -> None:
        self.hear(self.node.update(NODE, {"Temperature": value}, at_ms=at_ms or self.now_ms, now_ms=self.now_ms))


def test_values_become_samples_with_their_own_times() -> None:
    plant = Plant()
    plant.hear(plant.node.births(plant.now_ms))
    plant.says(20.5, at_ms=plant.now_ms - 4_000)
    assert plant.samples[-1] == Sample(signal="oven", value=20.5, at=plant.clock.now() - timedelta(seconds=4))


def test_death_makes_the_signal_unknown_now() -> None:
    plant = Plant()
    plant.hear(plant.node.births(plant.now_ms))
    plant.says(20.5)
    plant.clock.advance(60)
    plant.hear([plant.node.death(plant.now_ms)])
    assert plant.samples[-1] == Sample(signal="oven", value=None, at=plant.clock.now())


def test_no_time_and_no_number_is_taken_from_the_future_or_from_nowhere() -> None:
    plant = Plant()
    plant.hear(plant.node.births(plant.now_ms))
    plant.says(21.0, at_ms=plant.now_ms + 600_000)
    assert plant.samples[-1] == Sample(signal="oven", value=None, at=plant.clock.now())
    plant.says(22.0, at_ms=LATE_MS)
    assert plant.samples[-1].value is None
    plant.says(float("inf"))
    assert plant.samples[-1] == Sample(signal="oven", value=None, at=plant.clock.now())


def test_what_cannot_be_read_does_no_harm() -> None:
    plant = Plant()
    plant.hear([Publication(topic="spBv1.0/g/NDATA/n", body=b"\xff" * 40), Publication(topic="x", body=b"")])
    assert plant.samples == []


def test_rebirth_is_asked_for_only_where_it_is_allowed() -> None:
    for allowed, expected in ((True, ["spBv1.0/g/NCMD/n"]), (False, [])):
        plant = Plant(allowed=allowed)
        assert plant.intake.ask() is allowed
        assert plant.asked == expected


def test_readings_are_thinned_by_their_own_times() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    thinning = Thinning({"fast": 10.0})
    one = Sample(signal="fast", value=1.0, at=at)
    kept = [thinning.keeps(replace(one, at=at + timedelta(milliseconds=20 * step))) for step in range(10)]
    assert kept == [True, False, False, False, False, True, False, False, False, False]
    assert thinning.thinned == 8
    assert thinning.keeps(replace(one, value=None, at=at + timedelta(milliseconds=181)))  # bad is news
    assert thinning.keeps(replace(one, at=at + timedelta(milliseconds=182)))  # and so is good again
    assert thinning.keeps(replace(one, at=at))  # history
    assert all(thinning.keeps(replace(one, signal="other", at=at)) for _ in range(3))
