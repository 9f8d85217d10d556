"""Rankings side by side, from the prior alone to one that knows the simulator's own likelihoods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import exp
from uuid import UUID

import numpy as np

from edge_agent.domain.cause import NONE, OTHER, Catalogue, Cause, Signature
from edge_agent.domain.evidence import Polarity
from edge_agent.domain.inference import SEED, Weights, backgrounds, posterior, prior, remembered
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.learning.refit import Refit, refit
from edge_agent.responding.analyse import Knowledge
from edge_agent.responding.check_order import LOTO_MINUTES
from edge_agent.responding.given import ranking
from edge_agent.simulation.plantsim.recording import START
from edge_agent.simulation.plantsim.scoring import Judged
from edge_agent.simulation.plantsim.witness import Case, Look, signs

WRONG, LAZY, UNANSWERED = 0.10, 0.20, 0.30
"""Of technicians' answers: wrong, a bare yes to the first suspect, none at all."""
LAZY_WEIGHT, CHECKED_WEIGHT, RECOVERED_WEIGHT, FAILED_WEIGHT = 0.3, 0.7, 1.0, 0.21
"""What reconcile and the recovery test make of them (learning/reconcile.py, learning/recovery.py)."""
CITED = 3
RULE_SHARE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A case with what was answered about it."""

    case: Case
    confirmed: ConfirmedCase


def hybrid(
    cases: Sequence[Case], known: Knowledge, confirmed: Sequence[ConfirmedCase] = (), *, first: bool = False
) -> list[Judged]:
    """The product: catalogue, background and what was learned."""
    return [judged for case in cases if (judged := _hybrid(case, known, confirmed, first=first))]


def _hybrid(case: Case, known: Knowledge, confirmed: Sequence[ConfirmedCase], *, first: bool) -> Judged | None:
    look = case.first if first else case.last
    if look is None:
        return None
    found = ranking(known, look.evidence, confirmed, excess=look.excess)
    tokens = {one.evidence_id: one for one in look.evidence}
    suspect = next(one for one in found.hypotheses if one.cause_id not in {NONE, OTHER})
    cited = [
        fact.token
        for term in suspect.terms
        if term.delta > 0 and (fact := tokens[term.evidence_id]).token and fact.polarity is Polarity.PRESENT
    ]
    p = {one.cause_id: one.p for one in found.hypotheses}
    return replace(
        _judged(case, p),
        unknown=found.unknown_score,
        convicts=found.decision == "act",
        cited=tuple(token for token in cited[:CITED] if token),
        minutes=minutes_to_cause(known.catalogue, [check.check_id for check in found.checks], p, case.truth),
    )


def prior_only(cases: Sequence[Case], catalogue: Catalogue) -> list[Judged]:
    """What is usual, whatever is seen."""
    return [_judged(case, prior(catalogue)) for case in cases if case.last]


def rules_only(cases: Sequence[Case], catalogue: Catalogue) -> list[Judged]:
    """The share of a cause's symptoms that are there, as a plain expert system counts them."""
    return [_judged(case, _matched(case.last, catalogue)) for case in cases if case.last]


def _matched(look: Look, catalogue: Catalogue) -> dict[str, float]:
    seen = signs(look)
    scores = {
        cause.cause_id: max(_share(cause, signature, seen) for signature in cause.signatures)
        for cause in catalogue.causes
    }
    weights = {cause: exp(6 * score) for cause, score in scores.items()} | {NONE: exp(1.0), OTHER: exp(1.5)}
    total = sum(weights.values())
    return {cause: weight / total for cause, weight in weights.items()}


def _share(cause: Cause, signature: Signature, seen: Mapping[str, int]) -> float:
    """Of the symptoms that could be looked for: the share that fits."""
    fits = [seen[one.token] > 0 for one in signature.all_of if one.token in seen]
    either = [seen[one.token] > 0 for one in signature.any_of if one.token in seen]
    fits += [any(either)] if either else []
    fits += [seen[one.token] < 0 for one in signature.none_of if one.token in seen]
    shown = [code for token, sign in seen.items() if sign > 0 and (code := token.partition("class:")[2])]
    fits += [code in cause.classes for code in shown]
    return sum(fits) / len(fits) if fits else 0.0


def feedback_only(cases: Sequence[Case], catalogue: Catalogue, confirmed: Sequence[ConfirmedCase]) -> list[Judged]:
    """What was confirmed here, without the catalogue's signatures: the same softmax on rows that say nothing."""
    blank = replace(
        catalogue,
        causes=tuple(replace(one, signatures=(), occurrence=5, classes={}) for one in catalogue.causes),
        families={},
    )
    background = backgrounds(blank) | {f"class:{code}": 0.3 for code in catalogue.severity}
    fitted = refit(confirmed, blank, background, version="feedback")
    weights = fitted.weights if len(confirmed) >= 5 else SEED
    found = []
    for case in cases:
        if case.last:
            observed = {t: one for t, one in remembered(signs(case.last)).items() if t in background}
            scored = posterior(blank, observed, background, weights)
            found.append(_judged(case, {one.cause_id: one.p for one in scored}))
    return found


def _judged(case: Case, p: Mapping[str, float]) -> Judged:
    return Judged(truth=case.truth, kind=case.scenario.kind, fault="+".join(case.scenario.faults) or "chance", p=p)


# --- technicians ----------------------------------------------------------------------------------------------------


def answers(cases: Sequence[Case], known: Knowledge, *, seed: int) -> list[ConfirmedCase]:
    """What technicians answer about cases in order of time: some wrong, some lazily, some not at all.

    Every tenth order hides its ranking; there nobody can agree without looking.
    """
    rng = np.random.default_rng([seed, 41])
    causes = [cause.cause_id for cause in known.catalogue.causes]
    found: list[ConfirmedCase] = []
    for number, case in enumerate(cases):
        if case.last is None or rng.random() < UNANSWERED:
            continue
        ranked = ranking(known, case.last.evidence, excess=case.last.excess)
        first = next(one.cause_id for one in ranked.hypotheses if one.cause_id not in {NONE, OTHER})
        truth = sorted(case.truth)[int(rng.integers(len(case.truth)))]
        roll, blind = rng.random(), number % 10 == 0
        said, weight = truth, CHECKED_WEIGHT
        if roll < WRONG:
            said = str(rng.choice(causes))
        elif roll < WRONG + LAZY and not blind:
            said, weight = first, LAZY_WEIGHT
        if weight == CHECKED_WEIGHT and said != NONE:
            weight = RECOVERED_WEIGHT if said in case.truth else FAILED_WEIGHT
        elif said == NONE:
            weight = 0.3
        found.append(
            ConfirmedCase(
                incident_id=UUID(int=number + 1),
                order_id=UUID(int=number + 1),
                cause_id=said,
                code="",
                line_id="L1",
                tokens=dict(signs(case.last)),
                weight=weight,
                confirmed_at=START + timedelta(hours=6 * number),
                first_suspect=first,
                excess=case.last.excess,
            )
        )
    return found


def learned(confirmed: Sequence[ConfirmedCase], known: Knowledge) -> tuple[Knowledge, Refit]:
    """What is known after these answers, if the gate lets the fit pass."""
    fitted = refit(confirmed, known.catalogue, known.background, version=f"fit-{len(confirmed)}")
    weights: Weights = fitted.weights if fitted.activate else known.weights
    return replace(known, weights=weights), fitted


# --- minutes --------------------------------------------------------------------------------------------------------


def minutes_to_cause(
    catalogue: Catalogue, order: Sequence[str], p: Mapping[str, float], truth: frozenset[str]
) -> float | None:
    """Minutes of checks, in this order and then by suspicion, until one that belongs to a true cause is done."""
    minutes = {
        check.check_id: check.minutes + LOTO_MINUTES * check.loto
        for cause in catalogue.causes
        for check in cause.checks
    }
    rest = [
        check.check_id
        for cause in sorted(catalogue.causes, key=lambda one: -p.get(one.cause_id, 0.0))
        for check in cause.checks
    ]
    goal = {check.check_id for cause in catalogue.causes if cause.cause_id in truth for check in cause.checks}
    if not goal:
        return None
    spent = 0.0
    for check in dict.fromkeys((*order, *rest)):
        spent += minutes[check]
        if check in goal:
            return spent
    return None
