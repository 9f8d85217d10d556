"""The course of an incident's rate, before the change and since, and its chart."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from edge_agent.domain.incident import Incident
from edge_agent.domain.svg import control_chart
from edge_agent.domain.svg.control import ChartPoint
from edge_agent.domain.tally import Subgroup, position_of, subgroups, upper_limit
from edge_agent.ports import UnitOfWork
from edge_agent.responding.documents.letterhead import Letterhead

_POINTS_LEAST, _POINTS_MOST = 8, 24
_PARTS_A_POINT = 6
_LEAD_PARTS = 40
_SAMPLE = 80
_TICK = timedelta(microseconds=1)


def course(uow: UnitOfWork, incident: Incident) -> list[Subgroup]:
    """The rate before and since the onset: one subgroup a window, and no window lies on both sides.

    The windows fit the line: as much time before the onset as since, but at least some forty parts' worth (a fast line
    makes them in seconds) and nothing before the line's first part; as many windows as hold a few parts each. Of each
    window the first parts are read (the rational subgroup of SPC), which keeps a page quick on a fast line.
    """
    onset, end = incident.onset_from, max(incident.updated_at, incident.onset_from) + _TICK
    pace = _pace(uow, incident, end)
    lead = max(end - onset, pace * _LEAD_PARTS)
    first = uow.inspections.between(onset - lead, onset, station_id=incident.station_id, limit=1)
    start = first[0].ended_at if first else onset
    points = min(max(round((end - start) / pace / _PARTS_A_POINT), _POINTS_LEAST), _POINTS_MOST)
    before = math.ceil(points * ((onset - start) / (end - start)))
    edges = [*_edges(start, onset, before), *_edges(onset, end, max(points - before, 2)), end]
    return [
        group
        for begin, stop in pairwise(edges)
        for group in subgroups(
            uow.inspections.between(begin, stop, station_id=incident.station_id, limit=_SAMPLE), 1, code=incident.code
        )
    ]


def _pace(uow: UnitOfWork, incident: Incident, end: datetime) -> timedelta:
    """The time from part to part since the onset; a tenth of a second at least."""
    seen = uow.inspections.between(incident.onset_from, end, station_id=incident.station_id, limit=_SAMPLE)
    span = seen[-1].ended_at - incident.onset_from if seen else end - incident.onset_from
    return max(span / max(len(seen), 1), timedelta(seconds=0.1))


def _edges(start: datetime, end: datetime, windows: int) -> list[datetime]:
    """Where each of so many equal windows begins."""
    return [start + (end - start) * number / windows for number in range(windows)] if start < end else []


def course_chart(groups: Sequence[Subgroup], incident: Incident, letterhead: Letterhead) -> str:
    """The course as a p-chart about the normal rate, with the band in which the change began."""
    fine = bool(groups) and letterhead.is_short(groups[0].start, groups[-1].end)
    points = [
        ChartPoint(
            label=letterhead.time(group.end, seconds=fine),
            value=group.share,
            upper=upper_limit(incident.baseline_rate, group.n),
            n=group.n,
        )
        for group in groups
    ]
    onset = (position_of(incident.onset_from, groups), position_of(incident.onset_to, groups)) if groups else None
    return control_chart(
        points,
        title=f"Share of parts with {letterhead.label(incident.code)}",
        center=incident.baseline_rate,
        onset=onset,
        unit=f"parts with {letterhead.label(incident.code)}",
        size_wh=(480, 168),
    )
