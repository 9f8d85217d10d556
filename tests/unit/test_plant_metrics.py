"""The figures for the plant's historian."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.bootstrap.plant_metrics import PlantMetrics, percentile
from edge_agent.domain.inspection import Evaluation, Inspection
from edge_agent.domain.message import Ack
from tests.fakes.clock import FakeClock
from tests.fakes.made import a_message, an_inspection

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "schemas" / "metric.json").read_text("utf-8"))


class Link:
    """Remembers what was published."""

    def __init__(self) -> None:
        self.published: dict[str, dict[str, Any]] = {}
        self.ways: set[tuple[bool, int, int | None]] = set()

    def publish_state(
        self, body: bytes, topic: str, *, retain: bool = True, qos: int = 0, expiry_s: int | None = None
    ) -> None:
        self.published[topic] = json.loads(body)
        self.ways.add((retain, qos, expiry_s))


class Box:
    def __init__(self, folder: Path, stations: Sequence[str] = ("aoi-1",)) -> None:
        self.clock = FakeClock()
        self.folder = folder
        self.store = Database(sqlite_url(folder), clock=self.clock)
        self.store.migrate()
        self.link = Link()
        self.metrics = PlantMetrics(
            store=self.store,
            link=self.link,  # type: ignore[arg-type]
            stations=stations,
            state=folder,
            clock=self.clock,
        )

    def add(self, ago_s: float, evaluation: Evaluation, *, took_ms: float = 10.0, station: str = "aoi-1") -> None:
        ended = self.clock.now() - timedelta(seconds=ago_s)
        inspection = an_inspection(self.clock, ended_at=ended, evaluation=evaluation, station_id=station)
        inspection = _that_took(inspection, ended, took_ms)
        with self.store.unit(durable=False) as unit:
            unit.inspections.add(inspection)
            unit.commit()

    def figures(self) -> dict[str, float]:
        found = self.metrics.figures(self.clock.now())
        assert found.pop("disk_free_bytes") > 0
        return found


def _that_took(inspection: Inspection, ended: datetime, took_ms: float) -> Inspection:
    return replace(inspection, started_at=ended - timedelta(milliseconds=took_ms), timings_ms={"total": took_ms})


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.store.close()


def test_a_box_at_rest_says_only_what_it_knows(box: Box) -> None:
    assert box.figures() == {"parts_per_minute": 0.0, "outbox_pending": 0, "outbox_oldest_s": 0.0}


def test_yield_pace_and_times(box: Box) -> None:
    for number in range(8):
        box.add(10 + number, Evaluation.OK, took_ms=10 + number)
    box.add(20, Evaluation.NOT_OK, took_ms=100)
    box.add(30, Evaluation.NOT_DECIDABLE, took_ms=50)
    box.add(40, Evaluation.NOT_INSPECTED, took_ms=9_999)
    box.add(1_000, Evaluation.NOT_OK, took_ms=7_777)  # in the yield's hour, not in the pace's minutes
    box.add(4_000, Evaluation.NOT_OK)  # in neither
    found = box.figures()
    assert found["fpy"] == round(8 / 11, 4)
    assert found["parts_per_minute"] == 11 / 5
    assert found["inspection_ms_p50"] == 14.0
    assert found["inspection_ms_p99"] == 100.0


def test_parts_that_nobody_inspected_have_no_yield(box: Box) -> None:
    box.add(10, Evaluation.NOT_INSPECTED)
    found = box.figures()
    assert "fpy" not in found
    assert "inspection_ms_p50" not in found
    assert found["parts_per_minute"] == 0.2


def test_several_stations_have_their_own_figures(tmp_path: Path) -> None:
    box = Box(tmp_path, ("aoi-1", "aoi-2"))
    box.add(10, Evaluation.OK, took_ms=20)
    box.add(10, Evaluation.NOT_OK, station="aoi-2", took_ms=40)
    found = box.figures()
    box.store.close()
    assert (found["fpy"], found["fpy.aoi-1"], found["fpy.aoi-2"]) == (0.5, 1.0, 0.0)
    assert (found["inspection_ms_p99.aoi-1"], found["inspection_ms_p99.aoi-2"]) == (20.0, 40.0)


def test_the_backlog(box: Box) -> None:
    with box.store.unit() as unit:
        unit.outbox.add(a_message(box.clock, ack=Ack.RECEIPT))
        unit.outbox.add(a_message(box.clock))
        unit.outbox.mark_sent([1], at=box.clock.now(), retry_at={})
        unit.commit()
    box.clock.advance(90)
    assert box.figures()["outbox_pending"] == 2
    assert box.figures()["outbox_oldest_s"] == 90.0


def test_what_is_published_is_bare_retained_and_forgotten_in_time(box: Box) -> None:
    box.add(10, Evaluation.OK)
    box.metrics.publish()
    validator = Draft202012Validator(SCHEMA)
    for body in box.link.published.values():
        validator.validate(body)
    assert box.link.published["out/metric/fpy"] == {
        "value": 1.0,
        "timestamp_ms": int(box.clock.now().timestamp() * 1_000),
    }
    assert box.link.ways == {(True, 0, 300)}


def test_nearest_rank() -> None:
    assert percentile([5.0], 0.99) == 5.0
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 99.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
