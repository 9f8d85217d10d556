"""From a checkpoint to a model folder: export, quantize, calibrate the scores, write card and parity test."""

import argparse
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import cv2
import numpy as np
import numpy.typing as npt
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.onnx import OnnxDetector
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.frame import Frame
from edge_agent.inspecting.accuracy import Found, Judged, hits
from edge_agent.simulation.boards import CODES, Imaging, Placement, layout, render
from training.data import Sample, deeppcb, rendered
from training.network import Decoded, GoldenPair
from training.train import DEEPPCB_TEST, DEEPPCB_TRAIN, DEEPPCB_VALIDATE, source

OPSET = 17
CALIBRATION_IMAGES = 48
MATCH_IOU = 0.33

ABOUT: dict[str, dict[str, Any]] = {
    "board": {
        "description": "Bare circuit boards against their golden image; trained on rendered boards only.",
        "licence": "Apache-2.0",
        "restrictions": "Rendered boards are no proof for yours: measure it with `edge-agent evaluate` first.",
        "data": ["rendered boards (edge_agent.simulation.boards, layouts train-0 to train-399)"],
    },
    "deeppcb": {
        "description": "Bare circuit boards against their golden image; trained on DeepPCB and rendered boards.",
        "licence": "research use only (DeepPCB's README); the weights are derived from its images",
        "restrictions": "Research only: not for production.",
        "data": [
            f"DeepPCB, groups {', '.join(DEEPPCB_TRAIN)}: pairs, and rendered defects on their templates",
            "rendered boards (edge_agent.simulation.boards, layouts train-0 to train-399)",
            f"for score calibration: DeepPCB, groups {', '.join(DEEPPCB_VALIDATE)}",
            f"never seen: DeepPCB, groups {', '.join(DEEPPCB_TEST)}",
        ],
    },
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``package``."""
    parser.add_argument("name", choices=sorted(ABOUT))
    parser.add_argument("--version", default="1")
    parser.add_argument("--work", type=Path, default=Path("build/train"))
    parser.add_argument("--out", type=Path, default=Path("models"))
    parser.add_argument("--data", type=Path, help="the DeepPCB folder")


def run(options: argparse.Namespace) -> None:
    """Write ``<out>/<name>/<version>/``."""
    folder = options.out / options.name / options.version
    folder.mkdir(parents=True, exist_ok=True)
    calibration = _calibration_set(options.name, options.data)
    network = GoldenPair(len(CODES))
    state = torch.load(options.work / options.name / "last.pt", weights_only=True)
    network.load_state_dict(state["average"])
    _export(network, calibration, folder / "model.onnx")
    card = _card(options.name, options.version, folder, calibration)
    _write(folder / "card.json", card | {"parity": False})
    slope, offset = _platt(folder, _validation_set(options.name, options.data))
    card["calibration"] = {
        "slope": round(slope, 4),
        "offset": round(offset, 4),
        "fitted_on": _validated_on(options.name),
    }
    _write(folder / "card.json", card | {"parity": False})
    _write_parity(folder)
    _write(folder / "card.json", card)
    OnnxDetector(folder, DetectorOptions(), clock=SystemClock()).warm_up()
    print(f"{folder}: step {state['step']}, score = sigmoid({slope:.3f} * logit + {offset:.3f}), parity holds")


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _calibration_set(name: str, data: Path | None) -> list[Sample]:
    rng = np.random.default_rng(2_000)
    origin = source(name, data)
    return [origin.sample(rng) for _ in range(CALIBRATION_IMAGES)]


def _validation_set(name: str, data: Path | None) -> list[Sample]:
    if name == "deeppcb" and data is not None:
        return [pair.load() for pair in deeppcb(data, list(DEEPPCB_VALIDATE))]
    rng = np.random.default_rng(3_000)
    return [rendered(layout(f"validate-{index}"), rng, int(rng.integers(0, 10))) for index in range(120)]


def _validated_on(name: str) -> str:
    return f"DeepPCB {', '.join(DEEPPCB_VALIDATE)}" if name == "deeppcb" else "120 rendered boards, validate-0 to -119"


# --- export and quantization ----------------------------------------------------------------------------------------


class _Feed(CalibrationDataReader):
    def __init__(self, samples: Sequence[Sample]) -> None:
        self._left: Iterator[Sample] = iter(samples)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        sample = next(self._left, None)
        return sample and {"image": sample.image[None, None], "golden": sample.golden[None, None]}


def _export(network: GoldenPair, calibration: Sequence[Sample], file: Path) -> None:
    """The quantized graph. Comparison, the last 1x1 convolutions and decoding stay in float: quantized, they fail."""
    blank = torch.zeros(1, 1, 640, 640, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as temporary:
        raw, ready = Path(temporary) / "raw.onnx", Path(temporary) / "ready.onnx"
        torch.onnx.export(
            Decoded(network).eval(),
            (blank, blank),
            str(raw),
            opset_version=OPSET,
            input_names=["image", "golden"],
            output_names=["detections"],
            dynamo=False,
        )
        quant_pre_process(str(raw), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(file),
            _Feed(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Add", "Resize"],
            nodes_to_exclude=_float_nodes(ready),
            calibrate_method=CalibrationMethod.MinMax,
        )


def _float_nodes(file: Path) -> list[str]:
    import onnx

    nodes = onnx.load(str(file)).graph.node
    heads = [node.name for node in nodes if node.name in ("/network/heat/Conv", "/network/sides/Conv")]
    return heads + [node.name for node in nodes if node.op_type == "Add" and not node.name.startswith("/network/")]


def _card(name: str, version: str, folder: Path, calibration: Sequence[Sample]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for sample in calibration:
        digest.update(sample.image.tobytes())
        digest.update(sample.golden.tobytes())
    return {
        "name": name,
        "version": version,
        "sha256": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest(),
        "decode": "golden_pair",
        "inputs": [{"name": one, "shape": [1, 1, 640, 640], "dtype": "uint8"} for one in ("image", "golden")],
        "needs_golden": True,
        "classes": list(CODES),
        "min_score": 0.25,
        "nms_iou": 0.4,
        "opset": OPSET,
        "quantization": {
            "format": "QDQ, static",
            "activations": "uint8, per tensor",
            "weights": "int8, per channel",
            "method": "min-max",
            "calibration_set": f"{CALIBRATION_IMAGES} training samples, seed 2000 (scripts/training/package.py)",
            "calibration_sha256": digest.hexdigest(),
        },
        **ABOUT[name],
    }


# --- score calibration ----------------------------------------------------------------------------------------------


def look(detector: OnnxDetector, clock: SystemClock, sample: Sample) -> Judged:
    """What the detector finds in a sample, beside the truth."""
    frame = Frame(frame_id=clock.new_id(), camera_id="training", pixels=sample.image, captured_at=clock.now())
    sighting = detector.detect(frame, sample.golden, None)
    found = tuple(Found(code=one.code, score=one.score, xyxy_px=one.xyxy_px) for one in sighting.defects)
    truth = tuple((CODES[int(row[0])], (row[1], row[2], row[3], row[4])) for row in sample.boxes.tolist())
    return Judged(found=found, truth=truth)


def _platt(folder: Path, samples: Sequence[Sample]) -> tuple[float, float]:
    """Slope and offset that make a score the share of true boxes among those with that score (Newton's method)."""
    clock = SystemClock()
    detector = OnnxDetector(folder, DetectorOptions(threads=2), clock=clock, min_score=0.02)
    detector.warm_up()
    judged = [look(detector, clock, sample) for sample in samples]
    pairs = [hits(judged, code, MATCH_IOU) for code in CODES]
    score = np.concatenate([one for one, _ in pairs]).clip(1e-6, 1 - 1e-6)
    hit = np.concatenate([one for _, one in pairs]).astype(float)
    # Platt's own prior keeps the fit finite when the classes separate completely.
    hit = hit * (hit.sum() + 1) / (hit.sum() + 2) + (1 - hit) / ((1 - hit).sum() + 2)
    design = np.stack([np.log(score / (1 - score)), np.ones_like(score)], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ weights))
        hessian = design.T @ (design * (p * (1 - p))[:, None]) + 1e-6 * np.eye(2)
        weights = weights + np.linalg.solve(hessian, design.T @ (hit - p))
    return max(0.2, float(weights[0])), float(weights[1])


# --- parity ---------------------------------------------------------------------------------------------------------


def _write_parity(folder: Path) -> None:
    """A board on which the model is sure of every defect, and what it answered."""
    clock = SystemClock()
    detector = OnnxDetector(folder, DetectorOptions(), clock=clock, min_score=0.05)
    detector.warm_up()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        board = layout(f"parity-{seed}")
        placements = [
            Placement(code=code, x_px=float(rng.uniform(40, 600)), y_px=float(rng.uniform(40, 600)), size_px=18.0)
            for code in CODES
        ]
        made = render(board, placements, Imaging(noise=0, blur_px=0), rng)
        frame = Frame(frame_id=clock.new_id(), camera_id="parity", pixels=made.pixels, captured_at=clock.now())
        seen = detector.detect(frame, board.golden(), None).defects
        if (
            len(seen) == len(CODES)
            and min(one.score for one in seen) > 0.6
            and {one.code for one in seen} == set(CODES)
        ):
            break
    else:
        raise SystemExit("no board on which the model is sure: train it longer")
    cv2.imwrite(str(folder / "parity_image.png"), made.pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    cv2.imwrite(str(folder / "parity_golden.png"), board.golden(), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    expected = [
        {"code": one.code, "score": round(one.score, 4), "xyxy_px": [round(value, 2) for value in one.xyxy_px]}
        for one in seen
    ]
    _write(folder / "golden.json", {"image": "parity_image.png", "golden": "parity_golden.png", "expected": expected})
