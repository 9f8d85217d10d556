"""What a shift leaves over: scale, rotation and shear of a part's image against its golden image.

A line camera's feed, a lens that breathes or a part that lies askew moves edges by some pixels at the rim while the
middle fits: the detector would take them for defects.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.domain.frame import Pixels
from edge_agent.domain.inspection import Stretch

Float32 = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]

SLOPE = np.array([[1, -8, 0, 8, -1]], np.float64) / 12
"""Five-point first derivative (Fornberg 1988)."""

_PRIOR = 2_000.0
"""Square of grey levels of noise (15) over small pixels at the rim (a third): without edges there is no stretch."""

_MOST = 0.02
"""More than two pixels in a hundred is no part that fits its golden image."""

_SEEN_PX = 0.75
"""Less than this at a corner is not worth a pass over the image: the models tolerate two pixels."""

_STEPS = 2
"""The first step is a tenth off where a corner moves by a small pixel."""

_Affine = npt.NDArray[np.float64]


def smoothed(small: Grey) -> Grey:
    """3x3 Gaussian: without it fine texture makes a solved motion too large."""
    return np.asarray(cv2.GaussianBlur(small, (3, 3), 0), np.uint8)


def stretch_solver(small: Grey) -> Float32 | None:
    """The matrix that takes a small image to its gain, offset and affine motion against this one; (8, pixels).

    One Gauss-Newton step of Lucas and Kanade (1981), as in the gate, with a motion that is linear in the position.
    The motion across comes in three rows (constant, along x, along y; positions from -1 to 1), then the one down.
    """
    if min(small.shape) < 5:
        return None
    golden = smoothed(small).astype(np.float64)
    across, down = cv2.filter2D(golden, cv2.CV_64F, SLOPE), cv2.filter2D(golden, cv2.CV_64F, SLOPE.T)
    inside = np.zeros_like(golden)
    inside[2:-2, 2:-2] = 1
    x, y = _positions(small.shape)
    motions = [slope * place for slope in (across, down) for place in (np.ones_like(x), x, y)]
    model = np.stack([golden.ravel(), np.ones(golden.size), *(one.ravel() for one in motions)])
    weighted = model * inside.ravel()
    normal = model @ weighted.T + np.diag([1.0, 1.0] + [_PRIOR] * 6)
    return np.linalg.solve(normal, weighted).astype(np.float32)


def _positions(shape: tuple[int, ...]) -> tuple[_Affine, _Affine]:
    """x and y of every pixel, from -1 to 1."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    return (2 * x + 1) / shape[1] - 1, (2 * y + 1) / shape[0] - 1


def find_stretch(
    small: Grey, golden: Grey, solver: Float32, shift_xy: tuple[float, float], scale: float
) -> tuple[Stretch, tuple[float, float]] | None:
    """How the part is stretched, and the shift of its middle in small pixels that goes with it.

    None where it is not enough to matter, too much to be true, or no better than the shift alone.

    Args:
        small, golden: both images, scaled down alike.
        solver: of golden, see `stretch_solver`.
        shift_xy: of the part, in small pixels.
        scale: image pixels per small pixel.
    """
    image = smoothed(small)
    shifted = motion = np.array([[shift_xy[0], 0, 0], [shift_xy[1], 0, 0]])
    gain, offset = 1.0, 0.0
    for _ in range(_STEPS):
        gain, offset, *step = (solver @ _undone(image, motion).ravel().astype(np.float32)).tolist()
        if not 0.5 < gain < 2:
            return None
        motion = motion - np.array(step).reshape(2, 3) / gain
    height, width = small.shape
    (_, xx, xy), (_, yx, yy) = (motion / (1, width / 2, height / 2)).tolist()
    found: Stretch = (xx, xy, yx, yy)
    if max(map(abs, found)) > _MOST or reach_px(found, width * scale, height * scale) < _SEEN_PX:
        return None
    expected = cv2.convertScaleAbs(smoothed(golden), alpha=gain, beta=offset)
    plain, better = (cv2.norm(_undone(image, one), expected, cv2.NORM_L2SQR) for one in (shifted, motion))
    return (found, (float(motion[0, 0]), float(motion[1, 0]))) if better < plain else None


def _undone(image: Grey, motion: _Affine) -> Grey:
    """The image as it would lie without the motion, (2, 3) small pixels of x and y: constant, and at the rim."""
    height, width = image.shape
    slope = motion[:, 1:] / (width / 2, height / 2)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.column_stack([np.eye(2) + slope, motion[:, 0] - slope @ middle])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def reach_px(stretch: Stretch, width: float, height: float) -> float:
    """How far the corner that moves most moves."""
    xx, xy, yx, yy = (abs(one) for one in stretch)
    return math.hypot(xx * width + xy * height, yx * width + yy * height) / 2


def stretched(golden: Pixels, stretch: Stretch | None, shift_xy_px: tuple[float, float] = (0.0, 0.0)) -> Pixels:
    """The golden image as the part is: stretched about its middle. Nearest pixels, edges repeated.

    Of the shift only what is less than a pixel is undone here: whole ones are cheaper to move later.
    """
    if stretch is None:
        return golden
    xx, xy, yx, yy = stretch
    height, width = golden.shape[:2]
    x, y = (width - 1) / 2, (height - 1) / 2
    rest_x, rest_y = (one - round(one) for one in shift_xy_px)
    # Where each pixel comes from: its place less the motion there.
    matrix = np.array([[1 - xx, -xy, xx * x + xy * y - rest_x], [-yx, 1 - yy, yx * x + yy * y - rest_y]], np.float64)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    warped: Pixels = cv2.warpAffine(golden, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return warped
