"""Defects drawn freehand onto a copper mask and named by what they do to the copper.

The simulated line draws each defect class by its own geometry (`edge_agent.simulation.boards.drawing`). For training
that is too tidy: here any stroke may fall anywhere, and topology gives its name. Copper that is missing is an *open*
where it joins two regions of laminate, a *mousebite* where it touches one, a *pin hole* where it touches none; surplus
copper is a *short*, a *spur* or *spurious copper* by the same rule. What cuts a piece off is an open, too, where all
laminate around belongs together (the corner of a pad); what encloses laminate, a short. On DeepPCB's training groups
this rule agrees with 99.5 % of the people's labels (98.5 % without the pieces cut off).
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.adapters.detectors.naming import ADDED, AROUND_PX, SMALLEST_PX, Mask, named

Points = npt.NDArray[np.float64]

MARGIN_PX = 9.5
"""Boxes hold what changed and this much around it: DeepPCB's standard of description (10 and 9 px).
"""

_SMALLEST_SIDE_PX = 5


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A defect: its name, the pixels it changed (whole image), the value they got and its box without margin."""

    code: str
    changed: Mask
    value: int
    xyxy_px: tuple[int, int, int, int]


def draw(copper: Mask, rng: np.random.Generator, code: str) -> Drawn | None:
    """Try to draw a defect that has this name; None where no try succeeded."""
    value = int(code in ADDED)
    for _ in range(6):
        anchor = _anchor(copper, value, rng, code)
        if anchor is None:
            return None
        stroke = _stroke(copper, anchor, rng, code)
        drawn = effect(copper, stroke, value)
        if drawn is not None and (drawn.code == code or rng.random() < 0.1):
            return drawn
    return None


def effect(copper: Mask, stroke: Mask, value: int) -> Drawn | None:
    """What a stroke of copper (1) or laminate (0) does; None where next to nothing changes."""
    changed = (stroke & (copper != value)).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(changed, connectivity=8)
    if count < 2 or stats[1:, 4].sum() < SMALLEST_PX:
        return None
    x0, y0 = stats[1:, 0].min(), stats[1:, 1].min()
    x1, y1 = (stats[1:, 0] + stats[1:, 2]).max(), (stats[1:, 1] + stats[1:, 3]).max()
    if max(x1 - x0, y1 - y0) < _SMALLEST_SIDE_PX:
        return None
    box = int(x0), int(y0), int(x1), int(y1)
    around = np.s_[max(0, box[1] - AROUND_PX) : box[3] + AROUND_PX, max(0, box[0] - AROUND_PX) : box[2] + AROUND_PX]
    return Drawn(code=named(copper[around], changed[around], value), changed=changed, value=value, xyxy_px=box)


# --- where ----------------------------------------------------------------------------------------------------------


def _anchor(copper: Mask, value: int, rng: np.random.Generator, code: str) -> tuple[float, float] | None:
    """A place inside what is to be changed, near its edge unless the class needs room."""
    free = (copper != value).astype(np.uint8)
    if code in ("pin_hole", "spurious_copper"):
        depth = int(rng.integers(3, 9))
        free = cv2.erode(free, np.ones((2 * depth + 1, 2 * depth + 1), np.uint8), borderValue=0)
    elif rng.random() < 0.85:
        inner = cv2.erode(free, np.ones((7, 7), np.uint8), borderValue=1)
        free = free & (1 - inner)
    rows, columns = np.nonzero(free)
    if not len(rows):
        return None
    pick = int(rng.integers(0, len(rows)))
    return float(columns[pick]), float(rows[pick])


# --- what -----------------------------------------------------------------------------------------------------------


def _stroke(copper: Mask, anchor: tuple[float, float], rng: np.random.Generator, code: str) -> Mask:
    """One of the shapes, (H, W) of 0 and 1."""
    canvas = np.zeros(copper.shape, np.uint8)
    shapes = _CROSSING if code in ("open", "short") else _LOCAL
    shape = shapes[int(rng.integers(0, len(shapes)))]
    shape(canvas, copper, np.array(anchor), rng)
    if rng.random() < 0.25:
        _crumble(canvas, rng)
    return canvas


def _size(rng: np.random.Generator) -> float:
    """Longest side of most defects: 7 to 36 px, a few far larger."""
    return float(rng.uniform(30, 130)) if rng.random() < 0.15 else float(np.exp(rng.uniform(np.log(7), np.log(36))))


def _line(canvas: Mask, points: Points, thickness: int) -> None:
    cv2.polylines(canvas, [np.rint(points).astype(np.int32)], False, 1, thickness, cv2.LINE_8)


def _unit(angle: float) -> Points:
    return np.array([np.cos(angle), np.sin(angle)])


def _across(copper: Mask, at: Points, rng: np.random.Generator) -> float:
    """The direction in which the copper's edge lies, mostly; radians."""
    x, y = int(at[0]), int(at[1])
    window = copper[max(0, y - 9) : y + 10, max(0, x - 9) : x + 10].astype(np.float32)
    rows, columns = np.mgrid[: window.shape[0], : window.shape[1]]
    moved = (window - window.mean())[..., None] * np.stack([columns - columns.mean(), rows - rows.mean()], axis=-1)
    slope = moved.sum(axis=(0, 1))
    if np.hypot(*slope) < 1 or rng.random() < 0.2:
        return float(rng.uniform(0, 2 * np.pi))
    return float(np.arctan2(slope[1], slope[0]) + rng.normal(0, 0.35))


def _wander(start: Points, angle: float, length: float, rng: np.random.Generator) -> Points:
    """A line that turns now and then, or a fair arc."""
    if rng.random() < 0.3:
        turn = angle + np.linspace(0, float(rng.uniform(-2.5, 2.5)), 8)
        steps = length / 8 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        return start + np.cumsum(np.concatenate([np.zeros((1, 2)), steps]), axis=0)
    step, points, bend = 4.0, [start], float(rng.choice([0.0, 0.15, 0.5]))
    for _ in range(max(2, int(length / step))):
        angle += float(rng.normal(0, bend))
        points.append(points[-1] + step * _unit(angle))
    return np.array(points)


def _blob(canvas: Mask, copper: Mask, at: Points, rng: np.random.Generator) -> None:
    """A filled patch with a ragged rim."""
    size, turn = min(_size(rng), 45.0), float(rng.uniform(0, np.pi))
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    radius = rng.uniform(0.6, 1.1, 12) * size / 2
    along, across = radius * np.cos(angles), radius * np.sin(angles) * rng.uniform(0.35, 1.0)
    points = at + along[:, None] * _unit(turn) + across[:, None] * _unit(turn + np.pi / 2)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)


def _ring(canvas: Mask, copper: Mask, at: Points, rng: np.random.Generator) -> None:
    """A closed loop that is not filled."""
    size, angles = min(_size(rng), 40.0), np.linspace(0, 2 * np.pi, 12)
    radius = rng.uniform(0.7, 1.1, 12) * size / 2
    points = at + np.stack([radius * np.cos(angles), radius * np.sin(angles) * rng.uniform(0.5, 1.0)], axis=1)
    _line(canvas, np.concatenate([points, points[:1]]), int(rng.integers(1, 4)))


def _scratch(canvas: Mask, copper: Mask, at: Points, rng: np.random.Generator) -> None:
    """A thin line of any direction through the place."""
    length, angle = 1.4 * _size(rng), float(rng.uniform(0, 2 * np.pi))
    start = at - rng.uniform(0, 1) * length * _unit(angle)
    _line(canvas, _wander(start, angle, length, rng), int(rng.integers(1, 6)))


def _crossing(canvas: Mask, copper: Mask, at: Points, rng: np.random.Generator) -> None:
    """A line towards the other side, just long enough most of the time."""
    angle = _across(copper, at, rng) + np.pi * float(rng.integers(0, 2))
    angle += float(rng.uniform(-1.2, 1.2)) if rng.random() < 0.3 else 0.0
    reach = float(np.exp(rng.uniform(np.log(10), np.log(90))))
    points = _wander(at - 5 * _unit(angle), angle, reach, rng)
    _line(canvas, points, int(rng.integers(1, 9)))


def _scribble(canvas: Mask, copper: Mask, at: Points, rng: np.random.Generator) -> None:
    """To and fro, as one rubs something out by hand."""
    angle, size = _across(copper, at, rng), 1.3 * _size(rng)
    strokes, width = int(rng.integers(2, 7)), float(rng.uniform(2, 4.5))
    ends = []
    for index in range(strokes):
        middle = at + (index - strokes / 2) * width * _unit(angle + np.pi / 2)
        side = 1 if index % 2 else -1
        half = size / 2 * rng.uniform(0.7, 1.1)
        ends += [middle - side * half * _unit(angle + rng.normal(0, 0.1)), middle + side * half * _unit(angle)]
    _line(canvas, np.array(ends), int(rng.integers(1, 5)))


def _comb(canvas: Mask, copper: Mask, at: Points, rng: np.random.Generator) -> None:
    """Teeth along an edge."""
    angle, size = _across(copper, at, rng), _size(rng)
    along, teeth = angle + np.pi / 2, max(3, int(size / rng.uniform(2.5, 6)))
    places = at + np.linspace(-size / 2, size / 2, teeth)[:, None] * _unit(along)
    depth = rng.uniform(-6, 6, teeth)
    _line(canvas, places + depth[:, None] * _unit(angle), int(rng.integers(1, 4)))


def _brush(canvas: Mask, copper: Mask, at: Points, rng: np.random.Generator) -> None:
    """A short broad stroke with round ends, perhaps with a corner."""
    size, angle = min(_size(rng), 40.0), float(rng.uniform(0, 2 * np.pi))
    turn = angle + float(rng.choice([0.0, 0.6, np.pi / 2])) * float(rng.choice([-1, 1]))
    middle = at + size / 2 * rng.uniform(0.2, 0.8) * _unit(angle)
    _line(canvas, np.array([at, middle, middle + size / 2 * _unit(turn)]), int(rng.integers(3, 10)))


def _swath(canvas: Mask, copper: Mask, at: Points, rng: np.random.Generator) -> None:
    """All of a trace or of a gap over some length, its neighbours untouched: a broad stroke along it."""
    along, size = _across(copper, at, rng) + np.pi / 2, 1.5 * _size(rng)
    start = at - rng.uniform(0.2, 0.8) * size * _unit(along)
    broad = int(np.exp(rng.uniform(np.log(8), np.log(40))))
    _line(canvas, np.array([start, start + size * _unit(along)]), broad)
    x, y = int(at[0]), int(at[1])
    _, labels = cv2.connectedComponents((canvas & (copper == copper[y, x])).astype(np.uint8), connectivity=4)
    canvas[labels != labels[y, x]] = 0


def _dotted(canvas: Mask, copper: Mask, at: Points, rng: np.random.Generator) -> None:
    """A row of dots or small crosses."""
    length, angle = 1.5 * _size(rng), float(rng.uniform(0, 2 * np.pi))
    arm, spacing = int(rng.integers(1, 3)), float(rng.uniform(3, 7))
    points = _wander(at - rng.uniform(0, 1) * length * _unit(angle), angle, length, rng)
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    for place in np.arange(0, lengths[-1], spacing):
        x, y = (int(np.interp(place, lengths, points[:, axis])) for axis in (0, 1))
        cv2.line(canvas, (x - arm, y), (x + arm, y), 1)
        cv2.line(canvas, (x, y - arm), (x, y + arm), 1)


def _crumble(canvas: Mask, rng: np.random.Generator) -> None:
    """Leave crumbs of what was there."""
    height, width = canvas.shape
    coarse = rng.standard_normal((height // 3 + 1, width // 3 + 1), dtype=np.float32)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    canvas[field > rng.uniform(0.7, 1.3)] = 0


_LOCAL: tuple[Callable[[Mask, Mask, Points, np.random.Generator], None], ...] = (
    *(_blob, _blob, _blob, _brush, _brush, _ring, _scratch, _scribble, _comb, _crossing, _dotted, _swath),
)
_CROSSING = (*(_crossing,) * 4, _scribble, _scribble, _scratch, _brush, _blob, _dotted, _swath, _swath)
