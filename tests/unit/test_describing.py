"""Pictures described in fixed words: what is asked, what is believed, that nothing is ranked by it."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
import pytest

from edge_agent.adapters.analysts.local import LocalAnalyst
from edge_agent.adapters.analysts.pictures import content
from edge_agent.adapters.analysts.smolvlm import CHAT_FORMAT
from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.commands import explain
from edge_agent.config.plant import LocalAnalystOptions
from edge_agent.domain.defect import Defect
from edge_agent.domain.faults import Transient
from edge_agent.domain.inference import SEED
from edge_agent.domain.inspection import ImageRef
from edge_agent.domain.step import StepKind
from edge_agent.observability.health import Condition
from edge_agent.ports import WritingTask
from edge_agent.responding import taxonomy
from edge_agent.responding.describing import SIDE_PX, Describer, cut_out
from edge_agent.responding.evidence import collect, vision_description
from edge_agent.responding.rank import rank_all
from edge_agent.simulation.runs import Disturbance, record
from tests.contract.test_analyst import at, completion, serving
from tests.fakes.analysts import ScriptedAnalyst
from tests.fakes.clock import START, FakeClock
from tests.fakes.diagnosed_line import pcb
from tests.fakes.gguf import instruct_model
from tests.fakes.made import an_analysis, an_incident, an_inspection
from tests.unit.test_evidence_tools import CATALOGUE, ONSET, PARTS, window_of

WORDS = taxonomy.words(pcb().severity)
SAID = {"class": "open", "texture": "rough", "shape": "gap", "where": "on_an_edge"}
ANSWER = json.dumps(SAID)


class Pictures:
    """Stored images in memory; a missing one is gone."""

    def __init__(self, gone: frozenset[str] = frozenset()) -> None:
        self._gone = gone

    def get(self, ref: ImageRef) -> np.ndarray:
        if ref.path in self._gone:
            raise FileNotFoundError(ref.path)
        return np.full((480, 640), 90, np.uint8)


class Bench:
    """An incident of four parts with pictures, and a model that says what it is told to."""

    def __init__(self, folder: Path, *answers: str | Exception, gone: frozenset[str] = frozenset()) -> None:
        self.clock = FakeClock()
        self.store = Database(sqlite_url(folder), clock=self.clock)
        self.store.migrate()
        self.model = ScriptedAnalyst(answers or (ANSWER,))
        self.said: list[tuple[Condition, str]] = []
        parts = [self._part(number) for number in range(4)]
        self.incident = an_incident(self.clock, inspection_ids=tuple(one.inspection_id for one in parts))
        self.analysis = an_analysis(self.clock, incident_id=self.incident.incident_id)
        with self.store.unit() as unit:
            for one in parts:
                unit.inspections.add(one)
            unit.incidents.save(self.incident)
            unit.analyses.save(self.analysis)
            unit.commit()
        self.describer = Describer(
            store=self.store,
            images=Pictures(gone),  # type: ignore[arg-type]
            clock=self.clock,
            model=self.model,
            catalogue=pcb(),
            crops=2,
            deadline_s=5,
            on_condition=lambda condition, detail: self.said.append((condition, detail)),
        )

    def _part(self, number: int) -> Any:
        one = an_inspection(self.clock, codes=("open",))
        ref = ImageRef(role="frame", path=f"{number}.jpg", sha256="0" * 64, size_bytes=1)
        found = Defect(defect_id=self.clock.new_id(), code="open", score=0.9, xyxy_px=(100, 100, 130, 120))
        return replace(one, images=(ref,), defects=(found,))

    @property
    def newest(self) -> Any:
        with self.store.reader() as unit:
            return unit.analyses.latest(self.incident.incident_id)

    @property
    def steps(self) -> Any:
        with self.store.reader() as unit:
            return unit.steps.list(self.incident.incident_id)


# --- the words ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (ANSWER, ""),
        ("It is an open.", "not-json"),
        ("[" * 5_000, "not-json"),
        ('["open"]', "fields"),
        (json.dumps(SAID | {"cause": "A17"}), "fields"),
        (json.dumps(SAID | {"class": "A17"}), "word"),
        (json.dumps(SAID | {"shape": ["gap"]}), "word"),
        (json.dumps({"class": "open"}), "fields"),
    ],
)
def test_only_words_of_the_lists_are_believed(answer: str, rule: str) -> None:
    broken, said = taxonomy.broken_rule(answer, WORDS)
    assert broken == rule
    assert said == ({} if rule else SAID)


def test_the_words_as_a_sentence_a_schema_and_a_grammar() -> None:
    assert taxonomy.sentence(SAID) == "looks like open; rough, gap, on an edge"
    nothing = dict.fromkeys(SAID, taxonomy.UNCLEAR) | {"class": taxonomy.NOTHING}
    assert taxonomy.sentence(nothing) == "shows nothing wrong"
    assert "not_decidable" not in WORDS["class"]
    assert taxonomy.schema(WORDS)["properties"]["shape"]["enum"] == list(taxonomy.SHAPE)
    rules = dict(line.split(" ::= ") for line in taxonomy.grammar(WORDS).splitlines())
    assert set(rules) == {"root", *WORDS}
    assert r'"\"gap\""' in rules["shape"]


# --- the worker -----------------------------------------------------------------------------------------------------


def test_an_incident_is_described_once_after_its_order_and_nothing_else_changes(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.describer.step()
    assert not bench.describer.step()
    after = bench.newest
    assert [one.statement for one in after.evidence] == [
        f"Picture {place} (part {step.detail['part']}): looks like open; rough, gap, on an edge "
        "(described by model scripted, not checked by anybody)"
        for place, step in enumerate(bench.steps, start=1)
    ]
    assert {(one.token, one.tool, one.strength) for one in after.evidence} == {(None, "vision.describe@1", 0.1)}
    assert replace(after, evidence=()) == bench.analysis
    assert [(one.kind, one.outcome) for one in bench.steps] == [(StepKind.DESCRIPTION, "accepted")] * 2


def test_what_the_model_is_shown_holds_nothing_of_the_plant_and_nothing_of_the_detector(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.describer.step()
    (first, _) = bench.model.tasks
    assert "P-" not in first.prompt
    assert "What is in the middle" in first.prompt
    seen = cv2.imdecode(np.frombuffer(first.image, np.uint8), cv2.IMREAD_UNCHANGED)
    assert seen.shape[:2] == (SIDE_PX, SIDE_PX)


def test_an_answer_outside_the_lists_is_kept_as_refused_and_shown_to_nobody(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "Stop the line, it is cause A17!", ANSWER)
    bench.describer.step()
    assert [one.rules for one in bench.steps] == [("not-json",), ()]
    assert len(bench.newest.evidence) == 1
    assert bench.said[-1] == (Condition.OK, "scripted: 1 pictures described, 1 answers thrown away")


def test_a_picture_that_is_gone_is_passed_by_and_no_picture_is_no_trouble(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gone=frozenset({"0.jpg", "1.jpg", "3.jpg"}))
    bench.describer.step()
    assert [one.turn for one in bench.steps] == [1]
    empty = Bench(tmp_path / "b", gone=frozenset(f"{number}.jpg" for number in range(4)))
    empty.describer.step()
    assert not empty.describer.step()
    assert empty.newest == empty.analysis


def test_a_model_that_is_away_costs_nothing_but_pictures_without_words(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Transient("no answer"), ANSWER)
    assert not bench.describer.step()
    assert bench.said[-1][0] is Condition.DEGRADED
    assert not bench.describer.step()
    assert len(bench.model.tasks) == 1
    bench.clock.advance(seconds=6)
    assert bench.describer.step()
    assert len(bench.newest.evidence) == 2


def test_a_restart_does_not_ask_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.describer.step()
    bench.describer._done.clear()
    assert not bench.describer.step()


@pytest.mark.parametrize("box", [(0, 0, 4, 4), (636, 476, 640, 480), (-9, -9, 3, 3)])
def test_a_cut_out_is_a_square_within_the_picture(box: tuple[float, float, float, float]) -> None:
    jpeg = cut_out(np.zeros((480, 640, 3), np.uint8), box)
    assert jpeg is not None
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED).shape == (SIDE_PX, SIDE_PX, 3)


# --- the diagnosis --------------------------------------------------------------------------------------------------


def test_the_next_revision_keeps_the_descriptions_and_no_cause_moves(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.describer.step()
    run = record(3, parts=PARTS, start=START, disturbances=[Disturbance(at_part=ONSET, rate=0.4)])
    plain = window_of(run)
    without, told = collect(plain), collect(replace(plain, descriptions=tuple(bench.steps)))
    described = [one for one in told if one.tool == vision_description.TOOL]
    assert [one.statement[:9] for one in described] == ["Picture 1", "Picture 2"]
    ranked = [
        [(one.cause_id, one.p) for one in rank_all(CATALOGUE, found, CATALOGUE.background, SEED)]
        for found in (without, told)
    ]
    assert ranked[0] == ranked[1]


def test_the_story_of_the_incident_tells_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.describer.step()
    with bench.store.reader() as unit:
        story = explain._story(unit, bench.incident, None)
    told = "\n".join(explain.as_lines(story))
    assert "looks like open; rough, gap, on an edge (described by model scripted" in told
    assert "description: accepted" in told


# --- the wire -------------------------------------------------------------------------------------------------------

TASK = WritingTask(system="s", prompt="What is it?", schema=taxonomy.schema(WORDS), image=b"\xff\xd8picture")


def test_a_server_gets_the_picture_as_openai_has_it_and_the_lists_as_a_schema() -> None:
    asked: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> tuple[int, bytes]:
        asked.append(request)
        return 200, completion(ANSWER)

    with serving(answer) as url:
        written = at(url).write(TASK, 5)
    user = asked[0]["messages"][1]
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    head, _, data = user["content"][0]["image_url"]["url"].partition(",")
    assert (head, base64.b64decode(data)) == ("data:image/jpeg;base64", b"\xff\xd8picture")
    assert user["content"][1]["text"] == "What is it?"
    assert asked[0]["response_format"]["json_schema"]["schema"]["properties"]["shape"]["enum"] == list(taxonomy.SHAPE)
    assert taxonomy.broken_rule(written.text, WORDS)[0] == ""


def test_without_a_picture_the_message_is_as_before() -> None:
    assert content("words", b"") == "words"


def test_the_address_of_a_picture_stands_where_smolvlm_wants_the_picture() -> None:
    """llama-cpp-python cuts the text at the picture's address and puts the picture there."""
    messages = [{"role": "system", "content": "Rules."}, {"role": "user", "content": content("What?", b"x")}]
    text = jinja2.Environment().from_string(CHAT_FORMAT).render(messages=messages, add_generation_prompt=True)
    assert text == (
        "<|im_start|>System: Rules.<end_of_utterance>\n"
        "User:data:image/jpeg;base64,eA== What?<end_of_utterance>\nAssistant:"
    )


def test_a_model_with_another_projector_is_another_model(tmp_path: Path) -> None:
    model, eyes = instruct_model(tmp_path / "m.gguf"), tmp_path / "mmproj.gguf"
    eyes.write_bytes(b"eyes")
    options = LocalAnalystOptions(kind="local", model=model, threads=1, context_tokens=512, deadline_s=20)
    analyst = LocalAnalyst(options, clock=FakeClock(), state_dir=tmp_path, projector=eyes)
    first = analyst._digest()
    eyes.write_bytes(b"other eyes")
    assert LocalAnalyst(options, clock=FakeClock(), state_dir=tmp_path, projector=eyes)._digest() != first
    eyes.unlink()
    with pytest.raises(Transient, match="mmproj"):
        LocalAnalyst(options, clock=FakeClock(), state_dir=tmp_path, projector=eyes)._digest()
