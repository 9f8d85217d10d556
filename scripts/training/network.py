"""The golden-pair network: an image and its defect-free twin in, boxes out; all arithmetic inside the graph."""

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 8
TOP = 100
BOX_UNIT_PX = 16.0
TOLERANCE_PX = 5
"""Side of the window in which an edge may lie elsewhere than in the golden image."""


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm (folded at export), ReLU (folded into the quantized output's range)."""
    padding = (kernel - 1) // 2 if stride == 1 or kernel == 3 else 1
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


def normalise(grey: Tensor) -> Tensor:
    """Grey levels (N, 1, H, W) to zero mean and unit contrast, so that the lighting's offset and gain vanish."""
    centered = grey - grey.mean(dim=(2, 3), keepdim=True)
    deviation = (centered * centered).mean(dim=(2, 3), keepdim=True).sqrt()
    return centered / (deviation + 10.0)


def widest(x: Tensor) -> Tensor:
    """Largest value within the tolerance window; two passes cost less than one."""
    pad = TOLERANCE_PX // 2
    x = functional.max_pool2d(x, (1, TOLERANCE_PX), 1, (0, pad))
    return functional.max_pool2d(x, (TOLERANCE_PX, 1), 1, (pad, 0))


def compare(image: Tensor, golden: Tensor) -> Tensor:
    """The network's four input channels (N, 4, H, W): both images, copper too much, copper too little."""
    image, golden = normalise(image), normalise(golden)
    extra = functional.relu(-widest(-golden) - image)
    missing = functional.relu(image - widest(golden))
    return torch.cat([image, golden, extra, missing], dim=1)


class GoldenPair(nn.Module):
    """Stride 8, one level, a heat map for each class and four distances to the box's sides."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.stem = nn.Sequential(conv(4, 32, 6, 4), conv(32, 32), conv(32, 64, 3, 2))
        self.near = nn.Sequential(Residual(64, 48), Residual(64, 48))
        self.far = nn.Sequential(conv(64, 64, 3, 2), Residual(64, 64), Residual(64, 64))
        self.head = conv(64, 64)
        self.heat = nn.Conv2d(64, classes, 1)
        self.sides = nn.Conv2d(64, 4, 1)
        nn.init.constant_(self.heat.bias, -4.0)
        nn.init.normal_(self.sides.weight, std=0.01)
        nn.init.zeros_(self.sides.bias)

    def forward(self, image: Tensor, golden: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, C, H/8, W/8) and log distances (N, 4, H/8, W/8) to left, top, right, bottom."""
        x = self.near(self.stem(compare(image, golden)))
        x = x + functional.interpolate(self.far(x), scale_factor=2.0, mode="nearest")
        x = self.head(x)
        return self.heat(x), self.sides(x)


class Decoded(nn.Module):
    """The exported graph: uint8 in, the best boxes out, (1, TOP, 6) of x0, y0, x1, y1, score, class."""

    def __init__(self, network: GoldenPair) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, golden: Tensor) -> Tensor:
        logits, sides = self.network(image.float(), golden.float())
        return decode(logits, sides)


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
