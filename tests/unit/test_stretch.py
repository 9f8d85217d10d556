"""Scale, rotation and shear against the golden image: measured in the gate, undone for the detector."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.adapters.detectors.prepare import moved
from edge_agent.commands.labelled import Labelled, mended
from edge_agent.domain.frame import Pixels
from edge_agent.domain.inspection import Stretch
from edge_agent.domain.recipe import ImageLimits
from edge_agent.inspecting.gate import Reference, gate
from edge_agent.inspecting.stretch import reach_px, stretch_solver, stretched
from tests.fakes.station import board

GOLDEN = board(1, size=640)
REFERENCE = Reference.of(GOLDEN)
LIMITS = ImageLimits()

SHRUNK: Stretch = (-0.006, 0.0, 0.0, -0.006)
TURNED: Stretch = (0.0, 0.005, -0.005, 0.0)
FED: Stretch = (0.0, 0.0, 0.0, 0.008)
SKEWED: Stretch = (0.003, 0.004, 0.0, -0.002)


def seen(stretch: Stretch, shift: tuple[float, float] = (0.0, 0.0)) -> Pixels:
    """The golden image as a camera would see a part that is stretched and shifted so; interpolated."""
    (xx, xy, yx, yy), middle = stretch, (GOLDEN.shape[1] - 1) / 2
    slope = np.array([[xx, xy], [yx, yy]])
    matrix = np.column_stack([np.eye(2) - slope, slope @ (middle, middle) - shift])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(GOLDEN, matrix, GOLDEN.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE))


def beyond(image: Pixels, golden: Pixels) -> int:
    """Pixels that no edge within two pixels explains."""
    window = np.ones((5, 5), np.uint8)
    copper, known = ((one < 128).astype(np.uint8) for one in (image, golden))
    return int(((copper > cv2.dilate(known, window)) | (copper < cv2.erode(known, window))).sum())


@pytest.mark.parametrize("stretch", [SHRUNK, TURNED, FED, SKEWED])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.4, -2.0), (9.0, -7.0)])
def test_a_stretch_is_measured_and_undone(stretch: Stretch, shift: tuple[float, float]) -> None:
    image = seen(stretch, shift)
    quality = gate(image, REFERENCE, LIMITS)
    assert quality.stretch == pytest.approx(stretch, abs=0.001)
    left = beyond(image, moved(REFERENCE.as_seen(quality), quality.shift_xy_px))
    assert left < 0.2 * beyond(image, moved(GOLDEN, quality.shift_xy_px)) + 20


def test_a_stretch_is_measured_in_any_light() -> None:
    dimmed = np.uint8(seen(SHRUNK) * 0.7 + 20)
    assert gate(dimmed, REFERENCE, LIMITS).stretch == pytest.approx(SHRUNK, abs=0.001)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.5, -0.7), (-12.0, 9.0)])
def test_a_shift_is_no_stretch(shift: tuple[float, float]) -> None:
    quality = gate(seen((0.0, 0.0, 0.0, 0.0), shift), REFERENCE, LIMITS)
    assert quality.stretch is None
    assert REFERENCE.as_seen(quality) is GOLDEN


def test_a_defect_is_no_stretch() -> None:
    spoilt = GOLDEN.copy()
    spoilt[20:120, 500:560] = 255 - spoilt[20:120, 500:560]
    assert gate(spoilt, REFERENCE, LIMITS).stretch is None


def test_another_board_has_no_stretch() -> None:
    assert gate(board(2, size=640), REFERENCE, LIMITS).stretch is None


@pytest.mark.parametrize("golden", [np.full((640, 640), 90, np.uint8), GOLDEN[:4, :4]])
def test_without_texture_there_is_none(golden: Pixels) -> None:
    assert Reference.of(golden).stretcher is None
    assert gate(golden, Reference.of(golden), LIMITS).stretch is None


def test_edges_of_one_direction_say_nothing_about_the_other() -> None:
    stripes = np.repeat((np.arange(160) // 8 % 2 * 200).astype(np.uint8)[None], 160, axis=0)
    solver = stretch_solver(stripes)
    assert solver is not None
    assert np.abs(solver[5:]).max() < 1e-12


@settings(max_examples=40, deadline=None)
@given(
    stretch=st.tuples(*[st.floats(-0.02, 0.02)] * 4),
    shape=st.sampled_from([(40, 60), (33, 21, 3), (64, 64, 1)]),
    depth=st.sampled_from([np.uint8, np.uint16]),
)
def test_a_stretched_golden_image_has_its_own_pixels(stretch: Stretch, shape: tuple[int, ...], depth: type) -> None:
    golden = np.random.default_rng(0).integers(0, 255, shape).astype(depth)
    found = stretched(golden, stretch)
    assert found.dtype == golden.dtype
    assert found.shape[:2] == golden.shape[:2]
    assert set(np.unique(found)) <= set(np.unique(golden))


def test_reach_is_that_of_the_corner() -> None:
    assert reach_px((0.01, 0.0, 0.0, 0.0), 640, 480) == pytest.approx(3.2)
    assert reach_px((0.0, 0.01, 0.0, 0.01), 600, 400) == pytest.approx(2 * 2**0.5)


def test_mending_leaves_no_step_at_the_rim() -> None:
    image = seen(FED, (2.0, 0.0))
    part = Labelled(name="a", image=image, golden=GOLDEN, truth=(("open", (40.0, 20.0, 200.0, 120.0)),))
    assert beyond(mended(part).image, image) < 30
