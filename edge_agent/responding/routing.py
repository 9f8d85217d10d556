"""Who says what about an analysis: the cheapest that suffices. Template, small model, large model, person.

Which model may be asked to choose is not a matter of its size but of its exam (`qualification`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import NONE, OTHER
from edge_agent.responding.qualification import Qualification

SURE_P, SURE_MARGIN = 0.85, 0.4
CLOSE_MARGIN = 0.3
UNKNOWN = 0.6
SEVERE = 9


class Tier(StrEnum):
    """Who: 0, 1, 2, 3 in the design."""

    TEMPLATE = "template"
    WRITER = "writer"
    CHOOSER = "chooser"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The way taken and why."""

    tier: Tier
    reason: str


def route(analysis: Analysis, severity: Mapping[str, int], code: str, may: Qualification, *, time_left: bool) -> Route:
    """The way for one analysis.

    Args:
        severity: of the catalogue's classes; ``code`` is the incident's.
        time_left: is there time for several calls of the model?
    """
    first = analysis.hypotheses[0] if analysis.hypotheses else None
    if first is None or first.cause_id in {NONE, OTHER}:
        return Route(tier=Tier.TEMPLATE, reason="no suspect of the catalogue is first")
    margin = first.p - max((one.p for one in analysis.hypotheses[1:]), default=0.0)
    if analysis.unknown_score >= UNKNOWN:
        return Route(tier=Tier.PERSON, reason="it may be something that is not in the catalogue")
    if severity.get(code, 0) >= SEVERE:
        return Route(tier=Tier.PERSON, reason="the defect is severe")
    if first.p >= SURE_P and margin >= SURE_MARGIN:
        return Route(tier=Tier.WRITER, reason="the ranking is sure")
    if margin >= CLOSE_MARGIN:
        return Route(tier=Tier.WRITER, reason="the ranking has a clear first")
    if not may.choosing:
        return Route(tier=Tier.WRITER, reason="the ranking is close, and the model is not qualified to choose")
    if not time_left:
        return Route(tier=Tier.WRITER, reason="the ranking is close, and there is no time to ask")
    return Route(tier=Tier.CHOOSER, reason="the ranking is close")
