"""From a network to files: ONNX in FP32, INT8 for processors, FP16 for GPUs."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from training.data import Sample
from training.network import Decoded, GoldenPair

OPSET = 17
QUANTIZED = ("Conv", "Add", "Resize")
ENDS = ("/network/stem/stem.0/stem.0.0/Conv", "/network/heat/Conv", "/network/sides/Conv")
"""Convolutions that stay in float. The first costs nothing and, in eight bits, the largest error of all."""


class _Feed(CalibrationDataReader):
    def __init__(self, samples: Sequence[Sample]) -> None:
        self._left: Iterator[Sample] = iter(samples)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        sample = next(self._left, None)
        return sample and {"image": sample.image[None, None], "golden": sample.golden[None, None]}


def digest(samples: Sequence[Sample]) -> str:
    """sha256 over the pixels of all images and golden images, in order: names the calibration set by its content."""
    found = hashlib.sha256()
    for sample in samples:
        found.update(sample.image.tobytes())
        found.update(sample.golden.tobytes())
    return found.hexdigest()


def write_fp32(network: GoldenPair, file: Path) -> None:
    """The whole graph, from grey levels to boxes."""
    blank = torch.zeros(1, 1, 640, 640, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as temporary:
        raw = Path(temporary) / "raw.onnx"
        torch.onnx.export(
            Decoded(network.to(memory_format=torch.contiguous_format)).eval(),
            (blank, blank),
            str(raw),
            opset_version=OPSET,
            input_names=["image", "golden"],
            output_names=["detections"],
            dynamo=False,
        )
        quant_pre_process(str(raw), str(file), skip_symbolic_shape=True)


def write_int8(fp32: Path, calibration: Sequence[Sample], file: Path) -> None:
    """Static quantization (QDQ). Comparison, both ends and the decoding stay in float: quantized, they fail.

    Boxes and scores of a decoded output share one scale: in eight bits no score is left.
    """
    quantize_static(
        str(fp32),
        str(file),
        _Feed(calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=list(QUANTIZED),
        nodes_to_exclude=float_nodes(fp32),
        calibrate_method=CalibrationMethod.MinMax,
    )


def write_fp16(fp32: Path, file: Path) -> None:
    """Half precision for GPUs: the convolutions only; levels, comparison and decoding stay in float."""
    model = onnx.load(str(fp32))
    kept = [node.name for node in model.graph.node if not node.name.startswith("/network/")]
    half = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept, disable_shape_infer=False)
    onnx.save(half, str(file))


def float_nodes(file: Path) -> list[str]:
    """Nodes that are never quantized."""
    nodes = onnx.load(str(file)).graph.node
    ends = [node.name for node in nodes if node.name in ENDS]
    return ends + [node.name for node in nodes if node.op_type == "Add" and not node.name.startswith("/network/")]
