"""From a scenario to what the charts and evidence tools make of it: the path of the line, without a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from edge_agent.domain.cause import Catalogue
from edge_agent.domain.evidence import Evidence
from edge_agent.domain.incident import Incident
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.plant import PlantEvent, Sample
from edge_agent.domain.step import Step
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.ports import Clock, UnitOfWork
from edge_agent.responding.analyse import gather
from edge_agent.responding.background import counted, looked_at, pretended
from edge_agent.responding.charts import StationCharts
from edge_agent.responding.correlate import open_incident, revise_incident
from edge_agent.responding.evidence import collect
from edge_agent.responding.settings import Settings
from edge_agent.simulation.plantsim.recording import START, STATION, Line, Recording
from edge_agent.simulation.plantsim.scenario import Scenario, draw

SETTINGS = Settings(line_id="L1", stations=(STATION,), default_rate=0.0015)
LATE = 3
"""An incident that opened this many parts before the onset is a false alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known of an incident at one revision."""

    evidence: tuple[Evidence, ...]
    excess: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One scenario, as far as the numbers of the ranking need it.

    Attributes:
        first, last: the main incident when it opened and at its last revision; None: nothing was noticed.
        delay: parts from the onset to the alarm.
        incidents: how many were opened since the onset.
        false_alarms: opened before it.
        parts: made without any fault.
    """

    scenario: Scenario
    first: Look | None
    last: Look | None
    delay: int | None = None
    incidents: int = 0
    false_alarms: int = 0
    calm_parts: int = 0

    @property
    def truth(self) -> frozenset[str]:
        """The cause, or causes."""
        return self.scenario.causes


class _Ids:
    """Ids in order; time is the record's own."""

    def __init__(self) -> None:
        self._count = 0

    def now(self) -> datetime:
        return START

    def monotonic_ns(self) -> int:
        return 0

    def new_id(self) -> UUID:
        self._count += 1
        return UUID(int=self._count)


@dataclass(frozen=True, slots=True)
class _Plant:
    recording: Recording

    def signals(self) -> list[str]:
        return sorted(self.recording.series)

    def series(self, signal: str, start: datetime, end: datetime) -> list[Sample]:
        return [one for one in self.recording.series.get(signal, ()) if start <= one.at < end]

    def events(self, start: datetime, end: datetime, *, kind: str | None = None) -> list[PlantEvent]:
        return [one for one in self.recording.events if start <= one.at < end and kind in {None, one.kind}]


@dataclass(frozen=True, slots=True)
class _Answers:
    def cases(self, *, limit: int = 2000) -> list[ConfirmedCase]:
        return []


@dataclass(frozen=True, slots=True)
class _Steps:
    """Nobody describes pictures here."""

    def list(self, incident_id: UUID) -> list[Step]:
        return []


@dataclass(frozen=True, slots=True)
class _Facts:
    """Nothing watches the camera here."""

    def get(self, key: str) -> object:
        return None


@dataclass(frozen=True, slots=True)
class _Record:
    """As much of a unit of work as evidence is gathered from."""

    plant: _Plant
    answers: _Answers = _Answers()
    steps: _Steps = _Steps()
    facts: _Facts = _Facts()


def witness(scenario: Scenario, catalogue: Catalogue) -> Case:
    """Run a scenario through charts, incidents and evidence tools."""
    line, clock = Line(scenario), cast("Clock", _Ids())
    charts = StationCharts(station_id=STATION, settings=SETTINGS, catalogue=catalogue)
    looks: dict[str, list[tuple[Incident, int]]] = {}
    false_alarms = 0
    for number in range(line.length):
        if looks and not scenario.faults:
            break  # nothing more will come of it
        inspection = line.next(number)
        for alarm in charts.follow(inspection):
            if alarm.kind == "end":
                charts.ended(alarm.family, inspection.ended_at)
                continue
            known = looks.get(alarm.family)
            if alarm.kind == "open":
                incident = open_incident(line.parts(), charts, alarm.family, alarm.code, clock=clock)
                charts.opened(alarm.family, incident.incident_id, incident.defective_parts, inspection.ended_at)
                line.chance = False
                if number < scenario.onset - LATE:
                    false_alarms += 1
                    continue
                looks.setdefault(alarm.family, []).append((incident, number + 1))
            elif known:
                incident = revise_incident(known[-1][0], line.parts(), charts)
                charts.revised(alarm.family, incident.defective_parts, inspection.ended_at)
                known.append((incident, number + 1))
    recording = line.recording()
    if not looks:
        return Case(scenario=scenario, first=None, last=None, false_alarms=false_alarms, calm_parts=scenario.onset)
    main = max(looks.values(), key=lambda one: one[-1][0].defective_parts)
    first, last = (_look(recording, incident, until, charts) for incident, until in (main[0], main[-1]))
    return Case(
        scenario=scenario,
        first=first,
        last=last,
        delay=min(one[0][1] for one in looks.values()) - scenario.onset,
        incidents=len(looks),
        false_alarms=false_alarms,
        calm_parts=scenario.onset,
    )


def witnesses(seed: int, numbers: Sequence[int], catalogue: Catalogue) -> list[Case]:
    """The cases of some scenarios of a pack."""
    return [witness(draw(seed, number), catalogue) for number in numbers]


def calm_tokens(scenario: Scenario, catalogue: Catalogue) -> dict[str, tuple[int, int]]:
    """Token to (fired, looked for) at an arbitrary moment before anything is wrong, as the agent samples its line."""
    line = Line(scenario)
    charts = StationCharts(station_id=STATION, settings=SETTINGS, catalogue=catalogue)
    for number in range(scenario.onset):
        charts.follow(line.next(number))
    recording = line.recording()
    parts = list(recording.inspections)
    window = gather(_store(recording), pretended(parts, charts), parts, charts, SETTINGS)
    found = counted({}, looked_at(window))
    return {token: (int(fired), int(runs)) for token, (fired, runs) in found.items()}


def _store(recording: Recording) -> UnitOfWork:
    return cast("UnitOfWork", _Record(_Plant(recording)))


def _look(recording: Recording, incident: Incident, until: int, charts: StationCharts) -> Look:
    parts: Sequence[Inspection] = recording.inspections[:until]
    window = gather(_store(recording), incident, parts, charts, SETTINGS)
    return Look(evidence=collect(window), excess=incident.statistic - incident.threshold)


def signs(look: Look) -> Mapping[str, int]:
    """Token to +1 or -1, as a confirmed case keeps them."""
    found: dict[str, int] = {}
    for one in look.evidence:
        if one.token is not None and one.polarity.value != "unknown":
            found[one.token] = max(found.get(one.token, -1), 1 if one.polarity.value == "present" else -1)
    return found
