"""Targets and losses: CenterNet's penalty-reduced focal loss, and GIoU for the boxes near each centre."""

import torch
from torch import Tensor
from torch.nn import functional

from training.network import BOX_UNIT_PX, STRIDE


def targets(boxes: list[Tensor], classes: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Heat (N, C, h, w), box distances (N, 4, h, w) in pixels and their weight (N, h, w).

    Args:
        boxes: for each image (K, 5) of class, x0, y0, x1, y1 in pixels.
        height, width: of the heat map.
    """
    count = len(boxes)
    heat = torch.zeros(count, classes, height, width)
    distance = torch.ones(count, 4, height, width)
    weight = torch.zeros(count, height, width)
    cy, cx = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    cy, cx = cy * STRIDE, cx * STRIDE
    for index, one in enumerate(boxes):
        for code, x0, y0, x1, y1 in one.tolist():
            peak_x = (min(max(int((x0 + x1) / 2 / STRIDE), 0), width - 1) + 0.5) * STRIDE
            peak_y = (min(max(int((y0 + y1) / 2 / STRIDE), 0), height - 1) + 0.5) * STRIDE
            sx, sy = max(0.7 * STRIDE, (x1 - x0) / 6), max(0.7 * STRIDE, (y1 - y0) / 6)
            bump = torch.exp(-((cx - peak_x) ** 2) / (2 * sx * sx) - (cy - peak_y) ** 2 / (2 * sy * sy))
            torch.maximum(heat[index, int(code)], bump, out=heat[index, int(code)])
            near = (bump > weight[index]) & (bump > 0.3)
            weight[index][near] = bump[near]
            sides = torch.stack([cx - x0, cy - y0, x1 - cx, y1 - cy]).clamp(min=1.0)
            distance[index][:, near] = sides[:, near]
    return heat, distance, weight


def loss(logits: Tensor, sides: Tensor, heat: Tensor, distance: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Heat loss and box loss, each over the number of boxes."""
    peaks = heat >= 0.999
    number = peaks.sum().clamp(min=1)
    probability = torch.sigmoid(logits)
    hit = functional.logsigmoid(logits) * (1 - probability) ** 2
    miss = functional.logsigmoid(-logits) * probability**2 * (1 - heat) ** 4
    heat_loss = -(hit[peaks].sum() + miss[~peaks].sum()) / number
    near = weight > 0
    if not near.any():
        return heat_loss, sides.sum() * 0
    predicted = BOX_UNIT_PX * torch.exp(sides.permute(0, 2, 3, 1)[near].clamp(-4, 4))
    wanted, importance = distance.permute(0, 2, 3, 1)[near], weight[near]
    return heat_loss, ((1 - giou(predicted, wanted)) * importance).sum() / importance.sum()


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of boxes given by their distances from one common point, (K, 4)."""
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    shared = (low[:, 0] + low[:, 2]) * (low[:, 1] + low[:, 3])
    around = (high[:, 0] + high[:, 2]) * (high[:, 1] + high[:, 3])
    area_a = (a[:, 0] + a[:, 2]) * (a[:, 1] + a[:, 3])
    area_b = (b[:, 0] + b[:, 2]) * (b[:, 1] + b[:, 3])
    union = area_a + area_b - shared
    return shared / union - (around - union) / around
