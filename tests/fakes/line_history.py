"""A seeded morning on a PCB line: normal parts, a nozzle that clogs, an incident, its order, and what was answered.

Everything is written through the ports, so that pages and documents are tested on what the product stores.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np

from edge_agent.domain.analysis import Analysis, Hypothesis, Narrative, Term
from edge_agent.domain.cause import Action, Catalogue, Cause, Check, PartNeed
from edge_agent.domain.defect import Defect, ModelRef
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.inspection import Disposition, Evaluation, ImageRef, Inspection, Quality
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import RecipeRef
from edge_agent.domain.verdict import ActualCause, ConfirmedCase, JobResponse, ResponseEvent
from edge_agent.domain.work_order import Containment, OrderState, Suspect, WorkOrder
from edge_agent.ports import Clock, ImageStore, Store
from edge_agent.simulation.boards.imaging import Imaging
from edge_agent.simulation.boards.layout import layout
from edge_agent.simulation.boards.render import Placement, render

MODEL = ModelRef(name="board", version="1.0.0", sha256="4f1c9a" + "0" * 58)
RECIPE = RecipeRef(recipe_id="inner-layer-a", version=3, sha256="9be210" + "0" * 58)
STATION = "aoi-1"
LINE = "L2"
TAKT_S = 9.0
DEFECT_MIX = ("open", "mousebite", "spur", "short", "pin_hole", "spurious_copper")


@dataclass(slots=True, kw_only=True)
class LineHistory:
    """What was written."""

    start: datetime
    end: datetime
    inspections: list[Inspection] = field(default_factory=list)
    incident: Incident
    order: WorkOrder
    catalogue: Catalogue


def write_history(
    store: Store, images: ImageStore, clock: Clock, *, parts: int = 360, photos: int = 12, write: bool = True
) -> LineHistory:
    """Fill an empty store with ``parts`` inspections ending now; the newest ``photos`` rejected ones have pictures.

    Without ``write`` the history is made and the store stays empty.
    """
    inspections = list(_inspections(clock, parts))
    rejected = [seen.inspection_id for seen in inspections if seen.evaluation is Evaluation.NOT_OK]
    rejected = rejected[-photos:] if photos else []
    inspections = [_pictured(seen, images) if seen.inspection_id in rejected else seen for seen in inspections]
    incident = _incident(clock, inspections)
    analysis = _analysis(clock, incident)
    order = _order(clock, incident, analysis, inspections)
    if write:
        _write(store, clock, inspections, incident, analysis, order)
    return LineHistory(
        start=inspections[0].ended_at,
        end=clock.now(),
        inspections=inspections,
        incident=incident,
        order=order,
        catalogue=CATALOGUE,
    )


def _write(
    store: Store, clock: Clock, inspections: list[Inspection], incident: Incident, analysis: Analysis, order: WorkOrder
) -> None:
    with store.unit() as unit:
        for seen in inspections:
            unit.inspections.add(seen)
        unit.incidents.save(incident)
        unit.analyses.save(analysis)
        unit.orders.save(replace(order, revision=1, state=OrderState.ISSUED))
        unit.orders.save(replace(order, revision=1, state=OrderState.ACCEPTED, mes_order_id="MES-48812"))
        unit.orders.save(order)
        for response in _responses(order):
            unit.answers.add_response(response)
        unit.answers.save_case(_case(clock, incident))
        unit.commit()


def _inspections(clock: Clock, parts: int) -> Iterator[Inspection]:
    rng = np.random.default_rng(7)
    first = clock.now() - timedelta(seconds=TAKT_S * parts)
    for number in range(parts):
        at = first + timedelta(seconds=TAKT_S * number)
        late = number > parts * 0.68
        draw = rng.random()
        if number % 97 == 40:
            yield _part(clock, number, at, rng, Evaluation.NOT_INSPECTED)
        elif number % 71 == 33:
            yield _part(clock, number, at, rng, Evaluation.NOT_DECIDABLE)
        elif draw < (0.2 if late else 0.03):
            yield _part(clock, number, at, rng, Evaluation.NOT_OK, nozzle=late and rng.random() < 0.85)
        else:
            yield _part(clock, number, at, rng, Evaluation.OK)


_REASONS = {
    Evaluation.OK: (),
    Evaluation.NOT_OK: (Reason(code="defect.limit", text="1 x open at 0.93, limit 0.50, none tolerated"),),
    Evaluation.NOT_DECIDABLE: (Reason(code="image.defocused", text="focus ratio 0.41, expected 0.80 to 1.25"),),
    Evaluation.NOT_INSPECTED: (Reason(code="camera.timeout", text="no frame from camera cam-1 within 500 ms"),),
}
_DISPOSITION = {
    Evaluation.OK: Disposition.ACCEPT,
    Evaluation.NOT_OK: Disposition.REJECT,
    Evaluation.NOT_DECIDABLE: Disposition.HOLD,
    Evaluation.NOT_INSPECTED: Disposition.HOLD,
}


def _part(
    clock: Clock, number: int, at: datetime, rng: np.random.Generator, evaluation: Evaluation, *, nozzle: bool = False
) -> Inspection:
    seen = evaluation is not Evaluation.NOT_INSPECTED
    total_ms = float(rng.gamma(12, 1.9)) + 8
    shot = Shot(
        shot_id=clock.new_id(),
        station_id=STATION,
        part_id=f"PNL-{12_000 + number}",
        product_id="inner-layer-a",
        trigger_id=f"t-{number}",
        triggered_at=at,
        triggered_ns=number,
        lot_id=f"LOT-{2207 + number // 120}",
        sequence=number,
    )
    defects = _defects(clock, rng, nozzle) if evaluation is Evaluation.NOT_OK else ()
    return Inspection(
        inspection_id=shot.shot_id,
        shot=shot,
        evaluation=evaluation,
        disposition=_DISPOSITION[evaluation],
        reasons=_REASONS[evaluation],
        defects=defects,
        score=max((defect.score for defect in defects), default=0.0),
        started_at=at,
        ended_at=at + timedelta(milliseconds=total_ms),
        recipe=RECIPE,
        model=MODEL if seen else None,
        quality=_quality(evaluation) if seen else None,
        timings_ms={"total": total_ms, "acquire": total_ms * 0.3, "gate": total_ms * 0.2, "detect": total_ms * 0.45},
    )


def _quality(evaluation: Evaluation) -> Quality:
    usable = evaluation is not Evaluation.NOT_DECIDABLE
    return Quality(
        usable=usable,
        reasons=() if usable else _REASONS[Evaluation.NOT_DECIDABLE],
        metrics={"focus_ratio": 0.98 if usable else 0.41, "brightness_p95": 231.0, "match": 0.94, "shift_px": 3.2},
        shift_xy_px=(3.0, -1.0) if usable else None,
    )


def _defects(clock: Clock, rng: np.random.Generator, nozzle: bool) -> tuple[Defect, ...]:
    codes = ["open"] if nozzle else [str(rng.choice(DEFECT_MIX, p=[0.2, 0.3, 0.2, 0.1, 0.1, 0.1]))]
    codes += ["mousebite"] if nozzle and rng.random() < 0.3 else []
    found = []
    for code in codes:
        x = float(rng.normal(150, 28) if nozzle else rng.uniform(60, 560))
        y, side = float(rng.uniform(60, 560)), float(rng.uniform(24, 40))
        found.append(
            Defect(
                defect_id=clock.new_id(),
                code=code,
                score=round(float(rng.uniform(0.62, 0.99)), 3),
                xyxy_px=(x, y, x + side, y + side),
            )
        )
    return tuple(found)


def _pictured(seen: Inspection, images: ImageStore) -> Inspection:
    """The inspection with a rendered board that has these defects, and its golden image."""
    board = layout("inner-layer-a")
    rng = np.random.default_rng(seen.shot.sequence or 0)
    placements = [
        Placement(code=defect.code, x_px=defect.center_px[0], y_px=defect.center_px[1], size_px=16)
        for defect in seen.defects
    ]
    rendered = render(board, placements, Imaging(shift_xy_px=(3.0, -1.0)), rng)
    boxes = dict(rendered.boxes)
    defects = tuple(replace(defect, xyxy_px=boxes.get(defect.code, defect.xyxy_px)) for defect in seen.defects)
    refs: list[ImageRef] = [
        images.put(rendered.pixels, inspection_id=seen.inspection_id, role="frame", at=seen.ended_at),
        images.put(board.golden(), inspection_id=seen.inspection_id, role="golden", at=seen.ended_at),
    ]
    return replace(seen, defects=defects, images=tuple(refs))


def _incident(clock: Clock, inspections: list[Inspection]) -> Incident:
    begin = inspections[int(len(inspections) * 0.68)].ended_at
    since = [seen for seen in inspections if seen.ended_at >= begin]
    bad = [seen for seen in since if any(defect.code == "open" for defect in seen.defects)]
    return Incident(
        incident_id=clock.new_id(),
        revision=2,
        key=f"{LINE}/develop-etch-strip/open/lane-left",
        line_id=LINE,
        station_id=STATION,
        code="open",
        state=IncidentState.OPEN,
        opened_at=begin + timedelta(minutes=3),
        updated_at=clock.now(),
        onset_from=begin - timedelta(seconds=40),
        onset_to=begin + timedelta(seconds=50),
        class_counts={"open": len(bad), "mousebite": 5},
        baseline_rate=0.012,
        rate=len(bad) / len(since),
        statistic=14.2,
        threshold=5.1,
        parts=len(since),
        defective_parts=len(bad),
        part_ids=tuple(seen.shot.part_id for seen in bad),
        inspection_ids=tuple(seen.inspection_id for seen in bad),
    )


CHECKS = (
    Check(
        check_id="nozzle-look",
        text="Look at the spray pattern of manifold 2 through the window; count the nozzles that do not fan out.",
        criterion="A nozzle whose fan is narrow, bent or missing",
        minutes=4,
        lr_pos=14,
        lr_neg=0.1,
    ),
    Check(
        check_id="pressure-read",
        text="Read the manifold pressure on both sides and compare them.",
        criterion="More than 0.2 bar between left and right",
        minutes=2,
        lr_pos=6,
        lr_neg=0.3,
    ),
    Check(
        check_id="filter-look",
        text="Take out the sump filter and look for resist flakes.",
        criterion="More than a spoonful of flakes",
        minutes=12,
        lr_pos=5,
        lr_neg=0.4,
        loto=True,
    ),
)
_CLEAN = Action(
    action_id="clean-nozzle",
    text="Flush or replace the clogged nozzle; run three test panels.",
    minutes=25,
    parts=(PartNeed(part_number="NOZ-8004", quantity=1), PartNeed(part_number="ORING-12", quantity=2)),
    loto=True,
)
_REDUCE = Action(action_id="energy-up", text="Run a step wedge and set the exposure energy back.", minutes=15)
_CAUSES = (
    ("B05", "Clogged or turned etch nozzle", 6, "Machine"),
    ("A07", "Exposure energy too low", 4, "Method"),
    ("B02", "Developer weak or too cold", 5, "Material"),
    ("A01", "Opaque dirt on phototool or frame glass", 6, "Environment"),
    ("B09", "Conveyor runs too slowly", 3, "Machine"),
    ("C03", "Scratches from handling", 5, "Man"),
    ("B07", "Resist flakes in the sump", 4, "Machine"),
    ("A05", "Lamination pressure too low", 3, "Machine"),
)
CATALOGUE = Catalogue(
    domain="pcb",
    version="2026.11",
    severity={"open": 8, "short": 8, "mousebite": 5},
    causes=tuple(
        Cause(
            cause_id=cause_id,
            name=name,
            category_6m=group,
            process_step="develop-etch-strip",
            occurrence=occurrence,
            detection=4,
            classes={"open": 0.8},
            signatures=(),
            checks=CHECKS,
            actions=(_CLEAN,),
        )
        for cause_id, name, occurrence, group in _CAUSES
    ),
)


def _evidence(incident: Incident) -> tuple[Evidence, ...]:
    def fact(number: int, token: str | None, polarity: Polarity, statement: str) -> Evidence:
        return Evidence(
            evidence_id=f"E{number}",
            tool=f"tool-{number}@1",
            token=token,
            statement=statement,
            polarity=polarity,
            strength=0.9,
            n=incident.parts,
            window_from=incident.onset_from,
            window_to=incident.updated_at,
            provenance={"signal": "etch_pressure_bar", "query": "series"},
        )

    return (
        fact(
            1, "sp:lane", Polarity.PRESENT, "19 of 22 opens lie in one lane, x 10 to 35 % of the width (by chance 5)."
        ),
        fact(
            2,
            "tel:etch_pressure-",
            Polarity.PRESENT,
            "Etch pressure (left) fell from 1.82 to 1.61 bar at 10:41 (8.4 sigma).",
        ),
        fact(3, "sp:repeat", Polarity.ABSENT, "The places do not repeat from panel to panel (2 of 22 within 0.5 mm)."),
        fact(4, "tel:expo_mj-", Polarity.ABSENT, "Exposure energy is normal: 62.1 mJ/cm2, usual 62.0 with sigma 0.4."),
        fact(5, "ev:maintenance", Polarity.PRESENT, "Maintenance on ET-2 ended 11 minutes before the change began."),
        fact(
            6,
            "tel:developer_temp",
            Polarity.UNKNOWN,
            "Developer temperature could not be checked: nothing since 09:12.",
        ),
    )


def _analysis(clock: Clock, incident: Incident) -> Analysis:
    return Analysis(
        analysis_id=clock.new_id(),
        incident_id=incident.incident_id,
        revision=incident.revision,
        made_at=clock.now(),
        evidence=_evidence(incident),
        hypotheses=(
            Hypothesis(
                cause_id="B05",
                name="Clogged or turned etch nozzle",
                p=0.74,
                rank=1,
                grade="likely",
                terms=(
                    Term(evidence_id="E1", delta=2.1),
                    Term(evidence_id="E2", delta=1.4),
                    Term(evidence_id="E3", delta=0.4),
                    Term(evidence_id="E5", delta=0.7),
                ),
            ),
            Hypothesis(
                cause_id="A07",
                name="Exposure energy too low",
                p=0.12,
                rank=2,
                grade="possible",
                terms=(Term(evidence_id="E1", delta=-0.9), Term(evidence_id="E4", delta=-1.6)),
            ),
            Hypothesis(cause_id="OTHER", name="Something that is not listed", p=0.09, rank=3, grade="unclear"),
            Hypothesis(
                cause_id="B02",
                name="Developer weak or too cold",
                p=0.05,
                rank=4,
                grade="unclear",
                terms=(Term(evidence_id="E1", delta=-0.6),),
            ),
        ),
        unknown_score=0.09,
        decision="act",
        narratives=(
            Narrative(source="template", text=TEXT, citations=("E1", "E2")),
            Narrative(source="llm", text=NOTE, citations=("E1",), shown_as="note", model="ab12" * 16, latency_ms=6_700),
        ),
        engine={"catalogue": "pcb 2026.11", "weights": "seed", "tools": "1"},
    )


TEXT = (
    "Opens rose at 10:42 and lie in the left lane (E1). At the same time the etch pressure on the left fell (E2), "
    "eleven minutes after maintenance on ET-2 (E5). Exposure is normal (E4)."
)
NOTE = "The left lane gets less etchant; compare the nozzles of manifold 2."


def _order(clock: Clock, incident: Incident, analysis: Analysis, inspections: list[Inspection]) -> WorkOrder:
    pictured = [seen for seen in inspections if seen.images and seen.inspection_id in incident.inspection_ids][-4:]
    return WorkOrder(
        order_id=clock.new_id(),
        number="WO-0007",
        revision=2,
        key=incident.key,
        state=OrderState.ACCEPTED,
        incident_id=incident.incident_id,
        analysis_id=analysis.analysis_id,
        created_at=incident.opened_at,
        updated_at=clock.now(),
        due_at=clock.now() + timedelta(hours=2),
        priority=1,
        priority_reason="Severity 8, occurrence 6, detection 4: action priority H",
        line_id=LINE,
        station_id=STATION,
        equipment="ET-2 etcher, manifold 2",
        problem=(
            f"Opens x{incident.rate / incident.baseline_rate:.1f} on {LINE} since 10:42: "
            f"{incident.defective_parts} of {incident.parts} panels, left lane."
        ),
        text=TEXT,
        suspects=(
            Suspect(
                cause_id="B05",
                name="Clogged or turned etch nozzle",
                grade="likely",
                speaks_for=("E1", "E2", "E5"),
                speaks_against=(),
                actions=(_CLEAN,),
            ),
            Suspect(
                cause_id="A07",
                name="Exposure energy too low",
                grade="possible",
                speaks_for=(),
                speaks_against=("E4", "E1"),
                actions=(_REDUCE,),
            ),
        ),
        open_set=True,
        checks=CHECKS,
        containment=Containment(
            part_ids=incident.part_ids, lot_ids=("LOT-2209",), since=incident.onset_from, until=None
        ),
        images=tuple(image for seen in pictured for image in seen.images),
        inspection_ids=tuple(seen.inspection_id for seen in pictured),
        note=NOTE,
        mes_order_id="MES-48812",
    )


def _responses(order: WorkOrder) -> list[JobResponse]:
    def response(number: int, event: ResponseEvent, minutes: float) -> JobResponse:
        return JobResponse(
            response_id=f"r-{number}",
            source="mes",
            order_id=order.order_id,
            revision=1,
            event=event,
            received_at=order.created_at + timedelta(minutes=minutes),
            mes_order_id="MES-48812",
            actual=ActualCause(cause_id="B05", confirms="yes", minutes=31) if event is ResponseEvent.CLOSED else None,
        )

    return [response(1, ResponseEvent.RECEIVED, 0.1), response(2, ResponseEvent.ACCEPTED, 4)]


def _case(clock: Clock, incident: Incident) -> ConfirmedCase:
    return ConfirmedCase(
        incident_id=UUID(int=incident.incident_id.int ^ 1),
        order_id=clock.new_id(),
        cause_id="B05",
        code="open",
        line_id=LINE,
        tokens={"sp:lane": 1},
        weight=1.0,
        confirmed_at=clock.now() - timedelta(days=19),
        first_suspect="B05",
        text="Nozzle 2-4 clogged with resist flakes; flushed, filter changed.",
    )
