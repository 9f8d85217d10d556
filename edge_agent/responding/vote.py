"""What a model's choices are worth: a vote, logged in the shadow; its weight is learned and may be zero.

The vote is the mean log-odds of each candidate over several orders of the candidates, so a habit of place cancels. It
shifts the ranking by ``weight * vote``, at most 0.7 either way. The weight begins at zero. It is fitted on confirmed
cases, and stays zero unless it makes left-out cases more probable.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log
from uuid import UUID

from edge_agent.domain.analysis import Hypothesis
from edge_agent.domain.step import Step, StepKind
from edge_agent.ports import UnitOfWork
from edge_agent.responding.rank import grade

LEAST_ORDERS = 3
CLIP = 0.7
LEAST_CASES = 20
SPREAD = 0.3
"""Standard deviation of the weight before any case is known."""
_DOUBT = 0.1
_GRID = tuple(step / 50 for step in range(-15, 51))


@dataclass(frozen=True, slots=True, kw_only=True)
class VotedCase:
    """A confirmed case with the ranking and the vote of its time."""

    p: Mapping[str, float]
    vote: Mapping[str, float]
    cause_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Earned:
    """A vote with the weight that its model has earned; nothing while the weight is zero."""

    vote: Mapping[str, float] = field(default_factory=dict)
    weight: float = 0.0


SILENT = Earned()


def vote_of(choices: Sequence[str], candidates: Sequence[str]) -> dict[str, float]:
    """Mean log-odds by candidate, relative to not knowing; empty with too few orders.

    Args:
        choices: what was chosen in each order: a cause id, or anything else for none of them.
    """
    if len(choices) < LEAST_ORDERS or len(candidates) < 2:
        return {}
    options = len(candidates)
    unknowing = log((1 / options) / (1 - 1 / options))
    sums = dict.fromkeys(candidates, 0.0)
    for chosen in choices:
        for one in candidates:
            p = 1 / options if chosen not in sums else 1 - _DOUBT if one == chosen else _DOUBT / (options - 1)
            sums[one] += log(p / (1 - p)) - unknowing
    return {one: round(total / len(choices), 4) for one, total in sums.items()}


def shift(vote: float, weight: float) -> float:
    """What a vote adds to a cause's log-odds."""
    return max(-CLIP, min(CLIP, weight * vote))


def adjusted(hypotheses: Sequence[Hypothesis], earned: Earned) -> tuple[Hypothesis, ...]:
    """The ranking with the vote in it; the same ranking while the weight is zero."""
    if not earned.vote or earned.weight == 0:
        return tuple(hypotheses)
    raw = [one.p * exp(shift(earned.vote.get(one.cause_id, 0.0), earned.weight)) for one in hypotheses]
    scale = sum(one.p for one in hypotheses) / sum(raw)
    ranked = sorted(zip(hypotheses, raw, strict=True), key=lambda pair: -pair[1])
    return tuple(
        replace(one, p=round(p * scale, 4), rank=place, grade=grade(p * scale))
        for place, (one, p) in enumerate(ranked, 1)
    )


def fitted_weight(cases: Sequence[VotedCase]) -> float:
    """The weight that makes confirmed causes most probable; 0 with few cases, or where left-out cases do not gain."""
    told = [one for one in cases if one.vote and one.cause_id in one.p]
    if len(told) < LEAST_CASES:
        return 0.0
    table = [[_log_p(one, weight) for weight in _GRID] for one in told]
    prior = [-0.5 * (weight / SPREAD) ** 2 for weight in _GRID]
    totals = [sum(row[place] for row in table) + prior[place] for place in range(len(_GRID))]
    zero = _GRID.index(0.0)
    gain = 0.0
    for row in table:
        without = [total - own for total, own in zip(totals, row, strict=True)]
        gain += row[without.index(max(without))] - row[zero]
    return _GRID[totals.index(max(totals))] if gain > 0 else 0.0


def _log_p(case: VotedCase, weight: float) -> float:
    raw = {one: p * exp(shift(case.vote.get(one, 0.0), weight)) for one, p in case.p.items()}
    return log(max(raw[case.cause_id] / sum(raw.values()), 1e-9))


WEIGHT = "llm.vote_weight"
"""Fact: what was learned about the votes of a model; another model begins at zero."""


def earned(uow: UnitOfWork, incident_id: UUID) -> Earned:
    """The newest vote about an incident, where its model's votes have earned a weight."""
    record = uow.facts.get(WEIGHT)
    if not isinstance(record, Mapping) or not record.get("weight"):
        return SILENT
    votes = [one for one in uow.steps.list(incident_id) if _is_vote(one, str(record.get("model")))]
    return Earned(vote=json.loads(votes[-1].answer), weight=float(record["weight"])) if votes else SILENT


def learn_weight(uow: UnitOfWork, model_sha256: str) -> float:
    """Fit the weight of a model's votes on the confirmed cases that it voted on, and keep it."""
    told = []
    for case in uow.answers.cases(limit=500):
        votes = [one for one in uow.steps.list(case.incident_id) if _is_vote(one, model_sha256)]
        if votes:
            ranking = json.loads(votes[-1].detail["ranking"])
            told.append(VotedCase(p=ranking, vote=json.loads(votes[-1].answer), cause_id=case.cause_id))
    found = fitted_weight(told)
    uow.facts.set(WEIGHT, {"model": model_sha256, "weight": found, "cases": len(told)})
    return found


def _is_vote(step: Step, model_sha256: str) -> bool:
    return step.kind is StepKind.VOTE and step.model == model_sha256 and step.answer != "{}"
