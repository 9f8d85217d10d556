"""The gate on pictures with known faults."""

import cv2
import numpy as np
import pytest

from edge_agent.domain.frame import Pixels
from edge_agent.domain.recipe import ImageLimits
from edge_agent.inspecting.gate import Reference, _normed, _shrink, _solve_step, gate
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


@pytest.mark.parametrize(
    ("shift", "within_px"),
    [((0.0, 0.0), 0.3), ((1.5, -0.7), 0.7), ((-1.0, 2.0), 0.7), ((6, -4), 0.7), ((-12, 9), 0.7), ((15, 10), 0.7)],
)
def test_the_shift_is_measured(shift: tuple[float, float], within_px: float) -> None:
    quality = gate(shifted(GOLDEN, *shift), Reference.of(GOLDEN), LIMITS)
    assert quality.usable, quality.reasons
    assert quality.shift_xy_px == pytest.approx(shift, abs=within_px)


def test_small_shifts_are_solved_for_in_any_light() -> None:
    reference = Reference.of(GOLDEN)
    dimmed = np.uint8(shifted(GOLDEN, 1.5, -0.7) * 0.7 + 20)
    step = _solve_step(_shrink(dimmed)[0], reference)
    assert step is not None
    assert np.multiply(step, reference.scale) == pytest.approx((1.5, -0.7), abs=0.5)


@pytest.mark.parametrize("golden", [np.full((640, 640), 90, np.uint8), GOLDEN[:4, :4]])
def test_without_texture_nothing_is_solved_for(golden: Pixels) -> None:
    assert Reference.of(golden).solver is None
    missing = "part.missing" in [one.code for one in gate(golden // 2, Reference.of(golden), ImageLimits()).reasons]
    assert missing != Reference.of(golden).is_flat


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


def test_the_match_is_pearsons_correlation() -> None:
    rng = np.random.default_rng(4)
    noise = rng.integers(0, 256, (256, 200), dtype=np.uint8)
    pairs = [
        (noise, np.uint8(noise // 2 + rng.integers(0, 128, noise.shape))),
        (noise[1:, 3:], noise[:-1, :-3]),  # windows into an image, as a shift makes them
        (np.kron([[0, 255], [255, 0]], np.ones((128, 128))).astype(np.uint8), np.full((256, 256), 7, np.uint8)),
        (noise, 255 - noise),
    ]
    for a, b in pairs:
        flat = a.std() * b.std() == 0
        expected = 0.0 if flat else np.corrcoef(a.ravel(), b.ravel())[0, 1]
        assert _normed(a, b) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("size_wh", [(640, 640), (641, 479), (1280, 1023), (256, 256), (257, 3), (5000, 1)])
def test_the_small_image_is_the_large_one_halved(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    image = np.asarray(cv2.resize(GOLDEN, (width, height)), np.uint8)
    small, scale = _shrink(image)
    assert max(small.shape) <= 256
    if min(size_wh) >= scale:
        step = int(scale)
        kept = image[: small.shape[0] * step, : small.shape[1] * step].astype(float)
        means = kept.reshape(small.shape[0], step, small.shape[1], step).mean(axis=(1, 3))
        assert np.abs(means - small).max() <= 1.5


def test_a_golden_image_without_structure_is_compared_but_not_matched() -> None:
    blank = np.full((640, 640), 230, np.uint8)
    part = blank.copy()
    part[300:320, 300:330] = 20
    quality = gate(part, Reference.of(blank), ImageLimits())
    assert quality.usable
    assert quality.shift_xy_px is None
    assert "match" not in quality.metrics
