"""Draws copper: pads and traces on a grid, buses, filled planes. All shapes keep a minimum gap."""

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]
Node = tuple[int, int]

_STEPS: tuple[Node, ...] = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))


@dataclass(slots=True, kw_only=True)
class _Board:
    rng: np.random.Generator
    copper: Mask
    pitch: float
    width: int
    used: set[Node] = field(default_factory=set)
    diagonals: set[tuple[Node, Node]] = field(default_factory=set)
    holes: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def cells(self) -> int:
        return int(self.copper.shape[0] / self.pitch) + 2

    def at(self, node: Node) -> tuple[int, int]:
        return round((node[0] - 0.3) * self.pitch), round((node[1] - 0.3) * self.pitch)

    def inside(self, node: Node) -> bool:
        return 0 <= node[0] < self.cells and 0 <= node[1] < self.cells


def route(rng: np.random.Generator, size_px: int) -> Mask:
    """A board side: (size_px, size_px) uint8, 255 copper."""
    pitch = float(rng.uniform(34, 66))
    width = int(rng.uniform(max(7, 0.2 * pitch), 0.5 * pitch))
    board = _Board(rng=rng, copper=np.zeros((size_px, size_px), np.uint8), pitch=pitch, width=width)
    if rng.random() < 0.5:
        _bus(board)
    for _ in range(int(rng.integers(1, 4))):
        _footprint(board)
    for _ in range(int(rng.integers(10, 26))):
        _trace(board)
    if rng.random() < 0.75:
        _pour(board)
    if rng.random() < 0.25:
        _legend(board)
    for x, y, radius in board.holes:
        cv2.circle(board.copper, (x, y), radius, 0, -1, cv2.LINE_AA)
    copper: Mask = cv2.GaussianBlur(board.copper, (3, 3), 0.6)
    return copper


def _free_node(board: _Board) -> Node | None:
    for _ in range(40):
        node = (int(board.rng.integers(0, board.cells)), int(board.rng.integers(0, board.cells)))
        if node not in board.used:
            return node
    return None


def _pad(board: _Board, node: Node, shape: int, radius: int, hole: int) -> None:
    x, y = board.at(node)
    if shape == 0:
        cv2.circle(board.copper, (x, y), radius, 255, -1, cv2.LINE_AA)
    elif shape == 1:
        cv2.rectangle(board.copper, (x - radius, y - radius), (x + radius, y + radius), 255, -1)
    else:
        angles = np.deg2rad(np.arange(8) * 45 + 22.5)
        corners = np.stack([x + radius * 1.08 * np.cos(angles), y + radius * 1.08 * np.sin(angles)], axis=1)
        cv2.fillPoly(board.copper, [np.rint(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    if hole:
        board.holes.append((x, y, hole))
    board.used.add(node)


def _pad_style(board: _Board) -> tuple[int, int, int]:
    largest = (board.pitch - 9) / 2
    radius = int(board.rng.uniform(max(0.5 * board.width + 2, 0.5 * largest), max(largest, 0.5 * board.width + 3)))
    hole = int(radius * board.rng.uniform(0.3, 0.45)) if radius >= 12 and board.rng.random() < 0.5 else 0
    return int(board.rng.integers(0, 3)), radius, hole


def _footprint(board: _Board) -> None:
    """One or two rows of equal pads: a component."""
    start = _free_node(board)
    if start is None:
        return
    style = _pad_style(board)
    count, rows = int(board.rng.integers(3, 9)), int(board.rng.integers(1, 3))
    upright = board.rng.random() < 0.5
    for row in range(rows):
        for index in range(count):
            node = (start[0] + 3 * row, start[1] + index) if upright else (start[0] + index, start[1] + 3 * row)
            if board.inside(node) and node not in board.used:
                _pad(board, node, *style)
                _walk(board, node, int(board.rng.integers(2, 9)), first=_away(upright, row))


def _away(upright: bool, row: int) -> int:
    side = 4 if row == 0 else 0
    return side if upright else (side + 2) % 8


def _trace(board: _Board) -> None:
    start = _free_node(board)
    if start is None:
        return
    _pad(board, start, *_pad_style(board))
    end = _walk(board, start, int(board.rng.integers(4, 16)), first=int(board.rng.integers(0, 8)))
    if end is not None and board.rng.random() < 0.8:
        _pad(board, end, *_pad_style(board))


def _walk(board: _Board, start: Node, length: int, first: int) -> Node | None:
    """A trace from a pad that mostly goes straight, turns by 45 degrees and never crosses; its last node."""
    path, heading = [start], first
    for _ in range(length):
        options = [heading, heading, heading, heading + 1, heading - 1]
        board.rng.shuffle(options)
        step = next((one % 8 for one in options if _can_step(board, path[-1], one % 8)), None)
        if step is None:
            break
        node = (path[-1][0] + _STEPS[step][0], path[-1][1] + _STEPS[step][1])
        board.used.add(node)
        if step % 2:
            board.diagonals.add((path[-1], node))
        path.append(node)
        heading = step
    if len(path) < 2:
        return None
    points = np.array([board.at(node) for node in path], np.int32)
    cv2.polylines(board.copper, [points], False, 255, board.width, cv2.LINE_AA)
    return path[-1]


def _can_step(board: _Board, node: Node, step: int) -> bool:
    dx, dy = _STEPS[step]
    target = (node[0] + dx, node[1] + dy)
    if target in board.used or not board.inside(target):
        return False
    if not step % 2:
        return True
    across = ((node[0] + dx, node[1]), (node[0], node[1] + dy))
    return across not in board.diagonals and across[::-1] not in board.diagonals


def _bus(board: _Board) -> None:
    """Parallel traces at a finer pitch over the whole board."""
    size = board.copper.shape[0]
    width = int(board.rng.integers(6, 13))
    pitch = width + int(board.rng.integers(8, 14))
    count = int(board.rng.integers(4, 9))
    start = float(board.rng.uniform(0.05, 0.6)) * size
    bend, slant = float(board.rng.uniform(0.2, 0.8)) * size, float(board.rng.choice([-1, 0, 1])) * 80
    upright = board.rng.random() < 0.5
    for index in range(count):
        at = start + index * pitch
        points = [(at, -10.0), (at, bend), (at + slant, bend + abs(slant)), (at + slant, size + 10.0)]
        line = np.rint(points if upright else [(y, x) for x, y in points]).astype(np.int32)
        cv2.polylines(board.copper, [line], False, 255, width, cv2.LINE_AA)
    _reserve(board)


def _reserve(board: _Board) -> None:
    """Mark the grid nodes that are too near to copper."""
    reach = int(board.pitch / 2 + board.width / 2)
    room = cv2.dilate(board.copper, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    limit = board.copper.shape[0] - 1
    for i in range(board.cells):
        for j in range(board.cells):
            x, y = board.at((i, j))
            if room[min(max(y, 0), limit), min(max(x, 0), limit)]:
                board.used.add((i, j))


def _pour(board: _Board) -> None:
    """Fill free space with a plane that keeps its distance from everything else."""
    size = board.copper.shape[0]
    gap = int(board.rng.integers(8, 20))
    kept = cv2.dilate(board.copper, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * gap + 1, 2 * gap + 1)))
    plane = np.zeros_like(board.copper)
    corner, extent = board.rng.uniform(-0.2, 0.5, 2) * size, board.rng.uniform(0.3, 0.8, 2) * size
    if board.rng.random() < 0.5:
        end = corner + extent
        cv2.rectangle(plane, tuple(corner.astype(int).tolist()), tuple(end.astype(int).tolist()), 255, -1)
    else:
        center = (corner + extent / 2).astype(int).tolist()
        cv2.circle(plane, tuple(center), int(extent.min() / 2), 255, -1, cv2.LINE_AA)
    plane[kept > 0] = 0
    solid = cv2.morphologyEx(plane, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17)))
    np.maximum(board.copper, solid, out=board.copper)


def _legend(board: _Board) -> None:
    """Copper lettering in a free corner."""
    size = board.copper.shape[0]
    text = "".join(board.rng.choice(list("0123456789ABCDEFR-"), 6))
    origin = (int(board.rng.integers(20, size - 220)), int(board.rng.integers(60, size - 20)))
    room = board.copper[origin[1] - 50 : origin[1] + 20, origin[0] - 10 : origin[0] + 200]
    if not room.any():
        cv2.putText(board.copper, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 1.5, 255, 5, cv2.LINE_AA)
