"""The exam tells a reader from a model that chooses by place, by habit or by order of others."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.commands import llm
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.ports import Analyst
from edge_agent.responding import choosing
from edge_agent.responding.choosing import INSUFFICIENT, Choice
from edge_agent.responding.qualification import Qualification, qualification
from edge_agent.simulation.exam.cases import HOSTILE
from edge_agent.simulation.exam.made_up import made_up
from edge_agent.simulation.exam.marks import MARKS, figures, passed
from edge_agent.simulation.exam.questions import model_answer, posed
from edge_agent.simulation.exam.sitting import Sitting
from tests.fakes.analysts import ScriptedAnalyst
from tests.fakes.clock import FakeClock
from tests.fakes.readers import SHA256, Reader, first_place, obedient, read_choice
from tests.fakes.seeded_analyses import shipped_catalogue

CATALOGUE = shipped_catalogue()


def sat(analyst: Analyst, questions: int = 8, notes: int = 4) -> dict[str, float | None]:
    return figures(Sitting(analyst, CATALOGUE, deadline_s=5.0).sit(questions, notes))


def test_who_reads_the_facts_passes_everything() -> None:
    found = sat(Reader(), questions=16)
    assert [one.figure for one in MARKS if not one.passed(found)] == []
    assert passed(found, choosing=True)


@pytest.mark.parametrize(
    ("choose", "missed"),
    [(first_place, {"accuracy", "position_share", "abstains"}), (obedient, {"flipped_by_note"})],
)
def test_a_bad_habit_is_found_and_costs_the_vote_only(choose: Callable[[str], str], missed: set[str]) -> None:
    found = sat(Reader(choose))
    assert missed <= {one.figure for one in MARKS if not one.passed(found)}
    assert passed(found, choosing=False)
    assert not passed(found, choosing=True)


def test_who_always_abstains_does_not_pass() -> None:
    answer = json.dumps({"analysis": "", "choice": INSUFFICIENT, "citations": [], "against": [], "calls": []})
    found = sat(Reader(lambda prompt: answer))
    assert found["abstains"] == 1.0
    assert found["accuracy"] == 0.0
    assert not passed(found, choosing=True)


def test_who_writes_nonsense_may_do_nothing() -> None:
    found = sat(ScriptedAnalyst(["the pump"]), questions=3)
    assert (found["valid_json"], found["notes_passed"]) == (0.0, 0.0)
    assert not passed(found, choosing=False)


def test_what_was_not_measured_is_not_passed() -> None:
    assert not any(one.passed({}) for one in MARKS)


def test_a_model_that_never_answers_is_an_error() -> None:
    with pytest.raises(Transient):
        sat(ScriptedAnalyst([Transient("gone")]), questions=2, notes=1)


def test_questions_hold_no_foreign_text_and_every_right_answer_passes_the_check() -> None:
    for one in itertools.islice(posed(made_up("t", 1), "t"), 40):
        task = choosing.task(one.question)
        assert not any(word in task.prompt for word in HOSTILE.split()[:3])
        verdict = choosing.check(model_answer(one), one.question)
        assert isinstance(verdict, Choice)
        assert verdict.cause_id == one.answer
        assert isinstance(choosing.check(read_choice(task.prompt), one.question), Choice)


def test_series_are_seeded_and_differ() -> None:
    def prompts(series: str) -> list[str]:
        return [choosing.task(one.question).prompt for one in itertools.islice(posed(CATALOGUE, series), 12)]

    assert prompts("a") == prompts("a")
    assert set(prompts("exam-1")).isdisjoint(prompts("train-1:real"))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"choice": "K9"}, "V2.choice"),
        ({"citations": ["E999"]}, "V3.citation"),
        ({"citations": []}, "V3.citation"),
        ({"calls": ["strata lot"]}, "V2.call"),
        ({"analysis": "x" * 300}, "V9.length"),
        ({"more": 1}, "V1.schema"),
    ],
)
def test_a_choice_that_breaks_a_rule_is_refused(change: dict[str, object], rule: str) -> None:
    one = next(one for one in posed(CATALOGUE, "t") if one.answer != INSUFFICIENT)
    verdict = choosing.check(json.dumps(json.loads(model_answer(one)) | change), one.question)
    assert isinstance(verdict, tuple)
    assert rule in {each.rule for each in verdict}


def test_a_right_choice_for_a_wrong_reason_is_refused() -> None:
    for one in posed(CATALOGUE, "t"):
        wrong = [key for key in one.question.evidence if one.question.terms.get(one.answer, {}).get(key, 0.0) <= 0]
        if one.answer != INSUFFICIENT and wrong:
            break
    verdict = choosing.check(json.dumps(json.loads(model_answer(one)) | {"citations": wrong[:1]}), one.question)
    assert isinstance(verdict, tuple)
    assert "V6.entailment" in {each.rule for each in verdict}


def test_the_result_is_kept_and_read_by_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Database(sqlite_url(tmp_path), clock=FakeClock())
    store.migrate()
    reader = Reader()
    monkeypatch.setattr(llm, "_analyst", lambda *_: (reader, lambda: 12.0))
    monkeypatch.setattr(llm, "FULL", (6, 3))
    done = CliRunner().invoke(llm.app, ["qualify", "--state", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["kept"] is True
    with store.reader() as unit:
        assert qualification(unit, SHA256) == Qualification(writing=True, choosing=True)
        assert qualification(unit, "0" * 64) == Qualification()
        assert [entry.action for entry in unit.audit.latest(subject=f"model:{SHA256}")] == ["llm.qualified"]
    store.close()


def test_a_model_that_fails_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(llm, "_analyst", lambda *_: (ScriptedAnalyst(["no"]), lambda: 0.0))
    done = CliRunner().invoke(llm.app, ["qualify", "--quick"])
    assert done.exit_code == 1
    assert "MISSED" in done.stdout
    assert "may write in orders: no" in done.stdout


def test_a_server_is_asked_by_its_address_and_a_missing_file_is_named(tmp_path: Path) -> None:
    analyst, memory = llm._analyst("http://127.0.0.1:9/v1", None, "m", None, "auto", 1, 2.0, tmp_path)
    assert (analyst.name, memory()) == ("server m", 0.0)
    with pytest.raises(Transient):
        Sitting(analyst, CATALOGUE, deadline_s=0.2).sit(1, 1)
    with pytest.raises(ConfigError, match="no model at"):
        llm._analyst(str(tmp_path / "none.gguf"), None, "m", None, "auto", 1, 2.0, tmp_path)
