"""The note is added beside the order or not at all; nothing a model does changes what was decided."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.adapters.store.database import Database
from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import NONE
from edge_agent.domain.faults import Transient
from edge_agent.domain.incident import Incident
from edge_agent.domain.work_order import OrderState, Suspect
from edge_agent.observability.health import Condition
from edge_agent.responding.narrate import LLM, TALLY, Narrator
from edge_agent.responding.qualification import qualified_key
from tests.fakes.analysts import SHA256, ScriptedAnalyst
from tests.fakes.clock import FakeClock
from tests.fakes.made import an_order
from tests.fakes.notes import a_catalogue, an_analysis_of, an_answer, an_incident_of

BAD = an_answer("The pump leaks seven litres (E1), which fits {cause}.")
GONE = Transient("no answer before its deadline, killed")


class Desk:
    """A store with one analysed incident, and a narrator over a scripted analyst."""

    def __init__(self, folder: Path, answers: Sequence[str | Exception]) -> None:
        self.clock = FakeClock()
        self.store = Database(f"sqlite:///{folder / 'state.db'}", clock=self.clock)
        self.analyst = ScriptedAnalyst(answers)
        self.conditions: list[tuple[Condition, str]] = []
        self.stopping = False
        self.narrator = Narrator(
            self.store,
            self.clock,
            self.analyst,
            a_catalogue(),
            on_condition=lambda condition, detail: self.conditions.append((condition, detail)),
            is_stopping=lambda: self.stopping,
        )
        self.incident = an_incident_of(self.clock)
        self.analysis = an_analysis_of(self.clock, self.incident)
        self.save(self.incident, self.analysis)

    def save(self, incident: Incident, analysis: Analysis) -> None:
        with self.store.unit() as uow:
            uow.incidents.save(incident)
            uow.analyses.save(analysis)
            uow.commit()

    @property
    def latest(self) -> Analysis:
        with self.store.reader() as uow:
            found = uow.analyses.latest(self.incident.incident_id)
        assert found is not None
        return found

    @property
    def tally(self) -> dict[str, object]:
        with self.store.reader() as uow:
            return dict(uow.facts.get(TALLY) or {})


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once: migrating takes longer than all these tests together."""
    path = tmp_path_factory.mktemp("empty") / "state.db"
    store = Database(f"sqlite:///{path}", clock=FakeClock())
    store.migrate()
    store.close()
    return path


@pytest.fixture
def folder(tmp_path: Path, migrated: Path) -> Path:
    shutil.copy(migrated, tmp_path / "state.db")
    return tmp_path


def test_an_unqualified_models_text_stands_beside_the_templates(folder: Path) -> None:
    desk = Desk(folder, [an_answer()])
    assert desk.narrator.step() is True
    template, note = desk.latest.narratives
    assert (template.source, template.shown_as) == ("template", "text")
    assert (note.source, note.shown_as, note.model, note.citations) == (LLM, "note", SHA256, ("E1", "E2"))
    assert note.text.startswith("Expo energy fell from 45.2 mJ/cm2 to 40.9 mJ/cm2 (E1)")
    assert note.latency_ms > 0
    assert desk.tally == {"accepted": 1, "rules": {}}
    assert desk.narrator.step() is False


def test_a_qualified_models_text_may_stand_in_the_order(folder: Path) -> None:
    desk = Desk(folder, [an_answer()])
    with desk.store.unit() as uow:
        uow.facts.set(qualified_key(SHA256), {"writing": True})
        uow.commit()
    desk.narrator.step()
    assert desk.latest.narratives[-1].shown_as == "text"


@pytest.mark.parametrize("value", [False, None, True, "writing", {}, {"writing": 1}, {"choosing": True}])
def test_only_a_passed_exam_qualifies(folder: Path, value: object) -> None:
    desk = Desk(folder, [an_answer()])
    with desk.store.unit() as uow:
        uow.facts.set(qualified_key(SHA256), value)
        uow.commit()
    desk.narrator.step()
    assert desk.latest.narratives[-1].shown_as == "note"


def test_nothing_but_the_narratives_changes(folder: Path) -> None:
    desk = Desk(folder, [an_answer()])
    desk.narrator.step()
    assert replace(desk.latest, narratives=desk.analysis.narratives) == desk.analysis


def test_a_refused_draft_gets_one_retry_with_the_complaints(folder: Path) -> None:
    desk = Desk(folder, [BAD, an_answer()])
    desk.narrator.step()
    first, second = desk.analyst.tasks
    assert "refused" not in first.prompt
    assert "- write no numbers" in second.prompt
    assert "pump" not in second.prompt
    assert second.system == first.system
    assert desk.latest.narratives[-1].text
    assert desk.tally == {"accepted_at_second_try": 1, "rules": {}}


@pytest.mark.parametrize(
    ("draft", "rule"),
    [
        pytest.param("\x00\xff garbage", "V1.json", id="garbage"),
        pytest.param("", "V1.json", id="nothing"),
        pytest.param(BAD, "V4.number", id="lies"),
        pytest.param(an_answer("the the the the the the the the (E1) {cause}."), "V9.repetition", id="repeats itself"),
        pytest.param(an_answer()[:-9], "V1.json", id="cut by the token limit"),
    ],
)
def test_a_draft_refused_twice_leaves_the_templates_text(folder: Path, draft: str, rule: str) -> None:
    desk = Desk(folder, [draft])
    assert desk.narrator.step() is True
    template, refused = desk.latest.narratives
    assert template == desk.analysis.narratives[0]
    assert refused.text == ""
    assert rule in refused.rejected
    assert len(desk.analyst.tasks) == 2
    rules = desk.tally["rules"]
    assert isinstance(rules, dict)
    assert rules[rule] == 1
    assert desk.narrator.step() is False  # not asked again and again


def test_a_model_that_is_away_is_told_once_and_rests(folder: Path) -> None:
    desk = Desk(folder, [GONE])
    with capture_logs() as logs:
        assert desk.narrator.step() is True
        assert desk.narrator.step() is False
        desk.clock.advance(6)
        assert desk.narrator.step() is True
    assert [line["log_level"] for line in logs if "went away" in line["event"]] == ["warning"]
    assert desk.latest.narratives[-1].rejected == ("unavailable",)
    assert desk.tally["unavailable"] == 1
    desk.clock.advance(600)
    assert desk.narrator.step() is False
    assert len(desk.analyst.tasks) == 2


@pytest.mark.parametrize("stopping", [True, False])
def test_a_call_that_the_stop_cuts_short_is_no_failure(folder: Path, stopping: bool) -> None:
    desk = Desk(folder, [GONE, GONE])
    before, desk.stopping = len(desk.conditions), stopping
    with capture_logs() as logs:
        desk.narrator.warm_up()
        desk.narrator.step()
    warned = [line["event"] for line in logs if line["log_level"] == "warning"]
    assert bool(warned) is not stopping
    assert (len(desk.conditions) > before) is not stopping


def test_a_model_that_returns_is_told_and_used(folder: Path) -> None:
    desk = Desk(folder, [GONE, an_answer()])
    with capture_logs() as logs:
        desk.narrator.step()
        desk.clock.advance(6)
        desk.narrator.step()
    assert [line["event"] for line in logs if "is back" in line["event"]]
    assert desk.latest.narratives[-1].text


def test_the_board_is_told_how_the_model_is_doing(folder: Path) -> None:
    desk = Desk(folder, [GONE, an_answer()])
    assert desk.narrator.step()
    desk.clock.advance(6)
    assert desk.narrator.step()
    (first, unasked), (gone, why), (back, how) = desk.conditions
    assert (first, gone, back) == (Condition.OK, Condition.DEGRADED, Condition.OK)
    assert "no note has been asked for" in unasked
    assert str(GONE) in why
    assert "accepted" in how


def test_old_analyses_are_left_alone(folder: Path) -> None:
    desk = Desk(folder, [an_answer()])
    desk.clock.advance(timedelta(minutes=31).total_seconds())
    assert desk.narrator.step() is False


def test_no_suspect_no_note(folder: Path) -> None:
    desk = Desk(folder, [an_answer()])
    nobody = replace(desk.analysis.hypotheses[0], cause_id=NONE)
    desk.save(desk.incident, replace(desk.analysis, hypotheses=(nobody, *desk.analysis.hypotheses[1:])))
    assert desk.narrator.step() is False


def test_the_newest_analysis_comes_first(folder: Path) -> None:
    desk = Desk(folder, [an_answer()])
    desk.clock.advance(60)
    later = an_incident_of(desk.clock)
    desk.save(later, an_analysis_of(desk.clock, later))
    desk.narrator.step()
    assert len(desk.latest.narratives) == 1
    desk.narrator.step()
    assert len(desk.latest.narratives) == 2


def revising(desk: Desk, revision: Analysis) -> None:
    """A new revision arrives while the model writes."""
    write = desk.analyst.write

    def slow(*args: object, **kwargs: object) -> object:
        desk.save(desk.incident, revision)
        return write(*args, **kwargs)  # type: ignore[arg-type]

    desk.analyst.write = slow  # type: ignore[method-assign,assignment]


def test_a_draft_that_holds_for_the_next_revision_is_kept_with_its_figures(folder: Path) -> None:
    desk = Desk(folder, [an_answer()])
    moved = tuple(replace(one, value=39.2) if one.evidence_id == "E1" else one for one in desk.analysis.evidence)
    revising(desk, replace(desk.analysis, analysis_id=desk.clock.new_id(), revision=2, evidence=moved))
    desk.narrator.step()
    assert desk.latest.revision == 2
    assert "39.2 mJ/cm2" in desk.latest.narratives[-1].text


def test_a_draft_that_no_longer_holds_is_dropped(folder: Path) -> None:
    desk = Desk(folder, [an_answer()])
    gone = tuple(one for one in desk.analysis.evidence if one.evidence_id != "E1")
    revising(desk, replace(desk.analysis, analysis_id=desk.clock.new_id(), revision=2, evidence=gone))
    desk.narrator.step()
    assert [one.source for one in desk.latest.narratives] == ["template"]


def test_the_same_question_is_asked_once(folder: Path) -> None:
    desk = Desk(folder, [an_answer()])
    desk.narrator.step()
    following = replace(desk.analysis, analysis_id=desk.clock.new_id(), revision=2)
    desk.save(desk.incident, following)
    assert desk.narrator.step() is False  # a moment ago
    desk.clock.advance(61)
    desk.narrator.step()
    assert desk.latest.revision == 2
    assert desk.latest.narratives[-1].source == LLM
    assert len(desk.analyst.tasks) == 1


def test_an_accepted_note_goes_where_the_order_is_revised(folder: Path) -> None:
    desk = Desk(folder, [an_answer()])
    seen: list[tuple[Analysis, str]] = []
    narrator = Narrator(
        desk.store,
        desk.clock,
        desk.analyst,
        a_catalogue(),
        add_narrative=lambda uow, analysis, narrative: seen.append((analysis, narrative.text)),
    )
    narrator.step()
    assert [(analysis.analysis_id, bool(text)) for analysis, text in seen] == [(desk.analysis.analysis_id, True)]


@pytest.mark.parametrize(
    ("note", "suspect", "state", "asked"),
    [
        ("", "A1", OrderState.ISSUED, True),
        ("It fits.", "A1", OrderState.ISSUED, False),  # every note revises the order: the MES is not told again
        ("It fits.", "A2", OrderState.ISSUED, True),  # the suspect has changed
        ("", "A1", OrderState.CLOSED, False),
    ],
)
def test_an_order_gets_a_note_once_for_a_suspect(
    folder: Path, note: str, suspect: str, state: OrderState, asked: bool
) -> None:
    desk = Desk(folder, [an_answer()])
    named = Suspect(cause_id=suspect, name="s", grade="likely", speaks_for=(), speaks_against=())
    order = an_order(desk.clock, incident_id=desk.incident.incident_id, state=state, note=note, suspects=(named,))
    with desk.store.unit() as uow:
        uow.orders.save(order)
        uow.commit()
    assert desk.narrator.step() is asked
