"""The shift report: what the line made, what was wrong with it, and what was done about it."""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from uuid import UUID

from edge_agent.domain.incident import Incident
from edge_agent.domain.inspection import Evaluation, Inspection
from edge_agent.domain.shift import shift_of
from edge_agent.domain.svg import ChartPoint, Limit, control_chart, histogram, pareto
from edge_agent.domain.tally import (
    Subgroup,
    Tally,
    first_incident,
    normal_share,
    position_of,
    subgroups,
    tally,
    upper_limit,
)
from edge_agent.domain.verdict import JobResponse
from edge_agent.domain.work_order import WorkOrder
from edge_agent.ports import ImageStore, PrintJob, UnitOfWork
from edge_agent.responding.documents.letterhead import Letterhead
from edge_agent.responding.documents.pictures import photo_pairs
from edge_agent.responding.documents.sheet import PRIORITY_WORDS, as_json
from edge_agent.responding.order_limit import waiting

_WINDOW = timedelta(minutes=15)
_WINDOW_LEAST = timedelta(seconds=2)
_GROUPS = 32
_WORST_KEPT = 40
_WORST_SHOWN = 3
_HELD_LISTED = 40
_READ = 500
_SHIFT = timedelta(hours=8)


def shift_report(
    uow: UnitOfWork, images: ImageStore, start: datetime, end: datetime, letterhead: Letterhead
) -> PrintJob:
    """Everything that ended in [start, end).

    Args:
        uow: a reading unit of work.
        images: where the photos of the worst parts are.
        start: aware; the period includes it.
        end: aware; the period excludes it.
        letterhead: who prints, and in which time zone.
    """
    notes = _Notes()
    counted = tally(notes.watch(_inspections(uow, start, end)))
    worst = sorted(notes.worst, key=lambda seen: (-seen.score, seen.inspection_id))
    pairs, files = photo_pairs(worst, images, code=None, label=letterhead.label, most=_WORST_SHOWN)
    incidents = [found for found in uow.incidents.recent(_READ) if found.updated_at >= start and found.opened_at < end]
    orders = [order for order in uow.orders.list(limit=_READ) if order.updated_at >= start and order.created_at < end]
    waits = {one.incident_id for one in waiting(uow)}
    data: dict[str, Any] = {
        "letterhead": letterhead.shown(end),
        "period": _period(start, end, letterhead),
        "figures": _figures(counted, start, end),
        "evaluations": dict(counted.evaluations),
        "dispositions": dict(counted.dispositions),
        "reasons": sorted(counted.reasons.items(), key=lambda row: (-row[1], row[0])),
        "pareto_svg": pareto(
            {letterhead.label(code): count for code, count in counted.defects.items()}, title="Defects by class",
            size_wh=(340, 190),
        ),
        "rate_svg": rate_chart(notes.groups(), incidents, letterhead),
        "time_svg": _time_chart(counted),
        "held": [_held(seen, letterhead) for seen in notes.held],
        "held_more": max(notes.held_count - len(notes.held), 0),
        "photos": pairs,
        "incidents": [_incident(incident, _order_of(uow, incident, waits), letterhead) for incident in incidents],
        "orders": [_order(order, uow.answers.responses(order.order_id), letterhead) for order in orders],
        "models": sorted(counted.models.items()),
        "recipes": sorted(counted.recipes.items()),
        "files": files,
    }  # fmt: skip
    return PrintJob(
        template="shift.html", data=data, attachments={"shift.json": _record(counted, start, end, incidents, orders)}
    )


@dataclass(slots=True)
class _Notes:
    """What is kept of a stream of inspections besides their count; memory does not grow with the shift."""

    worst: list[Inspection] = field(default_factory=list)
    held: list[Inspection] = field(default_factory=list)
    held_count: int = 0
    chunks: list[Subgroup] = field(default_factory=list)

    def watch(self, windows: Iterator[Sequence[Inspection]]) -> Iterator[Inspection]:
        for window in windows:
            self.chunks.extend(subgroups(window, 1))
            for seen in window:
                self._note(seen)
                yield seen

    def _note(self, seen: Inspection) -> None:
        if seen.evaluation is Evaluation.NOT_OK:
            self.worst.append(seen)
            if len(self.worst) > 2 * _WORST_KEPT:
                self.worst = sorted(self.worst, key=lambda part: -part.score)[:_WORST_KEPT]
        elif seen.evaluation is not Evaluation.OK:
            self.held_count += 1
            if len(self.held) < _HELD_LISTED:
                self.held.append(seen)

    def groups(self) -> list[Subgroup]:
        """The windows, joined until there are few enough to draw."""
        size = -(-len(self.chunks) // _GROUPS) or 1
        return [_joined(self.chunks[first : first + size]) for first in range(0, len(self.chunks), size)]


def _joined(groups: Sequence[Subgroup]) -> Subgroup:
    return Subgroup(
        start=groups[0].start,
        end=groups[-1].end,
        n=sum(group.n for group in groups),
        defective=sum(group.defective for group in groups),
    )


def _inspections(uow: UnitOfWork, start: datetime, end: datetime) -> Iterator[Sequence[Inspection]]:
    """The period in windows that fit in memory; a short period in more of them, so that a course can be drawn."""
    step = min(_WINDOW, max((end - start) / _GROUPS, _WINDOW_LEAST))
    while start < end:
        yield uow.inspections.between(start, min(start + step, end))
        start += step


def _figures(counted: Tally, start: datetime, end: datetime) -> list[dict[str, str]]:
    yield_share, median, slowest = counted.first_pass_yield, counted.duration_ms(0.5), counted.duration_ms(0.99)
    hours = (end - start).total_seconds() / 3600
    held = counted.dispositions["HOLD"]
    return [
        _figure("First pass yield", "–" if yield_share is None else f"{yield_share * 100:.1f}", "%"),
        _figure("Parts", f"{counted.parts:,}".replace(",", " "), ""),
        _figure("Rejected", str(counted.dispositions["REJECT"]), ""),
        _figure("Held for a person", str(held), ""),
        _figure("Parts per hour", f"{counted.parts / hours:.0f}" if hours > 0 else "–", ""),
        _figure("Inspection, median", "–" if median is None else f"{median:.0f}", "ms"),
        _figure("Inspection, p99", "–" if slowest is None else f"{slowest:.0f}", "ms"),
    ]


def _figure(label: str, value: str, unit: str) -> dict[str, str]:
    return {"label": label, "value": value, "unit": unit}


def rate_chart(
    groups: Sequence[Subgroup],
    incidents: Sequence[Incident],
    letterhead: Letterhead,
    *,
    size_wh: tuple[int, int] = (340, 190),
) -> str:
    """A p-chart about the share before the period's first incident, else about its mean (Montgomery, chapter 7.2)."""
    first = first_incident(incidents, groups)
    center = normal_share(groups, first)
    fine = bool(groups) and letterhead.is_short(groups[0].start, groups[-1].end)
    points = [
        ChartPoint(
            label=letterhead.time(group.end, seconds=fine),
            value=group.share,
            upper=upper_limit(center, group.n),
            n=group.n,
        )
        for group in groups
    ]
    return control_chart(
        points,
        title="Share of rejected parts",
        center=center if points else None,
        center_label="normal" if first else "mean",
        onset=(position_of(first.onset_from, groups), position_of(first.onset_to, groups)) if first else None,
        unit="rejected of judged parts",
        size_wh=size_wh,
    )


def _time_chart(counted: Tally) -> str:
    limits = [
        Limit(value=value, label=label)
        for label, value in (("p50", counted.duration_ms(0.5)), ("p99", counted.duration_ms(0.99)))
        if value is not None
    ]
    most = (counted.duration_ms(0.999) or 0.0) * 1.05
    shown = deque(value for value in counted.durations_ms if value <= most or not most)
    return histogram(
        list(shown),
        title="Trigger to disposition",
        unit="ms, trigger to disposition",
        limits=limits,
        size_wh=(340, 160),
    )


def _held(seen: Inspection, letterhead: Letterhead) -> dict[str, str]:
    return {
        "at": letterhead.time(seen.ended_at),
        "part_id": seen.shot.part_id,
        "station": seen.shot.station_id,
        "evaluation": str(seen.evaluation).replace("_", " "),
        "reason": "; ".join(reason.text for reason in seen.reasons),
    }


def _order_of(uow: UnitOfWork, incident: Incident, waits: Set[UUID]) -> str:
    """The number of the order that an incident is in: its own, or the one it was joined to."""
    if incident.incident_id in waits:
        return "waits"
    order = uow.orders.for_incident(incident.parent_id or incident.incident_id)
    return order.number if order else "–"


def _incident(incident: Incident, order: str, letterhead: Letterhead) -> dict[str, str]:
    return {
        "opened": letterhead.date_time(incident.opened_at),
        "line": incident.line_id,
        "code": letterhead.label(incident.code),
        "state": str(incident.state),
        "rate": f"{incident.rate * 100:.1f} %",
        "baseline": f"{incident.baseline_rate * 100:.2g} %",
        "parts": f"{incident.defective_parts} of {incident.parts}",
        "order": order,
    }


def _found(order: WorkOrder, answers: Sequence[JobResponse]) -> str:
    """The cause that was found, by the name that the order had for it."""
    actual = next((answer.actual for answer in reversed(answers) if answer.actual is not None), None)
    if actual is None:
        return "–"
    names = {suspect.cause_id: suspect.name for suspect in order.suspects}
    return names.get(actual.cause_id or "", actual.cause_text or actual.cause_id or "not named")


def _period(start: datetime, end: datetime, letterhead: Letterhead) -> dict[str, str]:
    seconds = f":{end.astimezone(letterhead.timezone):%S}" if letterhead.is_short(start, end) else ""
    begin = f":{start.astimezone(letterhead.timezone):%S}" if seconds else ""
    return {"from": letterhead.date_time(start) + begin, "to": letterhead.date_time(end) + seconds}


def _order(order: WorkOrder, answers: Sequence[JobResponse], letterhead: Letterhead) -> dict[str, str]:
    order = order.shown()
    return {
        "number": f"{order.number} r{order.revision}",
        "state": str(order.state),
        "priority": f"{order.priority} {PRIORITY_WORDS.get(order.priority, '')}",
        "due": letterhead.date_time(order.due_at),
        "problem": order.problem,
        "suspect": f"{order.suspects[0].name} ({order.suspects[0].grade})" if order.suspects else "none",
        "found": _found(order, answers),
    }


def _record(
    counted: Tally, start: datetime, end: datetime, incidents: Sequence[Incident], orders: Sequence[WorkOrder]
) -> bytes:
    figures: Mapping[str, Any] = {
        "period": {"from": start, "to": end},
        "parts": counted.parts,
        "first_pass_yield": counted.first_pass_yield,
        "evaluations": counted.evaluations,
        "dispositions": counted.dispositions,
        "defects": counted.defects,
        "hold_reasons": counted.reasons,
        "duration_ms": {"p50": counted.duration_ms(0.5), "p99": counted.duration_ms(0.99)},
        "models": counted.models,
        "recipes": counted.recipes,
        "incidents": [incident.incident_id for incident in incidents],
        "orders": [order.number for order in orders],
    }
    return json.dumps(json.loads(as_json(figures)), indent=1, sort_keys=True, ensure_ascii=False).encode()


def shift_path(start: datetime, end: datetime) -> Path:
    """Where the report lies below the document folder; UTC, so that it is unique when clocks change."""
    return Path("shift") / f"{_stamp(start)}--{_stamp(end)}.pdf"


def _stamp(at: datetime) -> str:
    seconds = "%S" if at.second or at.microsecond else ""
    return at.strftime(f"%Y-%m-%dT%H%M{seconds}Z")


def last_shift(
    uow: UnitOfWork, now: datetime, shift_ends: Sequence[str], zone: tzinfo
) -> tuple[datetime, datetime, str] | None:
    """The last shift that ended and made parts; where none did, what there is of the one in progress.

    Returns:
        From, to (not included), and why this period; None: there are no parts.
    """
    newest = next(iter(uow.inspections.latest(1)), None)
    if newest is None:
        return None
    oldest, until = uow.inspections.after(0, 1)[0][1].ended_at, newest.ended_at + timedelta(microseconds=1)
    if not shift_ends:
        return max(until - _SHIFT, oldest), until, "no shift ends are known: the last eight hours of parts"
    begin, _ = shift_of(now, shift_ends, zone)
    before = min(begin - timedelta(microseconds=1), newest.ended_at)
    start, end = shift_of(before, shift_ends, zone)
    if any(uow.inspections.count(start, end).values()):
        return start, end, "the last shift that ended"
    return max(begin, min(oldest, newest.ended_at)), until, "the shift in progress: none has ended since the first part"
