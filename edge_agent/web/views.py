"""What each page shows: read from the store, counted, charts drawn."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.challenge import fact as challenge_fact
from edge_agent.domain.drift import fact, name_of, watched
from edge_agent.domain.evidence import Evidence
from edge_agent.domain.incident import Incident
from edge_agent.domain.inspection import Disposition, Evaluation, ImageRef, Inspection
from edge_agent.domain.message import OutboxState
from edge_agent.domain.svg import (
    EvidenceBar,
    PhotoBox,
    evidence_bars,
    pareto,
    photo,
    sparkline,
)
from edge_agent.domain.tally import (
    Tally,
    model_name,
    recipe_name,
    rejected_for,
    subgroups,
    tally,
)
from edge_agent.domain.verdict import JobResponse
from edge_agent.domain.work_order import WorkOrder
from edge_agent.inspecting.promoting import change_of, named, promotions
from edge_agent.ports import ImageStore, UnitOfWork
from edge_agent.responding.documents.letterhead import Letterhead
from edge_agent.responding.documents.pictures import find_picture, to_golden
from edge_agent.responding.documents.sheet import PRIORITY_WORDS, order_data
from edge_agent.responding.documents.shift import rate_chart
from edge_agent.responding.order_limit import waiting
from edge_agent.web.status import StationModel

RECENT = 400
"""Parts behind the figures and charts of the line page."""
STRIP = 60
LISTED = 100
SEARCHED = 1_000
_GROUPS = 32
_INCIDENTS_READ = 20

MARKS: Mapping[str, str] = {
    Evaluation.OK: "✓",
    Evaluation.NOT_OK: "✕",
    Evaluation.NOT_DECIDABLE: "?",
    Evaluation.NOT_INSPECTED: "–",
}
WORDS: Mapping[str, str] = {
    Evaluation.OK: "OK",
    Evaluation.NOT_OK: "not OK",
    Evaluation.NOT_DECIDABLE: "not decidable",
    Evaluation.NOT_INSPECTED: "not inspected",
}
METRICS: Mapping[str, str] = {
    "focus_ratio": "Focus ratio (fine detail of the picture)",
    "brightness_mean": "Mean brightness, grey level",
    "brightness_p95": "Bright end (95th percentile), grey level",
    "brightness_p5": "Dark end (5th percentile), grey level",
    "saturated_share": "Saturated share of the pixels",
    "match": "Match with the golden image, 0 to 1",
    "shift_px": "Shift against the golden image, px",
}


def image_address(ref: ImageRef, _: Path) -> str:
    """Where this box serves a stored image."""
    return f"/images/{ref.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What every page needs besides the store."""

    letterhead: Letterhead
    catalogue: Catalogue
    images: ImageStore = field(repr=False)


def model_row(uow: UnitOfWork, line: StationModel) -> dict[str, Any]:
    """What is live at a station, how it came there, and what looks beside it."""
    found = promotions(uow, line["station"])[-1:]
    shadow = line["shadow"]
    counts = uow.shadow_looks.count(line["station"], shadow=shadow) if shadow else {}
    return {
        "station": line["station"],
        "live": line["live"],
        "promotion": next((f"{change_of(one)}, {one.by}: {one.why} ({one.state})" for one in found), ""),
        "shadow": named(shadow) if shadow else "",
        "parts": sum(counts.values()),
        "alike": sum(count for (live, other), count in counts.items() if live == other),
        "missed": line["missed"],
    }


def line_view(uow: UnitOfWork, house: House, now: datetime) -> dict[str, Any]:
    """The last parts, their yield and charts, and what is open."""
    newest = uow.inspections.latest(RECENT)
    oldest_first = newest[::-1]
    counted = tally(oldest_first)
    incidents = uow.incidents.recent(_INCIDENTS_READ)
    counts, oldest = uow.outbox.counts(), uow.outbox.oldest_pending()
    return {
        "strip": [part_row(seen, house) for seen in newest[:STRIP]],
        "figures": _figures(counted),
        "last_at": counted.last_at,
        "quiet": counted.last_at is not None and now - counted.last_at > timedelta(minutes=5),
        "pareto_svg": pareto(
            {house.letterhead.label(code): count for code, count in counted.defects.items()},
            title="Defects by class",
            size_wh=(460, 230),
        ),
        "rate_svg": rate_chart(subgroups(oldest_first, _GROUPS), incidents, house.letterhead, size_wh=(460, 230)),
        "orders": [order_row(order, house) for order in uow.orders.list(open_only=True, limit=6)],
        "incidents": len(uow.incidents.open()),
        "outbox": {
            "waiting": counts.get(OutboxState.PENDING, 0) + counts.get(OutboxState.SENT, 0),
            "quarantined": counts.get(OutboxState.QUARANTINED, 0),
            "oldest": oldest,
        },
        "recent": RECENT,
    }


def _figures(counted: Tally) -> dict[str, Any]:
    yield_share = counted.first_pass_yield
    span = (counted.last_at - counted.first_at).total_seconds() if counted.first_at and counted.last_at else 0.0
    return {
        "parts": counted.parts,
        "yield": None if yield_share is None else f"{yield_share * 100:.1f}",
        "rejected": counted.dispositions[Disposition.REJECT],
        "held": counted.dispositions[Disposition.HOLD],
        "not_inspected": counted.evaluations[Evaluation.NOT_INSPECTED],
        "p50": counted.duration_ms(0.5),
        "p99": counted.duration_ms(0.99),
        "spark_svg": sparkline(
            counted.durations_ms[-80:], title="Inspection time of the last parts", size_wh=(110, 24)
        ),
        "per_minute": f"{(counted.parts - 1) / span * 60:.1f}" if span > 0 else None,
    }


def part_row(seen: Inspection, house: House) -> dict[str, Any]:
    """A part in a list."""
    codes = sorted({house.letterhead.label(defect.code) for defect in rejected_for(seen)})
    return {
        "id": str(seen.inspection_id),
        "part_id": seen.shot.part_id,
        "product_id": seen.shot.product_id,
        "lot_id": seen.shot.lot_id or "",
        "station": seen.shot.station_id,
        "at": seen.ended_at,
        "evaluation": str(seen.evaluation),
        "word": WORDS[seen.evaluation],
        "mark": MARKS[seen.evaluation],
        "disposition": str(seen.disposition),
        "ms": seen.duration_ms,
        "why": ", ".join(codes) or "; ".join(reason.text for reason in seen.reasons),
        "has_image": bool(seen.images),
    }


def challenges(uow: UnitOfWork, stations: Sequence[str]) -> list[dict[str, Any]]:
    """How each station's challenge stands, and what its parts have come to."""
    found = []
    for station in stations:
        record = uow.facts.get(challenge_fact(station)) or {}
        results: Mapping[str, str] = record.get("results", {})
        parts = [
            {
                "part_id": part["part_id"],
                "expected": ", ".join([part["evaluation"], *(f"{n} x {code}" for code, n in part["defects"].items())]),
                "result": results.get(part["part_id"]),
            }
            for part in record.get("parts", [])
        ]
        found.append(
            {
                "station": station,
                "holding": record.get("holding", ""),
                "outcome": record.get("outcome") or "no challenge yet",
                "run": record.get("run"),
                "due_at": datetime.fromisoformat(record["due_at"]) if "due_at" in record else None,
                "parts": parts,
            }
        )
    return found


def drift_rows(uow: UnitOfWork, stations: Sequence[str]) -> list[dict[str, Any]]:
    """How far each figure of the stations' inspection is from its reference; what has drifted first."""
    rows: list[dict[str, Any]] = []
    for station in stations:
        record = uow.facts.get(fact(station)) or {"figures": []}
        lasting = {(one.product_id, one.quantity): one for one in watched(uow.facts.get(fact(station))).lasting}
        for one in record["figures"]:
            drift = lasting.get((one["product"], one["quantity"]))
            rows.append(
                {
                    "station": station,
                    "product_id": one["product"],
                    "name": name_of(one["quantity"]),
                    "usual": f"{one['usual']:.4g}",
                    "now": f"{one['now']:.4g}",
                    "size": f"{one['size']:.2f}",
                    "since": drift.since if drift else None,
                }
            )
    return sorted(rows, key=lambda row: row["since"] is None)


def parts_view(uow: UnitOfWork, house: House, *, evaluation: str, query: str) -> dict[str, Any]:
    """The newest parts that match."""
    wanted = query.strip().lower()
    found = [
        seen
        for seen in uow.inspections.latest(SEARCHED if wanted or evaluation else LISTED)
        if (not evaluation or seen.evaluation == evaluation)
        and (not wanted or wanted in f"{seen.shot.part_id} {seen.shot.lot_id} {seen.shot.product_id}".lower())
    ]
    return {
        "parts": [part_row(seen, house) for seen in found[:LISTED]],
        "found": len(found),
        "evaluation": evaluation,
        "query": query,
        "words": WORDS,
        "searched": SEARCHED,
        "listed": LISTED,
    }


def part_view(uow: UnitOfWork, house: House, inspection_id: UUID) -> dict[str, Any] | None:
    """One part, or None when there is none with this id."""
    seen = uow.inspections.get(inspection_id)
    if seen is None:
        return None
    rejected = {defect.defect_id for defect in rejected_for(seen)}
    return {
        "part": part_row(seen, house),
        "reasons": [{"code": reason.code, "text": reason.text} for reason in seen.reasons],
        **_photos(seen, house),
        "defects": [
            {
                "label": house.letterhead.label(defect.code),
                "score": defect.score,
                "box": "{:.0f}, {:.0f} to {:.0f}, {:.0f}".format(*defect.xyxy_px),
                "size": f"{defect.longest_side_px:.0f}",
                "counts": defect.defect_id in rejected,
            }
            for defect in sorted(seen.defects, key=lambda defect: -defect.score)
        ],
        "metrics": [
            {"name": METRICS.get(name, name), "value": f"{value:.3g}"}
            for name, value in sorted((seen.quality.metrics if seen.quality else {}).items())
        ],
        "usable": seen.quality.usable if seen.quality else None,
        "timings": [
            {"name": name, "ms": value} for name, value in sorted(seen.timings_ms.items(), key=lambda row: -row[1])
        ],
        "model": model_name(seen),
        "recipe": recipe_name(seen),
        "shot": seen.shot,
        "started_at": seen.started_at,
    }


def _photos(seen: Inspection, house: House) -> dict[str, str]:
    frame = find_picture(seen, "frame", house.images, image_address)
    golden = find_picture(seen, "golden", house.images, image_address)
    rejected = {defect.defect_id for defect in rejected_for(seen)}
    boxes = [
        PhotoBox(
            xyxy_px=defect.xyxy_px,
            label=f"{house.letterhead.label(defect.code)} {defect.score:.2f}",
            doubt=defect.defect_id not in rejected,
        )
        for defect in seen.defects
    ]
    places = [PhotoBox(xyxy_px=to_golden(box.xyxy_px, seen), doubt=True) for box in boxes]
    part_id = seen.shot.part_id
    return {
        "frame_svg": photo(frame.href, frame.size_wh, boxes, title=part_id, shown_px=560) if frame else "",
        "frame_href": frame.href if frame else "",
        "golden_svg": (
            photo(golden.href, golden.size_wh, places, title="Golden sample: a known-good part", shown_px=560)
            if golden
            else ""
        ),
    }


def order_row(order: WorkOrder, house: House) -> dict[str, Any]:
    """An order in a list."""
    order = order.shown()
    return {
        "id": str(order.order_id),
        "number": order.number,
        "revision": order.revision,
        "state": str(order.state),
        "priority": order.priority,
        "priority_word": PRIORITY_WORDS.get(order.priority, ""),
        "due": order.due_at,
        "updated": order.updated_at,
        "problem": order.problem,
        "equipment": order.equipment,
        "suspect": order.suspects[0].name if order.suspects else "",
        "grade": order.suspects[0].grade if order.suspects else "",
        "terminal": order.is_terminal,
    }


def orders_view(uow: UnitOfWork, house: House) -> dict[str, Any]:
    """Orders and incidents, newest first."""
    waits = {one.incident_id for one in waiting(uow)}
    return {
        "orders": [order_row(order, house) for order in uow.orders.list(limit=LISTED)],
        "incidents": [_incident_row(uow, incident, house, waits) for incident in uow.incidents.recent(LISTED)],
    }


def _incident_row(uow: UnitOfWork, incident: Incident, house: House, waits: Set[UUID]) -> dict[str, Any]:
    order = uow.orders.for_incident(incident.incident_id)
    return {
        "code": house.letterhead.label(incident.code),
        "line": incident.line_id,
        "station": incident.station_id,
        "state": str(incident.state),
        "opened": incident.opened_at,
        "rate": incident.rate,
        "baseline": incident.baseline_rate,
        "parts": incident.parts,
        "defective": incident.defective_parts,
        "waits": incident.incident_id in waits,
        "order": {"id": str(order.order_id), "number": order.number} if order else None,
    }


def order_view(uow: UnitOfWork, house: House, order_id: UUID) -> dict[str, Any] | None:
    """One order with everything behind it, or None when there is none with this id."""
    order = uow.orders.get(order_id)
    if order is None:
        return None
    order = order.shown()
    silent = order.collects or order.ranking_hidden
    analysis = None if silent else uow.analyses.get(order.analysis_id)
    data = order_data(uow, house.images, order, house.catalogue, house.letterhead, image_address)
    facts = {fact.evidence_id: fact for fact in analysis.evidence} if analysis else {}
    for suspect in data["suspects"]:
        suspect["bars_svg"] = _bars(suspect["cause_id"], suspect["name"], analysis, facts)
    cited = {one for suspect in order.suspects for one in (*suspect.speaks_for, *suspect.speaks_against)}
    del data["letterhead"]  # the page has one of its own
    return {
        **data,
        "row": order_row(order, house),
        "evidence": [_evidence(fact) for fact in facts.values() if fact.evidence_id in cited],
        "other_evidence": [_evidence(fact) for fact in facts.values() if fact.evidence_id not in cited],
        "responses": [_response(response, house) for response in uow.answers.responses(order_id)],
        "history": [
            {"revision": old.revision, "state": str(old.state), "at": old.updated_at}
            for old in uow.orders.history(order_id)
        ],
        "documents": uow.documents.list(kind="work-order", subject_id=order_id),
    }


def _bars(cause_id: str, name: str, analysis: Analysis | None, facts: Mapping[str, Evidence]) -> str:
    found = next((h for h in analysis.hypotheses if h.cause_id == cause_id), None) if analysis else None
    bars = [
        EvidenceBar(
            evidence_id=term.evidence_id,
            label=facts[term.evidence_id].statement if term.evidence_id in facts else "",
            delta=term.delta,
        )
        for term in (found.terms if found else ())
    ]
    return evidence_bars(bars, title=f"For and against: {name}", width=380, labels=False) if bars else ""


def _evidence(fact: Evidence) -> dict[str, Any]:
    unit = f" {fact.unit}" if fact.unit else ""
    rows = {
        "Found by": fact.tool,
        "Key": fact.token or "for reading only",
        "Measured": f"{fact.value:.4g}{unit}" if fact.value is not None else "",
        "Usually": f"{fact.baseline:.4g}{unit}" if fact.baseline is not None else "",
        "Spread (sigma)": f"{fact.sigma:.3g}{unit}" if fact.sigma is not None else "",
        "Sample": str(fact.n) if fact.n else "",
        "Trust in the finding": f"{fact.strength:.2f} of 1",
        "Cannot be told apart from": ", ".join(fact.confounded_with),
        **{f"Source: {name}": value for name, value in sorted(fact.provenance.items())},
    }
    return {
        "id": fact.evidence_id,
        "statement": fact.statement,
        "polarity": str(fact.polarity),
        "from": fact.window_from,
        "to": fact.window_to,
        "rows": [(name, value) for name, value in rows.items() if value],
    }


def _response(response: JobResponse, house: House) -> dict[str, Any]:
    actual = response.actual
    cause = house.catalogue.cause(actual.cause_id) if actual and actual.cause_id else None
    return {
        "at": response.received_at,
        "event": str(response.event),
        "source": response.source,
        "revision": response.revision,
        "reason": response.reason,
        "cause": (cause.name if cause else actual.cause_id or actual.cause_text or "not named") if actual else "",
        "confirms": actual.confirms if actual else "",
        "minutes": actual.minutes if actual else None,
    }
