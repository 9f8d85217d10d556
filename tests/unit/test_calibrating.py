"""The gate's limits from good frames, and what they then refuse."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge_agent.cli import build
from edge_agent.config.recipes import ImageSection
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.frame import Pixels
from edge_agent.domain.recipe import ImageLimits
from edge_agent.inspecting.calibrating import EVERYTHING, LEAST, calibrate, measure, strain
from edge_agent.inspecting.gate import Reference, gate
from tests.fakes.station import board

SIDE = 320
GOLDEN = board(1, size=SIDE)
REFERENCE = Reference.of(GOLDEN)


def frame(rng: np.random.Generator) -> Pixels:
    """A good frame: a little beside its place, a little brighter or darker, with noise."""
    moved = np.array([[1, 0, rng.normal(0, 1)], [0, 1, rng.normal(0, 1)]])
    seen = cv2.warpAffine(GOLDEN, moved, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT).astype(np.float32)
    return np.clip(seen * rng.normal(0.9, 0.01) + rng.normal(0, 2, seen.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def limits() -> ImageLimits:
    rng = np.random.default_rng(1)
    return calibrate(
        [measure(frame(rng), REFERENCE).metrics for _ in range(60)], ImageLimits(size_wh=(SIDE, SIDE))
    ).limits


def test_other_good_frames_pass(limits: ImageLimits) -> None:
    rng = np.random.default_rng(2)
    refused = [gate(frame(rng), REFERENCE, limits).reasons for _ in range(100)]
    assert [reasons for reasons in refused if reasons] == []


def covered(pixels: Pixels) -> Pixels:
    found = pixels.copy()
    found[120:200, 120:200] = 250
    return found


def turned(pixels: Pixels) -> Pixels:
    matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), 3, 1)
    return np.asarray(cv2.warpAffine(pixels, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT), np.uint8)


def noisy(pixels: Pixels) -> Pixels:
    noise = np.random.default_rng(5).normal(0, 15, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        (lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 2), {"image.defocused"}),
        (lambda pixels: cv2.blur(pixels, (9, 1)), {"image.defocused"}),
        (lambda pixels: (pixels * 0.5).astype(np.uint8), {"image.dark"}),
        (lambda pixels: np.clip(pixels * 1.4, 0, 255).astype(np.uint8), {"image.bright", "image.saturated"}),
        (noisy, {"image.noisy"}),
        (covered, {"part.covered"}),
        (turned, {"part.turned", "part.missing", "part.shifted"}),
        (lambda pixels: np.roll(pixels, 30, axis=1), {"part.shifted", "part.missing"}),
    ],
    ids=["blur", "motion", "dark", "bright", "noise", "covered", "turned", "shifted"],
)
def test_faults_are_refused_by_name(fault, codes: set[str], limits: ImageLimits) -> None:  # type: ignore[no-untyped-def]
    seen = np.asarray(fault(frame(np.random.default_rng(3))), np.uint8)
    quality = gate(seen, REFERENCE, limits)
    assert codes & {reason.code for reason in quality.reasons}, quality.reasons
    assert strain(measure(seen, REFERENCE).metrics, limits) > 1


def test_uncalibrated_stations_measure_no_more_than_before() -> None:
    metrics = gate(frame(np.random.default_rng(4)), REFERENCE, ImageLimits()).metrics
    assert not {"noise", "focus_across", "tile_residual"} & set(metrics)
    assert {"noise", "focus_across", "tile_residual"} <= set(measure(GOLDEN, REFERENCE).metrics)


def test_few_frames_are_refused() -> None:
    with pytest.raises(ConfigError, match=f"at least {LEAST}"):
        calibrate([{"noise": 1.0}] * (LEAST - 1), ImageLimits())


def test_everything_refuses_nothing() -> None:
    black = np.zeros((SIDE, SIDE), np.uint8)
    assert gate(black, REFERENCE, EVERYTHING).usable


def test_the_command_prints_a_section_that_the_recipe_takes(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    good = tmp_path / "good"
    good.mkdir()
    for index in range(LEAST):
        cv2.imwrite(str(good / f"{index}.png"), frame(rng))
    (good / "torn.png").write_bytes(b"\x89PNG")
    cv2.imwrite(str(tmp_path / "golden.png"), GOLDEN)
    words = ["calibrate", "gate", "--good", str(good), "--golden", str(tmp_path / "golden.png"), "--json"]
    done = CliRunner().invoke(build("calibrate"), words)
    assert done.exit_code == 0, done.output
    assert "skipped: torn.png" in done.stderr
    found = ImageSection.model_validate(json.loads(done.stdout))
    assert found.max_tile_residual is not None
    assert found.focus_across is not None
