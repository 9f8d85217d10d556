"""Promotion of a model at a station: the gates it must pass, and the watch over it afterwards."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from edge_agent.domain.defect import ModelRef
from edge_agent.domain.inspection import Evaluation, Inspection
from edge_agent.domain.proportion import lower_limit, upper_limit
from edge_agent.domain.shadow import ShadowLook

# --- gates ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What a model must have shown beside the live one before it may take its place.

    Attributes:
        min_parts: parts that both have seen.
        max_escapes: upper confidence limit on the share of defective parts that it would accept.
        max_false_rejects: upper confidence limit on the share of good parts that it would not accept.
        max_cycle_share: share of the station's cycle that 99 of 100 answers may take.
        confidence: of both limits, one-sided.
    """

    min_parts: int = 300
    max_escapes: float = 0.05
    max_false_rejects: float = 0.02
    max_cycle_share: float = 0.8
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One gate: what was found, and what is asked."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A shadow beside the live model, counted against the truth.

    Attributes:
        judged_by_people: parts whose truth a person has said; of the others the live model's word is taken for it.
        disagreements: parts of which both say different things.
        failed: parts on which the shadow failed.
        escapes, live_escapes: of ``defective`` parts, those that each accepts.
        false_rejects, live_false_rejects: of ``good`` parts, those that each does not accept.
        p99_ms: nearest-rank, trigger to answer as if the shadow were live; 0 without parts.
    """

    parts: int
    judged_by_people: int
    disagreements: int
    failed: int
    defective: int
    escapes: int
    live_escapes: int
    good: int
    false_rejects: int
    live_false_rejects: int
    p99_ms: float


def beside(looks: Sequence[ShadowLook], said: Mapping[UUID, bool]) -> Beside:
    """Count looks.

    Args:
        said: what people found: inspection id to "is defective". Where they have said nothing, OK and NOT_OK of the
            live model count; parts it held have no truth.
    """
    truths = [(look, said.get(look.inspection_id, _taken_for_truth(look))) for look in looks]
    bad = [look for look, defective in truths if defective is True]
    good = [look for look, defective in truths if defective is False]
    return Beside(
        parts=len(looks),
        judged_by_people=sum(look.inspection_id in said for look in looks),
        disagreements=sum(not look.agrees for look in looks),
        failed=sum(look.evaluation is Evaluation.NOT_INSPECTED for look in looks),
        defective=len(bad),
        escapes=sum(look.evaluation is Evaluation.OK for look in bad),
        live_escapes=sum(look.live_evaluation is Evaluation.OK for look in bad),
        good=len(good),
        false_rejects=sum(look.evaluation is not Evaluation.OK for look in good),
        live_false_rejects=sum(look.live_evaluation is not Evaluation.OK for look in good),
        p99_ms=nearest_rank([look.projected_ms for look in looks], 0.99),
    )


def judge(found: Beside, gates: Gates, cycle_ms: float) -> tuple[GateResult, ...]:
    """Hold what was found against the gates."""
    allowed_ms = gates.max_cycle_share * cycle_ms
    return (
        GateResult(
            name="parts",
            passed=found.parts >= gates.min_parts,
            text=f"{found.parts} parts seen beside the live model, {gates.min_parts} are asked",
        ),
        _share("escapes", found.escapes, found.defective, "defective", gates.max_escapes, gates.confidence),
        _share("false rejects", found.false_rejects, found.good, "good", gates.max_false_rejects, gates.confidence),
        GateResult(
            name="p99",
            passed=found.parts > 0 and found.p99_ms <= allowed_ms,
            text=f"99 of 100 answers within {found.p99_ms:.0f} ms, {allowed_ms:.0f} ms are allowed",
        ),
    )


def _share(name: str, count: int, of: int, kind: str, most: float, confidence: float) -> GateResult:
    limit = upper_limit(count, of, confidence)
    text = f"{count} of {of} {kind} parts, at most {limit:.2%} at {confidence:.0%} confidence, {most:.2%} are allowed"
    return GateResult(name=name, passed=limit <= most, text=text)


def _taken_for_truth(look: ShadowLook) -> bool | None:
    return {Evaluation.OK: False, Evaluation.NOT_OK: True}.get(look.live_evaluation)


# --- the watch ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRules:
    """When a promoted model is taken back.

    Attributes:
        window_parts: the newest parts that are looked at.
        min_parts: fewer say nothing, unless the model failed on `MANY_FAULTS` of them.
        parts: for so many parts after the promotion it is watched; then it has settled.
        confirm_parts: so many parts more must say the same before it is taken back.
        worse_by: what a share may be above its share before the promotion, and above what that may have been.
        slower_by: what p99 may be as a multiple of p99 before the promotion, once it is beyond ``max_cycle_share``.
        max_cycle_share: share of the station's cycle below which p99 is nobody's trouble.
        confidence: that a share has risen, one-sided.
    """

    window_parts: int = 100
    min_parts: int = 20
    parts: int = 1_000
    confirm_parts: int = 5
    worse_by: float = 0.02
    slower_by: float = 1.25
    max_cycle_share: float = 0.8
    confidence: float = 0.95


MANY_FAULTS = 3
_FAULTS = frozenset({"detector.failed", "detector.output", "image.size", "golden.size", "agent.failed"})
"""Reasons of parts on which a model fails; the last one stands for an error that nobody foresaw."""
_TOO_SLOW = frozenset({"cycle.late", "station.overrun"})
"""Reasons of parts for which a model may have been too slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a station did over some parts, as far as its model can be to blame.

    Attributes:
        faults: parts on which the model failed.
        not_inspected: parts without an answer, those among them; late answers and a full queue too.
        held: parts that were held in doubt although their image was usable.
        p99_ms: nearest-rank, trigger to answer; 0 without parts.
    """

    parts: int = 0
    faults: int = 0
    not_inspected: int = 0
    held: int = 0
    p99_ms: float = 0.0


def standing(inspections: Iterable[Inspection]) -> Standing:
    """Count inspections; those that never came to the model are left out."""
    counted = [one for one in inspections if _model_is_asked(one)]
    answered = [one.duration_ms for one in counted if one.evaluation is not Evaluation.NOT_INSPECTED]
    late = [one.duration_ms for one in counted if _code(one) == "cycle.late"]
    return Standing(
        parts=len(counted),
        faults=sum(_code(one) in _FAULTS for one in counted),
        not_inspected=sum(one.evaluation is Evaluation.NOT_INSPECTED for one in counted),
        held=sum(one.evaluation is Evaluation.NOT_DECIDABLE for one in counted),
        p99_ms=nearest_rank([*answered, *late], 0.99),
    )


def fallen(before: Standing, after: Standing, rules: WatchRules, cycle_ms: float) -> str:
    """What has become worse, in a sentence; empty when nothing has for sure."""
    if after.parts < rules.min_parts and after.faults < MANY_FAULTS:
        return ""
    shares = (("failed", "faults"), ("were not inspected", "not_inspected"), ("were held in doubt", "held"))
    worse = [_risen(words, getattr(before, name), getattr(after, name), before, after, rules) for words, name in shares]
    beyond = after.p99_ms > rules.max_cycle_share * cycle_ms and after.p99_ms > rules.slower_by * before.p99_ms
    if beyond:
        worse.append(f"99 of 100 answers within {after.p99_ms:.0f} ms of {cycle_ms:.0f}, {before.p99_ms:.0f} before")
    return "; ".join(text for text in worse if text)


def _risen(words: str, count_before: int, count: int, before: Standing, after: Standing, rules: WatchRules) -> str:
    usual = count_before / before.parts if before.parts else 0.0
    # What is known of the time before is uncertain, too, unless there is too little of it to say anything.
    perhaps = upper_limit(count_before, before.parts, rules.confidence) if before.parts >= rules.min_parts else 0.0
    if lower_limit(count, after.parts, rules.confidence) <= max(usual + rules.worse_by, perhaps):
        return ""
    return f"{count} of {after.parts} parts {words}, {count_before} of {before.parts} before"


def _model_is_asked(inspection: Inspection) -> bool:
    if inspection.evaluation is Evaluation.NOT_DECIDABLE:
        return inspection.quality is None or inspection.quality.usable
    not_inspected = inspection.evaluation is Evaluation.NOT_INSPECTED
    return not not_inspected or _code(inspection) in _FAULTS | _TOO_SLOW


def _code(inspection: Inspection) -> str:
    not_inspected = inspection.evaluation is Evaluation.NOT_INSPECTED and inspection.reasons
    return inspection.reasons[0].code if not_inspected else ""


def nearest_rank(values: Iterable[float], share: float) -> float:
    """The nearest-rank percentile; 0 of no values."""
    ranked = sorted(values)
    return ranked[max(math.ceil(share * len(ranked)) - 1, 0)] if ranked else 0.0


# --- a promotion ----------------------------------------------------------------------------------------------------


class PromotionState(StrEnum):
    """How far a promotion has come."""

    ASKED = "asked"
    WATCHED = "watched"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A model that stands, at one station, where the recipes name another.

    Attributes:
        word: the model as the recipes name it.
        model: what stands in its place.
        earlier: what stood there before.
        by, why: who asked for it, and the reason.
        forced: although a gate refused it.
        since: when it took effect; None: not yet.
        before: how the station did before it took effect.
    """

    word: str
    model: ModelRef
    earlier: ModelRef
    by: str
    why: str
    at: datetime
    forced: bool = False
    state: PromotionState = PromotionState.ASKED
    since: datetime | None = None
    before: Standing = Standing()
