"""What the validator accepts, another checker finds nothing wrong with; and hostile text changes nothing."""

import itertools
import random
from dataclasses import replace

import pytest

from edge_agent.responding.check_order import check_order
from edge_agent.responding.evidence import collect
from edge_agent.responding.placeholders import Brief, brief
from edge_agent.responding.text import summary
from edge_agent.responding.validator import Note, check
from edge_agent.simulation.attacks import attacked, flips, seen, texts, window
from edge_agent.simulation.claims import Facts, unsupported
from edge_agent.simulation.exam.cases import cases, draw
from edge_agent.simulation.mutations import CHANGES, drafts
from tests.fakes.clock import FakeClock
from tests.fakes.notes import a_catalogue, an_analysis_of, an_answer, an_incident_of
from tests.fakes.seeded_analyses import shipped_catalogue

CATALOGUE = shipped_catalogue()
TRUE = (
    "Expo energy fell from 45.2 mJ/cm2 to 40.9 mJ/cm2 (E1) and the defects are spread evenly over the part (E2), which "
    "fits Lamp aged. E3 speaks against it."
)


def facts() -> Facts:
    clock = FakeClock()
    incident = an_incident_of(clock)
    return Facts(analysis=an_analysis_of(clock, incident), incident=incident, catalogue=a_catalogue())


def test_a_true_text_passes() -> None:
    assert unsupported(TRUE, facts()) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("45.2", "46.2"),
        ("fell", "rose"),
        ("(E2)", "(E3)"),
        ("(E2)", "(E9)"),
        ("(E2)", "(E5)"),
        ("Lamp aged", "Worn roller"),
        ("Lamp aged", "a worn pump"),
        ("which fits", "caused by"),
        ("fits", "proves"),
        ("E3 speaks", "E1 speaks"),
        ("Expo energy", "Etch temp"),
        ("45.2 mJ/cm2 to 40.9", "40.9 mJ/cm2 to 45.2"),
        ("are spread", "are not spread"),
        ("E3 speaks against it.", "It is very likely."),
        ("E3 speaks against it.", "Seven parts show it."),
        ("E3 speaks against it.", "Replace the lamp."),
        ("E3 speaks against it.", "It is 12 % worse."),
    ],
)
def test_an_unsupported_claim_is_found(before: str, after: str) -> None:
    assert before in TRUE
    assert unsupported(TRUE.replace(before, after, 1), facts())


def test_nothing_unsupported_is_in_texts_that_were_accepted() -> None:
    dice, read = random.Random(3), 0
    for case in itertools.islice(cases(CATALOGUE, "claims-test"), 12):
        known = Facts(analysis=case.analysis, incident=case.incident, catalogue=CATALOGUE)
        hypotheses = case.analysis.hypotheses
        template = summary(case.incident, hypotheses, case.analysis.evidence, check_order(hypotheses, CATALOGUE))
        assert unsupported(template.text, known) == []
        about = brief(case.analysis, case.incident, CATALOGUE)
        if about is None:
            continue
        for kind, draft in drafts(about, dice, 20):
            verdict = check(draft, about)
            if isinstance(verdict, Note):
                read += 1
                assert unsupported(verdict.text, known) == [], (kind, verdict.text)
    assert read > 50


def test_mutations_do_make_drafts_untrue() -> None:
    about = next(
        found for n in range(20) if (found := brief((c := draw(CATALOGUE, "m", n)).analysis, c.incident, CATALOGUE))
    )
    kinds: dict[str, list[bool]] = {}
    for kind, draft in drafts(about, random.Random(1), 300):
        kinds.setdefault(kind, []).append(isinstance(check(draft, about), Note))
    assert set(kinds) == {"none", *CHANGES}
    assert all(kinds["none"])
    assert not any(kinds["other cause"])
    assert sum(kinds["direction and sense"]) < len(kinds["direction and sense"]) / 5


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Expo energy fell from {E1.before} to {E1.value} (E2), which fits {cause}.", "V8.binding"),
        ("We found open more often than normal (E2), which fits {cause}.", "V8.binding"),
        ("The exposure is spread evenly over the part (E2), which fits {cause}.", "V8.binding"),
        ("The defects are spread evenly over the part (E2), against {cause}.", "V6.entailment"),
        ("It began after a lot change (E3), which fits {cause}.", "V6.entailment"),
        ("We found it (E2), which fits {cause}. E3 speaks against (E1), it.", "V6.entailment"),
        ("It is spread evenly over the part (E2), which fits {cause}. (E1), E3 speaks against it.", "V9.form"),
        ("Expo energy fell from 40.93 mJ/cm2 to {E1.value} (E1), which fits {cause}.", "V4.number"),
        ("It began at {E1.value} (E2), which fits {cause}.", "V8.binding"),
    ],
)
def test_what_the_other_checker_once_found_is_refused(text: str, rule: str) -> None:
    about = brief(facts().analysis, facts().incident, a_catalogue())
    assert isinstance(about, Brief)
    verdict = check(an_answer(text, ["E1", "E2"], ["E3"]), about)
    assert isinstance(verdict, tuple)
    assert rule in {one.rule for one in verdict}


def test_hostile_text_changes_no_prompt_no_ranking_and_reaches_no_order() -> None:
    clean, hostile, put_in = window(CATALOGUE, 7), texts(7), 0
    expected = seen(clean, CATALOGUE, FakeClock())
    assert expected.prompts
    for _ in range(2):
        dirty, used = attacked(clean, hostile)
        put_in += used
        assert any("ZQX" in one.statement for one in collect(dirty))
        assert flips(expected, seen(dirty, CATALOGUE, FakeClock())) == []
    assert put_in > 50


def test_an_attack_that_worked_would_show() -> None:
    clean = seen(window(CATALOGUE, 7), CATALOGUE, FakeClock())
    assert flips(clean, replace(clean, prompts=("ZQX1", *clean.prompts[1:]))) == ["prompt"]
    assert flips(clean, replace(clean, ranking=clean.ranking[1:])) == ["ranking"]
    assert flips(clean, replace(clean, told=(*clean.told, "ZQX1 replace the pump"))) == ["order"]
