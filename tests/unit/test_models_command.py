"""``edge-agent models shadow | promote | rollback | compare`` at the terminal, over a plant's store."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from edge_agent.adapters.detectors.catalogue import read_card
from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.cli import build
from edge_agent.commands.evaluate_detector import Measured
from edge_agent.commands.labelled import Labelled
from edge_agent.commands.models_compare import compared
from edge_agent.domain.audit import AuditEntry
from edge_agent.domain.defect import ModelRef
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.inspection import Evaluation
from edge_agent.inspecting.accuracy import Found, Judged
from edge_agent.inspecting.promoting import named, promotions, shadow_choice
from edge_agent.signing.keys import SigningKey
from tests.fakes.clock import FakeClock
from tests.fakes.made import a_shadow_look, an_inspection
from tests.fakes.station import board

ROOT = Path(__file__).resolve().parents[2]
RUN = CliRunner()
OK, NOT_OK = Evaluation.OK, Evaluation.NOT_OK


def ref(version: str) -> ModelRef:
    sha256 = read_card(ROOT / "models" / "board" / version).sha256
    return ModelRef(name="board", version=version, sha256=sha256)


class Box:
    """A copy of an example plant with a store, board/2 live, gates that ten parts can pass."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(ROOT / "plant_config", folder / "plant_config")
        self.config = folder / "plant_config" / "examples" / "folder"
        self.state = folder / "state"
        self.clock = FakeClock()
        self.store = Database(sqlite_url(self.state), clock=self.clock)
        self.store.migrate()
        self.change("plant.yaml", models={"gates": {"min_parts": 10, "max_escapes": 0.9, "max_false_rejects": 0.3}})
        self.change("recipes/pcb-a.yaml", model="board/2")

    def change(self, file: str, **keys: Any) -> None:
        path = self.config / file
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))

    def run(self, *words: str) -> Result:
        given = ["--config", str(self.config), "--state", str(self.state)]
        return RUN.invoke(build("models"), ["models", *words, *given])

    def saw(self, count: int, live: Evaluation, shadow: Evaluation) -> None:
        with self.store.unit() as unit:
            for _ in range(count):
                look = a_shadow_look(self.clock, live=live, shadow=shadow)
                unit.shadow_looks.add(replace(look, live=ref("2"), shadow=ref("1")))
            unit.commit()

    @property
    def standing(self) -> list[str]:
        with self.store.reader() as unit:
            return [named(one.model) for one in promotions(unit, "aoi-1")]

    @property
    def audit(self) -> list[AuditEntry]:
        with self.store.reader() as unit:
            return unit.audit.latest(9, subject="station:aoi-1")[::-1]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.store.close()


PROMOTE = ("promote", "board/1", "--why", "quieter on copper")


def test_a_promotion_needs_parts_seen_beside_the_live_model(box: Box) -> None:
    done = box.run(*PROMOTE)
    assert done.exit_code == 1, done.output
    assert "REFUSED  parts: 0 parts seen beside the live model, 10 are asked" in done.stdout
    assert "not promoted" in done.stdout
    assert (box.standing, box.audit) == ([], [])


def test_gates_that_are_passed_let_it_stand_and_say_so_in_the_audit_log(box: Box) -> None:
    assert box.run("shadow", "board/1", "--why", "a trial").exit_code == 0
    box.saw(12, OK, OK)
    box.saw(2, NOT_OK, NOT_OK)
    done = box.run(*PROMOTE)
    assert done.exit_code == 0, done.output
    assert "promoted: board/2 becomes board/1" in done.stdout
    assert box.standing == ["board/1"]
    entry = box.audit[-1]
    assert (entry.action, entry.before, entry.after) == ("model.promoted", ref("2").sha256, ref("1").sha256)
    assert entry.actor.startswith("terminal:")
    for words in ("quieter on copper", "escapes passed: 0 of 2 defective", "false rejects passed: 0 of 12 good"):
        assert words in entry.detail
    with box.store.reader() as unit:
        choice = shadow_choice(unit, "aoi-1")
    assert choice is not None
    assert choice["model"] is None, "it looks beside nobody any more"


def test_a_gate_that_refuses_names_its_figures_and_force_is_noted(box: Box) -> None:
    box.saw(8, OK, OK)
    box.saw(2, OK, NOT_OK)
    box.saw(2, NOT_OK, OK)
    refused = box.run(*PROMOTE, "--json")
    assert refused.exit_code == 1
    told = json.loads(refused.stdout)
    assert {one["name"]: one["passed"] for one in told["gates"]} == {
        "parts": True,
        "escapes": False,
        "false rejects": False,
        "p99": True,
    }
    assert (told["beside"]["escapes"], told["beside"]["false_rejects"]) == (2, 2)
    assert box.run("promote", "board/1", "--why", " ", "--force").exit_code == 2
    assert box.run(*PROMOTE, "--force").exit_code == 0
    assert box.audit[-1].action == "model.promoted-by-force"
    assert "escapes REFUSED: 2 of 2" in box.audit[-1].detail
    assert box.standing == ["board/1"]


def test_only_looks_beside_the_model_that_is_live_now_count(box: Box) -> None:
    box.saw(20, OK, OK)
    assert box.run(*PROMOTE, "--force").exit_code == 0
    back = box.run("promote", "board/2", "--why", "back")
    assert "0 parts seen" in back.stdout
    live = box.run(*PROMOTE)
    assert isinstance(live.exception, ConfigError)
    assert "board/1 is live at aoi-1 already" in str(live.exception)


def test_rollback_takes_the_newest_promotion_back(box: Box) -> None:
    none = box.run("rollback", "--why", "scratches")
    assert (none.exit_code, "nothing was promoted" in none.output) == (1, True)
    box.run(*PROMOTE, "--force")
    done = box.run("rollback", "--why", "scratches at the rim")
    assert done.exit_code == 0, done.output
    assert "board/2 is board/2 again (was board/1)" in done.stdout
    assert box.standing == []
    assert (box.audit[-1].action, "scratches at the rim" in box.audit[-1].detail) == ("model.rolled-back", True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("shadow", "board/77"), "is not in"),
        (("shadow", "board/2"), "is the one that is live"),
        (("shadow", "board/1", "--station", "aoi-7"), "there are: aoi-1"),
        (("shadow", "board/1", "--instead-of", "bracket"), "'bracket' is not among them"),
        (("promote", "board/77", "--why", "-"), "is not in"),
        (("compare", "--shadow"), "no model looks beside"),
    ],
)
def test_what_is_not_there_is_named(box: Box, words: tuple[str, ...], why: str) -> None:
    done = box.run(*words)
    assert isinstance(done.exception, ConfigError), done.output
    assert why in str(done.exception)


def test_a_shadow_is_chosen_shown_and_ended(box: Box) -> None:
    assert "no model looks" in box.run("shadow").stdout
    assert "board/1 looks beside it: 0 of 0" in box.run("shadow", "board/1").stdout
    box.saw(3, OK, OK)
    box.saw(1, OK, NOT_OK)
    assert "board/1 looks beside it: 3 of 4 parts judged alike, 0 missed" in box.run("shadow").stdout
    figures = json.loads(box.run("compare", "--shadow", "--json").stdout)
    assert figures["said"] == [
        {"live": "OK", "shadow": "NOT_OK", "parts": 1},
        {"live": "OK", "shadow": "OK", "parts": 3},
    ]
    assert figures["beside"]["false_rejects"] == 1
    assert "1 of 4 good ones do not pass" in box.run("compare", "--shadow").stdout
    assert "no model looks" in box.run("shadow", "--off").stdout
    assert [entry.action for entry in box.audit] == ["model.shadowed"] * 2


def test_where_signatures_are_demanded_an_unsigned_model_does_not_stand(box: Box) -> None:
    (box.config / "quality.pub").write_text(SigningKey.new().public.pem)
    box.change("plant.yaml", security={"model_keys": {"quality": "quality.pub"}, "signed_models": True})
    done = box.run(*PROMOTE, "--force")
    assert isinstance(done.exception, ConfigError)
    assert "board/1 is not signed" in str(done.exception)


# --- compare --------------------------------------------------------------------------------------------------------

CLOCK = FakeClock()


def measured(truth: tuple[str, ...], found: tuple[str, ...], ms: float = 10.0) -> Measured:
    """A part with defects at different places; what is found is found exactly there."""
    box = {code: (100.0 * place, 0.0, 100.0 * place + 50, 50.0) for place, code in enumerate(("open", "short"))}
    inspection = replace(an_inspection(CLOCK, codes=found), timings_ms={"detect": ms, "total": 2 * ms})
    return Measured(
        part=Labelled(name="p", image=board(), golden=None, truth=tuple((code, box[code]) for code in truth)),
        mean_grey=0.0,
        inspection=inspection,
        judged=Judged(
            found=tuple(Found(code=code, score=0.9, xyxy_px=box[code]) for code in found),
            truth=tuple((code, box[code]) for code in truth),
        ),
    )


def test_two_models_are_compared_part_by_part() -> None:
    pairs = [
        *[(measured(("open",), ("open",)), measured(("open",), ("open",), 30.0))] * 3,
        *[(measured(("open",), ()), measured(("open",), ("open",), 30.0))] * 6,
        (measured((), ()), measured((), ("short",), 30.0)),
        (measured((), ("open",)), measured((), (), 30.0)),
    ]
    found = compared(pairs, ["open", "short"])
    assert [one["count"] for one in found["recall_by_class"]["open"]] == [3, 9]
    assert "short" not in found["recall_by_class"]
    assert [(one["count"], one["of"]) for one in found["escapes"]] == [(6, 9), (0, 9)]
    assert found["escapes"][1]["interval_95"] == [0.0, 0.3363]
    assert [one["count"] for one in found["overkill"]] == [1, 1]
    assert found["parts_judged_rightly"] == {
        "both": 3,
        "only_first": 1,
        "only_second": 7,
        "neither": 0,
        "mcnemar_p": 0.0703,
    }
    assert found["defects_found"]["mcnemar_p"] == 0.0312
    assert found["detect_ms"] == [{"p50": 10.0, "p99": 10.0}, {"p50": 30.0, "p99": 30.0}]


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no parts"):
        compared([], ["open"])


@pytest.mark.parametrize("words", [("board/1", "board/2"), ("--data", "d", "--shadow"), ("board/1", "--data", "d")])
def test_compare_says_what_it_expects(words: tuple[str, ...]) -> None:
    done = RUN.invoke(build("models"), ["models", "compare", *words])
    assert done.exit_code == 2
    assert "expected" in done.output


@pytest.mark.slow
def test_a_model_is_signed_added_and_verified_by_its_signature(box: Box, tmp_path: Path) -> None:
    source, key = tmp_path / "new", tmp_path / "quality.key"
    shutil.copytree(ROOT / "models" / "board" / "1", source)
    card = json.loads((source / "card.json").read_text())
    (source / "card.json").write_text(json.dumps(card | {"version": "41"}))
    signing = SigningKey.new()
    signing.write(key)
    (tmp_path / "quality.pub").write_text(signing.public.pem)
    demanded = ["--key", str(tmp_path / "quality.pub")]
    at = ["--state", str(box.state)]

    def models(*words: str) -> Result:
        return RUN.invoke(build("models"), ["models", *words])

    unsigned = models("add", str(source), "--why", "a trial", *at, *demanded)
    assert isinstance(unsigned.exception, ConfigError)
    assert "is not signed" in str(unsigned.exception)
    assert models("sign", str(source), "--key", str(key)).exit_code == 0
    dry = models("add", str(source), *at, *demanded, "--dry-run")
    assert "it would be added" in dry.stdout
    added = models("add", str(source), "--why", "a trial", *at, *demanded)
    assert added.exit_code == 0, added.output
    with box.store.reader() as unit:
        (entry,) = unit.audit.latest(5, subject="model:board/41")
    assert (entry.action, entry.after, entry.detail) == ("model.added", card["sha256"], "a trial")
    assert (
        "board/41: holds (CPUExecutionProvider, signed by quality)"
        in models("verify", "board/41", *at, *demanded).stdout
    )
    assert "board/41" in models("list", *at).stdout
    wrong = models("verify", "board/1", *at, *demanded)
    assert (wrong.exit_code, "is not signed" in wrong.stdout) == (1, True)
    (box.state / "models" / "board" / "41" / "model.onnx").write_bytes(b"x")
    assert "sha256" in models("verify", "board/41", *at).stdout
