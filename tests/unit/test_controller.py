"""The conversation about a close ranking: bounded, kept step by step, and without a say until it earned one."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.cli import build
from edge_agent.domain.analysis import Analysis, Hypothesis, Term
from edge_agent.domain.faults import Transient
from edge_agent.domain.incident import Incident
from edge_agent.domain.step import StepKind
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.ports import Analyst
from edge_agent.responding import choosing
from edge_agent.responding.choosing import INSUFFICIENT
from edge_agent.responding.controller import MOST_TURNS, Controller
from edge_agent.responding.fact_tools import TOOLS
from edge_agent.responding.narrate import Narrator
from edge_agent.responding.qualification import NOTHING, Qualification, record
from edge_agent.responding.routing import Tier, route
from edge_agent.responding.vote import CLIP, WEIGHT, Earned, VotedCase, adjusted, earned, fitted_weight, shift
from edge_agent.simulation.exam.questions import Posed, posed
from tests.fakes.analysts import ScriptedAnalyst
from tests.fakes.clock import FakeClock
from tests.fakes.readers import SHA256, Reader, first_place
from tests.fakes.seeded_analyses import CATALOGUE as FILE
from tests.fakes.seeded_analyses import shipped_catalogue

CATALOGUE = shipped_catalogue()
GONE = Transient("gone")


def a_posed() -> Posed:
    return next(one for one in posed(CATALOGUE, "talk") if one.answer != INSUFFICIENT)


def talk(analyst: Analyst, analysis: Analysis, **more: object) -> object:
    clock = FakeClock()
    return Controller(analyst, clock, CATALOGUE, deadline_s=60).converse(analysis, **more)  # type: ignore[arg-type]


def test_a_reader_votes_for_what_the_facts_say() -> None:
    one = a_posed()
    found = Controller(Reader(), FakeClock(), CATALOGUE, deadline_s=60).converse(one.case.analysis)
    assert found is not None
    assert found.agreed
    assert max(found.vote, key=lambda cause: found.vote[cause]) == one.answer
    assert [step.kind for step in found.steps] == [StepKind.CHOICE] * 3 + [StepKind.VOTE]


def test_a_habit_of_place_cancels_in_the_vote() -> None:
    found = Controller(Reader(first_place), FakeClock(), CATALOGUE, deadline_s=60).converse(one_fact_for_all())
    assert found is not None
    assert sorted(found.choices) == ["A01", "A02", "A03"]
    assert len(set(found.vote.values())) == 1


def one_fact_for_all() -> Analysis:
    """Three causes that the same fact supports."""
    analysis = a_posed().case.analysis
    fact = replace(analysis.evidence[0], evidence_id="E1", token="sp:repeat")
    terms = (Term(evidence_id="E1", delta=2.0),)
    causes = [
        Hypothesis(cause_id=one, name="x", p=0.3, rank=1, grade="possible", terms=terms)
        for one in ("A01", "A02", "A03")
    ]
    return replace(analysis, evidence=(fact,), hypotheses=tuple(causes))


class Caller(Reader):
    """Calls what it is offered as long as it may, then reads."""

    def __init__(self) -> None:
        super().__init__()
        self.offered: list[list[str]] = []

    def write(self, task, timeout_s):  # type: ignore[no-untyped-def]
        calls = list(task.schema["properties"]["calls"]["items"].get("enum", []))
        self.offered.append(calls)
        written = super().write(task, timeout_s)
        answer = json.loads(written.text) | {"calls": calls[:2]}
        if calls:
            answer |= {"choice": INSUFFICIENT, "citations": [], "against": []}
        return replace(written, text=json.dumps(answer))


def test_turns_and_calls_are_bounded_and_no_call_is_made_twice() -> None:
    caller = Caller()
    found = Controller(caller, FakeClock(), CATALOGUE, deadline_s=60).converse(a_posed().case.analysis)
    assert found is not None
    calls = [step.prompt for step in found.steps if step.kind is StepKind.CALL]
    assert 2 <= len(calls) <= 2 * (MOST_TURNS - 1)
    assert len(set(calls)) == len(calls)
    assert len(caller.tasks) <= MOST_TURNS + 2
    assert caller.offered[-1] == []
    assert "FOUND" in caller.tasks[1].prompt


def test_what_was_looked_up_before_is_remembered() -> None:
    analysis = a_posed().case.analysis
    owner = Controller(Caller(), FakeClock(), CATALOGUE, deadline_s=60)
    first = owner.converse(analysis)
    assert first is not None
    reader = Reader()
    Controller(reader, FakeClock(), CATALOGUE, deadline_s=60).converse(analysis, earlier=first.steps)
    assert "FOUND" in reader.tasks[0].prompt


def test_tools_are_described_by_their_docstrings_and_find_only_closed_words() -> None:
    assert set(TOOLS) == {"signal", "stratum", "counter", "similar"}
    assert all(one.told.endswith("?") for one in TOOLS.values())
    found = Controller(Caller(), FakeClock(), CATALOGUE, deadline_s=60).converse(
        a_posed().case.analysis, cases=[a_case("A01"), a_case("A02")]
    )
    assert found is not None
    assert not any("IGNORE" in step.prompt + step.answer for step in found.steps)


def a_case(cause_id: str) -> ConfirmedCase:
    clock = FakeClock()
    return ConfirmedCase(
        incident_id=clock.new_id(),
        order_id=clock.new_id(),
        cause_id=cause_id,
        code="open",
        line_id="L1",
        tokens={"sp:repeat": 1},
        weight=1.0,
        confirmed_at=clock.now(),
        first_suspect=cause_id,
    )


@pytest.mark.parametrize("answers", [["no json"], ["no json", GONE]])
def test_without_three_valid_answers_there_is_no_vote(answers: Sequence[str | Exception]) -> None:
    found = Controller(ScriptedAnalyst(answers), FakeClock(), CATALOGUE, deadline_s=60).converse(
        a_posed().case.analysis
    )
    assert found is not None
    assert found.vote == {}
    assert found.steps[-1].outcome == "no vote"
    assert all("V1.json" in step.rules for step in found.steps if step.kind is StepKind.CHOICE)


def test_a_model_that_is_not_there_is_said() -> None:
    with pytest.raises(Transient):
        talk(ScriptedAnalyst([GONE]), a_posed().case.analysis)


def ranked(*ps: float, unknown: float = 0.1) -> Analysis:
    hypotheses = tuple(
        Hypothesis(cause_id=f"A0{place}", name="x", p=p, rank=place, grade="x") for place, p in enumerate(ps, 1)
    )
    return replace(a_posed().case.analysis, hypotheses=hypotheses, unknown_score=unknown)


@pytest.mark.parametrize(
    ("analysis", "severity", "may", "time_left", "tier"),
    [
        (ranked(0.9, 0.05), 8, Qualification(writing=True, choosing=True), True, Tier.WRITER),
        (ranked(0.45, 0.35), 8, Qualification(writing=True, choosing=True), True, Tier.CHOOSER),
        (ranked(0.45, 0.35), 8, NOTHING, True, Tier.WRITER),
        (ranked(0.45, 0.35), 8, Qualification(writing=True, choosing=True), False, Tier.WRITER),
        (ranked(0.45, 0.35), 9, Qualification(writing=True, choosing=True), True, Tier.PERSON),
        (ranked(0.45, 0.35, unknown=0.7), 8, Qualification(writing=True, choosing=True), True, Tier.PERSON),
        (ranked(0.65, 0.2), 8, Qualification(writing=True, choosing=True), True, Tier.WRITER),
        (ranked(), 8, Qualification(writing=True, choosing=True), True, Tier.TEMPLATE),
    ],
)
def test_the_cheapest_that_suffices_is_asked(
    analysis: Analysis, severity: int, may: Qualification, time_left: bool, tier: Tier
) -> None:
    assert route(analysis, {"open": severity}, "open", may, time_left=time_left).tier is tier


def voted(right: bool) -> VotedCase:
    return VotedCase(
        p={"a": 0.4, "b": 0.6}, vote={"a": 2.0, "b": -2.0} if right else {"a": -2.0, "b": 2.0}, cause_id="a"
    )


@pytest.mark.parametrize(
    ("cases", "least", "most"),
    [
        ([voted(True)] * 10, 0.0, 0.0),
        ([voted(True)] * 60, 0.3, 1.0),
        ([voted(True), voted(False)] * 30, -0.1, 0.1),
        ([], 0.0, 0.0),
    ],
)
def test_the_weight_is_learned_and_begins_at_zero(cases: list[VotedCase], least: float, most: float) -> None:
    assert least <= fitted_weight(cases) <= most


def test_a_vote_never_moves_a_cause_by_more_than_the_clip() -> None:
    assert shift(100.0, 1.0) == CLIP
    assert shift(-100.0, 1.0) == -CLIP
    hypotheses = ranked(0.5, 0.3, 0.2).hypotheses
    assert adjusted(hypotheses, Earned(vote={"A02": 5.0})) == hypotheses
    moved = adjusted(hypotheses, Earned(vote={"A02": 5.0, "A01": -5.0}, weight=1.0))
    assert [one.cause_id for one in moved] == ["A02", "A01", "A03"]
    assert sum(one.p for one in moved) == pytest.approx(1.0, abs=1e-3)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Incident]:
    """A store in which a qualified model wrote and voted."""
    folder, clock, one = tmp_path_factory.mktemp("told"), FakeClock(), a_posed()
    store = Database(sqlite_url(folder), clock=clock)
    store.migrate()
    top = sorted(one.case.analysis.hypotheses, key=lambda each: each.cause_id in {"NONE", "OTHER"})
    close = tuple(replace(each, p=0.3 - place / 100, rank=place + 1) for place, each in enumerate(top))
    analysis = replace(one.case.analysis, made_at=clock.now(), hypotheses=close)
    with store.unit() as unit:
        unit.incidents.save(one.case.incident)
        unit.analyses.save(analysis)
        record(unit, SHA256, {"writing": True, "choosing": True})
        unit.commit()
    Narrator(store, clock, Reader(), CATALOGUE).step()
    store.close()
    return folder, one.case.incident


def explain(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(build("explain"), ["explain", *words])
    return done.exit_code, done.output


def test_the_whole_story_is_told(told: tuple[Path, Incident]) -> None:
    folder, incident = told
    code, text = explain(str(incident.incident_id)[:8], "--state", str(folder))
    assert code == 0
    assert re.search(r"^  E\d+ +seen ", text, re.MULTILINE), text
    for piece in ("+++", "way taken: chooser", "note: accepted", "choice: A", "vote: agreed", "EVIDENCE"):
        assert piece in text, piece


def test_stored_answers_can_be_judged_again(told: tuple[Path, Incident]) -> None:
    folder, _ = told
    code, text = explain("last", "--state", str(folder), "--replay", "--catalogue", str(FILE), "--json")
    assert code == 0, text
    story = json.loads(text)
    assert len(story["replay"]) == 4
    assert all(one["same"] and one["rules"] == [] for one in story["replay"])
    assert [one["kind"] for one in story["steps"]] == ["note", "route", "choice", "choice", "choice", "vote"]


def test_another_verdict_than_then_shows(told: tuple[Path, Incident], tmp_path: Path) -> None:
    folder, _ = told
    store = Database(sqlite_url(folder), clock=FakeClock())
    with store.reader() as unit:
        incident = unit.incidents.recent(1)[0]
        step = unit.steps.list(incident.incident_id)[0]
        analysis = unit.analyses.latest(incident.incident_id)
        assert analysis is not None
    copy = Database(sqlite_url(tmp_path), clock=FakeClock())
    copy.migrate()
    with copy.unit() as unit:
        unit.incidents.save(incident)
        unit.analyses.save(analysis)
        unit.steps.add(replace(step, answer=step.answer.replace("fits", "proves")))
        unit.commit()
    copy.close()
    store.close()
    code, text = explain("last", "--state", str(tmp_path), "--replay", "--catalogue", str(FILE))
    assert code == 1
    assert "ANOTHER VERDICT" in text


def test_a_vote_counts_once_its_model_has_earned_a_weight(told: tuple[Path, Incident], tmp_path: Path) -> None:
    shutil.copytree(told[0], tmp_path / "copy")
    store = Database(sqlite_url(tmp_path / "copy"), clock=FakeClock())
    incident_id = told[1].incident_id
    with store.unit() as unit:
        assert unit.facts.get(WEIGHT) == {"model": SHA256, "weight": 0.0, "cases": 0}
        assert earned(unit, incident_id) == Earned()
        unit.facts.set(WEIGHT, {"model": SHA256, "weight": 0.4, "cases": 30})
        found = earned(unit, incident_id)
        assert found.weight == 0.4
        assert max(found.vote, key=lambda cause: found.vote[cause]) == a_posed().answer
        unit.facts.set(WEIGHT, {"model": "another", "weight": 0.4, "cases": 30})
        assert earned(unit, incident_id) == Earned()
        unit.commit()
    store.close()


def test_an_incident_that_is_not_there(told: tuple[Path, Incident]) -> None:
    code, text = explain("WO-9999", "--state", str(told[0]))
    assert code == 1
    assert "no incident WO-9999" in text


def test_the_shown_signature_is_the_one_that_fits() -> None:
    one = a_posed()
    asked = choosing.question(one.case.analysis, CATALOGUE)
    assert asked is not None
    assert choosing.tally(asked, one.answer)
