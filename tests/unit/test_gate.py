"""The gate on pictures with known faults."""

import cv2
import numpy as np
import pytest

from edge_agent.domain.frame import Pixels
from edge_agent.domain.recipe import ImageLimits
from edge_agent.inspecting.gate import Reference, gate
from tests.fakes.station import board

GOLDEN = board(1, size=640)
LIMITS = ImageLimits(
    size_wh=(640, 640),
    focus_ratio=(0.004, 0.03),
    brightness_p95=(150, 250),
    brightness_p5=(5, 90),
    max_saturated_share=0.3,
    max_shift_px=20,
    min_match=0.6,
)


def shifted(pixels: Pixels, dx: float, dy: float) -> Pixels:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    moved = cv2.warpAffine(pixels, matrix, (pixels.shape[1], pixels.shape[0]), borderValue=30)
    return np.asarray(moved, np.uint8)


def codes(pixels: Pixels, limits: ImageLimits = LIMITS) -> list[str]:
    quality = gate(pixels, Reference.of(GOLDEN), limits)
    assert quality.usable is (not quality.reasons)
    return [reason.code for reason in quality.reasons]


def test_a_good_image_passes() -> None:
    assert codes(GOLDEN) == []


@pytest.mark.parametrize("shift", [(0.0, 0.0), (6.0, -4.0), (-12.0, 9.0), (15.0, 10.0)])
def test_the_shift_is_measured(shift: tuple[float, float]) -> None:
    quality = gate(shifted(GOLDEN, *shift), Reference.of(GOLDEN), LIMITS)
    assert quality.usable, quality.reasons
    assert quality.shift_xy_px == pytest.approx(shift, abs=1.0)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda image: cv2.GaussianBlur(image, (0, 0), 6), "image.defocused"),
        (lambda image: np.uint8(image // 3), "image.dark"),
        (lambda image: np.uint8(np.minimum(image.astype(int) + 90, 254)), "image.bright"),
        (lambda image: np.full_like(image, 255), "image.saturated"),
        (lambda image: np.full_like(image, 30), "part.missing"),
        (lambda image: board(99, size=640), "part.missing"),
        (lambda image: shifted(image, 40, 0), "part.shifted"),
        (lambda image: image[:320], "image.size"),
    ],
)
def test_faults_are_named(fault: object, expected: str) -> None:
    assert callable(fault)
    assert expected in codes(fault(GOLDEN))


def test_sixteen_bit_and_colour_measure_the_same() -> None:
    wide = GOLDEN.astype(np.uint16) * 257
    colour = cv2.cvtColor(GOLDEN, cv2.COLOR_GRAY2BGR)
    plain = gate(GOLDEN, None, LIMITS).metrics
    for pixels in (wide, colour):
        assert gate(np.asarray(pixels), None, LIMITS).metrics == pytest.approx(plain, rel=0.02)


def test_a_huge_image_is_refused() -> None:
    limits = ImageLimits(max_megapixels=0.1)
    assert codes(GOLDEN, limits) == ["image.too_large"]


def test_measuring_changes_neither_the_image_nor_the_reference() -> None:
    golden = np.kron(
        np.random.default_rng(3).integers(0, 2, (40, 40), dtype=np.uint8) * 200, np.ones((16, 16), np.uint8)
    )
    reference, small = Reference.of(golden), Reference.of(golden).small.copy()
    qualities = [gate(np.roll(golden, 3, axis=1), reference, ImageLimits()) for _ in range(3)]
    assert qualities[0] == qualities[1] == qualities[2]
    assert np.array_equal(reference.small, small)
