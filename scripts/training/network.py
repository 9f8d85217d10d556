"""The golden-pair network: an image and its defect-free twin in, boxes out; all arithmetic inside the graph."""

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 8
TOP = 100
BOX_UNIT_PX = 20.0
BLANK_CONTRAST = 40.0
"""Grey levels; less between the two levels is taken for an image of one material."""
FULL_RANGE = 2.0
TOLERANCES_PX = (3, 5)
"""Sides of the windows in which an edge may lie elsewhere than in the golden image."""
INPUTS = 2 + 2 * len(TOLERANCES_PX)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm (folded at export), ReLU (folded into the quantized output's range)."""
    padding = (kernel - stride + 1) // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Two 3x3 convolutions around a narrower middle, added to the input."""

    def __init__(self, channels: int, middle: int) -> None:
        super().__init__()
        self.first, self.second = conv(channels, middle), conv(middle, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


def levels(grey: Tensor) -> Tensor:
    """The two grey levels of each image, (N, 2, 1, 1): means of the pixels below and above the mean.

    Unlike mean and deviation, they do not depend on how much of the board is copper.
    """
    middle = grey.mean(dim=(2, 3), keepdim=True)
    above = (grey > middle).to(grey.dtype)
    share = above.mean(dim=(2, 3), keepdim=True)
    bright = (grey * above).mean(dim=(2, 3), keepdim=True)
    low = (middle - bright) / (1 - share + 1e-6)
    # Without any pixel above the mean both levels are the mean.
    high = torch.maximum(bright / (share + 1e-6), middle)
    return torch.cat([low, high], dim=1)


def levels_of_pair(image: Tensor, golden: Tensor) -> tuple[Tensor, Tensor]:
    """Levels of both; an image without contrast (bare laminate, say) takes the other's."""
    seen, known = levels(image), levels(golden)
    blank_seen = (seen[:, 1:] - seen[:, :1] < BLANK_CONTRAST).to(seen.dtype)
    blank_known = (known[:, 1:] - known[:, :1] < BLANK_CONTRAST).to(seen.dtype)
    return seen + (known - seen) * blank_seen, known + (seen - known) * blank_known


def normalise(grey: Tensor, low_high: Tensor) -> Tensor:
    """Grey levels (N, 1, H, W) so that copper is near -1 and laminate near 1: the lighting's offset and gain vanish."""
    low, high = low_high[:, :1], low_high[:, 1:]
    found = (grey - (low + high) / 2) / ((high - low) / 2).clamp(min=12.0)
    # Glare and sensor noise must not widen the range that eight bits are spread over.
    return found.clamp(-FULL_RANGE, FULL_RANGE)


def widest(x: Tensor) -> Tensor:
    """Largest value within 3x3 pixels; two passes cost less than one."""
    x = functional.max_pool2d(x, (1, 3), 1, (0, 1))
    return functional.max_pool2d(x, (3, 1), 1, (1, 0))


def compare(image: Tensor, golden: Tensor) -> Tensor:
    """The network's input (N, 6, H, W): both normalised images, and surplus and missing copper at each tolerance."""
    found, bright, dark = [image, golden], golden, -golden
    for _ in TOLERANCES_PX:
        bright, dark = widest(bright), widest(dark)
        found += [functional.relu(-dark - image), functional.relu(image - bright)]
    return torch.cat(found, dim=1)


class GoldenPair(nn.Module):
    """One level at stride 8 that has seen four scales: a heat map for each class and four distances to the sides."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.stem = nn.Sequential(conv(INPUTS, 48, 8, 4), conv(48, 48))
        self.near = nn.Sequential(conv(48, 64, 3, 2), Residual(64, 48), Residual(64, 48), Residual(64, 48))
        self.middle = nn.Sequential(conv(64, 112, 3, 2), Residual(112, 72), Residual(112, 72))
        self.far = nn.Sequential(conv(112, 128, 3, 2), Residual(128, 80), Residual(128, 80), conv(128, 112, 1))
        self.down = nn.Sequential(Residual(112, 72), conv(112, 64, 1))
        self.head = nn.Sequential(Residual(64, 48), conv(64, 64))
        self.heat = nn.Conv2d(64, classes, 1)
        self.sides = nn.Conv2d(64, 4, 1)
        nn.init.constant_(self.heat.bias, -4.0)
        nn.init.normal_(self.sides.weight, std=0.01)
        nn.init.zeros_(self.sides.bias)

    def forward(self, compared: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, C, H/8, W/8) and log distances (N, 4, H/8, W/8) to left, top, right, bottom; sides of 32 n px."""
        near = self.near(self.stem(compared))
        middle = self.middle(near)
        middle = middle + functional.interpolate(self.far(middle), scale_factor=2.0, mode="nearest")
        x = self.head(near + functional.interpolate(self.down(middle), scale_factor=2.0, mode="nearest"))
        return self.heat(x), self.sides(x)


class Decoded(nn.Module):
    """The exported graph: uint8 in, the best boxes out, (1, TOP, 6) of x0, y0, x1, y1, score, class."""

    def __init__(self, network: GoldenPair) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, golden: Tensor) -> Tensor:
        image, golden = image.float(), golden.float()
        seen, known = levels_of_pair(image, golden)
        return decode(*self.network(compare(normalise(image, seen), normalise(golden, known))))


def decode(logits: Tensor, sides: Tensor) -> Tensor:
    """Peaks of the heat map as boxes; for one image."""
    heat = torch.sigmoid(logits)
    peaks = heat * (functional.max_pool2d(heat, 3, 1, 1) == heat)
    height, width = heat.shape[2], heat.shape[3]
    scores, flat = peaks.reshape(1, -1).topk(TOP, dim=1)
    code = torch.div(flat, height * width, rounding_mode="floor")
    cell = flat - code * (height * width)
    y = torch.div(cell, width, rounding_mode="floor")
    x = cell - y * width
    chosen = sides.reshape(1, 4, -1).gather(2, cell.unsqueeze(1).expand(-1, 4, -1))
    distance = BOX_UNIT_PX * torch.exp(chosen.clamp(-4.0, 4.0))
    center_x, center_y = (x.float() + 0.5) * STRIDE, (y.float() + 0.5) * STRIDE
    parts = [center_x - distance[:, 0], center_y - distance[:, 1], center_x + distance[:, 2], center_y + distance[:, 3]]
    return torch.stack([*parts, scores, code.float()], dim=2)
