"""Incidents from a file through the ranking of the daemon: same background, same arithmetic, same words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_agent.domain.analysis import Hypothesis
from edge_agent.domain.cause import Catalogue, Check
from edge_agent.domain.evidence import Evidence
from edge_agent.domain.inference import Weights, backgrounds, measured_background
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.responding.analyse import Knowledge
from edge_agent.responding.check_order import check_order
from edge_agent.responding.evidence.similar_cases import present_tokens, unlisted_likeness
from edge_agent.responding.rank import decision, rank_all, second_cause, unknown_score

TRUSTED_RUNS = 2.0
"""How many normal runs a catalogue's own rates are worth against a file of observations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What the agent says of one incident."""

    hypotheses: tuple[Hypothesis, ...]
    unknown_score: float
    decision: str
    checks: tuple[Check, ...]
    second: Hypothesis | None = None
    """Another cause that seems to be at work as well."""


def known_from(catalogue: Catalogue, normal: Mapping[str, Sequence[float]] | None, weights: Weights) -> Knowledge:
    """What is known before any evidence.

    Args:
        normal: token to (times fired, times looked for) on normal runs.
    """
    measured = measured_background(normal, catalogue, TRUSTED_RUNS)
    return Knowledge(catalogue=catalogue, background=backgrounds(catalogue, measured), weights=weights)


def ranking(
    known: Knowledge, evidence: Sequence[Evidence], cases: Sequence[ConfirmedCase] = (), *, excess: float | None = None
) -> Ranking:
    """Rank all causes for some evidence.

    Args:
        cases: confirmed ones, for how unlike anything known this is.
    """
    hypotheses = rank_all(known.catalogue, evidence, known.background, known.weights, excess=excess)
    likeness = unlisted_likeness(present_tokens(list(evidence)), tuple(cases))
    unknown = unknown_score(hypotheses, evidence, likeness)
    return Ranking(
        hypotheses=hypotheses,
        unknown_score=unknown,
        decision=decision(hypotheses, unknown),
        checks=check_order(hypotheses, known.catalogue),
        second=second_cause(known.catalogue, evidence, known.background, known.weights, hypotheses),
    )
