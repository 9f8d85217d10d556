"""The work-order sheet: what a technician takes to the machine."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import Action, Catalogue, Check
from edge_agent.domain.evidence import Evidence
from edge_agent.domain.incident import Incident
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.svg import Mark, defect_map
from edge_agent.domain.tally import model_name, recipe_name, rejected_for
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.domain.work_order import Suspect, WorkOrder
from edge_agent.ports import ImageStore, PrintJob, UnitOfWork
from edge_agent.responding.documents.closing import close_out, is_filed
from edge_agent.responding.documents.course import course, course_chart
from edge_agent.responding.documents.letterhead import Letterhead
from edge_agent.responding.documents.pictures import (
    Address,
    file_address,
    find_picture,
    photo_pairs,
    surest_first,
    to_golden,
)
from edge_agent.responding.documents.unknowns import unknowns
from edge_agent.responding.evidence.similar_cases import BY, CASES
from edge_agent.responding.evidence.vision_description import TOOL as DESCRIBED

PRIORITY_WORDS: Mapping[int, str] = {1: "now", 2: "this shift", 3: "planned", 4: "log only"}
_PHOTOS = 3
_INSPECTIONS_READ = 150
_FACTS_FOR, _FACTS_AGAINST = 4, 3
_RUNS_LISTED = 24
_LOTS_LISTED = 8
_ID_LONGEST = 48
_CAUSES_OFFERED = 8
_CAUSES_RANKED = 3
_CASES_SHOWN = 3
_SERIAL = re.compile(r"(?P<stem>.*?)(?P<number>[0-9]{1,18})", re.DOTALL)


def work_order_sheet(
    uow: UnitOfWork, images: ImageStore, order: WorkOrder, catalogue: Catalogue, letterhead: Letterhead
) -> PrintJob:
    """The sheet of one revision of an order, with the record it shows as an attachment.

    Args:
        uow: a reading unit of work.
        images: where the photos are; those that retention has removed are left out.
        order: the revision to print.
        catalogue: for the coded causes of the close-out form and the names of past causes.
        letterhead: who prints, and in which time zone.
    """
    order = order.shown()
    incident, analysis = _subject(uow, order)
    record = {"order": order, "incident": incident, "analysis": analysis}
    return PrintJob(
        template="work-order.html",
        data=order_data(uow, images, order, catalogue, letterhead),
        attachments={f"{order.number}-r{order.revision}.json": as_json(record)},
    )


def order_data(
    uow: UnitOfWork,
    images: ImageStore,
    order: WorkOrder,
    catalogue: Catalogue,
    letterhead: Letterhead,
    address: Address = file_address,
) -> dict[str, Any]:
    """Everything that is said of an order, for paper and for the page; ``address`` makes pictures findable there."""
    order = order.shown()
    incident, analysis = _subject(uow, order)
    code = incident.code if incident else ""
    seen = _inspections(uow, order, incident)
    pairs, files = photo_pairs(
        surest_first(seen), images, code=code, label=letterhead.label, most=_PHOTOS, address=address
    )
    facts = {fact.evidence_id: fact for fact in analysis.evidence} if analysis else {}
    map_svg, map_file = _map(seen, images, letterhead, code, address)
    return {
        "letterhead": letterhead.shown(order.updated_at),
        "order": _head(order, letterhead),
        "photos": pairs,
        "map_svg": map_svg,
        "rate_svg": course_chart(course(uow, incident), incident, letterhead) if incident else "",
        "suspects": [_suspect(suspect, facts) for suspect in order.suspects[:3]],
        "gathered": order.gathered,
        "unchecked": unknowns(facts.values()),
        "described": [fact.statement for fact in facts.values() if fact.tool == DESCRIBED],
        "checks": [_check(check) for check in order.checks],
        "containment": _containment(order, letterhead),
        "cases_by": _compared_by(analysis),
        "cases": [_case(case, catalogue, letterhead) for case in _similar(uow, order, code, analysis)],
        "causes": _coded_causes(order, analysis, catalogue),
        "closing": close_out(uow, order, catalogue, letterhead),
        "trace": _trace(order, analysis, seen, catalogue, letterhead),
        "files": sorted({*files, *([map_file] if map_file else [])}),
    }


def _subject(uow: UnitOfWork, order: WorkOrder) -> tuple[Incident | None, Analysis | None]:
    """What one order is about: of many incidents none alone, and no analysis while the ranking is hidden."""
    if order.collects:
        return None, None
    return uow.incidents.get(order.incident_id), None if order.ranking_hidden else uow.analyses.get(order.analysis_id)


def as_json(value: Mapping[str, Any]) -> bytes:
    """Domain objects as indented JSON, the same bytes for the same content."""
    return json.dumps(value, default=_plain, indent=1, sort_keys=True, ensure_ascii=False).encode()


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _inspections(uow: UnitOfWork, order: WorkOrder, incident: Incident | None) -> list[Inspection]:
    """Those the order names, else the incident's newest."""
    ids = list(dict.fromkeys([*order.inspection_ids, *reversed(incident.inspection_ids if incident else ())]))
    found = (uow.inspections.get(inspection_id) for inspection_id in ids[:_INSPECTIONS_READ])
    return [inspection for inspection in found if inspection is not None]


def _head(order: WorkOrder, letterhead: Letterhead) -> dict[str, Any]:
    return {
        "number": order.number,
        "revision": order.revision,
        "state": str(order.state),
        "mes_order_id": bounded(order.mes_order_id),
        "priority": order.priority,
        "priority_word": PRIORITY_WORDS.get(order.priority, ""),
        "priority_reason": order.priority_reason,
        "due": letterhead.date_time(order.due_at),
        "created": letterhead.date_time(order.created_at),
        "updated": letterhead.date_time(order.updated_at),
        "line": bounded(order.line_id),
        "station": bounded(order.station_id),
        "equipment": bounded(order.equipment),
        "problem": order.problem,
        "text": order.text.removeprefix(f"{order.problem}.").lstrip(),
        "text_source": order.text_source,
        "note": order.note,
        "open_set": order.open_set,
        "ranking_hidden": order.ranking_hidden,
        "recurrence": order.recurrence_of is not None,
    }


def _suspect(suspect: Suspect, facts: Mapping[str, Evidence]) -> dict[str, Any]:
    return {
        "cause_id": suspect.cause_id,
        "name": suspect.name,
        "grade": suspect.grade,
        "speaks_for": _statements(suspect.speaks_for, facts),
        "speaks_against": _statements(suspect.speaks_against, facts),
        "shown_for": _FACTS_FOR,
        "shown_against": _FACTS_AGAINST,
        "actions": [_action(action) for action in suspect.actions],
    }


def _statements(ids: Iterable[str], facts: Mapping[str, Evidence]) -> list[dict[str, str]]:
    """An id that the analysis does not know is shown as it is: nothing that was cited disappears."""
    return [
        {"id": evidence_id, "text": facts[evidence_id].statement if evidence_id in facts else ""} for evidence_id in ids
    ]


def _action(action: Action) -> dict[str, Any]:
    return {
        "text": action.text,
        "minutes": f"{action.minutes:g}",
        "kind": action.kind,
        "loto": action.loto,
        "parts": [{"number": part.part_number, "quantity": f"{part.quantity:g}"} for part in action.parts],
    }


def _check(check: Check) -> dict[str, Any]:
    return {"text": check.text, "criterion": check.criterion, "minutes": f"{check.minutes:g}", "loto": check.loto}


def _containment(order: WorkOrder, letterhead: Letterhead) -> dict[str, Any]:
    hold = order.containment
    found = runs(hold.part_ids)
    return {
        "count": len(hold.part_ids),
        "parts": [bounded(text) for text, _ in found[:_RUNS_LISTED]],
        "more": sum(count for _, count in found[_RUNS_LISTED:]),
        "lots": [bounded(lot) for lot in hold.lot_ids[:_LOTS_LISTED]],
        "more_lots": max(len(hold.lot_ids) - _LOTS_LISTED, 0),
        "since": letterhead.date_time(hold.since),
        "until": letterhead.date_time(hold.until) if hold.until else "",
    }


def bounded(name: str) -> str:
    """A name with its middle left out where it is too long for paper; the record has all of it."""
    half = _ID_LONGEST // 2
    return name if len(name) <= _ID_LONGEST else f"{name[:half]}…{name[-half:]}"


def runs(part_ids: Sequence[str]) -> list[tuple[str, int]]:
    """Serials, with three or more in sequence as one line: ``P-007 to P-031``, and how many parts each line stands for.

    Only ids of one form that count up by one are joined; everything else stands as it is.
    """
    groups: list[list[str]] = []
    for part_id in part_ids:
        if groups and _follows(groups[-1][-1], part_id):
            groups[-1].append(part_id)
        else:
            groups.append([part_id])
    return [
        line
        for group in groups
        for line in (
            [(f"{group[0]} to {group[-1]}", len(group))] if len(group) > 2 else [(part_id, 1) for part_id in group]
        )
    ]


def _follows(earlier: str, later: str) -> bool:
    first, second = _SERIAL.fullmatch(earlier), _SERIAL.fullmatch(later)
    if first is None or second is None or first["stem"] != second["stem"]:
        return False
    return len(first["number"]) == len(second["number"]) and int(second["number"]) == int(first["number"]) + 1


def _compared_by(analysis: Analysis | None) -> str:
    return next((one.provenance[BY] for one in analysis.evidence if BY in one.provenance), "") if analysis else ""


def _similar(uow: UnitOfWork, order: WorkOrder, code: str, analysis: Analysis | None) -> list[ConfirmedCase]:
    """The cases that the analysis found most alike; else those of the class, those of this line first, newest first."""
    found = (
        next((one.provenance[CASES] for one in analysis.evidence if CASES in one.provenance), "") if analysis else ""
    )
    if found:
        known = {str(case.order_id): case for case in uow.answers.cases()}
        return [known[one] for one in found.split() if one in known][:_CASES_SHOWN]
    cases = [case for case in uow.answers.cases() if case.code == code and case.order_id != order.order_id]
    return sorted(cases, key=lambda case: case.line_id != order.line_id)[:_CASES_SHOWN]


def _case(case: ConfirmedCase, catalogue: Catalogue, letterhead: Letterhead) -> dict[str, Any]:
    cause = catalogue.cause(case.cause_id)
    return {
        "date": letterhead.date_time(case.confirmed_at)[:10],
        "line": case.line_id,
        "cause": cause.name if cause else case.cause_id,
        "text": case.text,
        "suggested": case.first_suspect == case.cause_id,
    }


def _coded_causes(order: WorkOrder, analysis: Analysis | None, catalogue: Catalogue) -> list[dict[str, str]]:
    """Choices of the close-out form: the three most likely, then others in an order that suggests nothing.

    The shuffle is fixed by the order's id, so that every print of it is the same.
    """
    ranked = [hypothesis.cause_id for hypothesis in analysis.hypotheses] if analysis else []
    ranked = list(dict.fromkeys([*(suspect.cause_id for suspect in order.suspects), *ranked]))
    known = [cause for cause_id in ranked if (cause := catalogue.cause(cause_id))]
    first = known[:_CAUSES_RANKED]
    others = {cause.cause_id: cause for cause in (*known, *catalogue.causes) if cause not in first}

    def lot(cause_id: str) -> str:
        return hashlib.sha256(f"{order.order_id}{cause_id}".encode()).hexdigest()

    wanted = list(others)[: _CAUSES_OFFERED - len(first)]
    chosen = [*first, *(others[cause_id] for cause_id in sorted(wanted, key=lot))]
    return [{"id": cause.cause_id, "name": cause.name} for cause in chosen]


def _map(
    seen: Sequence[Inspection], images: ImageStore, letterhead: Letterhead, code: str, address: Address
) -> tuple[str, str | None]:
    """The defects of the class on all parts of the order, over the golden image; and the file it needs."""
    golden = next((found for part in seen if (found := find_picture(part, "golden", images, address))), None)
    frame = golden or next((found for part in seen if (found := find_picture(part, "frame", images, address))), None)
    marks = [
        Mark(
            x_px=(box[0] + box[2]) / 2,
            y_px=(box[1] + box[3]) / 2,
            code=letterhead.label(defect.code),
            hint=part.shot.part_id,
        )
        for part in seen
        for defect in rejected_for(part)
        for box in [to_golden(defect.xyxy_px, part)]
    ]
    if not marks:
        return "", None
    reach = (max(mark.x_px for mark in marks) * 1.05, max(mark.y_px for mark in marks) * 1.05)
    size_wh = frame.size_wh if frame else (int(reach[0]), int(reach[1]))
    title = f"Where the defects sit: {len(seen)} parts, {letterhead.label(code)} and others"
    drawn = defect_map(marks, size_wh, title=title, background=golden.href if golden else None, width=210)
    return drawn, str(golden.path.resolve()) if golden else None


def _trace(
    order: WorkOrder,
    analysis: Analysis | None,
    seen: Sequence[Inspection],
    catalogue: Catalogue,
    letterhead: Letterhead,
) -> list[dict[str, str]]:
    """What this sheet rests on, for the footer."""
    rows = {
        "Recipe": ", ".join(sorted({recipe_name(part) for part in seen} - {""})),
        "Model": ", ".join(sorted({model_name(part) for part in seen} - {""})),
        "Catalogue": f"{catalogue.domain} {catalogue.version}",
        "Order id": str(order.order_id),
        "Key": "" if order.ranking_hidden else order.key,
    }
    if analysis:
        rows["Engine"] = ", ".join(f"{name} {version}" for name, version in sorted(analysis.engine.items()))
        rows["Evidence"] = _cited(order, analysis)
        rows |= _window(analysis, letterhead)
    written = "a template" if order.text_source == "template" else f"a language model ({order.text_source})"
    rows["Text written by"] = written
    return [{"name": name, "value": value} for name, value in rows.items() if value]


def _cited(order: WorkOrder, analysis: Analysis) -> str:
    """What the suspects cite; the rest is in the record."""
    cited = {one for suspect in order.suspects for one in (*suspect.speaks_for, *suspect.speaks_against)}
    named = [fact.evidence_id for fact in analysis.evidence if fact.evidence_id in cited]
    return f"{', '.join(named) or 'none'} cited, of {len(analysis.evidence)} looked at (all in the attached record)"


def _window(analysis: Analysis, letterhead: Letterhead) -> dict[str, str]:
    starts = [fact.window_from for fact in analysis.evidence if fact.window_from]
    ends = [fact.window_to for fact in analysis.evidence if fact.window_to]
    if not starts or not ends:
        return {}
    return {"Data window": letterhead.span(min(starts), max(ends))}


def sheet_path(order: WorkOrder) -> Path:
    """Where the sheet lies below the document folder: one for each revision, and the one that is filed in the end."""
    end = f"-{order.state.value}" if is_filed(order) else ""
    return Path("work-order") / f"{order.number}-r{order.revision}{end}.pdf"
