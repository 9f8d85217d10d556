"""What a step of the responder comes to, worked out from a reading snapshot; nothing is written here.

It runs in the agent or in a process of its own (`edge_agent.responding.diagnostician`): it needs a store to read,
and what it gives can be written down as JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.inspection import ImageRef, Inspection
from edge_agent.domain.work_order import Containment
from edge_agent.ports import Clock, UnitOfWork
from edge_agent.responding.analyse import analyse, gather, knowledge
from edge_agent.responding.background import sample_background
from edge_agent.responding.charts import Alarm, StationCharts, as_record, load_charts
from edge_agent.responding.check_order import check_order
from edge_agent.responding.check_results import results_of, with_results
from edge_agent.responding.correlate import close_incident, history, onset_at, open_incident, revise_incident
from edge_agent.responding.evidence.window import made_at
from edge_agent.responding.order import containment, photos
from edge_agent.responding.rank import rank, unknown_score
from edge_agent.responding.settings import Settings
from edge_agent.responding.similarity import Similar
from edge_agent.responding.text import summary
from edge_agent.responding.vote import earned

CURSOR = "responding:cursor"
BATCH = 50
SHOWN_BEFORE = 20
"""Parts before the onset among which a good one is looked for, to compare with."""
WITHOUT_EVIDENCE = "priors-and-earlier-evidence"
NO_EVIDENCE = "Evidence could not be collected this time; the ranking rests on what was known before."


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an alarm came to: the incident as it now is and, unless it ended, its diagnosis.

    Attributes:
        kind: ``open``, ``revise`` or ``end``.
        containment, photos: for the order, should there be one.
    """

    kind: str
    incident: Incident
    analysis: Analysis | None = None
    containment: Containment | None = None
    photos: tuple[ImageRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the next inspections came to.

    Attributes:
        start, cursor: sequence number of the last inspection before, and of the last one in it.
        charts: station to the record of its charts.
        findings: all of the last inspection: a step ends with the first one that raised an alarm.
        background: the record of how often evidence fires on a calm line, where it was measured.
    """

    start: int
    cursor: int
    charts: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    background: dict[str, list[float]] | None = None


class WorkingOut:
    """The next step after the store's cursor.

    Args:
        with_evidence: collect evidence; without, an alarm is still answered, on what was known before.
        similar: finds similar cases; default: by their words.
    """

    def __init__(
        self,
        uow: UnitOfWork,
        *,
        catalogue: Catalogue,
        settings: Settings,
        clock: Clock,
        with_evidence: bool = True,
        similar: Similar | None = None,
    ) -> None:
        self._uow = uow
        self._catalogue = catalogue
        self._settings = settings
        self._clock = clock
        self._with_evidence = with_evidence
        self._similar = similar
        self._charts: dict[str, StationCharts] = {}

    def step(self) -> Step | None:
        """Chart the next inspections up to the first one that raises an alarm; None when there are no new ones."""
        start = int(self._uow.facts.get(CURSOR) or 0)
        rows = self._uow.inspections.after(start, BATCH)
        cursor, findings, background = start, list[Finding](), None
        for sequence, inspection in rows:
            cursor = sequence
            charts = self._charts_of(inspection.shot.station_id)
            findings = [
                found for alarm in charts.follow(inspection) if (found := self._find(alarm, charts, inspection))
            ]
            if findings:
                break
            background = self._sampled(charts, inspection) or background
        records = {station_id: as_record(charts) for station_id, charts in self._charts.items()}
        step = Step(start=start, cursor=cursor, charts=records, findings=tuple(findings), background=background)
        return step if rows else None

    def _sampled(self, charts: StationCharts, inspection: Inspection) -> dict[str, list[float]] | None:
        if not (self._settings.measure_background and self._with_evidence):
            return None
        return sample_background(self._uow, charts, self._settings, inspection)

    def _charts_of(self, station_id: str) -> StationCharts:
        """The station's charts, with incidents taken out that were closed elsewhere (the technician is done)."""
        if station_id not in self._charts:
            charts = load_charts(
                self._uow.facts.get(f"charts:{station_id}"),
                station_id=station_id,
                settings=self._settings,
                catalogue=self._catalogue,
            )
            for family, episode in list(charts.episodes.items()):
                incident = self._uow.incidents.get(UUID(episode.incident_id))
                if incident is None or incident.state is IncidentState.CLOSED:
                    charts.ended(family, incident.updated_at if incident else self._clock.now())
            self._charts[station_id] = charts
        return self._charts[station_id]

    def _find(self, alarm: Alarm, charts: StationCharts, inspection: Inspection) -> Finding | None:
        known = self._uow.incidents.get(alarm.incident_id) if alarm.incident_id else None
        at = inspection.ended_at
        if alarm.kind == "end":
            charts.ended(alarm.family, at)
            closed = close_incident(known, at, "the rate is back to normal") if known else None
            return Finding(kind="end", incident=closed) if closed else None
        parts = history(self._uow, charts, at, incident=known)
        if known is None:
            incident = open_incident(parts, charts, alarm.family, alarm.code, clock=self._clock)
            charts.opened(alarm.family, incident.incident_id, incident.defective_parts, at)
        else:
            incident = revise_incident(known, parts, charts)
            charts.revised(alarm.family, incident.defective_parts, at)
        return self._diagnosed(alarm.kind, incident, parts, charts)

    def _diagnosed(self, kind: str, incident: Incident, parts: list[Inspection], charts: StationCharts) -> Finding:
        begun = onset_at(incident)
        since = [one for one in parts if made_at(one) >= begun]
        before = [one for one in parts if made_at(one) < begun][-SHOWN_BEFORE:]
        return Finding(
            kind=kind,
            incident=incident,
            analysis=self._analysis(incident, parts, charts),
            containment=containment(incident, since),
            photos=photos(before, since),
        )

    def _analysis(self, incident: Incident, parts: list[Inspection], charts: StationCharts) -> Analysis:
        known = replace(knowledge(self._uow, self._catalogue), earned=earned(self._uow, incident.incident_id))
        previous = self._uow.analyses.latest(incident.incident_id)
        if self._with_evidence:
            window = gather(self._uow, incident, parts, charts, self._settings)
            if self._similar is not None:
                window = replace(window, similar=self._similar)
            found = analyse(window, known, previous, clock=self._clock)
            results = results_of(self._uow, incident.incident_id)
            return with_results(found, incident, results, self._catalogue, previous.evidence if previous else ())
        evidence = previous.evidence if previous else ()
        hypotheses = rank(self._catalogue, evidence, incident, known.background, known.weights)
        text = summary(incident, hypotheses, evidence, check_order(hypotheses, self._catalogue))
        return Analysis(
            analysis_id=self._clock.new_id(),
            incident_id=incident.incident_id,
            revision=previous.revision + 1 if previous else 0,
            made_at=self._clock.now(),
            evidence=evidence,
            hypotheses=hypotheses,
            unknown_score=unknown_score(hypotheses, evidence, 0.0),
            decision="check",  # nobody has looked: a person must
            narratives=(replace(text, text=f"{text.text} {NO_EVIDENCE}"),),
            engine={
                "method": WITHOUT_EVIDENCE,
                "catalogue": f"{self._catalogue.domain}/{self._catalogue.version}",
                "weights": known.weights.version,
            },
        )
