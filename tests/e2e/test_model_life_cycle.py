"""The whole agent as a process: a model is added, looks beside the live one, is promoted, turns out worse on the line,
and is taken back by itself. No part is lost on the way."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.catalogue import read_card
from edge_agent.adapters.detectors.parity import read_pixels
from edge_agent.commands.desk import Desk, recipe_of
from edge_agent.domain.defect import ModelRef
from edge_agent.domain.frame import Pixels
from edge_agent.domain.inspection import Disposition, Evaluation
from edge_agent.simulation.boards import Imaging, layout, render
from edge_agent.simulation.line.products import PRODUCTS
from tests.fault.agent_box import PRODUCT, Box, Plc, missing, until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
]
MODELS = Path(__file__).resolve().parents[2] / "models"
LIVE, NEXT = "board/2", "board/9"
CLOCK = SystemClock()
SEEN_BESIDE = 12
STARVED_S = 240


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    made.broker.start()
    made.configure(plant=_rules, station=_patience)
    _name_the_model(made.places.config / "recipes")
    yield made
    made.end()


def _rules(plant: dict[str, Any]) -> None:
    """Gates that a dozen good parts can pass, and a watch that ends before the test's patience does."""
    plant["models"] = {
        "gates": {"min_parts": SEEN_BESIDE, "max_escapes": 1.0, "max_false_rejects": 0.3},
        "watch": {"window_parts": 20, "min_parts": 6, "confirm_parts": 2},
    }


def _patience(station: dict[str, Any]) -> None:
    """The shadow gets what other tests leave of the processor."""
    station["shadow"] = {"deadline_s": STARVED_S}


def _name_the_model(recipes: Path) -> None:
    """The live model by its version, and a wide doubtful band."""
    for file in recipes.glob("*.yaml"):
        recipe = yaml.safe_load(file.read_text())
        recipe["model"] = LIVE
        recipe["default"] = {"reject_score": 0.95, "doubt_score": 0.4}
        del recipe["limits"]
        file.write_text(yaml.safe_dump(recipe))


def candidate(folder: Path) -> Path:
    """The live model's network with scores that are too high: on clean boards nobody can tell, on dirty ones it
    doubts what the live model accepts."""
    source = MODELS / LIVE
    card = json.loads((source / "card.json").read_text())
    card |= {"name": "board", "version": "9", "parity": False}
    card["calibration"]["offset"] += 1.0
    made = folder / "next"
    made.mkdir()
    (made / "card.json").write_text(json.dumps(card))
    shutil.copyfile(source / "model.onnx", made / "model.onnx")
    shutil.copyfile(source / card["fp16"]["file"], made / card["fp16"]["file"])
    return made


def dirty_board() -> Pixels:
    """One that the live model accepts, not without seeing something."""
    desk, board = Desk(recipe_of(None, LIVE)), layout(PRODUCTS[PRODUCT])
    for seed in range(40):
        pixels = render(board, [], Imaging(noise=8, dirt=100), np.random.default_rng(seed)).pixels
        seen = desk.inspect_pixels(pixels, board.golden(), "dirty").defects
        if 0.27 < max((one.score for one in seen), default=0.0) < 0.37:
            return pixels
    raise AssertionError("no board is dirty enough and not too dirty")


class Line:
    """Puts pictures in front of the camera and triggers, as a PLC does; each part has a name of its own."""

    def __init__(self, box: Box, plc: Plc) -> None:
        self._box, self._plc = box, plc
        self.asked: list[str] = []
        self.clean = read_pixels(box.places.config / "golden" / f"{PRODUCT}.png")

    def inspect(self, pixels: Pixels | None = None) -> dict[str, Any]:
        part = f"P-{len(self.asked):03d}"
        self.asked.append(part)
        cv2.imwrite(str(self._box.places.share / f"{part}.png"), self.clean if pixels is None else pixels)
        self._plc.trigger(part)
        until(lambda: self._answers(part), f"the answer for {part}")
        return self._answers(part)[0]

    def _answers(self, part: str) -> list[dict[str, Any]]:
        return [answer for answer in list(self._plc.answers) if answer["unitId"] == part]


def models(box: Box, *words: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "edge_agent.cli", "models", *words, "--state", str(box.state)]
    if words[0] != "add":
        command += ["--config", str(box.places.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def seen_beside(box: Box) -> int:
    with box.store.reader() as unit:
        next_one = ModelRef(name="board", version="9", sha256=read_card(MODELS / LIVE).sha256)
        return sum(unit.shadow_looks.count("aoi-1", shadow=next_one).values())


def actions(box: Box) -> list[str]:
    with box.store.reader() as unit:
        return [entry.action for entry in unit.audit.latest(50, subject="station:aoi-1")][::-1]


def version_of(box: Box, part: str) -> str | None:
    model = next(one.model for one in box.inspections if one.shot.part_id == part)
    return model.version if model else None


def test_shadow_promotion_fault_and_rollback(box: Box, tmp_path: Path) -> None:
    box.start_agent()
    assert "added to" in models(box, "add", str(candidate(tmp_path)), "--why", "a trial")
    assert "is in" in models(box, "add", str(tmp_path / "next"), code=78)
    with Plc(box) as plc:
        line = Line(box, plc)
        assert line.inspect()["evaluation"] == Evaluation.OK

        models(box, "shadow", NEXT, "--why", "sees more")
        until(lambda: "shadow:aoi-1" in box.agent.said, "the agent follows")
        refused = models(box, "promote", NEXT, "--why", "too soon", code=1)
        assert f"0 parts seen beside the live model, {SEEN_BESIDE} are asked" in refused
        while seen_beside(box) < SEEN_BESIDE:
            before = seen_beside(box)
            assert line.inspect()["evaluation"] == Evaluation.OK
            until(lambda before=before: seen_beside(box) > before, "the shadow has looked", STARVED_S)
        assert f"{SEEN_BESIDE} of {SEEN_BESIDE} parts judged alike" in models(box, "shadow")

        told = json.loads(models(box, "promote", NEXT, "--why", "as good as the one before", "--json"))
        assert told["promoted"] is True
        until(lambda: "model.taken" in actions(box), "it is in use")
        assert line.inspect()["evaluation"] == Evaluation.OK
        assert version_of(box, line.asked[-1]) == "9"
        code, _ = box.agent.terminate()
        assert code == 0
        box.start_agent()
        line.inspect()
        assert version_of(box, line.asked[-1]) == "9"

        dirty = dirty_board()
        while "model.rolled-back" not in actions(box):
            assert len(line.asked) < 80
            line.inspect(dirty)
        until(lambda: box.agent.events("a promoted model was taken back"), "the exchange")
        assert line.inspect(dirty)["evaluation"] == Evaluation.OK
        assert version_of(box, line.asked[-1]) == "2"

    assert Counter(box.part_ids) == dict.fromkeys(line.asked, 1)
    held = [one for one in box.inspections if one.disposition is Disposition.HOLD]
    assert {one.model.version for one in held if one.model} == {"9"}
    assert actions(box) == ["model.shadowed", "model.promoted", "model.taken", "model.rolled-back"]
    alarm = next(json.loads(row.message.body)["data"] for row in box.outbox if row.message.topic == "out/error")
    assert (alarm["class"], alarm["reasonCode"]) == ("model", "model.rolled-back")
    assert "held in doubt" in alarm["detail"]
