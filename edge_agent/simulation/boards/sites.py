"""Where on a layout each defect class is physically possible."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.floating]

_REACH_PX = 48
_BORDER_PX = 22
_EDGE_STEP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """Candidate places by defect class.

    Attributes:
        by_code: code to (N, 6) float32: x, y (where the defect is centred or attached), unit direction (dx, dy:
            across the trace or gap, or out of the copper), span (width of the trace or gap to cross; 0 where there
            is none), room (largest defect that stays this class, longest side in pixels).
    """

    by_code: Mapping[str, Floats]

    def fewest(self) -> int:
        """Number of places of the class with the fewest."""
        return min(len(places) for places in self.by_code.values())


def find_sites(copper: Mask) -> Sites:
    """All places on a copper mask, (H, W) uint8, 255 is copper."""
    solid = (copper > 127).astype(np.uint8)
    edges = _Edges(solid)
    return Sites(
        by_code={
            "open": edges.opens(),
            "short": edges.shorts(),
            "mousebite": edges.bites(),
            "spur": edges.spurs(),
            "spurious_copper": _inside(1 - solid, keep_px=5),
            "pin_hole": _inside(solid, keep_px=3),
        }
    )


def _inside(region: Mask, *, keep_px: int) -> Floats:
    """Points well inside a region: no direction; the room is twice the distance to the region's edge, less a rim."""
    # Without any edge OpenCV's distance is the largest float.
    distance = np.minimum(cv2.distanceTransform(region, cv2.DIST_L2, 5), max(region.shape))
    grid = np.zeros(region.shape, bool)
    grid[_BORDER_PX:-_BORDER_PX:6, _BORDER_PX:-_BORDER_PX:6] = True
    y, x = np.nonzero(grid & (distance >= keep_px + 4))
    room = 2 * (distance[y, x] - keep_px)
    zero = np.zeros_like(room)
    return _table(x, y, zero, zero, zero, room)


def _table(*columns: npt.NDArray[np.generic]) -> Floats:
    return np.stack([column.astype(np.float32) for column in columns], axis=1)


class _Edges:
    """Points on copper edges with their outward normal, the copper's thickness there and the gap before more copper."""

    def __init__(self, solid: Mask) -> None:
        self.solid = solid
        _, self.net = cv2.connectedComponents(solid, connectivity=8)
        rim = solid - cv2.erode(solid, np.ones((3, 3), np.uint8))
        rim[:_BORDER_PX] = rim[-_BORDER_PX:] = 0
        rim[:, :_BORDER_PX] = rim[:, -_BORDER_PX:] = 0
        y, x = np.nonzero(rim)
        self.y, self.x = y[::_EDGE_STEP].astype(np.float32), x[::_EDGE_STEP].astype(np.float32)
        self._normals()
        steps = np.arange(1, _REACH_PX + 1, dtype=np.float32)
        outward = self._sample(self.net, steps)
        self.gap, self.other_net = _first(outward > 0, outward)
        self.thick, _ = _first(self._sample(self.net, -steps) == 0, outward)
        self.own_net = self.net[self.y.astype(int), self.x.astype(int)]

    def _normals(self) -> None:
        soft = cv2.GaussianBlur(self.solid.astype(np.float32), (0, 0), 2.0)
        rows, columns = self.y.astype(int), self.x.astype(int)
        dx = -cv2.Sobel(soft, cv2.CV_32F, 1, 0)[rows, columns]
        dy = -cv2.Sobel(soft, cv2.CV_32F, 0, 1)[rows, columns]
        length = np.maximum(np.hypot(dx, dy), 1e-6)
        self.dx, self.dy = dx / length, dy / length

    def _sample(self, image: npt.NDArray[np.int32], along: Reals, across: float = 0.0) -> npt.NDArray[np.int32]:
        """(N, len(along)) values at distances along the normal, shifted sideways; outside counts as background."""
        x = np.rint(self.x[:, None] + self.dx[:, None] * along - self.dy[:, None] * across).astype(int)
        y = np.rint(self.y[:, None] + self.dy[:, None] * along + self.dx[:, None] * across).astype(int)
        height, width = image.shape
        known = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        return np.where(known, image[y.clip(0, height - 1), x.clip(0, width - 1)], 0)

    def _at(self, along: Reals, across: float) -> npt.NDArray[np.bool_]:
        """Is there copper at one point for each edge point?"""
        x = np.rint(self.x + self.dx * along - self.dy * across).astype(int)
        y = np.rint(self.y + self.dy * along + self.dx * across).astype(int)
        height, width = self.solid.shape
        hit: npt.NDArray[np.bool_] = self.solid[y.clip(0, height - 1), x.clip(0, width - 1)] > 0
        return hit

    def opens(self) -> Floats:
        """Middles of traces: thin copper that goes on, equally thin, to both sides."""
        keep = (self.thick >= 5) & (self.thick <= 30)
        for side in (-14.0, -7.0, 7.0, 14.0):
            keep &= self._at(-self.thick / 2, side) & ~self._at(-self.thick - 4, side) & ~self._at(4 + 0 * self.x, side)
        half = -self.thick / 2
        return self._places(keep, half, self.thick, np.full_like(self.x, 40.0))

    def shorts(self) -> Floats:
        """Middles of narrow gaps between two nets."""
        keep = (self.gap >= 6) & (self.gap <= 42) & (self.other_net != self.own_net)
        for side in (-9.0, 9.0):
            keep &= ~self._at(self.gap / 2, side)
        return self._places(keep, self.gap / 2, self.gap, np.full_like(self.x, 60.0))

    def bites(self) -> Floats:
        """Edges of copper thick enough to lose a bite and still conduct."""
        return self._places(self.thick >= 9, 0 * self.x, 0 * self.x, self.thick - 4)

    def spurs(self) -> Floats:
        """Edges with free laminate in front."""
        return self._places(self.gap >= 11, 0 * self.x, 0 * self.x, self.gap - 5)

    def _places(self, keep: npt.NDArray[np.bool_], along: Reals, span: Reals, room: Reals) -> Floats:
        table = _table(self.x + self.dx * along, self.y + self.dy * along, self.dx, self.dy, span, room)
        return table[keep]


def _first(hit: npt.NDArray[np.bool_], values: npt.NDArray[np.int32]) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Distance of the first hit along each row (reach where there is none) and the value there."""
    # The first two steps are the edge's own anti-aliased rim.
    hit = hit.copy()
    hit[:, :2] = False
    index = hit.argmax(axis=1)
    none = ~hit.any(axis=1)
    distance = np.where(none, _REACH_PX, index + 1).astype(np.float32)
    return distance, np.where(none, 0, values[np.arange(len(values)), index])
