"""``edge-agent teach``, then ``inspect`` with what was taught."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.catalogue import read_card
from edge_agent.adapters.detectors.taught import TaughtDetector
from edge_agent.cli import build
from edge_agent.commands.desk import Desk
from edge_agent.config.load import load_recipe
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.faults import ConfigError, PartFault
from edge_agent.domain.frame import Frame
from edge_agent.simulation.surfaces import TUNE, render

pytestmark = pytest.mark.slow
RUN = CliRunner()


SIDE = 64


def picture(seed: int, flaw: str = "") -> np.ndarray:
    return render(TUNE["painted"], np.random.default_rng(seed), side=SIDE, flaw=flaw).pixels


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and, below ``models``, what was taught from them."""
    folder = tmp_path_factory.mktemp("taught")
    for name, flaw, first, number in (("good", "", 0, 24), ("new", "", 500, 4), ("new", "hole", 600, 4)):
        (folder / name).mkdir(exist_ok=True)
        for seed in range(first, first + number):
            cv2.imwrite(str(folder / name / f"{flaw or 'good'}-{seed}.png"), picture(seed, flaw))
    done = teach(folder)
    assert done.exit_code == 0, done.output
    return folder


def teach(folder: Path, *more: str, good: str = "good") -> Result:
    words = ["teach", "--good", str(folder / good), "--name", "paint", "--models", str(folder / "models")]
    return RUN.invoke(build("teach"), [*words, "--false-reject-rate", "0.05", "--side", "96", *more])


def test_flawed_images_rank_above_good_ones_and_are_not_accepted(taught: Path) -> None:
    words = ["inspect", "--folder", str(taught / "new"), "--model", "paint", "--models", str(taught / "models")]
    done = RUN.invoke(build("inspect"), [*words, "--format", "json"])
    assert done.exit_code == 0, done.output
    rows = {Path(row["image"]).stem: row for row in map(json.loads, done.stdout.splitlines())}
    good = [row for name, row in rows.items() if name.startswith("good")]
    flawed = [row for name, row in rows.items() if name.startswith("hole")]
    assert max(row["score"] for row in good) < min(row["score"] for row in flawed)
    assert {row["evaluation"] for row in flawed} <= {"NOT_OK", "NOT_DECIDABLE"}
    assert len({row["score"] for row in good}) == len(good), "scores rank good images, too"
    assert all(row["defects"][0]["code"] == "anomaly" for row in flawed)
    worst = max(flawed, key=lambda row: row["score"])
    x0, y0, x1, y1 = worst["defects"][0]["xyxy_px"]
    assert 0 <= x0 < x1 <= SIDE
    assert 0 <= y0 < y1 <= SIDE


def test_the_card_says_what_it_rests_on(taught: Path) -> None:
    card = read_card(taught / "models" / "paint" / "1")
    assert card.decode == "taught"
    assert card.teaching is not None
    assert card.teaching.images == 24
    assert card.teaching.wanted_rate == 0.05
    assert card.teaching.promised_rate <= 0.05
    assert "held out" in card.teaching.threshold_from
    assert card.teaching.backbone.startswith("lite0/")


def test_the_name_is_taken_until_forced(taught: Path) -> None:
    assert isinstance(teach(taught).exception, ConfigError)
    assert teach(taught, "--force", "--dry-run").exit_code == 0
    assert not (taught / "models" / "paint" / "2").exists()
    assert teach(taught, "--force").exit_code == 0
    assert sorted(entry.name for entry in (taught / "models" / "paint").iterdir()) == ["1", "2"]


def test_a_products_own_model_is_not_overwritten(taught: Path) -> None:
    words = ["teach", "--good", str(taught / "good"), "--name", "board", "--models", str(taught / "models"), "--force"]
    assert "comes with the product" in str(RUN.invoke(build("teach"), words).exception)


def test_a_folder_without_images_is_refused(taught: Path) -> None:
    (taught / "empty").mkdir(exist_ok=True)
    assert "at least 5" in str(teach(taught, "--force", good="empty").exception)
    assert "not a folder" in str(teach(taught, "--force", good="nowhere").exception)


def test_models_verify_sees_it_and_notices_a_changed_file(taught: Path, tmp_path: Path) -> None:
    words = ["models", "verify", "paint/1", "--models", str(taught / "models")]
    done = RUN.invoke(build("models"), words)
    assert done.exit_code == 0, done.output
    assert "paint/1: holds" in done.output
    copy = tmp_path / "paint" / "1"
    copy.mkdir(parents=True)
    content = bytearray((taught / "models" / "paint" / "1" / "model.onnx").read_bytes())
    content[-100] ^= 1
    (copy / "model.onnx").write_bytes(content)
    (copy / "card.json").write_bytes((taught / "models" / "paint" / "1" / "card.json").read_bytes())
    done = RUN.invoke(build("models"), ["models", "verify", "paint", "--models", str(tmp_path)])
    assert done.exit_code == 1
    assert "sha256" in done.output


RECIPE = """
id: paint
version: 1
product: paint
model: paint
judges:
  - {kind: gauge, name: bright, measure: count, start_xy_px: [0, 0], end_xy_px: [64, 64], low: 0, high: 999}
"""


@pytest.mark.parametrize(
    ("limits", "expected"),
    [("", {"NOT_OK", "NOT_DECIDABLE"}), ("limits: {anomaly: {reject_score: 0.999, doubt_score: 0.998}}", {"OK"})],
)
def test_the_recipe_has_the_last_word_and_the_judges_are_asked(
    taught: Path, tmp_path: Path, limits: str, expected: set[str]
) -> None:
    recipe = tmp_path / "paint.yaml"
    recipe.write_text(RECIPE + limits + "\n")
    desk = Desk(load_recipe(recipe), models=taught / "models")
    found = [desk.inspect_file(file) for file in sorted((taught / "new").glob("hole-*.png"))]
    assert {one.evaluation.value for one in found} <= expected
    assert all([opinion.judge for opinion in one.opinions] == ["model", "bright"] for one in found)


def test_a_frame_of_another_shape_is_a_fault_of_the_part(taught: Path) -> None:
    detector = TaughtDetector(taught / "models" / "paint" / "1", DetectorOptions(), clock=SystemClock())
    detector.warm_up()
    wide = Frame(
        frame_id=detector._clock.new_id(),
        camera_id="c",
        pixels=np.zeros((SIDE, 2 * SIDE), np.uint8),
        captured_at=detector._clock.now(),
    )
    with pytest.raises(PartFault, match="taught with 64x64"):
        detector.detect(wide, None, None)
