"""Judges that need no model: the difference from the golden image, and gauges."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.domain.defect import BoxXyxy
from edge_agent.domain.faults import PartFault
from edge_agent.domain.frame import Pixels
from edge_agent.domain.recipe import DifferenceRule, GaugeRule

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A place that lies outside of what the golden image allows.

    Attributes:
        area_px: how many pixels do.
    """

    xyxy_px: BoxXyxy
    area_px: float


def grey_of(pixels: Pixels) -> Grey:
    """8-bit grey of any frame."""
    image: npt.NDArray[np.generic] = pixels
    if image.ndim == 3:
        image = image[:, :, 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
    return np.asarray(image, np.uint8)


def differences(
    pixels: Pixels, golden: Pixels, shift_xy_px: tuple[float, float], rule: DifferenceRule
) -> list[Difference]:
    """Places that are brighter or darker than everything the golden image has near them, largest first.

    The golden image is moved to the part; "near" is ``tolerance_px`` in each direction, which takes up what is left of
    misplacement; ``min_levels`` takes up noise and light.

    Args:
        pixels, golden: the same size.
        shift_xy_px: translation of golden onto the frame.
    """
    seen, known = grey_of(pixels), _moved(grey_of(golden), shift_xy_px)
    reach = np.ones((2 * rule.tolerance_px + 1,) * 2, np.uint8)
    low, high = cv2.erode(known, reach), cv2.dilate(known, reach)
    away = cv2.max(cv2.subtract(low, seen), cv2.subtract(seen, high))
    hot = (away >= rule.min_levels).astype(np.uint8)
    rim_x, rim_y = math.ceil(abs(shift_xy_px[0])) + 1, math.ceil(abs(shift_xy_px[1])) + 1
    hot[:rim_y], hot[-rim_y:], hot[:, :rim_x], hot[:, -rim_x:] = 0, 0, 0, 0
    count, _, stats, _ = cv2.connectedComponentsWithStats(hot, connectivity=8)
    found = [
        Difference(
            xyxy_px=(float(x), float(y), float(x + width), float(y + height)),
            area_px=float(area),
        )
        for x, y, width, height, area in (stats[index].tolist() for index in range(1, count))
        if area >= rule.min_area_px
    ]
    return sorted(found, key=lambda one: -one.area_px)


def _moved(golden: Grey, shift_xy_px: tuple[float, float]) -> Grey:
    matrix = np.array([[1, 0, shift_xy_px[0]], [0, 1, shift_xy_px[1]]], np.float32)
    size = (golden.shape[1], golden.shape[0])
    moved = cv2.warpAffine(golden, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def gauge(pixels: Pixels, shift_xy_px: tuple[float, float], rule: GaugeRule) -> float:
    """What a gauge reads, in pixels (width) or pieces (count).

    Width: along the line from ``start`` to ``end`` of the rule, between the first and the last edge, each where the
    brightness crosses half way between the darkest and the brightest, to a fraction of a pixel. Count: connected places
    brighter (``polarity: bright``) or darker than half way, in the rectangle that the line spans.

    Raises:
        PartFault: outside of the image, no contrast, or no edges where some should be.
    """
    grey = grey_of(pixels)
    if rule.measure == "width":
        return _width(_profile(grey, shift_xy_px, rule), rule)
    return float(_count(grey, shift_xy_px, rule))


def _profile(grey: Grey, shift_xy_px: tuple[float, float], rule: GaugeRule) -> Floats:
    """Brightness along the line, four samples for each pixel, averaged over ``thickness_px`` across."""
    (x0, y0), (x1, y1) = rule.start_xy_px, rule.end_xy_px
    length = math.hypot(x1 - x0, y1 - y0)
    along = np.linspace(0, 1, max(int(length * 4), 2))
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    across = np.arange(rule.thickness_px) - (rule.thickness_px - 1) / 2
    x = x0 + shift_xy_px[0] + along[None, :] * (x1 - x0) - across[:, None] * uy
    y = y0 + shift_xy_px[1] + along[None, :] * (y1 - y0) + across[:, None] * ux
    if x.min() < 0 or y.min() < 0 or x.max() > grey.shape[1] - 1 or y.max() > grey.shape[0] - 1:
        raise PartFault("gauge.outside", f"gauge {rule.name} lies outside of the image")
    samples = cv2.remap(grey, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    profile: Floats = np.asarray(samples, np.float64).mean(axis=0)
    return profile


def _width(profile: Floats, rule: GaugeRule) -> float:
    low, high = float(profile.min()), float(profile.max())
    if high - low < rule.min_contrast:
        raise PartFault("gauge.contrast", f"gauge {rule.name} sees no edge: contrast {high - low:.0f} grey levels")
    inside = profile - (low + high) / 2 if rule.polarity == "bright" else (low + high) / 2 - profile
    within = np.flatnonzero(inside > 0)
    first, last = int(within[0]), int(within[-1])
    if first == 0 or last == len(profile) - 1:
        raise PartFault("gauge.edges", f"gauge {rule.name} does not see both edges")
    begins = first - inside[first] / (inside[first] - inside[first - 1])
    ends = last + inside[last] / (inside[last] - inside[last + 1])
    (x0, y0), (x1, y1) = rule.start_xy_px, rule.end_xy_px
    return float((ends - begins) * math.hypot(x1 - x0, y1 - y0) / (len(profile) - 1))


def _count(grey: Grey, shift_xy_px: tuple[float, float], rule: GaugeRule) -> int:
    (x0, y0), (x1, y1) = rule.start_xy_px, rule.end_xy_px
    left, right = (round(value + shift_xy_px[0]) for value in sorted((x0, x1)))
    top, bottom = (round(value + shift_xy_px[1]) for value in sorted((y0, y1)))
    if left < 0 or top < 0 or right > grey.shape[1] or bottom > grey.shape[0] or right <= left or bottom <= top:
        raise PartFault("gauge.outside", f"gauge {rule.name} lies outside of the image")
    cut = grey[top:bottom, left:right]
    low, high = (float(np.quantile(cut, share)) for share in (0.01, 0.99))
    if high - low < rule.min_contrast:
        return 0
    hot = cut > (low + high) / 2 if rule.polarity == "bright" else cut < (low + high) / 2
    number, _, stats, _ = cv2.connectedComponentsWithStats(hot.astype(np.uint8), connectivity=8)
    return sum(int(stats[index, cv2.CC_STAT_AREA]) >= rule.min_area_px for index in range(1, number))
