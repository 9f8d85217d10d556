"""The only places where an inspection is made; each names what it knows and nothing more."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from edge_agent.domain.defect import ModelRef, Sighting
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection, Opinion, Quality, Ruling
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """When an inspection ran and how long its stages took."""

    started_at: datetime
    ended_at: datetime
    stages_ms: Mapping[str, float]


def judged(
    shot: Shot,
    recipe: Recipe,
    quality: Quality,
    sighting: Sighting,
    ruling: Ruling,
    times: Times,
    opinions: tuple[Opinion, ...] = (),
) -> Inspection:
    """The part was looked at and judged."""
    return Inspection(
        inspection_id=shot.shot_id,
        shot=shot,
        evaluation=ruling.evaluation,
        disposition=ruling.disposition,
        reasons=ruling.reasons,
        defects=sighting.defects,
        score=ruling.score,
        started_at=times.started_at,
        ended_at=times.ended_at,
        recipe=recipe.ref,
        model=sighting.model,
        quality=quality,
        timings_ms=times.stages_ms,
        counted_ids=tuple(defect.defect_id for defect in ruling.counted),
        opinions=opinions,
    )


def not_decidable(shot: Shot, recipe: Recipe, quality: Quality, times: Times) -> Inspection:
    """The image is not fit to be judged."""
    return Inspection(
        inspection_id=shot.shot_id,
        shot=shot,
        evaluation=Evaluation.NOT_DECIDABLE,
        disposition=Disposition.HOLD,
        reasons=quality.reasons,
        defects=(),
        score=0.0,
        started_at=times.started_at,
        ended_at=times.ended_at,
        recipe=recipe.ref,
        quality=quality,
        timings_ms=times.stages_ms,
    )


def not_inspected(
    shot: Shot,
    reason: Reason,
    times: Times,
    *,
    recipe: Recipe | None = None,
    model: ModelRef | None = None,
    sighting: Sighting | None = None,
) -> Inspection:
    """The part was not inspected: held, with the reason. What was seen before it failed is kept for people."""
    return Inspection(
        inspection_id=shot.shot_id,
        shot=shot,
        evaluation=Evaluation.NOT_INSPECTED,
        disposition=Disposition.HOLD,
        reasons=(reason,),
        defects=sighting.defects if sighting else (),
        score=0.0,
        started_at=times.started_at,
        ended_at=times.ended_at,
        recipe=recipe.ref if recipe else None,
        model=model or (sighting.model if sighting else None),
        timings_ms=times.stages_ms,
    )
