"""How often do evidence tokens fire on this line when nothing is wrong?

A condition that is also normal here must earn nothing. So now and then, while no incident is open, the tools look at
an arbitrary moment as if something had begun then, and what they find is counted.
"""

from collections.abc import Iterable
from uuid import UUID

from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.inference import BACKGROUND
from edge_agent.domain.inspection import Inspection
from edge_agent.ports import UnitOfWork
from edge_agent.responding.analyse import gather
from edge_agent.responding.charts import StationCharts
from edge_agent.responding.correlate import ONSET_AT, history
from edge_agent.responding.evidence import coincidence, inspection_health, telemetry_change
from edge_agent.responding.evidence.window import Window, made_at
from edge_agent.responding.settings import Settings

EVERY_PARTS = 200
PRETENDED_PARTS = 40
"""The pretended incident began this many parts ago."""
UNSURE_PARTS = 4
"""Its onset is as uncertain as a real one's usually is, to either side: the longer it is, the more falls into it."""
HALVE_AT = 400
"""Runs after which old ones begin to count less."""


def sample_background(
    uow: UnitOfWork, charts: StationCharts, settings: Settings, inspection: Inspection
) -> dict[str, list[float]] | None:
    """Every 200 parts without an open incident: the record with one more moment that was picked without a reason."""
    if charts.seen % EVERY_PARTS != 0 or charts.episodes:
        return None
    parts = history(uow, charts, inspection.ended_at)
    if len(parts) < 3 * PRETENDED_PARTS:
        return None
    window = gather(uow, pretended(parts, charts), parts, charts, settings)
    return counted(uow.facts.get(BACKGROUND) or {}, looked_at(window))


def looked_at(window: Window) -> list[Evidence]:
    """What tools find that need no defects."""
    return [*telemetry_change.find(window), *coincidence.find(window), *inspection_health.find(window)]


def counted(record: dict[str, list[float]], found: Iterable[Evidence]) -> dict[str, list[float]]:
    """The record (token to [fired, runs]) with one more run; a token that could not be looked for was not run."""
    updated = {token: list(pair) for token, pair in record.items()}
    for one in found:
        if one.token is None or one.polarity is Polarity.UNKNOWN:
            continue
        fired, runs = updated.get(one.token, [0.0, 0.0])
        if runs >= HALVE_AT:
            fired, runs = fired / 2, runs / 2
        updated[one.token] = [fired + (one.polarity is Polarity.PRESENT), runs + 1]
    return updated


def pretended(parts: list[Inspection], charts: StationCharts) -> Incident:
    """An incident that did not happen: something as if begun some parts ago."""
    begun = made_at(parts[-PRETENDED_PARTS])
    first, last = (made_at(parts[shift - PRETENDED_PARTS]) for shift in (-UNSURE_PARTS, UNSURE_PARTS))
    code = next(iter(charts.catalogue.severity))
    return Incident(
        incident_id=UUID(int=0),
        revision=0,
        key="",
        line_id=charts.settings.line_id,
        station_id=charts.station_id,
        code=code,
        state=IncidentState.CLOSED,
        opened_at=parts[-1].ended_at,
        updated_at=parts[-1].ended_at,
        onset_from=first,
        onset_to=last,
        class_counts={},
        baseline_rate=charts.chart_of(code).base_rate,
        rate=0.0,
        statistic=0.0,
        threshold=0.0,
        parts=PRETENDED_PARTS,
        defective_parts=0,
        attributes={"family": charts.catalogue.family_of(code), ONSET_AT: begun.isoformat()},
    )
