"""Boards with defects, as a camera sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_agent.domain.defect import BoxXyxy
from edge_agent.simulation.boards.drawing import DRAW, Site
from edge_agent.simulation.boards.imaging import Imaging, take
from edge_agent.simulation.boards.layout import Layout, grey

CODES: tuple[str, ...] = ("open", "short", "mousebite", "spur", "spurious_copper", "pin_hole")
"""The defect classes, in the order of DeepPCB's type numbers 1 to 6."""

BOX_MARGIN_PX = 9.0
"""Boxes hold the defect and this much around it, as DeepPCB's do."""
_APART_PX = 30.0
_MIN_SIZE_PX = 6.0

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A defect to draw: the class, where about, and how large (longest side, without margin)."""

    code: str
    x_px: float
    y_px: float
    size_px: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """An image and the truth about it.

    Attributes:
        pixels: (640, 640) uint8.
        boxes: code and box in image pixels of each defect that was drawn, in the order of the placements.
    """

    pixels: Mask
    boxes: tuple[tuple[str, BoxXyxy], ...]


def render(layout: Layout, placements: Sequence[Placement], imaging: Imaging, rng: np.random.Generator) -> Rendered:
    """Draw defects onto a layout and image it.

    Each placement snaps to the nearest place where its class is possible, a little apart from those before it; one
    for which no place is left is not drawn (compare ``boxes``).

    Raises:
        ValueError: an unknown defect class.
    """
    copper = layout.copper.copy()
    boxes: list[tuple[str, BoxXyxy]] = []
    taken: list[tuple[float, float]] = []
    for placement in placements:
        site = snap(layout, placement, taken)
        if site is None:
            continue
        taken.append((site.x, site.y))
        before = copper.copy()
        DRAW[placement.code](copper, site, rng)
        box = _changed(before, copper)
        if box is not None:
            boxes.append((placement.code, box))
    matrix = imaging.matrix(copper.shape[0])
    seen = tuple((code, _moved(box, matrix, copper.shape[0])) for code, box in boxes)
    return Rendered(pixels=take(grey(copper), imaging, rng), boxes=seen)


def snap(layout: Layout, placement: Placement, taken: Sequence[tuple[float, float]]) -> Site | None:
    """The nearest possible place; a place with too little room makes the defect smaller, so it counts as farther."""
    if placement.code not in CODES:
        raise ValueError(f"unknown defect class {placement.code!r}; known: {', '.join(CODES)}")
    places = layout.sites.by_code[placement.code]
    distance = np.hypot(places[:, 0] - placement.x_px, places[:, 1] - placement.y_px)
    distance += 4 * np.maximum(0, placement.size_px - places[:, 5])
    for x, y in taken:
        distance[np.hypot(places[:, 0] - x, places[:, 1] - y) < _APART_PX] = np.inf
    best = int(distance.argmin())
    if not np.isfinite(distance[best]):
        return None
    x, y, dx, dy, span, room = (float(value) for value in places[best])
    size = max(_MIN_SIZE_PX, min(placement.size_px, room))
    return Site(x=x, y=y, dx=dx, dy=dy, span=span, size=size)


def _changed(before: Mask, after: Mask) -> BoxXyxy | None:
    rows, columns = np.nonzero(np.abs(before.astype(np.int16) - after) > 64)
    if not len(rows):
        return None
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


def _moved(box: BoxXyxy, matrix: npt.NDArray[np.float64], size_px: int) -> BoxXyxy:
    """A box in layout coordinates as one in image coordinates, with its margin, inside the image."""
    x0, y0, x1, y1 = box
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x1, y1, 1], [x0, y1, 1]]) @ matrix.T
    low = (corners.min(axis=0) - BOX_MARGIN_PX).clip(0, size_px)
    high = (corners.max(axis=0) + BOX_MARGIN_PX).clip(0, size_px)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
