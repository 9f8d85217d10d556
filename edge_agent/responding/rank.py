"""Ranked causes with what speaks for and against each, in words that do not promise more than the numbers hold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, log

from edge_agent.domain.analysis import Hypothesis, Term
from edge_agent.domain.cause import NONE, OTHER, Catalogue
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.incident import Incident
from edge_agent.domain.inference import Observation, Scored, Weights, none_penalty, observe, posterior

GRADES = ((0.85, "very likely"), (0.5, "likely"), (0.15, "possible"), (0.0, "unclear"))
SHOWN, LEAST_P, LEAST_DELTA = 5, 0.005, 0.05
NAMES = {NONE: "No assignable cause (chance)", OTHER: "A cause that is not in the catalogue"}
ACT_P, ACT_UNKNOWN, ACT_NONE, WATCH_NONE = 0.5, 0.4, 0.15, 0.3
SECOND_FROM_P, SECOND_P, SECOND_SUPPORT = 0.4, 0.6, 4.0
"""The first suspect must be this probable; the second one too, on what is left, with this much that speaks for it."""


def grade(p: float) -> str:
    """One of four words (four graded stages were read best; see docs/diagnosis.md)."""
    return next(word for least, word in GRADES if p >= least)


def rank(
    catalogue: Catalogue,
    evidence: Sequence[Evidence],
    incident: Incident,
    background: Mapping[str, float],
    weights: Weights,
) -> tuple[Hypothesis, ...]:
    """The most probable causes, with NONE and OTHER always among them."""
    everything = rank_all(catalogue, evidence, background, weights, excess=incident.statistic - incident.threshold)
    kept = [
        one
        for place, one in enumerate(everything)
        if one.cause_id in NAMES or (place < SHOWN + len(NAMES) and one.p >= LEAST_P)
    ]
    return tuple(replace(one, rank=place) for place, one in enumerate(kept[: SHOWN + len(NAMES)], start=1))


def rank_all(
    catalogue: Catalogue,
    evidence: Sequence[Evidence],
    background: Mapping[str, float],
    weights: Weights,
    *,
    excess: float | None = None,
) -> tuple[Hypothesis, ...]:
    """Every cause of the catalogue, NONE and OTHER, most probable first.

    Args:
        excess: how far the rate's statistic is above the threshold that opened the incident (log units).
    """
    observed = observe(evidence)
    scored = posterior(catalogue, observed, background, weights, none_penalty=none_penalty(excess))
    return tuple(_hypothesis(one, place, catalogue, observed) for place, one in enumerate(scored, start=1))


def _hypothesis(one: Scored, place: int, catalogue: Catalogue, observed: Mapping[str, Observation]) -> Hypothesis:
    cause = catalogue.cause(one.cause_id)
    terms = [
        Term(evidence_id=observed[token].evidence_id, delta=round(delta, 3))
        for token, delta in one.deltas.items()
        if abs(delta) >= LEAST_DELTA
    ]
    return Hypothesis(
        cause_id=one.cause_id,
        name=cause.name if cause else NAMES[one.cause_id],
        p=round(one.p, 6),
        rank=place,
        grade=grade(one.p),
        terms=tuple(sorted(terms, key=lambda term: -abs(term.delta))),
    )


def unknown_score(hypotheses: Sequence[Hypothesis], evidence: Sequence[Evidence], likeness: float) -> float:
    """0 to 1: how much the numbers say "not in the catalogue".

    Logistic in how probable something else is, what speaks for the best cause (patterns, strata and signals that are
    there; classes alone convince nobody), what speaks against it, and how far it leads (where several causes fit, one
    of them it is). Fitted on spent seeds of the simulator and on made-up catalogues: docs/diagnosis.md.

    Args:
        likeness: similarity (0 to 1) of the nearest confirmed incident whose cause was not in the catalogue.
    """
    best = next((one for one in hypotheses if one.cause_id not in NAMES), None)
    other = next((one.p for one in hypotheses if one.cause_id == OTHER), 0.0)
    if best is None:
        return round(max(0.5, other), 3)
    found = {one.evidence_id for one in evidence if _convinces(one)}
    pro = min(8.0, sum(term.delta for term in best.terms if term.delta > 0 and term.evidence_id in found))
    contra = min(6.0, -sum(term.delta for term in best.terms if term.delta < 0))
    odds = log(max(other, 1e-4) / (1 - min(other, 0.9999)))
    z = 1.8 + 0.7 * odds - 0.6 * pro + 0.6 * contra - 2.0 * (1 - best.p) + 1.5 * likeness
    return round(1 / (1 + exp(-z)), 3)


def _convinces(one: Evidence) -> bool:
    return one.polarity is Polarity.PRESENT and one.token is not None and not one.token.startswith("class:")


def second_cause(
    catalogue: Catalogue,
    evidence: Sequence[Evidence],
    background: Mapping[str, float],
    weights: Weights,
    hypotheses: Sequence[Hypothesis],
) -> Hypothesis | None:
    """Another cause that explains well what the first one leaves unexplained (deflation); None: one is enough.

    What speaks for the first suspect, and what it makes happen to others, is taken away; the rest is ranked again.
    """
    first = next((one for one in hypotheses if one.cause_id not in NAMES), None)
    if first is None or first.p < SECOND_FROM_P:
        return None
    explained = {term.evidence_id for term in first.terms if term.delta > 0}
    rest = [one for one in evidence if one.evidence_id not in explained]
    again = [one for one in rank_all(catalogue, rest, background, weights) if one.cause_id != first.cause_id]
    best = again[0]
    if best.cause_id in NAMES or best.p < SECOND_P:
        return None
    found = {one.evidence_id for one in rest if _convinces(one)}
    pro = sum(term.delta for term in best.terms if term.delta > 0 and term.evidence_id in found)
    return best if pro >= SECOND_SUPPORT else None


def decision(hypotheses: Sequence[Hypothesis], unknown: float) -> str:
    """``act``, ``check`` or ``watch``: how far the ranking carries."""
    none = next((one.p for one in hypotheses if one.cause_id == NONE), 0.0)
    if none >= WATCH_NONE:
        return "watch"
    first = hypotheses[0] if hypotheses else None
    sure = first is not None and first.cause_id not in NAMES and first.p >= ACT_P
    if sure and unknown < ACT_UNKNOWN and none < ACT_NONE:
        return "act"
    return "check"


def speaks(hypothesis: Hypothesis, evidence: Sequence[Evidence]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Evidence ids for and against a cause, strongest first. What could not be looked for speaks for nothing.

    For: what was found. A pattern that is absent, as it should be, is support too, but convinces nobody; it comes
    last.
    """
    polarity = {one.evidence_id: one.polarity for one in evidence}
    pro = [term for term in hypothesis.terms if term.delta > 0]
    pro.sort(key=lambda term: (polarity.get(term.evidence_id) is not Polarity.PRESENT, -term.delta))
    contra = [term for term in hypothesis.terms if term.delta < 0]
    return tuple(term.evidence_id for term in pro), tuple(term.evidence_id for term in contra)
