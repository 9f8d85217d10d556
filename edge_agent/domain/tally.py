"""Counting inspections: yields, defects by class, times, and subgroups for control charts."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from edge_agent.domain.defect import Defect
from edge_agent.domain.incident import Incident
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection

JUDGED = frozenset({Evaluation.OK, Evaluation.NOT_OK})
"""Parts whose image gave an answer: the denominator of a defect rate."""
UNDECIDED = "not_decidable"
"""The "class" of parts whose image could not be judged: the health of the inspection itself."""
_SURE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a run of inspections adds up to.

    Attributes:
        evaluations, dispositions: number by word; every word is there, also with 0.
        defects: the defects that parts were rejected for, by class.
        reasons: number of HOLD parts by reason code.
        durations_ms: trigger to disposition of each part that has one, in order.
        models, recipes: ``name version sha`` of each that was used, with the number of parts.
    """

    parts: int
    evaluations: Mapping[str, int]
    dispositions: Mapping[str, int]
    defects: Mapping[str, int]
    reasons: Mapping[str, int]
    durations_ms: tuple[float, ...]
    models: Mapping[str, int]
    recipes: Mapping[str, int]
    first_at: datetime | None
    last_at: datetime | None

    @property
    def first_pass_yield(self) -> float | None:
        """Share of all parts that were accepted at the first look; a held part is not. None without parts."""
        return self.dispositions[Disposition.ACCEPT] / self.parts if self.parts else None

    def duration_ms(self, share: float) -> float | None:
        """The nearest-rank percentile (``share`` 0.5 is the median) of the durations; None without any."""
        ranked = sorted(self.durations_ms)
        return ranked[max(math.ceil(share * len(ranked)) - 1, 0)] if ranked else None


def tally(inspections: Iterable[Inspection]) -> Tally:
    """Count inspections, given oldest first; reads them once and keeps none."""
    evaluations, dispositions = Counter(dict.fromkeys(Evaluation, 0)), Counter(dict.fromkeys(Disposition, 0))
    defects: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    models: Counter[str] = Counter()
    recipes: Counter[str] = Counter()
    durations: list[float] = []
    first = last = None
    for seen in inspections:
        first, last = first or seen.ended_at, seen.ended_at
        evaluations[seen.evaluation] += 1
        dispositions[seen.disposition] += 1
        defects.update(defect.code for defect in rejected_for(seen))
        reasons.update(reason.code for reason in seen.reasons if seen.disposition is Disposition.HOLD)
        durations.extend([seen.duration_ms] if seen.duration_ms > 0 else [])
        models.update([model_name(seen)] if seen.model else [])
        recipes.update([recipe_name(seen)] if seen.recipe else [])
    return Tally(
        parts=sum(evaluations.values()),
        evaluations=_by_word(evaluations),
        dispositions=_by_word(dispositions),
        defects=dict(defects),
        reasons=dict(reasons),
        durations_ms=tuple(durations),
        models=dict(models),
        recipes=dict(recipes),
        first_at=first,
        last_at=last,
    )


def _by_word(counts: Mapping[Evaluation, int] | Mapping[Disposition, int]) -> dict[str, int]:
    return {str(word): count for word, count in counts.items()}


def model_name(inspection: Inspection) -> str:
    """``name version (sha256 begins ...)``; empty without a model."""
    model = inspection.model
    return f"{model.name} {model.version} ({model.sha256[:12]})" if model else ""


def recipe_name(inspection: Inspection) -> str:
    """``id v3 (sha256 begins ...)``; empty without a recipe."""
    recipe = inspection.recipe
    return f"{recipe.recipe_id} v{recipe.version} ({recipe.sha256[:12]})" if recipe else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgroup:
    """Consecutive judged parts: how many, and how many of them defective."""

    start: datetime
    end: datetime
    n: int
    defective: int

    @property
    def share(self) -> float:
        """Defective share, 0 to 1."""
        return self.defective / self.n


def subgroups(inspections: Sequence[Inspection], wanted: int, *, code: str | None = None) -> list[Subgroup]:
    """Judged parts, oldest first, cut into at most ``wanted`` subgroups of equal size (the last may be smaller).

    Args:
        inspections: oldest first; parts that were not judged are left out (unless it is they that are counted).
        wanted: number of subgroups at most.
        code: a part is defective when it was rejected for this class; None: when it was rejected at all;
            ``not_decidable``: when its image could not be judged.
    """
    among = JUDGED | {Evaluation.NOT_DECIDABLE} if code == UNDECIDED else JUDGED
    judged = [seen for seen in inspections if seen.evaluation in among]
    size = max(math.ceil(len(judged) / wanted), 1)
    return [_subgroup(judged[first : first + size], code) for first in range(0, len(judged), size)]


def _subgroup(parts: Sequence[Inspection], code: str | None) -> Subgroup:
    return Subgroup(
        start=parts[0].ended_at,
        end=parts[-1].ended_at,
        n=len(parts),
        defective=sum(is_defective(part, code) for part in parts),
    )


def is_defective(inspection: Inspection, code: str | None = None) -> bool:
    """Was it rejected (for this class, where one is given)?"""
    if code == UNDECIDED:
        return inspection.evaluation is Evaluation.NOT_DECIDABLE
    if code is None:
        return inspection.evaluation is Evaluation.NOT_OK
    return any(defect.code == code for defect in rejected_for(inspection))


def rejected_for(inspection: Inspection) -> tuple[Defect, ...]:
    """The defects a part was rejected for: the sure ones, and always the one that decided.

    An inspection keeps everything that was seen, below the limits too; only NOT_OK parts were rejected.
    """
    if inspection.evaluation is not Evaluation.NOT_OK:
        return ()
    least = min(_SURE, inspection.score)
    return tuple(defect for defect in inspection.defects if defect.score >= least)


def normal_share(groups: Sequence[Subgroup], incident: Incident | None = None) -> float:
    """The centre of a p-chart: the share before this incident (at least its class's normal rate), else of all groups.

    A mean over good and bad times together makes a limit so wide that nothing stands out.
    """
    calm = [group for group in groups if group.end < incident.onset_from] if incident else groups
    judged = sum(group.n for group in calm)
    share = sum(group.defective for group in calm) / judged if judged else 0.0
    return max(share, incident.baseline_rate) if incident else share


def first_incident(incidents: Iterable[Incident], groups: Sequence[Subgroup]) -> Incident | None:
    """The first of those whose onset lies among the subgroups."""
    among = [one for one in incidents if groups and groups[0].start < one.onset_to and one.onset_from < groups[-1].end]
    return min(among, key=lambda one: one.onset_from, default=None)


def upper_limit(center: float, n: int) -> float:
    """The p-chart's upper control limit, ``p + 3 sqrt(p (1 - p) / n)`` (Montgomery, chapter 7.2), at most 1."""
    return min(center + 3 * math.sqrt(max(center * (1 - center), 0.0) / n), 1.0)


def position_of(at: datetime, groups: Sequence[Subgroup]) -> float:
    """Where an instant lies on an axis that counts subgroups: 0 is the middle of the first one."""
    for index, group in enumerate(groups):
        if at <= group.end:
            span = (group.end - group.start).total_seconds()
            within = (at - group.start).total_seconds() / span if span > 0 else 0.5
            return index - 0.5 + min(max(within, 0.0), 1.0)
    return len(groups) - 0.5
