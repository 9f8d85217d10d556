"""Targets and losses: CenterNet's penalty-reduced focal loss, and GIoU for the boxes near each centre."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.network import BOX_UNIT_PX, STRIDE


@dataclass(frozen=True)
class Targets:
    """What the network should answer.

    Attributes:
        heat: (N, C, h, w), 1 at the centres.
        distance: (N, 4, h, w) to the box's sides in pixels.
        weight: (N, h, w) of the distances; 0 where there is none.
        counted: (N, h, w), 0 where the heat is neither demanded nor punished.
    """

    heat: Tensor
    distance: Tensor
    weight: Tensor
    counted: Tensor


def targets(boxes: list[Tensor], ignored: list[Tensor], classes: int, height: int, width: int) -> Targets:
    """Encode boxes.

    Args:
        boxes: for each image (K, 5) of class, x0, y0, x1, y1 in pixels.
        ignored: for each image (M, 4) of x0, y0, x1, y1.
        height, width: of the heat map.
    """
    count = len(boxes)
    heat = torch.zeros(count, classes, height, width)
    distance = torch.ones(count, 4, height, width)
    weight = torch.zeros(count, height, width)
    counted = torch.ones(count, height, width)
    cy, cx = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    cy, cx = cy * STRIDE, cx * STRIDE
    for index, one in enumerate(boxes):
        for x0, y0, x1, y1 in ignored[index].tolist():
            counted[index][(cx > x0) & (cx < x1) & (cy > y0) & (cy < y1)] = 0
        for code, x0, y0, x1, y1 in one.tolist():
            peak_x = (min(max(int((x0 + x1) / 2 / STRIDE), 0), width - 1) + 0.5) * STRIDE
            peak_y = (min(max(int((y0 + y1) / 2 / STRIDE), 0), height - 1) + 0.5) * STRIDE
            sx, sy = max(0.6 * STRIDE, (x1 - x0) / 7), max(0.6 * STRIDE, (y1 - y0) / 7)
            bump = torch.exp(-((cx - peak_x) ** 2) / (2 * sx * sx) - (cy - peak_y) ** 2 / (2 * sy * sy))
            torch.maximum(heat[index, int(code)], bump, out=heat[index, int(code)])
            near = (bump > weight[index]) & (bump > 0.3)
            weight[index][near] = bump[near]
            counted[index][bump > 0.3] = 1
            sides = torch.stack([cx - x0, cy - y0, x1 - cx, y1 - cy]).clamp(min=1.0)
            distance[index][:, near] = sides[:, near]
    return Targets(heat, distance, weight, counted)


def loss(logits: Tensor, sides: Tensor, wanted: Targets) -> tuple[Tensor, Tensor]:
    """Heat loss and box loss, each over the number of boxes."""
    peaks = wanted.heat >= 0.999
    number = peaks.sum().clamp(min=1)
    probability = torch.sigmoid(logits)
    hit = functional.logsigmoid(logits) * (1 - probability) ** 2
    miss = functional.logsigmoid(-logits) * probability**2 * (1 - wanted.heat) ** 4 * wanted.counted[:, None]
    heat_loss = -(hit[peaks].sum() + miss[~peaks].sum()) / number
    near = wanted.weight > 0
    if not near.any():
        return heat_loss, sides.sum() * 0
    predicted = BOX_UNIT_PX * torch.exp(sides.permute(0, 2, 3, 1)[near].clamp(-4, 4))
    distance, importance = wanted.distance.permute(0, 2, 3, 1)[near], wanted.weight[near]
    return heat_loss, ((1 - giou(predicted, distance)) * importance).sum() / importance.sum()


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of boxes given by their distances from one common point, (K, 4)."""
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    shared = (low[:, 0] + low[:, 2]) * (low[:, 1] + low[:, 3])
    around = (high[:, 0] + high[:, 2]) * (high[:, 1] + high[:, 3])
    area_a = (a[:, 0] + a[:, 2]) * (a[:, 1] + a[:, 3])
    area_b = (b[:, 0] + b[:, 2]) * (b[:, 1] + b[:, 3])
    union = area_a + area_b - shared
    return shared / union - (around - union) / around
