"""How much people follow a ranking because they see it: agreement with it, shown against blind."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from edge_agent.domain.cause import NONE, OTHER
from edge_agent.domain.quality import wilson
from edge_agent.domain.verdict import ConfirmedCase

LEAST_BLIND = 10
"""From so many blind answers on, a bare yes to a shown ranking is trusted by them."""
LEAST_TRUST = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchoring:
    """How often the first suspect was named.

    Attributes:
        shown, shown_agree: answers to orders that showed their ranking at once, and how many named its first suspect.
        blind, blind_agree: the same of people who said a cause before they saw a ranking.
    """

    shown: int
    shown_agree: int
    blind: int
    blind_agree: int

    @property
    def gap(self) -> float | None:
        """Agreement shown minus blind, -1 to 1: what seeing the ranking adds. None: one of the two is missing."""
        if not self.shown or not self.blind:
            return None
        return self.shown_agree / self.shown - self.blind_agree / self.blind

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of the gap (Newcombe, Statistics in Medicine 17 (1998) 873, method 10); (-1, 1): not known."""
        if self.gap is None:
            return -1.0, 1.0
        one, two = self.shown_agree / self.shown, self.blind_agree / self.blind
        low_1, high_1 = wilson(self.shown_agree, self.shown)
        low_2, high_2 = wilson(self.blind_agree, self.blind)
        down = sqrt((one - low_1) ** 2 + (high_2 - two) ** 2)
        up = sqrt((high_1 - one) ** 2 + (two - low_2) ** 2)
        return self.gap - down, self.gap + up

    @property
    def trust_in_yes(self) -> float:
        """How much of the agreement with a shown ranking is there without seeing it: `LEAST_TRUST` to 1."""
        if self.blind < LEAST_BLIND or not self.shown:
            return 1.0
        own = (self.blind_agree + 1) / (self.blind + 2)
        led = (self.shown_agree + 1) / (self.shown + 2)
        return min(1.0, max(LEAST_TRUST, own / led))


def anchoring(cases: Iterable[ConfirmedCase]) -> Anchoring:
    """Count agreement. What was no cause of the catalogue cannot agree with one, and is left out."""
    shown = shown_agree = blind = blind_agree = 0
    for case in cases:
        said = case.cause_id if case.shown_ranking else case.suspicion or case.cause_id
        if case.first_suspect is None or said in {NONE, OTHER}:
            continue
        agrees = said == case.first_suspect
        if case.shown_ranking:
            shown, shown_agree = shown + 1, shown_agree + agrees
        else:
            blind, blind_agree = blind + 1, blind_agree + agrees
    return Anchoring(shown=shown, shown_agree=shown_agree, blind=blind, blind_agree=blind_agree)
