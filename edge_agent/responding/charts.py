"""The charts of one station: a Bernoulli CUSUM per defect class, per family of classes, and for images not judged; for
rare severe classes a chart of the gaps between defects, too.

Their state is JSON in the store's facts and moves in the same transaction as the cursor: a part is charted once,
whatever happens to the process.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from edge_agent.domain.cause import Catalogue
from edge_agent.domain.counting import UNDECIDED, classes_on, is_decided
from edge_agent.domain.inspection import Evaluation, Inspection
from edge_agent.domain.quality import GAPS, Chart, ChartState, GapChart, advance, design, design_gaps
from edge_agent.responding.settings import Settings

CLOSE_AT = 0.5
"""An incident may end once its charts are below this share of their threshold."""
MEASURED_AFTER = 500
"""Parts without alarm before a measured rate is used; it is drawn to the configured one as if that had 1000 parts."""
PSEUDO_PARTS = 1000
RING_STEP, RING_LENGTH = 25, 24
SEVERE = 9
"""One defect of this severity opens an incident at once."""
RARE, GRAVE = 0.001, 7
"""Classes that are configured to be rarer, and are at least this severe, have a gap chart as well."""


@dataclass(slots=True, kw_only=True)
class Stream:
    """One chart and what it has seen.

    Attributes:
        rate: the base rate in use.
        quiet_parts, quiet_defective: committed to the measurement whenever the chart was back at zero.
        run_parts, run_defective: since then, not yet committed (they may be an incident's).
        gaps, since_defect: parts between the newest defects, and since the last; -1 before the first. Gap charts only.
    """

    rate: float
    value: float = 0.0
    parts: int = 0
    defective: int = 0
    quiet_parts: int = 0
    quiet_defective: int = 0
    run_parts: int = 0
    run_defective: int = 0
    gaps: list[int] = field(default_factory=list)
    since_defect: int = -1


@dataclass(slots=True, kw_only=True)
class Episode:
    """An open incident as the charts see it: counters only; the incident itself is in the store.

    Attributes:
        revise_at: defective parts at which it is worth another look (doubling).
        calm_parts: parts since all its charts came down.
    """

    incident_id: str
    defective: int
    revise_at: int
    revised_at: str
    calm_parts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something to respond to: an incident of this family must be opened, revised or ended."""

    kind: str
    """``open``, ``revise`` or ``end``."""
    family: str
    code: str
    incident_id: UUID | None = None


@dataclass(slots=True, kw_only=True)
class StationCharts:
    """All charts of a station."""

    station_id: str
    settings: Settings
    catalogue: Catalogue
    streams: dict[str, Stream] = field(default_factory=dict)
    episodes: dict[str, Episode] = field(default_factory=dict)
    deaf_until: dict[str, str] = field(default_factory=dict)
    """Family to the time before which parts are not charted: they were made before the cause was removed."""
    ring: list[str] = field(default_factory=list)
    """Times of every 25th part: how far back the history reaches."""
    seen: int = 0

    @property
    def history_from(self) -> datetime | None:
        """Where the remembered history begins."""
        return datetime.fromisoformat(self.ring[0]) if self.ring else None

    gap_codes: frozenset[str] = field(init=False)
    """The classes with a gap chart."""

    def __post_init__(self) -> None:
        severity = self.catalogue.severity
        rare = {code for code in severity if self.settings.rate_of(code) < RARE}
        self.gap_codes = frozenset(code for code in rare if GRAVE <= severity[code] < SEVERE)

    def chart_of(self, code: str) -> Chart:
        """The chart of a class, designed for the family's false-alarm budget."""
        return _designed(self._rate(code), self.settings.increase, self._between())

    def gap_chart_of(self, code: str) -> GapChart:
        """The gap chart of a rare severe class, out of the same budget."""
        return _designed_gaps(self._rate(code), self._between())

    def _rate(self, code: str) -> float:
        stream = self.streams.get(code)
        return stream.rate if stream else self._configured(code)

    def _between(self) -> float:
        """Parts between false alarms of each chart, so that all together keep the budget."""
        kinds = len(self.catalogue.severity.keys() | {UNDECIDED}) + len(self.catalogue.families) + len(self.gap_codes)
        return 1000 / self.settings.false_alarms_per_1000 * kinds * max(1, len(self.settings.stations))

    def follow(self, inspection: Inspection) -> list[Alarm]:
        """Chart one part; what must be done about it."""
        if inspection.evaluation is Evaluation.NOT_INSPECTED:
            return []
        self._remember(inspection)
        found = classes_on(inspection)
        charted = {UNDECIDED} | (set(self.catalogue.severity) | found if is_decided(inspection) else set())
        made = inspection.shot.triggered_at.isoformat()
        alarms: list[Alarm] = []
        for family, codes in _by_family(self.catalogue, charted).items():
            if _at(made) <= _at(self.deaf_until.get(family)):
                continue
            for code in codes:
                self._advance(code, code in found)
            if family not in codes:
                self._advance(family, not found.isdisjoint(codes))
            if alarm := self._family_alarm(family, codes, found, made):
                alarms.append(alarm)
        return alarms

    def opened(self, family: str, incident_id: UUID, defective: int, at: datetime) -> None:
        """An incident was opened for this family."""
        self.episodes[family] = Episode(
            incident_id=str(incident_id), defective=defective, revise_at=2 * defective, revised_at=at.isoformat()
        )

    def revised(self, family: str, defective: int, at: datetime) -> None:
        """Its incident was looked at again; the next look is due at twice as many."""
        episode = self.episodes[family]
        episode.revise_at, episode.revised_at = max(2 * defective, episode.defective + 1), at.isoformat()

    def ended(self, family: str, at: datetime) -> None:
        """The incident is over: its charts start again, with parts made from now on."""
        self.episodes.pop(family, None)
        self.deaf_until[family] = at.isoformat()
        for code in {family, *self.catalogue.classes_of(family)}:
            if stream := self.streams.get(code):
                stream.value, stream.parts, stream.defective = 0.0, 0, 0
                stream.run_parts, stream.run_defective = 0, 0
                stream.gaps, stream.since_defect = [], -1

    def _remember(self, inspection: Inspection) -> None:
        if self.seen % RING_STEP == 0:
            self.ring = [*self.ring[-(RING_LENGTH - 1) :], inspection.ended_at.isoformat()]
        self.seen += 1

    def _advance(self, code: str, defective: bool) -> None:
        stream = self.streams.setdefault(code, Stream(rate=self._configured(code)))
        state = ChartState(value=stream.value, parts=stream.parts, defective=stream.defective)
        state = advance(self.chart_of(code), state, defective)
        stream.value, stream.parts, stream.defective = state.value, state.parts, state.defective
        if code in self.gap_codes:
            _count_gap(stream, defective)
        stream.run_parts += 1
        stream.run_defective += defective
        if state.value == 0.0 and not self._open(code):
            self._measure(code, stream)

    def _measure(self, code: str, stream: Stream) -> None:
        """The chart is at rest: what it saw since it last was is normal, and tells what normal is."""
        stream.quiet_parts += stream.run_parts
        stream.quiet_defective += stream.run_defective
        stream.run_parts = stream.run_defective = 0
        configured = self._configured(code)
        if stream.quiet_parts >= MEASURED_AFTER:
            drawn = (configured * PSEUDO_PARTS + stream.quiet_defective) / (PSEUDO_PARTS + stream.quiet_parts)
            stream.rate = float(f"{min(max(drawn, configured / 4), configured * 2):.2g}")

    def _configured(self, code: str) -> float:
        """The normal rate of a class; of a whole family where its causes spread over several classes."""
        return min(0.3, sum(self.settings.rate_of(one) for one in self.catalogue.classes_of(code)))

    def _open(self, code: str) -> bool:
        return code in self.episodes or self.catalogue.family_of(code) in self.episodes

    def _family_alarm(self, family: str, codes: list[str], found: frozenset[str], made: str) -> Alarm | None:
        episode = self.episodes.get(family)
        if episode is None:
            charted = [*codes, *([family] if family not in codes else [])]
            code = next((code for code in charted if self._signals(code, code in found)), None)
            return Alarm(kind="open", family=family, code=code) if code else None
        hit = any(code in found for code in codes)
        episode.defective += hit
        calm = all(self.streams[code].value <= CLOSE_AT * self.chart_of(code).threshold for code in {family, *codes})
        episode.calm_parts = episode.calm_parts + 1 if calm and not hit else 0
        incident_id = UUID(episode.incident_id)
        if episode.calm_parts >= self._calm_enough(codes):
            return Alarm(kind="end", family=family, code=codes[0], incident_id=incident_id)
        waited = _at(made) - _at(episode.revised_at) >= self.settings.revise_after
        if hit and episode.defective >= episode.revise_at and waited:
            return Alarm(kind="revise", family=family, code=codes[0], incident_id=incident_id)
        return None

    def _signals(self, code: str, just_seen: bool) -> bool:
        stream = self.streams[code]
        if just_seen and self.catalogue.severity.get(code, 0) >= SEVERE:
            return True
        if just_seen and code in self.gap_codes and self.gap_chart_of(code).signals(stream.gaps):
            return True
        return stream.value >= self.chart_of(code).threshold and stream.defective >= self.settings.min_defective

    def _calm_enough(self, codes: list[str]) -> int:
        rate = sum(self.streams[code].rate for code in codes)
        return int(self.settings.close_after_good_factor / rate) + 1


@lru_cache(maxsize=256)
def _designed(rate: float, increase: float, between: float) -> Chart:
    return design(rate, increase, between)


@lru_cache(maxsize=256)
def _designed_gaps(rate: float, between: float) -> GapChart:
    return design_gaps(rate, between)


def _count_gap(stream: Stream, defective: bool) -> None:
    if stream.since_defect >= 0:
        stream.since_defect += 1
    if defective:
        if stream.since_defect > 0:
            stream.gaps = [*stream.gaps[-(GAPS - 1) :], stream.since_defect]
        stream.since_defect = 0


def _at(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _by_family(catalogue: Catalogue, codes: Iterable[str]) -> dict[str, list[str]]:
    families: dict[str, list[str]] = {}
    for code in sorted(codes):
        families.setdefault(catalogue.family_of(code), []).append(code)
    return families


# --- as JSON --------------------------------------------------------------------------------------------------------


def load_charts(
    record: Mapping[str, Any] | None, *, station_id: str, settings: Settings, catalogue: Catalogue
) -> StationCharts:
    """Charts from their record; new ones where there is none."""
    charts = StationCharts(station_id=station_id, settings=settings, catalogue=catalogue)
    if record:
        charts.streams = {code: Stream(**values) for code, values in record["streams"].items()}
        charts.episodes = {family: Episode(**values) for family, values in record["episodes"].items()}
        charts.deaf_until = dict(record["deaf_until"])
        charts.ring = list(record["ring"])
        charts.seen = int(record["seen"])
    return charts


def as_record(charts: StationCharts) -> dict[str, Any]:
    """Charts as JSON."""
    return {
        "streams": {
            code: {name: getattr(stream, name) for name in Stream.__slots__}
            for code, stream in sorted(charts.streams.items())
        },
        "episodes": {
            family: {name: getattr(episode, name) for name in Episode.__slots__}
            for family, episode in charts.episodes.items()
        },
        "deaf_until": dict(charts.deaf_until),
        "ring": list(charts.ring),
        "seen": charts.seen,
    }
