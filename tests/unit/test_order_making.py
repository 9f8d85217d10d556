"""Which check first, how urgent, and what the order says."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.catalogue import load_priority_table
from edge_agent.domain.analysis import Hypothesis, Term
from edge_agent.domain.cause import NONE, OTHER, Check
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.responding.check_order import check_order, information
from edge_agent.responding.priority import prioritise
from edge_agent.responding.rank import decision, grade, speaks, unknown_score
from edge_agent.responding.text import MAX_WORDS, problem, summary
from edge_agent.responding.words import clean, number, share
from tests.fakes.clock import START
from tests.fakes.diagnosed_line import pcb

CATALOGUE = pcb()
TABLE = load_priority_table(None)
INCIDENT = Incident(
    incident_id=UUID(int=1),
    revision=0,
    key="L1/aoi-1/missing_copper",
    line_id="L1",
    station_id="aoi-1",
    code="open",
    state=IncidentState.OPEN,
    opened_at=START,
    updated_at=START,
    onset_from=START,
    onset_to=START + timedelta(minutes=1),
    class_counts={"open": 31},
    baseline_rate=0.005,
    rate=0.119,
    statistic=9.0,
    threshold=6.0,
    parts=260,
    defective_parts=31,
)


def belief(**probabilities: float) -> tuple[Hypothesis, ...]:
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    return tuple(
        Hypothesis(
            cause_id=cause,
            name=(CATALOGUE.cause(cause) or CATALOGUE.causes[0]).name,
            p=p,
            rank=place,
            grade=grade(p),
            terms=(Term(evidence_id="E1", delta=1.0),),
        )
        for place, (cause, p) in enumerate(ranked, start=1)
    )


def evidence(name: str, polarity: Polarity) -> Evidence:
    return Evidence(
        evidence_id=name,
        tool="t@1",
        token="sp:repeat",
        statement="the same place",
        polarity=polarity,
        strength=0.9,
        n=9,
    )


def test_a_quick_check_that_separates_comes_before_a_slow_one() -> None:
    checks = check_order(belief(A15=0.45, A17=0.45, OTHER=0.1), CATALOGUE)
    assert [check.check_id for check in checks] == ["conveyor-stopwatch", "etch-nozzle-map"]


def test_a_check_that_several_suspects_share_is_asked_once() -> None:
    checks = check_order(belief(A11=0.5, A12=0.4, OTHER=0.1), CATALOGUE)
    assert [check.check_id for check in checks].count("breakpoint") == 1


@given(
    st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6),
    st.floats(1.1, 50),
    st.floats(0.02, 0.9),
)
def test_a_check_never_costs_information(weights: list[float], lr_pos: float, lr_neg: float) -> None:
    beliefs = {f"C{place}": weight / sum(weights) for place, weight in enumerate(weights)}
    check = Check(check_id="c", text="", minutes=1, lr_pos=lr_pos, lr_neg=lr_neg)
    assert information(beliefs, check, {"C0"}) >= -1e-9


def test_a_check_of_what_is_certain_tells_nothing() -> None:
    check = Check(check_id="c", text="", minutes=1, lr_pos=10, lr_neg=0.1)
    assert information({"A": 1.0, "B": 0.0}, check, {"A"}) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("rate", "code", "level"),
    [(0.12, "open", 1), (0.03, "open", 2), (0.03, "spur", 2), (0.003, "spur", 4), (0.003, "open", 3)],
)
def test_priority_is_looked_up(rate: float, code: str, level: int) -> None:
    incident = replace(INCIDENT, rate=rate, class_counts={code: 5})
    made = prioritise(incident, CATALOGUE.cause("A01"), CATALOGUE, TABLE)
    assert made.level == level
    assert f"severity {CATALOGUE.severity[code]}" in made.reason


def test_the_worst_class_sets_the_severity() -> None:
    incident = replace(INCIDENT, class_counts={"spur": 30, "short": 1})
    assert "severity 8" in prioritise(incident, None, CATALOGUE, TABLE).reason


@pytest.mark.parametrize(
    ("p", "word"), [(0.9, "very likely"), (0.6, "likely"), (0.2, "possible"), (0.1, "unclear"), (0.0, "unclear")]
)
def test_four_words(p: float, word: str) -> None:
    assert grade(p) == word


def test_what_cannot_be_told_apart_is_checked_not_acted_on() -> None:
    assert decision(belief(A01=0.9, OTHER=0.05, NONE=0.05), 0.1) == "act"
    assert decision(belief(A01=0.4, A02=0.4, OTHER=0.2), 0.1) == "check"
    assert decision(belief(A01=0.9, OTHER=0.05, NONE=0.05), 0.8) == "check"
    assert decision(belief(NONE=0.5, A01=0.5), 0.1) == "watch"
    assert decision(belief(OTHER=0.9, A01=0.1), 0.1) == "check"


def test_the_less_the_catalogue_explains_the_more_unknown_it_is() -> None:
    fact = evidence("E1", Polarity.PRESENT)
    first, *rest = belief(A01=0.95, OTHER=0.03, NONE=0.02)
    supported = replace(first, terms=(Term(evidence_id="E1", delta=4.0),))
    known = unknown_score((supported, *rest), [fact], 0.8)
    unknown = unknown_score(belief(OTHER=0.7, A01=0.2, NONE=0.1), [fact], 0.0)
    assert 0 <= known < 0.3 < unknown <= 1


def test_what_was_found_comes_before_what_is_rightly_absent() -> None:
    one = replace(
        belief(A01=0.9)[0],
        terms=(
            Term(evidence_id="E1", delta=2.0),
            Term(evidence_id="E2", delta=0.5),
            Term(evidence_id="E3", delta=-1.0),
        ),
    )
    facts = [evidence("E1", Polarity.ABSENT), evidence("E2", Polarity.PRESENT), evidence("E3", Polarity.PRESENT)]
    assert speaks(one, facts) == (("E2", "E1"), ("E3",))


def test_the_problem_in_one_sentence() -> None:
    assert problem(INCIDENT) == "Open on aoi-1 since 06:00:00 UTC: 31 of 260 parts (12 %), 24 times the normal rate"


def test_the_summary_cites_what_was_found() -> None:
    made = summary(
        INCIDENT, belief(A01=0.9, OTHER=0.1), [evidence("E1", Polarity.PRESENT)], CATALOGUE.causes[14].checks
    )
    assert "Opaque dirt on phototool or frame glass is very likely: the same place on several parts (E1)." in made.text
    assert made.citations == ("E1",)
    assert "Check first (3 min)" in made.text
    assert len(made.text.split()) <= MAX_WORDS


@pytest.mark.parametrize(("first", "words"), [(NONE, "may be chance"), (OTHER, "does not separate")])
def test_the_summary_admits_ignorance(first: str, words: str) -> None:
    made = summary(INCIDENT, belief(**{first: 0.9, "A01": 0.1}), [evidence("E1", Polarity.PRESENT)], ())
    assert words in made.text
    assert made.citations == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (45.23, "45.2"), (0.0312, "0.0312"), (1240.4, "1240"), (-3.14159, "-3.14"), (0.5, "0.5")],
)
def test_numbers_are_rounded_once(value: float, text: str) -> None:
    assert number(value) == text


def test_shares_and_foreign_text() -> None:
    assert (share(0.1193), share(0.005), share(0.024)) == ("12 %", "0.5 %", "2.4 %")
    assert clean("lot\x00\n7" + "x" * 99, 10) == "lot  7xxx…"
