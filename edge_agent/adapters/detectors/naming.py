"""Names what is wrong with copper by topology: what a change joins and what it cuts off.

A network is good at finding a change and worse at counting what it touches. Copper that is missing is an *open* where
it joins two regions of laminate or cuts a piece of copper off, a *mousebite* where it touches one region, a *pin hole*
where it touches none; surplus copper is a *short*, a *spur* or *spurious copper* by the same rule.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.adapters.detectors.boxes import CLASS, Floats
from edge_agent.adapters.detectors.prepare import Grey

Mask = npt.NDArray[np.uint8]
"""(H, W) of 0 and 1; 1 is copper."""

REMOVED = ("pin_hole", "mousebite", "open")
"""By the number of regions that are touched: none, one, more."""
ADDED = ("spurious_copper", "spur", "short")

REGION_PX = 15
"""Smaller regions are noise."""
PIECE_PX = 50
"""Smaller ones are crumbs: nothing is cut off."""
AROUND_PX = 8
"""Of the change: what joins further away is joined elsewhere."""
SMALLEST_PX = 12
"""A change of fewer pixels names nothing."""

_INSET_PX = 3
"""Boxes hold the change and a margin: what lies at their rim belongs to a neighbour."""
_MOST_BOXES = 40
_LARGEST_PX = 300
_CONTRAST = 40
"""Grey levels; less between the two levels is one material."""
_EVERY_ROW = 7
_CROSS = np.ones((3, 3), np.uint8)
_WIDE = np.ones((5, 5), np.uint8)


def named(copper: Mask, changed: Mask, value: int) -> str:
    """The class of a change.

    Args:
        copper: as it should be, around the change.
        changed: 1 where it differs.
        value: what it became there: 1 copper, 0 laminate.
    """
    near = cv2.dilate(changed, _CROSS) > 0
    touched = _regions((copper == value).astype(np.uint8), near, 8 if value else 4, REGION_PX)
    if touched == 1:
        before = (copper != value).astype(np.uint8)
        # Pieces of what was changed join by the other rule of neighbours.
        pieces = [_regions(one, near, 4 if value else 8, PIECE_PX) for one in (before, before & (1 - changed))]
        touched += pieces[1] > pieces[0]
    return (ADDED if value else REMOVED)[min(touched, 2)]


def _regions(mask: Mask, near: npt.NDArray[np.bool_], connectivity: int, smallest_px: int) -> int:
    """How many regions of this size reach into the marked pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=connectivity)
    return sum(1 for one in np.unique(labels[near]) if one and stats[one, 4] >= smallest_px)


def rename(found: Floats, image: Grey, golden: Grey, classes: list[str]) -> Floats:
    """Boxes with the classes that topology gives them; as they were where it says nothing.

    Args:
        found: (N, 6), see `boxes`; best first. Whether copper is missing or surplus is the network's word.
        image, golden: registered, (H, W) uint8; copper is darker than laminate.
        classes: what the class column counts.
    """
    if not len(found):
        return found
    pair = _Pair.of(image, golden)
    found = found.copy()
    for row in found[:_MOST_BOXES]:
        code = pair.name(row, classes[int(row[CLASS])])
        if code in classes:
            row[CLASS] = classes.index(code)
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pair:
    """Both images and the grey level below which they show copper."""

    image: Grey
    golden: Grey
    image_level: float
    golden_level: float

    @classmethod
    def of(cls, image: Grey, golden: Grey) -> "_Pair":
        seen, known = _level(image), _level(golden)
        image_level = seen if seen is not None else known
        golden_level = known if known is not None else seen
        return cls(image=image, golden=golden, image_level=image_level or 0.0, golden_level=golden_level or 0.0)

    def name(self, row: Floats, code: str) -> str | None:
        """The class of what is in a box; None where too little differs to say."""
        height, width = self.image.shape
        x0, y0, x1, y1 = (round(float(one)) for one in row[:4])
        if code not in (*ADDED, *REMOVED) or max(x1 - x0, y1 - y0) > _LARGEST_PX:
            return None
        left, top = max(0, x0 - AROUND_PX), max(0, y0 - AROUND_PX)
        right, bottom = min(width, x1 + AROUND_PX), min(height, y1 + AROUND_PX)
        if right <= left or bottom <= top:
            return None
        window = np.s_[top:bottom, left:right]
        copper = (self.image[window] < self.image_level).astype(np.uint8)
        known = (self.golden[window] < self.golden_level).astype(np.uint8)
        value = int(code in ADDED)
        beyond = copper > cv2.dilate(known, _CROSS) if value else copper < cv2.erode(known, _CROSS)
        rows = slice(max(0, y0 + _INSET_PX - top), max(0, y1 - _INSET_PX - top))
        columns = slice(max(0, x0 + _INSET_PX - left), max(0, x1 - _INSET_PX - left))
        inside = np.zeros_like(copper)
        inside[rows, columns] = 1
        grown = cv2.dilate(beyond.astype(np.uint8) & inside, _WIDE)
        changed = (grown & (copper == value) & (known != value)).astype(np.uint8)
        return named(known, changed, value) if int(changed.sum()) >= SMALLEST_PX else None


def _level(grey: Grey) -> float | None:
    """Half way between the means of the darker and of the brighter pixels; None where there is one material only."""
    rows = grey[::_EVERY_ROW]
    middle = cv2.mean(rows)[0]
    above = rows > middle
    share = np.count_nonzero(above) / rows.size
    if not 0 < share < 1:
        return None
    high = cv2.mean(rows, above.astype(np.uint8))[0]
    low = (middle - high * share) / (1 - share)
    return (low + high) / 2 if high - low >= _CONTRAST else None
