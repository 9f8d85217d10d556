"""Several judges, one evaluation: the recipe's model and whoever it asks beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from edge_agent.domain.defect import Defect, Sighting
from edge_agent.domain.faults import PartFault
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.domain.inspection import Disposition, Evaluation, Opinion, Quality, Ruling
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import DifferenceRule, GaugeRule, JudgeRule, ModelRule, Recipe
from edge_agent.inspecting.comparing import differences, gauge
from edge_agent.inspecting.decide import decide
from edge_agent.inspecting.gate import Reference
from edge_agent.ports import Clock, Detector

OWN = "model"
"""Name of the recipe's own model among the judges."""
_DISPOSITION = {
    Evaluation.OK: Disposition.ACCEPT,
    Evaluation.NOT_OK: Disposition.REJECT,
    Evaluation.NOT_DECIDABLE: Disposition.HOLD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was seen on a part, by all judges, and what it means."""

    sighting: Sighting
    ruling: Ruling
    opinions: tuple[Opinion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """One judge: its opinion, its reasons, and the defects it adds."""

    opinion: Opinion
    reasons: tuple[Reason, ...] = ()
    defects: tuple[Defect, ...] = ()
    counted: tuple[Defect, ...] = ()


class Panel:
    """Asks the judges of a recipe, in its order.

    Args:
        detectors: by model name; warmed up.
    """

    def __init__(self, detectors: Mapping[str, Detector], clock: Clock) -> None:
        self._detectors = detectors
        self._clock = clock

    def judge(
        self, frame: Frame, recipe: Recipe, reference: Reference | None, quality: Quality, own: Verdict
    ) -> Verdict:
        """The verdict of all.

        Raises:
            PartFault: one of them could not judge. The part is then not inspected: a judge that is silent has not
                found the part good.
        """
        heard = [_own(own)]
        heard += [self._ask(judge, frame, recipe, reference, quality) for judge in recipe.judges]
        defects = tuple(defect for one in heard for defect in one.defects)
        sighting = placed(replace(own.sighting, defects=defects), recipe, quality)
        return Verdict(sighting=sighting, ruling=fuse(heard, recipe), opinions=tuple(one.opinion for one in heard))

    def _ask(
        self, judge: JudgeRule, frame: Frame, recipe: Recipe, reference: Reference | None, quality: Quality
    ) -> _Heard:
        shift = quality.shift_xy_px or (0.0, 0.0)
        match judge:
            case ModelRule():
                golden = reference.as_seen(quality) if reference else None
                sighting = self._detectors[judge.model].detect(frame, golden, quality.shift_xy_px)
                return _from_model(judge, sighting, decide(sighting, recipe, quality.shift_xy_px))
            case DifferenceRule():
                if reference is None:
                    raise PartFault(
                        "golden.missing", f"judge {judge.name} compares with a golden image and there is none"
                    )
                return _from_differences(judge, frame, reference.as_seen(quality), shift, self._clock)
            case GaugeRule():
                return _from_gauge(judge, gauge(frame.pixels, shift, judge), recipe.px_per_mm)


def in_its_place(ruling: Ruling, opinions: Sequence[Opinion], recipe: Recipe) -> Ruling:
    """The ruling of all, had another model stood in the own one's place; the others said what they said."""
    own = Opinion(judge=OWN, evaluation=ruling.evaluation, score=ruling.score, text=_said(ruling.reasons))
    heard = [_Heard(opinion=own, reasons=ruling.reasons, counted=ruling.counted)]
    return fuse([*heard, *(_Heard(opinion=one) for one in opinions if one.judge != OWN)], recipe)


def fuse(heard: "list[_Heard]", recipe: Recipe) -> Ruling:
    """The worst answer counts; so many doubts together reject, where the recipe says so."""
    evaluations = [one.opinion.evaluation for one in heard]
    doubts = evaluations.count(Evaluation.NOT_DECIDABLE)
    together = recipe.doubts_reject > 0 and doubts >= recipe.doubts_reject
    if Evaluation.NOT_OK in evaluations or together:
        found = Evaluation.NOT_OK
    else:
        found = Evaluation.NOT_DECIDABLE if doubts else Evaluation.OK
    speaks = {Evaluation.NOT_OK, Evaluation.NOT_DECIDABLE} if found is not Evaluation.OK else set()
    return Ruling(
        evaluation=found,
        disposition=_DISPOSITION[found],
        reasons=tuple(reason for one in heard if one.opinion.evaluation in speaks for reason in one.reasons),
        score=max(one.opinion.score for one in heard),
        counted=_distinct(heard) if found is Evaluation.NOT_OK else (),
    )


def _distinct(heard: "list[_Heard]") -> tuple[Defect, ...]:
    by_id: dict[UUID, Defect] = {defect.defect_id: defect for one in heard for defect in one.counted}
    return tuple(by_id.values())


def placed(sighting: Sighting, recipe: Recipe, quality: Quality) -> Sighting:
    """With positions on the part, where the recipe knows the scale."""
    if recipe.px_per_mm is None:
        return sighting
    scale, (shift_x, shift_y) = recipe.px_per_mm, quality.shift_xy_px or (0.0, 0.0)
    found = tuple(
        replace(defect, position_mm=((defect.center_px[0] - shift_x) / scale, (defect.center_px[1] - shift_y) / scale))
        for defect in sighting.defects
    )
    return replace(sighting, defects=found)


def _own(own: Verdict) -> _Heard:
    opinion = Opinion(
        judge=OWN,
        evaluation=own.ruling.evaluation,
        score=own.ruling.score,
        text=_said(own.ruling.reasons),
        model=own.sighting.model,
    )
    return _Heard(opinion=opinion, reasons=own.ruling.reasons, defects=own.sighting.defects, counted=own.ruling.counted)


def _from_model(judge: ModelRule, sighting: Sighting, ruling: Ruling) -> _Heard:
    evaluation = _allowed(ruling.evaluation, judge.may_reject)
    reasons = _named(judge.name, ruling.reasons)
    opinion = Opinion(
        judge=judge.name, evaluation=evaluation, score=ruling.score, text=_said(reasons), model=sighting.model
    )
    return _Heard(opinion=opinion, reasons=reasons, defects=sighting.defects, counted=ruling.counted)


def _from_differences(
    judge: DifferenceRule, frame: Frame, golden: Pixels, shift_xy_px: tuple[float, float], clock: Clock
) -> _Heard:
    found = differences(frame.pixels, golden, shift_xy_px, judge)
    largest = found[0].area_px if found else 0.0
    # A place as large as the limit scores one half, as a model's reject score does.
    defects = tuple(
        Defect(
            defect_id=clock.new_id(),
            code="difference",
            score=one.area_px / (one.area_px + judge.max_area_px),
            xyxy_px=one.xyxy_px,
        )
        for one in found
    )
    too_large = largest > judge.max_area_px
    evaluation = Evaluation.NOT_OK if too_large else Evaluation.NOT_DECIDABLE if found else Evaluation.OK
    text = f"{judge.name}: differs from the golden image in {len(found)} places, the largest {largest:.0f} px"
    reasons = (Reason(code="golden.difference", text=f"{text}, {judge.max_area_px:g} accepted"),) if found else ()
    opinion = Opinion(
        judge=judge.name,
        evaluation=_allowed(evaluation, judge.may_reject),
        score=defects[0].score if defects else 0.0,
        text=_said(reasons),
        value=largest,
        high=judge.max_area_px,
        unit="px2",
    )
    counted = tuple(defect for defect, one in zip(defects, found, strict=True) if one.area_px > judge.max_area_px)
    return _Heard(opinion=opinion, reasons=reasons, defects=defects, counted=counted)


def _from_gauge(judge: GaugeRule, reading: float, px_per_mm: float | None) -> _Heard:
    unit = "pcs" if judge.measure == "count" else "mm" if px_per_mm else "px"
    value = reading / px_per_mm if unit == "mm" and px_per_mm else reading
    beyond = max(judge.low - value, value - judge.high)
    evaluation = Evaluation.NOT_OK if beyond > judge.doubt else Evaluation.OK
    if abs(beyond) <= judge.doubt and judge.doubt > 0:
        evaluation = Evaluation.NOT_DECIDABLE
    text = f"{judge.name}: {value:.4g} {unit}, {judge.low:g} to {judge.high:g} accepted"
    reasons = () if evaluation is Evaluation.OK else (Reason(code="gauge.limit", text=text),)
    opinion = Opinion(
        judge=judge.name,
        evaluation=_allowed(evaluation, judge.may_reject),
        score={Evaluation.OK: 0.0, Evaluation.NOT_DECIDABLE: 0.5}.get(evaluation, 1.0),
        text=text,
        value=value,
        low=judge.low,
        high=judge.high,
        unit=unit,
    )
    return _Heard(opinion=opinion, reasons=reasons)


def _allowed(evaluation: Evaluation, may_reject: bool) -> Evaluation:
    if evaluation is Evaluation.NOT_OK and not may_reject:
        return Evaluation.NOT_DECIDABLE
    return evaluation


def _named(judge: str, reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    return tuple(Reason(code=reason.code, text=f"{judge}: {reason.text}") for reason in reasons)


def _said(reasons: tuple[Reason, ...]) -> str:
    return "; ".join(reason.text for reason in reasons)
