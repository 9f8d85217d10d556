"""A model's output to boxes in sensor pixels. Output that makes no sense is a PartFault, never an empty answer."""

from math import isfinite

import numpy as np

from edge_agent.adapters.detectors.boxes import CLASS, SCORE, Floats
from edge_agent.adapters.detectors.prepare import Letterbox, Tile
from edge_agent.domain.faults import PartFault


def pair_boxes(output: Floats, tile: Tile, classes: int, min_raw: float) -> Floats:
    """Of a golden-pair model: (1, N, 6) of x0, y0, x1, y1, score, class in tile pixels.

    Args:
        tile: the window that was looked at; only boxes it answers for are returned.
        classes: how many there are.
        min_raw: uncalibrated scores below this are dropped.

    Raises:
        PartFault: wrong shape, not finite, or out of range.
    """
    if output.ndim != 3 or output.shape[0] != 1 or output.shape[1] == 0 or output.shape[2] != 6:
        raise _nonsense(f"output of shape {output.shape}, expected (1, N, 6)")
    found: Floats = output[0]
    # Two passes for all checks: not a number and infinity survive them.
    low, high = found.min(axis=0).tolist(), found.max(axis=0).tolist()
    if not all(map(isfinite, low + high)):
        raise _nonsense("it is not finite")
    if low[CLASS] < 0 or high[CLASS] >= classes:
        raise _nonsense(f"class outside 0 to {classes - 1}")
    _check_scores(low[SCORE], high[SCORE])
    if high[SCORE] < min_raw:
        return found[:0]
    return _owned(found[found[:, SCORE] >= min_raw], tile)


def yolo_boxes(output: Floats, fitted: Letterbox, classes: int, min_raw: float) -> Floats:
    """Of ultralytics' export: (1, 4 + classes, N) of centre, size and a score for each class, in input pixels.

    Raises:
        PartFault: wrong shape, not finite, or out of range.
    """
    rows = 4 + classes
    if output.ndim != 3 or output.shape[:2] != (1, rows) or output.shape[2] == 0:
        raise _nonsense(f"output of shape {output.shape}, expected (1, {rows}, N)")
    scores = output[0, 4:]
    best = scores.max(axis=0)
    _check_scores(float(best.min()), float(best.max()))
    kept = np.flatnonzero(best >= min_raw)
    center, half = output[0, :2, kept], output[0, 2:4, kept] / 2
    offset = np.array([fitted.left, fitted.top], np.float32)
    low, high = (center - half - offset) / fitted.scale, (center + half - offset) / fitted.scale
    columns = [low, high, best[kept, None], scores[:, kept].argmax(axis=0)[:, None]]
    found = np.concatenate(columns, axis=1).astype(np.float32)
    _check_finite(found)
    return found


def _nonsense(text: str) -> PartFault:
    return PartFault("detector.output", f"the model's answer makes no sense: {text}")


def _check_finite(found: Floats) -> None:
    if not np.isfinite(found).all():
        raise _nonsense("it is not finite")


def _check_scores(low: float, high: float) -> None:
    """Not a number fails the comparison, too."""
    if not (low >= 0 and high <= 1):
        raise _nonsense(f"scores from {low:.3g} to {high:.3g}, expected 0 to 1")


def _owned(found: Floats, tile: Tile) -> Floats:
    """The tile's own boxes, in the image's coordinates."""
    found = found + np.array([tile.x, tile.y, tile.x, tile.y, 0, 0], np.float32)
    x, y = (found[:, 0] + found[:, 2]) / 2, (found[:, 1] + found[:, 3]) / 2
    x0, y0, x1, y1 = tile.own_xyxy
    owned: Floats = found[(x >= x0) & (x < x1) & (y >= y0) & (y < y1)]
    return owned
