"""The decision: a sighting held against a recipe gives an evaluation, a disposition and the reasons."""

from collections import Counter
from dataclasses import dataclass, field

from edge_agent.domain.defect import Defect, Sighting
from edge_agent.domain.inspection import Disposition, Evaluation, Ruling
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import ClassLimit, Recipe, Zone


@dataclass(slots=True)
class _Tally:
    """Defects sorted by what the recipe says of them."""

    counted: dict[tuple[str, str | None], list[Defect]] = field(default_factory=dict)
    doubtful: list[Defect] = field(default_factory=list)
    limits: dict[tuple[str, str | None], ClassLimit] = field(default_factory=dict)


def decide(sighting: Sighting, recipe: Recipe, shift_xy_px: tuple[float, float] | None = None) -> Ruling:
    """Judge what was seen.

    A defect counts when its score and size reach its limit; a class is NOT_OK when more defects count than its limit
    tolerates. Doubt (a score between ``doubt_score`` and ``reject_score``) is NOT_DECIDABLE and held for a person,
    unless something else already rejects the part. A class without a limit counts at the recipe's default.

    Args:
        sighting: defects in sensor coordinates.
        recipe: limits; zones are in golden-image coordinates.
        shift_xy_px: translation of golden onto sensor coordinates, from the gate.
    """
    tally = _sort(sighting, recipe, shift_xy_px or (0.0, 0.0))
    broken = {key: defects for key, defects in tally.counted.items() if len(defects) > tally.limits[key].max_count}
    if broken:
        counted = tuple(defect for defects in broken.values() for defect in defects)
        return Ruling(
            evaluation=Evaluation.NOT_OK,
            disposition=Disposition.REJECT,
            reasons=tuple(_too_many(key, broken[key], tally.limits[key]) for key in sorted(broken, key=str)),
            score=max([sighting.image_score, *(defect.score for defect in counted)]),
            counted=counted,
        )
    if tally.doubtful:
        return Ruling(
            evaluation=Evaluation.NOT_DECIDABLE,
            disposition=Disposition.HOLD,
            reasons=(_doubt(tally.doubtful),),
            score=max([sighting.image_score, *(defect.score for defect in tally.doubtful)]),
        )
    return Ruling(
        evaluation=Evaluation.OK,
        disposition=Disposition.ACCEPT,
        reasons=(),
        score=max([sighting.image_score, *(defect.score for each in tally.counted.values() for defect in each)]),
    )


def _sort(sighting: Sighting, recipe: Recipe, shift_xy_px: tuple[float, float]) -> _Tally:
    tally = _Tally()
    for defect in sighting.defects:
        zones = _zones_of(defect, recipe.zones, shift_xy_px)
        if any(zone.ignore for zone in zones):
            continue
        limit = _limit_for(defect, recipe, {zone.name for zone in zones})
        if defect.longest_side_px < limit.min_size_px or defect.score < limit.doubt_score:
            continue
        if defect.score < limit.reject_score:
            tally.doubtful.append(defect)
            continue
        key = (defect.code, limit.zone)
        tally.limits[key] = limit
        tally.counted.setdefault(key, []).append(defect)
    return tally


def _zones_of(defect: Defect, zones: tuple[Zone, ...], shift_xy_px: tuple[float, float]) -> list[Zone]:
    x, y = defect.center_px
    x, y = x - shift_xy_px[0], y - shift_xy_px[1]
    return [z for z in zones if z.xyxy_px[0] <= x < z.xyxy_px[2] and z.xyxy_px[1] <= y < z.xyxy_px[3]]


def _limit_for(defect: Defect, recipe: Recipe, zones: set[str]) -> ClassLimit:
    for limit in recipe.limits_for(defect.code):
        if limit.zone is None or limit.zone in zones:
            return limit
    return recipe.default_limit


def _too_many(key: tuple[str, str | None], defects: list[Defect], limit: ClassLimit) -> Reason:
    code, zone = key
    where = f" in zone {zone}" if zone else ""
    worst = max(defect.score for defect in defects)
    text = f"{len(defects)} x {code}{where} (score up to {worst:.2f}), {limit.max_count} tolerated"
    return Reason(code="defect.limit", text=text)


def _doubt(defects: list[Defect]) -> Reason:
    counts = Counter(defect.code for defect in defects)
    kinds = ", ".join(f"{count} x {code}" for code, count in sorted(counts.items()))
    best = max(defect.score for defect in defects)
    return Reason(
        code="defect.doubtful", text=f"{kinds} in the doubtful band (score up to {best:.2f}): look at the part"
    )
