"""Raw boxes: the array between a model's output and the defects made of it."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

X0, Y0, X1, Y1, SCORE, CLASS = range(6)
"""Columns of a box array, (N, 6) float32; boxes in sensor pixels."""


def none() -> Floats:
    """No boxes."""
    return np.zeros((0, 6), np.float32)


def calibrated(scores: Floats, slope: float, offset: float) -> Floats:
    """Platt scaling of scores in [0, 1]."""
    raw = scores.clip(1e-6, 1 - 1e-6).astype(np.float64)
    logit = np.log(raw / (1 - raw))
    return (1 / (1 + np.exp(-(slope * logit + offset)))).astype(np.float32)


def raw_score(score: float, slope: float, offset: float) -> float:
    """The raw score that `calibrated` turns into this one."""
    score = min(max(score, 1e-6), 1 - 1e-6)
    return float(1 / (1 + np.exp(-(np.log(score / (1 - score)) - offset) / slope)))


def suppress(boxes: Floats, iou: float) -> Floats:
    """Greedy non-maximum suppression over all classes: one place, one defect. Best score first."""
    boxes = boxes[np.argsort(-boxes[:, SCORE], kind="stable")]
    if len(boxes) < 2:
        return boxes
    overlap = overlaps(boxes, boxes) > iou
    dropped = np.zeros(len(boxes), bool)
    for index in range(len(boxes)):
        if not dropped[index]:
            dropped[index + 1 :] |= overlap[index, index + 1 :]
    return boxes[~dropped]


def overlaps(a: Floats, b: Floats) -> Floats:
    """Intersection over union, (len(a), len(b)); of arrays whose first four columns are x0, y0, x1, y1."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    shared = (high - low).clip(0).prod(axis=2)
    area_a = (a[:, 2:4] - a[:, :2]).clip(0).prod(axis=1)
    area_b = (b[:, 2:4] - b[:, :2]).clip(0).prod(axis=1)
    union = area_a[:, None] + area_b[None, :] - shared
    ratio: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def clipped(boxes: Floats, width: int, height: int) -> Floats:
    """Boxes cut to the image; those with nothing left are dropped."""
    boxes = boxes.copy()
    boxes[:, [X0, X1]] = boxes[:, [X0, X1]].clip(0, width)
    boxes[:, [Y0, Y1]] = boxes[:, [Y0, Y1]].clip(0, height)
    return boxes[(boxes[:, X1] - boxes[:, X0] >= 1) & (boxes[:, Y1] - boxes[:, Y0] >= 1)]
