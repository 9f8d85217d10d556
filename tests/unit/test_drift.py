"""The watch for drift: what is found, what is left alone, what a restart keeps; and that it only tells."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.cli import build
from edge_agent.domain.defect import Defect, ModelRef
from edge_agent.domain.distributions import energy, independent, kolmogorov_smirnov, psi
from edge_agent.domain.drift import ALL_SCORES, APPEARANCE, GOOD_SCORES, Drift, Watched, fact, watched
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.frame import Glimpse
from edge_agent.domain.inference import SEED
from edge_agent.domain.inspection import Evaluation, Inspection, Quality
from edge_agent.learning.drift_watch import DriftWatch, WatchedStation, accept_fact
from edge_agent.learning.drifting import Change, DriftSettings, StationDrift
from edge_agent.observability.health import Condition, Health
from edge_agent.responding.evidence import collect, inspection_health
from edge_agent.responding.rank import rank_all
from edge_agent.runtime.sampler import Sampler
from edge_agent.simulation.runs import Disturbance, record
from edge_agent.web.views import drift_rows
from tests.fakes.clock import START, FakeClock
from tests.fakes.made import an_inspection
from tests.fakes.plant_samples import SENDER
from tests.unit.test_evidence_tools import CATALOGUE, ONSET, OPEN, PARTS, window_of

SMALL = DriftSettings(reference_parts=100, window_parts=40, embed_every=2)
MODEL = ModelRef(name="m", version="1", sha256="a" * 64)


def part(clock: FakeClock, rng: np.random.Generator, **shown: float) -> Inspection:
    """One good part with an image figure and a score below the limits."""
    clock.advance(seconds=1)
    bright, score = shown.get("bright", 200.0) + rng.normal(0, 2), shown.get("score", 1.0) * rng.beta(2, 5)
    defect = Defect(defect_id=clock.new_id(), code="open", score=float(score), xyxy_px=(1, 2, 3, 4))
    return replace(
        an_inspection(clock),
        quality=Quality(usable=True, metrics={"brightness_p95": float(bright)}),
        defects=(defect,),
        model=MODEL,
    )


def follow(watch: StationDrift, parts: Sequence[Inspection]) -> list[Change]:
    return [change for one in parts for change in watch.follow(one)]


def many(clock: FakeClock, rng: np.random.Generator, count: int, **shown: float) -> list[Inspection]:
    return [part(clock, rng, **shown) for _ in range(count)]


# --- the arithmetic -------------------------------------------------------------------------------------------------


def test_the_measures_know_chance_from_change() -> None:
    rng = np.random.default_rng(1)
    same, other = rng.normal(0, 1, (2, 400)), rng.normal(0.8, 1, 400)
    assert kolmogorov_smirnov(same[0], same[1], (400, 400))[1] > 0.01
    assert kolmogorov_smirnov(same[0], other, (400, 400))[1] < 1e-9
    assert psi(np.array([50.0, 50]), np.array([500.0, 500])) == 0
    clouds = rng.normal(0, 1, (2, 40, 30))
    assert energy(clouds[0], clouds[1])[1] > 0.001
    assert energy(clouds[0], clouds[1] + 0.7)[1] < 1e-6
    assert energy(clouds[0], clouds[1], least=0.9)[1] == 1.0


def test_the_small_probability_of_the_ks_test_is_that_of_the_tables() -> None:
    """P(K > 1.36) = 0.0494, P(K > 1.95) = 0.0010 (Smirnov's table); Stephens' correction is undone by large samples."""
    here = np.arange(40_000, dtype=float)
    for x, p in ((1.36, 0.0494), (1.95, 0.0010)):
        shifted = here + round(x * (2 / 40_000) ** 0.5 * 40_000)
        assert kolmogorov_smirnov(here, shifted, (40_000, 40_000))[1] == pytest.approx(p, rel=0.05)


def test_values_that_follow_each_other_are_worth_fewer() -> None:
    rng = np.random.default_rng(2)
    steps = rng.normal(0, 1, 2_000)
    wandering = np.array([sum(0.9**k * steps[i - k] for k in range(30)) for i in range(30, 2_000)])
    assert 60 < independent(wandering) < 200
    assert independent(steps) > 1_500
    assert independent(np.ones(50)) == 50


# --- a station ------------------------------------------------------------------------------------------------------


def test_a_lamp_that_fades_is_told_once_and_is_over_when_it_is_back() -> None:
    clock, rng = FakeClock(), np.random.default_rng(3)
    watch = StationDrift(SMALL)
    assert follow(watch, many(clock, rng, 300)) == []
    raised = follow(watch, many(clock, rng, 80, bright=190.0))
    assert [change.drift.quantity for change in raised] == ["image.brightness_p95"]
    (drift,) = watch.watched.lasting
    assert drift.usual == pytest.approx(200, abs=1)
    assert drift.size > 1
    over = follow(watch, many(clock, rng, 200))
    assert [change.drift.until is not None for change in over] == [True]
    assert watch.watched.lasting == ()


@pytest.mark.parametrize(
    ("shown", "expected"),
    [({"score": 2.5}, {ALL_SCORES, GOOD_SCORES}), ({"bright": 200.3}, set())],
)
def test_scores_that_shift_are_seen_and_a_third_of_a_grey_level_is_not(
    shown: dict[str, float], expected: set[str]
) -> None:
    clock, rng = FakeClock(), np.random.default_rng(4)
    watch = StationDrift(SMALL)
    follow(watch, many(clock, rng, 200))
    raised = follow(watch, many(clock, rng, 150, **shown))
    assert {change.drift.quantity for change in raised} == expected


def test_what_the_model_sees_more_of_in_an_incident_is_no_drift() -> None:
    clock, rng = FakeClock(), np.random.default_rng(5)
    watch = StationDrift(SMALL)
    follow(watch, many(clock, rng, 200))
    bad = [replace(one, score=one.score) for one in many(clock, rng, 150, score=2.5)]
    raised = [change.drift.quantity for one in bad for change in watch.follow(one, in_trouble=True)]
    assert ALL_SCORES not in raised


def test_another_model_begins_a_new_reference_for_scores_and_not_for_images() -> None:
    clock, rng = FakeClock(), np.random.default_rng(6)
    watch = StationDrift(SMALL)
    follow(watch, many(clock, rng, 200))
    newer = ModelRef(name="m", version="2", sha256="b" * 64)
    assert follow(watch, [replace(one, model=newer) for one in many(clock, rng, 80, score=2.5)]) == []
    assert watch.watched.quantities == {"image.brightness_p95"}


def test_parts_that_were_not_inspected_say_nothing() -> None:
    clock = FakeClock()
    watch = StationDrift(SMALL)
    watch.follow(an_inspection(clock, evaluation=Evaluation.NOT_INSPECTED))
    assert watch.references() == {}


def test_images_that_look_different_are_seen() -> None:
    clock, rng = FakeClock(), np.random.default_rng(7)
    watch = StationDrift(SMALL)
    calm = [change for _ in range(90) for change in watch.look("a", rng.normal(0, 1, 60), clock.now())]
    moved = [change for _ in range(40) for change in watch.look("a", rng.normal(0.8, 1, 60), clock.now())]
    assert calm == []
    assert [change.drift.quantity for change in moved] == [APPEARANCE]


def test_a_restart_keeps_the_reference_and_the_drifts() -> None:
    clock, rng = FakeClock(), np.random.default_rng(8)
    watch = StationDrift(SMALL)
    parts = [*many(clock, rng, 200), *many(clock, rng, 80, bright=190.0)]
    follow(watch, parts)
    stored = json.loads(json.dumps([watch.record(), watch.references()]))
    again = StationDrift(SMALL)
    again.restore(*stored)
    again.refill(parts[-40:])
    assert again.watched == watch.watched
    assert [change.drift.until is not None for change in follow(again, many(clock, rng, 150))] == [True]


# --- the worker -----------------------------------------------------------------------------------------------------


class Watching:
    """A watch over a real store."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.health = FakeClock(), Health()
        self.store = Database(sqlite_url(folder), clock=self.clock)
        self.store.migrate()
        self.glimpses: Sampler[Glimpse] = Sampler(1)
        self.is_free = True
        self.features: object = np.zeros(8)
        self.watch = self.restarted()

    def restarted(self) -> DriftWatch:
        watch = DriftWatch(
            [WatchedStation(station_id="aoi-1", settings=SMALL, glimpses=self.glimpses, is_free=lambda: self.is_free)],
            store=self.store,
            clock=self.clock,
            sender=SENDER,
            health=self.health,
            features=self.look,
        )
        watch.begin()
        return watch

    def look(self, pixels: object) -> object:
        if isinstance(self.features, Exception):
            raise self.features
        return self.features

    def inspected(self, parts: Sequence[Inspection]) -> None:
        with self.store.unit() as unit:
            for one in parts:
                unit.inspections.add(one)
            unit.commit()
        while self.watch.step():
            self.clock.advance(seconds=11)
        self.clock.advance(seconds=11)
        self.watch.step()

    @property
    def said(self) -> list[tuple[str, str]]:
        with self.store.reader() as unit:
            return [
                (data["class"], data["reasonCode"])
                for data in (json.loads(row.message.body)["data"] for row in unit.outbox.rows())
            ]


def test_a_drift_becomes_an_alarm_a_stored_fact_and_an_entry_and_nothing_else(tmp_path: Path) -> None:
    line, rng = Watching(tmp_path), np.random.default_rng(9)
    line.inspected(many(line.clock, rng, 180))
    assert line.said == []
    line.inspected(many(line.clock, rng, 80, bright=190.0))
    assert line.said == [("inspection", "drift")]
    (alarm,) = line.health.alarms()
    assert (alarm.component, alarm.condition) == ("drift:aoi-1", Condition.DEGRADED)
    assert not line.health.blocking()
    with line.store.reader() as unit:
        found = watched(unit.facts.get(fact("aoi-1")))
        assert [one.action for one in unit.audit.rows()] == ["alarm.raised"]
    assert [one.quantity for one in found.lasting] == ["image.brightness_p95"]
    assert {"image.brightness_p95", GOOD_SCORES} <= found.quantities


def test_a_restart_reads_on_where_it_was_and_says_nothing_twice(tmp_path: Path) -> None:
    line, rng = Watching(tmp_path), np.random.default_rng(10)
    line.inspected([*many(line.clock, rng, 180), *many(line.clock, rng, 80, bright=190.0)])
    line.watch = line.restarted()
    line.inspected(many(line.clock, rng, 60, bright=190.0))
    assert line.said == [("inspection", "drift")]


def test_a_person_makes_what_is_now_the_reference(tmp_path: Path) -> None:
    line, rng = Watching(tmp_path), np.random.default_rng(11)
    line.inspected([*many(line.clock, rng, 180), *many(line.clock, rng, 80, bright=190.0)])
    with line.store.unit() as unit:
        unit.facts.set(accept_fact("aoi-1"), {"by": "QE", "reason": "new lamp"})
        unit.commit()
    line.inspected(many(line.clock, rng, 250, bright=190.0))
    assert line.health.alarms() == []
    with line.store.reader() as unit:
        assert not unit.facts.get(accept_fact("aoi-1"))
        assert [one.action for one in unit.audit.rows()] == ["alarm.raised", "alarm.ended"]


def test_images_wait_while_parts_do_and_a_missing_network_is_said(tmp_path: Path) -> None:
    line = Watching(tmp_path)
    pixels = np.zeros((4, 4), np.uint8)
    line.is_free = False
    line.glimpses.offer(Glimpse(product_id="a", pixels=pixels, at=START))
    assert not line.watch.step()
    line.is_free = True
    assert line.watch.step()
    line.features = ConfigError("no model lite0")
    line.glimpses.offer(Glimpse(product_id="a", pixels=pixels, at=START))
    line.watch.step()
    line.inspected([an_inspection(line.clock)])
    assert "no model lite0" in line.health.board()[0].detail
    assert line.health.alarms() == []


def test_the_sampler_takes_one_in_so_many_and_never_waits() -> None:
    taken: Sampler[int] = Sampler(3)
    assert [taken.offer(number) for number in range(1, 10)] == [False, False, True, *[False] * 6]
    assert (taken.take(), taken.take()) == (3, None)
    assert taken.offer(10)
    assert not any(Sampler(0).offer(number) for number in range(3))


def run_drift(*words: str) -> Result:
    return CliRunner().invoke(build("drift"), ["drift", "aoi-1", *words])


def test_the_terminal_shows_the_figures_and_takes_a_new_reference_from_a_named_person(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path))
    line, rng = Watching(tmp_path), np.random.default_rng(12)
    assert run_drift(*state).exit_code == 1
    line.inspected([*many(line.clock, rng, 180), *many(line.clock, rng, 80, bright=190.0)])
    shown = run_drift(*state)
    assert "DRIFTED: brightness p95 of layer-a" in shown.output
    assert run_drift("--accept", "--by", "QE-2", *state).exit_code == 2
    assert run_drift("--accept", "--by", "QE-2", "--reason", "new lamp", *state).exit_code == 0
    line.inspected([])
    assert line.health.alarms() == []
    with line.store.reader() as unit:
        (entry,) = [one for one in unit.audit.rows() if one.action == "drift.accepted"]
    assert entry.detail == "QE-2: new lamp"


def test_the_page_lists_what_has_drifted_first(tmp_path: Path) -> None:
    line, rng = Watching(tmp_path), np.random.default_rng(13)
    line.inspected([*many(line.clock, rng, 180), *many(line.clock, rng, 80, bright=190.0)])
    with line.store.reader() as unit:
        rows = drift_rows(unit, ["aoi-1", "another"])
    assert [row["name"] for row in rows if row["since"]] == ["brightness p95"]
    assert rows[0]["since"]
    assert len(rows) == 3


# --- the diagnosis --------------------------------------------------------------------------------------------------

LAMP = Drift(
    quantity="image.brightness_p95",
    product_id="A",
    since=START - timedelta(days=3),
    usual=201.0,
    now=180.0,
    size=2.1,
    p=1e-9,
    parts=100,
)
DIRT = replace(LAMP, quantity=APPEARANCE, usual=0.0, now=0.3)
SCORES = replace(LAMP, quantity=GOOD_SCORES, usual=0.2, now=0.4)
COMPARED = frozenset({LAMP.quantity, APPEARANCE, GOOD_SCORES})


def evidence(drifts: Sequence[Drift], quantities: frozenset[str] = COMPARED) -> tuple[Evidence, ...]:
    """Of an incident in which nothing changes around the onset but the number of defects, of all classes."""
    run = record(3, parts=PARTS, start=START, rate=0.005, disturbances=[Disturbance(at_part=ONSET, rate=0.4)])
    window = replace(window_of(run), drift=Watched(quantities=quantities, drifts=drifts))
    return collect(window)


def place_of_measurement(found: Sequence[Evidence]) -> tuple[int, float]:
    """Its rank among all causes, and its probability."""
    ranked = rank_all(CATALOGUE, found, CATALOGUE.background, SEED)
    return next((one.rank, one.p) for one in ranked if one.cause_id == "MEAS")


@pytest.mark.parametrize(
    ("drifts", "token"),
    [((LAMP,), "insp:brightness"), ((DIRT, SCORES), "insp:appearance"), ((DIRT,), "insp:appearance")],
)
def test_a_drifting_camera_makes_the_inspection_a_stronger_suspect(drifts: Sequence[Drift], token: str) -> None:
    steady, drifting = evidence(()), evidence(drifts)
    assert {one.token: one.polarity for one in steady}[token] is Polarity.ABSENT
    assert {one.token: one.polarity for one in drifting}[token] is Polarity.PRESENT
    before, after = place_of_measurement(steady), place_of_measurement(drifting)
    assert after[1] > 1.4 * before[1]
    assert after[0] < before[0] or drifts == (DIRT,)  # the looks alone convince less than chance does


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(LAMP, product_id="another"),
        replace(LAMP, until=START - timedelta(days=1)),
        replace(LAMP, since=START + timedelta(days=1)),
    ],
)
def test_a_drift_of_another_product_or_time_says_nothing(elsewhere: Drift) -> None:
    found = {one.token: one.polarity for one in evidence((elsewhere,))}
    assert found["insp:brightness"] is Polarity.ABSENT


def test_without_a_reference_it_is_unknown_not_unchanged() -> None:
    run = record(3, parts=PARTS, start=START, disturbances=[Disturbance(at_part=ONSET, rate=0.4, classes=OPEN)])
    found = {one.token: one for one in inspection_health.find(window_of(run))}
    assert found["insp:appearance"].polarity is Polarity.UNKNOWN
    assert found["insp:scores"].polarity is Polarity.UNKNOWN
