"""Boxes and pixels on their way into and out of a model."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.detectors.boxes import calibrated, clipped, raw_score, suppress
from edge_agent.adapters.detectors.prepare import OVERLAP_PX, Canvas, Letterbox, eight_bit, moved, tiles


def rows(*boxes: tuple[float, ...]) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, 6)


def test_suppression_keeps_the_best_of_an_overlap_whatever_the_class() -> None:
    kept = suppress(rows((0, 0, 10, 10, 0.5, 1), (1, 0, 11, 10, 0.9, 2), (50, 50, 60, 60, 0.2, 1)), 0.4)
    assert kept[:, 4].tolist() == pytest.approx([0.9, 0.2])


def test_a_box_hidden_by_a_dropped_box_stays() -> None:
    chain = rows((0, 0, 10, 10, 0.9, 0), (4, 0, 14, 10, 0.8, 0), (8, 0, 18, 10, 0.7, 0))
    assert suppress(chain, 0.3)[:, 4].tolist() == pytest.approx([0.9, 0.7])


def test_no_boxes() -> None:
    assert suppress(rows(), 0.5).shape == (0, 6)


def test_calibration_is_monotone_and_identity_by_default() -> None:
    scores = np.linspace(0.001, 0.999, 50, dtype=np.float32)
    assert np.allclose(calibrated(scores, 1.0, 0.0), scores, atol=1e-5)
    assert (np.diff(calibrated(scores, 2.5, -1.0)) > 0).all()
    assert calibrated(np.array([raw_score(0.3, 2.5, -1.0)], np.float32), 2.5, -1.0)[0] == pytest.approx(0.3)
    assert np.isfinite(calibrated(np.array([0.0, 1.0], np.float32), 3.0, 1.0)).all()


def test_boxes_are_cut_to_the_image_and_slivers_dropped() -> None:
    kept = clipped(rows((-5, -5, 5, 5, 0.9, 0), (99.5, 0, 120, 50, 0.9, 0)), 100, 100)
    assert kept[:, :4].tolist() == [[0, 0, 5, 5]]


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_tiles_cover_every_pixel_once_and_own_what_they_see(width: int, height: int) -> None:
    made = list(tiles((width, height), (640, 640)))
    rng = np.random.default_rng(width * 4001 + height)
    for x, y in zip(rng.uniform(0, width, 20), rng.uniform(0, height, 20), strict=True):
        owners = [
            one for one in made if one.own_xyxy[0] <= x < one.own_xyxy[2] and one.own_xyxy[1] <= y < one.own_xyxy[3]
        ]
        assert len(owners) == 1
        [owner] = owners
        assert owner.x <= x < owner.x + 640
        assert owner.y <= y < owner.y + 640
        for at, start, length in ((x, owner.x, width), (y, owner.y, height)):
            # A defect of half the overlap is whole in its owner, but at the image's own edge.
            assert at - start >= OVERLAP_PX / 2 - 1 or start == 0
            assert start + 640 - at >= OVERLAP_PX / 2 - 1 or start + 640 >= length


def test_a_tile_of_a_small_image_repeats_its_edge() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    [one] = tiles((4, 3), (6, 5))
    cut = one.cut(image, (6, 5))
    assert cut.shape == (1, 1, 5, 6)
    assert cut[0, 0, 4].tolist() == [8, 9, 10, 11, 11, 11]


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.array([[0, 255]], np.uint8), [0, 255]),
        (np.array([[0, 65535]], np.uint16), [0, 255]),
        (np.array([[0, 4095]], np.uint16), [0, 255]),
        (np.array([[512, 1023]], np.uint16), [128, 255]),
        (np.array([[0, 200]], np.uint16), [0, 200]),
        (np.array([[0, 0]], np.uint16), [0, 0]),
    ],
)
def test_deep_pixels(pixels: np.ndarray, expected: list[int]) -> None:
    assert eight_bit(pixels).ravel().tolist() == expected


@pytest.mark.parametrize(
    ("shift", "row", "column"),
    [
        ((2.0, 0.0), [10, 10, 10, 20], [10, 10, 10]),
        ((-1.4, 0.0), [20, 30, 40, 40], [20, 20, 20]),
        ((0.0, 1.6), [10, 20, 30, 40], [10, 10, 10]),
        ((99.0, -99.0), [10, 10, 10, 10], [10, 10, 10]),
    ],
)
def test_moving_repeats_the_edge(shift: tuple[float, float], row: list[int], column: list[int]) -> None:
    image = np.array([[1, 2, 3, 4]] * 3, np.uint8) * 10
    assert moved(image, shift)[0].tolist() == row
    assert moved(image, shift)[:, 0].tolist() == column


def test_what_stands_still_is_not_copied() -> None:
    image = np.zeros((3, 4), np.uint8)
    assert moved(image, None) is image
    assert moved(image, (0.4, -0.4)) is image


@given(st.integers(-5, 5), st.integers(-5, 5))
def test_moving_down_and_right_is_positive(dx: int, dy: int) -> None:
    image = np.zeros((21, 21), np.uint8)
    image[10, 10] = 1
    assert moved(image, (dx, dy))[10 + dy, 10 + dx] == 1


def test_letterbox_and_back() -> None:
    image = np.zeros((480, 1280), np.uint8)
    image[100:200, 600:700] = 255
    fitted = Letterbox.of(image, (1, 3, 640, 640), Canvas())
    assert fitted.tensor.shape == (1, 3, 640, 640)
    assert fitted.tensor.dtype == np.float32
    assert fitted.scale == 0.5
    y, x = np.nonzero(fitted.tensor[0, 0] > 0.9)
    corners = np.array(
        [x.min() - fitted.left, y.min() - fitted.top, x.max() + 1 - fitted.left, y.max() + 1 - fitted.top]
    )
    assert np.allclose(corners / fitted.scale, [600, 100, 700, 200], atol=2)
    assert fitted.tensor[0, 0, 0, 0] == pytest.approx(114 / 255)


def test_letterbox_turns_bgr_into_rgb() -> None:
    image = np.zeros((640, 640, 3), np.uint8)
    image[:, :, 2] = 255
    tensor = Letterbox.of(image, (1, 3, 640, 640), Canvas()).tensor
    assert tensor[0, :, 0, 0].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("size_wh", [(1280, 720), (480, 1279), (640, 640), (300, 200)])
@pytest.mark.parametrize("channels", [1, 3])
def test_letterbox_is_what_opencv_makes(size_wh: tuple[int, int], channels: int) -> None:
    rng = np.random.default_rng(5)
    canvas = Canvas()
    Letterbox.of(np.full((900, 333, 3), 255, np.uint8), (1, channels, 640, 640), canvas)  # must leave no trace
    image = rng.integers(0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    for _ in range(2):
        fitted = Letterbox.of(image, (1, channels, 640, 640), canvas)
    seen = image if channels == 3 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    width, height = round(size_wh[0] * fitted.scale), round(size_wh[1] * fitted.scale)
    small = cv2.resize(seen, (width, height), interpolation=cv2.INTER_LINEAR)
    below, right = 640 - height - fitted.top, 640 - width - fitted.left
    square = cv2.copyMakeBorder(
        small, fitted.top, below, fitted.left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114)
    )
    assert np.array_equal(fitted.tensor, cv2.dnn.blobFromImage(square, 1 / 255, swapRB=True))
