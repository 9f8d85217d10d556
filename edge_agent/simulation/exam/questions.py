"""Questions with a known answer: one candidate is ahead by count and by the ranker's arithmetic, or none is."""

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from edge_agent.domain.cause import Catalogue
from edge_agent.responding import choosing
from edge_agent.responding.choosing import INSUFFICIENT, Choice, Question, question, tally
from edge_agent.responding.placeholders import Brief, brief
from edge_agent.simulation.exam.cases import Case, cases

AHEAD = 0.7
"""Log-odds by which the right answer leads."""
_DRAWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Posed:
    """A question with its right answer (a cause id, or ``insufficient_evidence``)."""

    question: Question
    answer: str
    case: Case


def posed(catalogue: Catalogue, series: str, *, insufficient: float = 0.25) -> Iterator[Posed]:
    """Questions of a series, without end; ``insufficient`` is the share of those that nothing can answer."""
    dice = random.Random(f"{series}:mix")
    waiting: dict[bool, list[Posed]] = {True: [], False: []}
    drawn = (found for case in cases(catalogue, series) if (found := _posed(case, catalogue)))
    while True:
        wanted = dice.random() < insufficient
        for _ in range(_DRAWS):
            if waiting[wanted]:
                break
            found = next(drawn)
            waiting[found.answer == INSUFFICIENT].append(found)
            del waiting[not wanted][50:]
        yield waiting[wanted].pop(0)


def model_answer(one: Posed) -> str:
    """What a faultless reader would write."""
    asked, lines = one.question, []
    for place, cause in enumerate(asked.candidates, 1):
        signs = tally(asked, cause.cause_id)
        lines.append(f"K{place}" + ("".join(f" {'+' if signs[key] > 0 else '-'}{key}" for key in signs) or " none"))
    cited: list[str] = []
    against: list[str] = []
    if one.answer != INSUFFICIENT:
        terms, signs = asked.terms[one.answer], tally(asked, one.answer)
        cited = [key for key, sign in signs.items() if sign > 0 and terms.get(key, 0.0) > 0]
        against = [key for key, sign in signs.items() if sign < 0 and terms.get(key, 0.0) < 0]
    choice = one.answer if one.answer == INSUFFICIENT else asked.key_of(one.answer)
    answer = {"analysis": "; ".join(lines), "choice": choice, "citations": cited, "against": against, "calls": []}
    return json.dumps(answer, separators=(",", ":"))


def _posed(case: Case, catalogue: Catalogue) -> Posed | None:
    asked = question(case.analysis, catalogue)
    if asked is None or len(asked.candidates) < 3:
        return None
    answer = right_answer(asked)
    if answer is None:
        return None
    orders = list(itertools.permutations(range(len(asked.candidates))))
    found = Posed(question=asked.ordered(orders[case.incident.incident_id.int % len(orders)]), answer=answer, case=case)
    return found if isinstance(choosing.check(model_answer(found), found.question), Choice) else None


def right_answer(asked: Question) -> str | None:
    """The cause ahead by count and by arithmetic; insufficient where none is; None where the two do not agree."""
    net = {one.cause_id: sum(tally(asked, one.cause_id).values()) for one in asked.candidates}
    weight = {
        one.cause_id: sum(delta for key, delta in asked.terms[one.cause_id].items() if key in asked.evidence)
        for one in asked.candidates
    }
    by_count, by_weight = (sorted(each, key=lambda key, each=each: -each[key]) for each in (net, weight))
    first, second = by_count[:2]
    if net[first] <= 0 or net[first] == net[second]:
        return INSUFFICIENT
    leads = first == by_weight[0] and weight[first] - weight[by_weight[1]] >= AHEAD
    return first if leads and _supported(asked, first) else None


def _supported(asked: Question, cause_id: str) -> bool:
    """Does the ranker count everything that can be read off, on the same side?"""
    terms = asked.terms[cause_id]
    return all(sign * terms.get(key, 0.0) > 0 for key, sign in tally(asked, cause_id).items())


def briefs(catalogue: Catalogue, series: str) -> Iterator[Brief]:
    """Analyses to write notes about, without end."""
    for case in cases(catalogue, series):
        about = brief(case.analysis, case.incident, catalogue)
        if about is not None:
            yield about
