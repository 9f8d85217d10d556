"""One incident, diagnosed: read its surroundings, collect evidence, rank causes, say what to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.counting import UNDECIDED
from edge_agent.domain.drift import fact, watched
from edge_agent.domain.incident import Incident
from edge_agent.domain.inference import BACKGROUND, Weights, backgrounds, from_record, measured_background
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.plant import Sample
from edge_agent.domain.step import StepKind
from edge_agent.ports import Clock, UnitOfWork
from edge_agent.responding.charts import StationCharts
from edge_agent.responding.check_order import check_order
from edge_agent.responding.correlate import onset_at
from edge_agent.responding.evidence import VERSION, collect
from edge_agent.responding.evidence.similar_cases import present_tokens, unlisted_likeness
from edge_agent.responding.evidence.window import Window, made_at
from edge_agent.responding.rank import decision, rank, second_cause, unknown_score
from edge_agent.responding.settings import DEFAULT_SIZE_PX, Settings
from edge_agent.responding.text import summary
from edge_agent.responding.vote import SILENT, Earned, adjusted

WEIGHTS = "weights"
SECOND = "second_cause"
"""Key of the engine's notes: a cause that seems to be at work besides the first suspect."""
METHOD = "signature-likelihood-ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What is known before any evidence: the catalogue, what this line measured, what was learned."""

    catalogue: Catalogue
    background: Mapping[str, float]
    weights: Weights
    earned: Earned = SILENT
    """A language model's vote about this incident, once such votes have earned a weight."""


def knowledge(uow: UnitOfWork, catalogue: Catalogue) -> Knowledge:
    """The catalogue with this box's measurements and learned weights."""
    measured = measured_background(uow.facts.get(BACKGROUND), catalogue)
    return Knowledge(
        catalogue=catalogue,
        background=backgrounds(catalogue, measured),
        weights=from_record(uow.facts.get(WEIGHTS)),
    )


def gather(
    uow: UnitOfWork, incident: Incident, parts: Sequence[Inspection], charts: StationCharts, settings: Settings
) -> Window:
    """Read everything around an incident once. ``parts`` are the station's remembered inspections, oldest first."""
    begun = onset_at(incident)
    before = tuple(one for one in parts if made_at(one) < begun)[-settings.history_parts :]
    after = tuple(one for one in parts if made_at(one) >= begun)
    first = made_at(before[0]) if before else begun
    start, end = first - timedelta(seconds=1), incident.updated_at + timedelta(microseconds=1)
    catalogue = charts.catalogue
    return Window(
        incident=incident,
        codes=catalogue.classes_of(incident.attributes["family"]),
        all_codes=tuple(catalogue.severity.keys() | {UNDECIDED}),
        before=before,
        after=after,
        onset_at=begun,
        series=_series(uow, settings, start, end),
        signals=settings.signals,
        events=tuple(uow.plant.events(start, end)),
        cases=tuple(uow.answers.cases(limit=500)),
        expected=frozenset(catalogue.background),
        base_rates={code: charts.chart_of(code).base_rate for code in catalogue.severity.keys() | {UNDECIDED}},
        size_wh_px=settings.size_wh_px.get(incident.station_id, DEFAULT_SIZE_PX),
        descriptions=tuple(
            one for one in uow.steps.list(incident.incident_id) if one.kind is StepKind.DESCRIPTION and not one.rules
        ),
        drift=watched(uow.facts.get(fact(incident.station_id))),
    )


def _series(uow: UnitOfWork, settings: Settings, start: datetime, end: datetime) -> dict[str, tuple[Sample, ...]]:
    names = set(settings.signals) | set(uow.plant.signals())
    return {name: tuple(uow.plant.series(name, start, end)) for name in sorted(names)}


def analyse(window: Window, known: Knowledge, previous: Analysis | None, *, clock: Clock) -> Analysis:
    """The next analysis of an incident: evidence with stable ids, ranked causes, the template's text."""
    incident, catalogue = window.incident, known.catalogue
    evidence = collect(window, previous.evidence if previous else ())
    hypotheses = adjusted(rank(catalogue, evidence, incident, known.background, known.weights), known.earned)
    likeness = unlisted_likeness(present_tokens(list(evidence)), window.cases)
    unknown = unknown_score(hypotheses, evidence, likeness)
    checks = check_order(hypotheses, catalogue)
    second = second_cause(catalogue, evidence, known.background, known.weights, hypotheses)
    return Analysis(
        analysis_id=clock.new_id(),
        incident_id=incident.incident_id,
        revision=previous.revision + 1 if previous else 0,
        made_at=clock.now(),
        evidence=evidence,
        hypotheses=hypotheses,
        unknown_score=unknown,
        decision=decision(hypotheses, unknown),
        narratives=(summary(incident, hypotheses, evidence, checks),),
        engine={
            "method": METHOD,
            "catalogue": f"{catalogue.domain}/{catalogue.version}",
            "weights": known.weights.version,
            "tools": VERSION,
        }
        | ({SECOND: second.cause_id} if second else {})
        | ({"vote_weight": f"{known.earned.weight:g}"} if known.earned.weight else {}),
    )
