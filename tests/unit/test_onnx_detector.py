"""The ONNX detector: what it verifies, what it accepts, how it fails."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors import onnx, session
from edge_agent.adapters.detectors.onnx import OnnxDetector
from edge_agent.adapters.detectors.session import PROVIDERS
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.defect import Sighting
from edge_agent.domain.faults import ConfigError, PartFault
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.simulation.boards import Imaging, Placement, layout, render

MODEL = Path(__file__).resolve().parents[2] / "models" / "board" / "1"
CLOCK = SystemClock()
MISSING = next(word for word, name in PROVIDERS.items() if name not in ort.get_available_providers())
BOARD = layout("detector-test")
PLACES = [
    Placement(code="short", x_px=150, y_px=150, size_px=20),
    Placement(code="pin_hole", x_px=480, y_px=200, size_px=14),
    Placement(code="spurious_copper", x_px=300, y_px=500, size_px=16),
]


def frame(pixels: Pixels) -> Frame:
    return Frame(frame_id=CLOCK.new_id(), camera_id="c", pixels=pixels, captured_at=CLOCK.now())


def board(shift: tuple[float, float] = (0, 0)) -> Pixels:
    return render(BOARD, PLACES, Imaging(shift_xy_px=shift), np.random.default_rng(3)).pixels


@pytest.fixture(scope="module")
def detector() -> OnnxDetector:
    made = OnnxDetector(MODEL, DetectorOptions(), clock=CLOCK)
    made.warm_up()
    return made


def codes(sighting: Sighting, at_least: float = 0.5) -> list[str]:
    return sorted(one.code for one in sighting.defects if one.score >= at_least)


EXPECTED = ["pin_hole", "short", "spurious_copper"]


def test_finds_defects_and_nothing_on_a_clean_board(detector: OnnxDetector) -> None:
    assert codes(detector.detect(frame(board()), BOARD.golden(), None)) == EXPECTED
    clean = render(BOARD, [], Imaging(), np.random.default_rng(4)).pixels
    assert codes(detector.detect(frame(clean), BOARD.golden(), None)) == []


@pytest.mark.parametrize("shift", [(9.0, -6.0), (-14.5, 11.0)])
def test_the_golden_image_follows_the_part(detector: OnnxDetector, shift: tuple[float, float]) -> None:
    seen = detector.detect(frame(board(shift)), BOARD.golden(), shift)
    assert codes(seen) == EXPECTED
    still = detector.detect(frame(board()), BOARD.golden(), None)
    for moved, fixed in zip(by_code(seen), by_code(still), strict=True):
        assert np.allclose(np.array(moved) - np.array(fixed), [*shift, *shift], atol=4)


def by_code(sighting: Sighting) -> list[tuple[float, float, float, float]]:
    return [one.xyxy_px for one in sorted(sighting.defects, key=lambda one: one.code) if one.score >= 0.5]


def test_unregistered_shift_is_seen_as_trouble_not_as_a_clean_board(detector: OnnxDetector) -> None:
    assert codes(detector.detect(frame(board((30, 25))), BOARD.golden(), None), 0.3)


@pytest.mark.parametrize(
    "convert",
    [
        lambda image: image.astype(np.uint16) * 257,
        lambda image: image.astype(np.uint16) * 16,
        lambda image: cv2.cvtColor(image, cv2.COLOR_GRAY2BGR),
        lambda image: cv2.cvtColor(image, cv2.COLOR_GRAY2BGR).astype(np.uint16) * 257,
    ],
    ids=["16 bits", "12 bits in 16", "colour", "16-bit colour"],
)
def test_depths_and_channels(detector: OnnxDetector, convert: Any) -> None:
    assert codes(detector.detect(frame(convert(board())), convert(BOARD.golden()), None)) == EXPECTED
    assert codes(detector.detect(frame(convert(board())), BOARD.golden(), None)) == EXPECTED


def test_larger_images_are_tiled_at_their_own_scale(detector: OnnxDetector) -> None:
    wide = np.hstack([board(), BOARD.golden(), board()])
    golden = np.hstack([BOARD.golden()] * 3)
    seen = detector.detect(frame(wide), golden, None)
    assert codes(seen) == sorted(EXPECTED * 2)
    assert max(one.xyxy_px[2] for one in seen.defects) > 1280


def test_a_defect_on_a_tile_border_is_one_defect(detector: OnnxDetector) -> None:
    golden = np.full((640, 1152), 230, np.uint8)
    golden[:, 200:240] = golden[:, 800:840] = 20
    image = golden.copy()
    image[300:316, 570:586] = 20
    seen = detector.detect(frame(image), golden, None)
    assert codes(seen) == ["spurious_copper"]


def test_smaller_images_are_padded(detector: OnnxDetector) -> None:
    seen = detector.detect(frame(board()[60:600, 60:560]), BOARD.golden()[60:600, 60:560], None)
    assert "short" in codes(seen)
    assert all(one.xyxy_px[2] <= 500 and one.xyxy_px[3] <= 540 for one in seen.defects)


def test_no_golden_image_and_a_wrong_one(detector: OnnxDetector) -> None:
    with pytest.raises(PartFault, match="there is none") as none:
        detector.detect(frame(board()), None, None)
    assert none.value.code == "golden.missing"
    with pytest.raises(PartFault, match=r"640x640 px, its golden image is 640x600 px") as size:
        detector.detect(frame(board()), BOARD.golden()[:600], None)
    assert size.value.code == "golden.size"


class Broken:
    """A session that answers nonsense."""

    def __init__(self, output: np.ndarray | Exception) -> None:
        self.output = output

    def run(self, names: object, feed: object) -> list[np.ndarray]:
        if isinstance(self.output, Exception):
            raise self.output
        return [self.output]


def answer(**changes: float) -> np.ndarray:
    output = np.tile(np.array([10, 10, 40, 40, 0.9, 1], np.float32), (1, 100, 1))
    for column, value in changes.items():
        output[0, 3, int(column[1:])] = value
    return output


@pytest.mark.parametrize(
    ("output", "code", "words"),
    [
        (answer(c4=np.nan), "detector.output", "not finite"),
        (answer(c0=np.inf), "detector.output", "not finite"),
        (answer(c4=1.7), "detector.output", "scores from"),
        (answer(c4=-0.2), "detector.output", "scores from"),
        (answer(c5=6), "detector.output", "class outside 0 to 5"),
        (answer(c5=-1), "detector.output", "class outside 0 to 5"),
        (np.zeros((1, 100, 5), np.float32), "detector.output", "shape"),
        (ort.capi.onnxruntime_pybind11_state.RuntimeException("out of memory"), "detector.failed", "out of memory"),
    ],
)
def test_nonsense_is_a_part_fault(output: np.ndarray | Exception, code: str, words: str) -> None:
    made = OnnxDetector(MODEL, DetectorOptions(), clock=CLOCK)
    made._session = Broken(output)  # type: ignore[assignment]
    with pytest.raises(PartFault, match=words) as fault:
        made.detect(frame(board()), BOARD.golden(), None)
    assert fault.value.code == code


def test_detecting_before_warming_up_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="warm_up"):
        OnnxDetector(MODEL, DetectorOptions(), clock=CLOCK).detect(frame(board()), BOARD.golden(), None)


# --- the other decoding: ultralytics' export -------------------------------------------------------------------------


@pytest.fixture
def yolo(tmp_path: Path) -> OnnxDetector:
    folder = tmp_path / "y" / "1"
    folder.mkdir(parents=True)
    card = {
        "name": "y",
        "version": "1",
        "sha256": "0" * 64,
        "description": "d",
        "decode": "yolo",
        "inputs": [{"name": "images", "shape": [1, 3, 640, 640], "dtype": "float32"}],
        "needs_golden": False,
        "classes": ["scratch", "dent"],
        "licence": "x",
        "opset": 17,
        "parity": False,
    }
    (folder / "card.json").write_text(json.dumps(card))
    return OnnxDetector(folder, DetectorOptions(), clock=CLOCK)


def anchors(*rows: tuple[float, ...]) -> np.ndarray:
    """(1, 6, N): centre x and y, width, height, and a score for each class."""
    output = np.zeros((1, 6, 50), np.float32)
    for index, row in enumerate(rows):
        output[0, :, index] = row
    return output


def test_yolo_boxes_come_back_to_sensor_coordinates(yolo: OnnxDetector) -> None:
    # 1280x720 into 640x640: scale 0.5, 140 rows of grey above.
    yolo._session = Broken(
        anchors((320, 320, 100, 50, 0.1, 0.9), (322, 321, 100, 50, 0.8, 0.2), (50, 200, 20, 20, 0.6, 0))
    )  # type: ignore[assignment]
    seen = yolo.detect(frame(np.zeros((720, 1280, 3), np.uint8)), None, None)
    assert [(one.code, round(one.score, 2)) for one in seen.defects] == [("dent", 0.9), ("scratch", 0.6)]
    assert seen.defects[0].xyxy_px == pytest.approx((540, 310, 740, 410))
    assert seen.defects[1].xyxy_px == pytest.approx((80, 100, 120, 140))


def test_yolo_that_sees_nothing_says_so(yolo: OnnxDetector) -> None:
    yolo._session = Broken(anchors())  # type: ignore[assignment]
    assert yolo.detect(frame(np.zeros((64, 64), np.uint8)), None, None).defects == ()


@pytest.mark.parametrize(
    "output",
    [
        anchors((1, 1, 1, 1, np.nan, 0)),
        anchors((1, 1, 1, 1, 1.5, 0)),
        anchors((1, 1, 1, 1, -0.5, -0.1)),
        anchors((np.nan, 1, 1, 1, 0.9, 0)),
        np.zeros((1, 5, 50), np.float32),
        np.zeros((6, 50), np.float32),
    ],
)
def test_yolo_nonsense_is_a_part_fault(yolo: OnnxDetector, output: np.ndarray) -> None:
    yolo._session = Broken(output)  # type: ignore[assignment]
    with pytest.raises(PartFault) as fault:
        yolo.detect(frame(np.zeros((64, 64), np.uint8)), None, None)
    assert fault.value.code == "detector.output"


# --- loading ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODEL, tmp_path / "board" / "1"))


def edit(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def load(folder: Path, **options: Any) -> OnnxDetector:
    made = OnnxDetector(folder, DetectorOptions(**options), clock=CLOCK)
    made.warm_up()
    return made


def test_a_changed_file_is_refused_with_both_hashes(copy: Path) -> None:
    content = bytearray((copy / "model.onnx").read_bytes())
    content[5000] ^= 1
    (copy / "model.onnx").write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(ConfigError, match=f"is {found}, the card says"):
        load(copy)


def test_a_file_that_is_no_model_is_refused(copy: Path) -> None:
    (copy / "model.onnx").write_bytes(b"not a model")
    edit(copy, sha256=hashlib.sha256(b"not a model").hexdigest())
    with pytest.raises(ConfigError, match="cannot load it"):
        load(copy)


def test_other_inputs_than_the_card_says_are_refused(copy: Path) -> None:
    inputs = json.loads((copy / "card.json").read_text())["inputs"]
    inputs[0]["shape"] = [1, 1, 320, 320]
    edit(copy, inputs=inputs)
    with pytest.raises(ConfigError, match=r"card says inputs .*320, 320.* the file has .*640, 640"):
        load(copy)


def test_a_model_that_answers_differently_is_refused(copy: Path) -> None:
    answer = json.loads((copy / "golden.json").read_text())
    answer["expected"][0]["score"] = 0.1
    (copy / "golden.json").write_text(json.dumps(answer))
    with pytest.raises(ConfigError, match=r"parity test failed on CPUExecutionProvider"):
        load(copy)


def test_swapped_classes_are_noticed_by_parity(copy: Path) -> None:
    classes = json.loads((copy / "card.json").read_text())["classes"]
    edit(copy, classes=classes[::-1])
    with pytest.raises(ConfigError, match="parity test failed"):
        load(copy)


@pytest.mark.parametrize("file", ["model.onnx", "card.json", "golden.json", "parity_image.png"])
def test_a_missing_file_is_named(copy: Path, file: str) -> None:
    (copy / file).unlink()
    with pytest.raises(ConfigError, match=file):
        load(copy)


def test_unknown_keys_in_a_card_are_errors(copy: Path) -> None:
    edit(copy, licens="MIT")
    with pytest.raises(ConfigError, match="licens"):
        load(copy)


def test_a_demanded_provider_that_is_missing_is_refused() -> None:
    with pytest.raises(ConfigError, match=rf"{PROVIDERS[MISSING]} was demanded, .* gives"):
        load(MODEL, providers=[MISSING])


class Log:
    """Remembers what was logged, however logging is set up."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda event, **fields: self.said.append((level, event))


def test_or_it_runs_degraded_and_says_so_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(session, "log", log)
    made = load(MODEL, providers=[MISSING, "cpu"], on_missing_provider="degrade")
    assert made.providers == ("CPUExecutionProvider",)
    assert [level for level, event in log.said if "degraded" in event] == ["error"]


def test_a_model_without_parity_test_is_used_and_says_so(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(copy, parity=False)
    log = Log()
    monkeypatch.setattr(onnx, "log", log)
    load(copy)
    assert [level for level, event in log.said if "unchecked" in event] == ["warning"]
