"""Defects that belong together become one incident: same line, station and family of classes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from edge_agent.domain.counting import UNDECIDED, classes_on, is_decided, shows
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.quality import locate_onset
from edge_agent.ports import Clock, UnitOfWork
from edge_agent.responding.charts import StationCharts
from edge_agent.responding.evidence.window import made_at

MAX_IDS = 500
ONSET_AT = "onset_at"
"""Attribute with the best single guess of the onset; the incident's fields hold the interval."""


def history(
    uow: UnitOfWork, charts: StationCharts, until: datetime, *, incident: Incident | None = None
) -> list[Inspection]:
    """The remembered inspections of a station, oldest first, up to and including ``until``; all of an incident's."""
    start = min(charts.history_from or until, until if incident is None else onset_at(incident))
    end = until + timedelta(microseconds=1)
    return uow.inspections.between(start, end, station_id=charts.station_id)


def open_incident(
    parts: Sequence[Inspection], charts: StationCharts, family: str, code: str, *, clock: Clock
) -> Incident:
    """A new incident from the remembered parts; the last one raised the alarm."""
    considered = [one for one in parts if counts_for(one, family) and _charted(one, charts, family)]
    codes = charts.catalogue.classes_of(family)
    chart = charts.chart_of(code)
    stream = charts.streams[code]
    base = sum(charts.chart_of(one).base_rate for one in codes)
    onset = locate_onset([shows(one, codes) for one in considered], base)
    best = made_at(considered[onset.best])
    incident = Incident(
        incident_id=clock.new_id(),
        revision=0,
        key=f"{charts.settings.line_id}/{charts.station_id}/{family}",
        line_id=charts.settings.line_id,
        station_id=charts.station_id,
        code=code,
        state=IncidentState.OPEN,
        opened_at=parts[-1].ended_at,
        updated_at=parts[-1].ended_at,
        onset_from=made_at(considered[onset.first]),
        onset_to=made_at(considered[onset.last]),
        class_counts={},
        baseline_rate=base,
        rate=0.0,
        statistic=max(stream.value, onset.statistic),
        threshold=chart.threshold,
        parts=0,
        defective_parts=0,
        attributes={"family": family, ONSET_AT: best.isoformat()},
    )
    return tallied(incident, considered[onset.best :], codes)


def revise_incident(incident: Incident, parts: Sequence[Inspection], charts: StationCharts) -> Incident:
    """The next revision: the same onset, what has come since. The onset is found again while it is still remembered."""
    family = incident.attributes["family"]
    codes = charts.catalogue.classes_of(family)
    considered = [one for one in parts if counts_for(one, family) and _charted(one, charts, family)]
    onset = locate_onset([shows(one, codes) for one in considered], incident.baseline_rate)
    statistic = max(onset.statistic, incident.statistic)
    if considered and made_at(considered[0]) < incident.onset_from:
        best = made_at(considered[onset.best])
        incident = replace(
            incident,
            onset_from=made_at(considered[onset.first]),
            onset_to=made_at(considered[onset.last]),
            attributes={**incident.attributes, ONSET_AT: best.isoformat()},
        )
    since = [one for one in considered if made_at(one) >= onset_at(incident)]
    revised = replace(incident, revision=incident.revision + 1, updated_at=parts[-1].ended_at, statistic=statistic)
    return tallied(revised, since, codes)


def close_incident(incident: Incident, at: datetime, why: str) -> Incident:
    """The incident is over."""
    return replace(
        incident,
        revision=incident.revision + 1,
        state=IncidentState.CLOSED,
        updated_at=at,
        attributes={**incident.attributes, "closed_because": why},
    )


def onset_at(incident: Incident) -> datetime:
    """The best single guess of when it began."""
    return datetime.fromisoformat(incident.attributes[ONSET_AT])


def tallied(incident: Incident, since: Sequence[Inspection], codes: Sequence[str]) -> Incident:
    """The incident with its counts over the parts since the onset."""
    defective = [one for one in since if shows(one, codes)]
    counts = Counter(code for one in defective for code in classes_on(one) if code in codes)
    return replace(
        incident,
        code=max(sorted(counts), key=lambda code: counts[code]) if counts else incident.code,
        class_counts=dict(sorted(counts.items())),
        parts=len(since),
        defective_parts=len(defective),
        rate=len(defective) / len(since) if since else 0.0,
        part_ids=tuple(one.shot.part_id for one in defective[-MAX_IDS:]),
        inspection_ids=_ids(defective),
    )


def counts_for(inspection: Inspection, family: str) -> bool:
    """Does the part feed this family's chart?"""
    return is_decided(inspection) or (family == UNDECIDED and UNDECIDED in classes_on(inspection))


def _charted(inspection: Inspection, charts: StationCharts, family: str) -> bool:
    deaf = charts.deaf_until.get(family)
    return deaf is None or made_at(inspection) > datetime.fromisoformat(deaf)


def _ids(defective: Sequence[Inspection]) -> tuple[UUID, ...]:
    return tuple(one.inspection_id for one in defective[-MAX_IDS:])
