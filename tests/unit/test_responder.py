"""From inspections in the store to a work order in the outbox."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.domain.analysis import Narrative
from edge_agent.domain.evidence import Polarity
from edge_agent.domain.incident import IncidentState
from edge_agent.domain.inspection import Disposition, Evaluation, Quality
from edge_agent.domain.reason import Reason
from edge_agent.domain.work_order import OrderState
from edge_agent.ports import Store, UnitOfWork
from edge_agent.responding.order import add_narrative
from edge_agent.responding.working_out import CURSOR
from edge_agent.simulation.runs import CLASSES, Disturbance, record
from tests.fakes.clock import START
from tests.fakes.diagnosed_line import SENDER, SETTINGS, DiagnosedLine, defective, pcb

COLD = Disturbance(at_part=120, rate=0.4, classes=("short", "spurious_copper"), signals={"etch_temp_c": -5})
DIRT = Disturbance(
    at_part=120,
    rate=0.95,
    classes=("open",),
    place=lambda random: (random.normal(300, 2), random.normal(200, 2)),
    stratum=("phototool", "PT-2"),
)


@pytest.fixture
def line(tmp_path: Path) -> DiagnosedLine:
    return DiagnosedLine(tmp_path)


@pytest.mark.parametrize(("disturbance", "cause"), [(COLD, "A15"), (DIRT, "A01")])
def test_a_disturbance_becomes_one_order_that_names_it(
    line: DiagnosedLine, disturbance: Disturbance, cause: str
) -> None:
    line.happened(disturbance, seed=2)
    (order,) = line.orders()
    assert order.suspects[0].cause_id == cause
    assert order.suspects[0].speaks_for
    assert order.checks
    assert order.state is OrderState.ISSUED
    assert line.events()[:3] == ["incident.opened", "analysis.made", "order.issued"]


def test_a_calm_line_gives_no_orders(line: DiagnosedLine) -> None:
    for seed in range(3):
        line.write(record(seed, parts=300, rate=0.004, start=START))
    line.respond()
    assert line.orders() == []


def test_five_hundred_defects_of_one_cause_are_one_order(line: DiagnosedLine) -> None:
    run = line.happened(replace(COLD, rate=0.9), parts=720)
    assert len(defective(run.inspections)) > 500
    (order,) = line.orders()
    assert order.revision <= 8
    with line.store.reader() as uow:
        (incident,) = uow.incidents.recent(10)
        assert incident.defective_parts > 250


def test_one_transaction_holds_order_analysis_and_messages(line: DiagnosedLine) -> None:
    line.happened(COLD)
    with line.store.reader() as uow:
        (order,) = uow.orders.list()
        analysis = uow.analyses.get(order.analysis_id)
        rows = uow.outbox.rows(limit=50)
    assert analysis is not None
    topics = [row.message.topic for row in rows]
    assert f"out/wo/{order.order_id}/order" in topics
    assert f"out/rca/{order.incident_id}" in topics
    assert "out/wo-index" in topics
    newest = max(
        (json.loads(row.message.body)["data"] for row in rows if row.message.topic.endswith("/order")),
        key=lambda data: data["rev"],
    )
    assert newest["rev"] == order.revision
    assert newest["expectedCause"] == order.suspects[0].cause_id


def test_a_restart_between_any_two_steps_changes_nothing(line: DiagnosedLine, tmp_path: Path) -> None:
    run = record(1, parts=200, rate=0.005, start=START, disturbances=[COLD])
    line.write(run)
    while line.responder().step():  # a new responder for each step
        pass
    other = DiagnosedLine(tmp_path / "other") if (tmp_path / "other").mkdir() is None else line
    other.write(run)
    other.respond()
    assert [event for event, _ in line.said] == [event for event, _ in other.said]
    with line.store.reader() as one, other.store.reader() as two:
        assert one.facts.get("charts:aoi-1")["streams"] == two.facts.get("charts:aoi-1")["streams"]


def test_a_crash_before_the_commit_repeats_the_step(line: DiagnosedLine, monkeypatch: pytest.MonkeyPatch) -> None:
    line.write(record(1, parts=150, rate=0.005, start=START, disturbances=[COLD]))

    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr("edge_agent.responding.responder.issue", crash)
        with pytest.raises(RuntimeError):
            line.respond()
    with line.store.reader() as uow:
        assert uow.orders.list() == []
        assert uow.incidents.recent(5) == []
        assert uow.facts.get(CURSOR) < 150
    line.respond()
    assert len(line.orders()) == 1


def test_parts_that_were_not_inspected_are_neither_good_nor_bad(line: DiagnosedLine) -> None:
    run = record(1, parts=200, rate=0.0, start=START)
    held = [
        replace(
            one,
            evaluation=Evaluation.NOT_INSPECTED,
            disposition=Disposition.HOLD,
            reasons=(Reason(code="camera.timeout", text="no frame"),),
        )
        for one in run.inspections
    ]
    line.write(replace(run, inspections=tuple(held)))
    line.respond()
    assert line.orders() == []
    with line.store.reader() as uow:
        assert uow.facts.get("charts:aoi-1")["streams"] == {}


def test_images_that_cannot_be_judged_open_an_incident_of_the_inspection_itself(line: DiagnosedLine) -> None:
    run = record(1, parts=160, rate=0.003, start=START, disturbances=[])
    parts = tuple(
        replace(
            one,
            evaluation=Evaluation.NOT_DECIDABLE,
            disposition=Disposition.HOLD,
            reasons=(Reason(code="image.defocused", text="blurred"),),
            defects=(),
            score=0.0,
            quality=Quality(usable=False, metrics={"focus_ratio": 0.4, "brightness_p95": 200.0}),
        )
        if place >= 120 and place % 2
        else one
        for place, one in enumerate(run.inspections)
    )
    line.write(replace(run, inspections=parts))
    line.respond()
    (order,) = line.orders()
    assert order.suspects[0].cause_id == "MEAS"
    assert "undecidable images" in order.problem.lower()


def test_one_severe_defect_is_enough(tmp_path: Path) -> None:
    severe = replace(pcb(), severity={**pcb().severity, "open": 9})
    line = DiagnosedLine(tmp_path, catalogue=severe)
    line.happened(Disturbance(at_part=100, until_part=101, rate=1.0, classes=("open",)), rate=0.0, parts=110)
    with line.store.reader() as uow:
        (incident,) = uow.incidents.recent(5)
    assert incident.defective_parts == 1


def test_an_incident_ends_when_the_rate_is_back(tmp_path: Path) -> None:
    line = DiagnosedLine(tmp_path, settings=replace(SETTINGS, baseline_rate=dict.fromkeys(CLASSES, 0.02)))
    line.happened(replace(COLD, until_part=160), parts=420, rate=0.0)
    with line.store.reader() as uow:
        (incident,) = uow.incidents.recent(5)
    assert incident.state is IncidentState.CLOSED
    assert line.events()[-1] == "incident.closed"


def test_two_families_with_one_suspect_share_an_order(line: DiagnosedLine) -> None:
    blurred = Disturbance(at_part=120, rate=0.9, per_part=3, metrics={"focus_ratio": 0.5, "match": 0.8})
    line.happened(blurred, parts=200)
    orders = line.orders()
    with line.store.reader() as uow:
        incidents = uow.incidents.recent(5)
    assert len(incidents) == 2
    assert len(orders) == 1
    assert "; also " in orders[0].problem
    assert {one.parent_id for one in incidents} == {None, orders[0].incident_id}


def test_a_storm_of_incidents_is_one_collecting_order(tmp_path: Path) -> None:
    stations = tuple(f"aoi-{number}" for number in range(1, 7))
    line = DiagnosedLine(tmp_path, settings=replace(SETTINGS, stations=stations, storm_keys=2))
    places = ((60, 60), (580, 60), (60, 580), (580, 580), (320, 320), (200, 400))
    for number, (station, (x, y)) in enumerate(zip(stations, places, strict=True), start=1):
        classes = ("short",) if number % 2 else ("open",)
        stratum = ("phototool", "PT-1") if number < 3 else ("rack", f"R-{number - 2}")
        bad = Disturbance(at_part=120, rate=0.9, classes=classes, stratum=stratum, place=lambda r, x=x, y=y: (x, y))
        run = record(number, parts=180, rate=0.0, start=START, station_id=station, takt_s=3, disturbances=[bad])
        line.write(replace(run, samples=(), events=()))
    line.respond()
    with line.store.reader() as uow:
        assert len(uow.incidents.recent(20)) == 6
    keys = [order.key for order in line.orders()]
    assert keys.count("L1/collected") == 1
    assert len(keys) < 6


def test_the_text_is_short_and_every_citation_exists(line: DiagnosedLine) -> None:
    line.happened(COLD)
    (order,) = line.orders()
    with line.store.reader() as uow:
        analysis = uow.analyses.latest(order.incident_id)
    assert analysis is not None
    assert len(order.text.split()) <= 60
    known = {one.evidence_id: one for one in analysis.evidence}
    for narrative in analysis.narratives:
        assert all(known[name].polarity is Polarity.PRESENT for name in narrative.citations)
    for suspect in order.suspects:
        assert {*suspect.speaks_for, *suspect.speaks_against} <= known.keys()


def test_containment_holds_every_part_since_the_onset(line: DiagnosedLine) -> None:
    run = line.happened(COLD)
    (order,) = line.orders()
    held = set(order.containment.part_ids)
    bad = {one.shot.part_id for one in run.inspections[120:140] if one.defects}
    assert bad <= held
    assert order.containment.lot_ids


@pytest.mark.parametrize(("shown_as", "field"), [("text", "text"), ("note", "note")])
def test_a_language_models_text_makes_the_next_revision(line: DiagnosedLine, shown_as: str, field: str) -> None:
    line.happened(COLD)
    (before,) = line.orders()
    said = Narrative(source="llm", text="The bath is cold.", shown_as=shown_as, model="m" * 64)
    with line.store.unit() as uow:
        analysis = uow.analyses.latest(before.incident_id)
        assert analysis is not None
        add_narrative(uow, analysis, said, sender=SENDER, clock=line.clock)
        uow.commit()
    (after,) = line.orders()
    assert after.revision == before.revision + 1
    assert getattr(after, field) == "The bath is cold."
    assert after.text_source == ("llm" if shown_as == "text" else "template")


def test_a_rejected_text_changes_no_order(line: DiagnosedLine) -> None:
    line.happened(COLD)
    (before,) = line.orders()
    with line.store.unit() as uow:
        analysis = uow.analyses.latest(before.incident_id)
        assert analysis is not None
        refused = Narrative(source="llm", text="Fire the operator.", rejected=("V8",))
        assert add_narrative(uow, analysis, refused, sender=SENDER, clock=line.clock) is None
        uow.commit()
    (after,) = line.orders()
    assert after == before


def test_what_fires_on_normal_runs_is_counted(tmp_path: Path) -> None:
    line = DiagnosedLine(tmp_path, settings=replace(SETTINGS, measure_background=True))
    line.write(record(9, parts=450, rate=0.001, start=START))
    line.respond()
    with line.store.reader() as uow:
        counted = uow.facts.get("background")
    assert counted["tel:etch_temp_c-"][1] >= 1


class Interrupted:
    """A store in which something happens between the responder's reading and its writing."""

    def __init__(self, store: Store, action: Callable[[], None]) -> None:
        self._store, self._action = store, action

    def reader(self) -> UnitOfWork:
        return self._store.reader()

    def unit(self, *, durable: bool = True) -> UnitOfWork:
        self._action()
        return self._store.unit(durable=durable)


def test_an_incident_that_is_closed_meanwhile_stays_closed(line: DiagnosedLine) -> None:
    run = record(1, parts=260, rate=0.005, start=START, disturbances=[COLD])
    line.write(run, slice(0, 150))
    line.respond()
    line.write(replace(run, samples=(), events=()), slice(150, 260))
    (order,) = line.orders()

    def close() -> None:
        with line.store.unit() as uow:
            incident = uow.incidents.get(order.incident_id)
            assert incident is not None
            uow.incidents.save(replace(incident, state=IncidentState.CLOSED))
            uow.commit()

    responder = line.responder()
    responder._store = Interrupted(line.store, close)  # type: ignore[assignment]
    while responder.step():
        pass
    with line.store.reader() as uow:
        incident = uow.incidents.get(order.incident_id)
    assert incident is not None
    assert incident.state is IncidentState.CLOSED
