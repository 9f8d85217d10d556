"""From a checkpoint to a model folder: export, quantize, calibrate scores, hold the gate, write card and test."""

import argparse
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import cv2
import numpy as np
import torch

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.onnx import OnnxDetector
from edge_agent.adapters.detectors.prepare import grey
from edge_agent.commands.labelled import Labelled, mended
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.frame import Frame
from edge_agent.inspecting.accuracy import Judged, ranked
from edge_agent.simulation.boards import CODES, Imaging, Placement, layout, render
from training import augment, cost, parity_gate
from training.data import Pair, Sample, deeppcb, draw_onto, rendered
from training.export import OPSET, digest, write_fp16, write_fp32, write_int8
from training.network import GoldenPair
from training.train import DEEPPCB_TEST, DEEPPCB_TRAIN, DEEPPCB_VALIDATE
from training.warm import load_packaged

CALIBRATION_IMAGES = 48

ABOUT: dict[str, dict[str, Any]] = {
    "board": {
        "description": "Bare circuit boards against their golden image; trained on rendered boards only.",
        "licence": "Apache-2.0",
        "restrictions": "Rendered boards are no proof for yours: measure it with `edge-agent evaluate` first.",
        "data": [
            "rendered boards (edge_agent.simulation.boards, layouts train-0 to train-399), their own defects and "
            "defects drawn freehand onto them (scripts/training/freehand.py)",
        ],
    },
    "deeppcb": {
        "description": "Bare circuit boards against their golden image; trained on DeepPCB and rendered boards.",
        "licence": "research use only (DeepPCB's README); the weights are derived from its images",
        "restrictions": "Research only: not for production.",
        "data": [
            f"DeepPCB, groups {', '.join(DEEPPCB_TRAIN)}: pairs, and freehand defects on their templates",
            "rendered boards, as board",
            f"for score calibration and choices: DeepPCB, groups {', '.join(DEEPPCB_VALIDATE)}",
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
    parser.add_argument("--weights", type=Path, help="a packaged model: its weights again instead of a checkpoint")


def run(options: argparse.Namespace) -> None:
    """Write ``<out>/<name>/<version>/``; an export that the gate refuses is not written."""
    network, training = _packaged(options.weights) if options.weights else _trained(options.work / options.name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "int8"
        card = build(options, network, folder, Path(temporary) / "fp32")
        card["training"] = training
        _write(folder / "card.json", card)
        parity_gate.open_for_measuring(folder)
        final = options.out / options.name / options.version
        shutil.rmtree(final, ignore_errors=True)
        shutil.copytree(folder, final)
    print(f"{final}: step {training['steps']}, {json.dumps(card['gate'])}, {json.dumps(card['cost'])}")


def _trained(folder: Path) -> tuple[GoldenPair, dict[str, Any]]:
    """The network of the last checkpoint, and how it was trained."""
    state = torch.load(folder / "last.pt", weights_only=True)
    network = GoldenPair(len(CODES))
    network.load_state_dict(state["average"])
    return network, {"steps": state["step"], "log": _settings(folder / "log.jsonl")}


def _packaged(folder: Path) -> tuple[GoldenPair, dict[str, Any]]:
    """The network of a packaged model, and how its card says it was trained."""
    network = GoldenPair(len(CODES))
    load_packaged(network, folder / "model_fp16.onnx")
    training: dict[str, Any] = json.loads((folder / "card.json").read_text())["training"]
    return network, training


def build(options: argparse.Namespace, network: GoldenPair, folder: Path, reference: Path) -> dict[str, Any]:
    """Both folders, float and quantized, calibrated alike; the card of the quantized one."""
    quantizing, validation = _calibration_set(options.name, options.data), _validation_set(options.name, options.data)
    for one in (folder, reference):
        one.mkdir(parents=True)
    write_fp32(network, reference / "model.onnx")
    write_int8(reference / "model.onnx", quantizing, folder / "model.onnx")
    card = _card(options.name, options.version, quantizing)
    mended_too = map(_clean, validation) if options.name == "deeppcb" else ()
    card["calibration"] = _calibrated(folder, card, [*validation, *mended_too], options.name)
    for one in (reference, folder):
        _write(one / "card.json", card | {"sha256": _sha256(one / "model.onnx"), "parity": False})
    card["sha256"] = _sha256(folder / "model.onnx")
    compared = parity_gate.demand_parity(reference, folder, [*validation, *_more_for_the_gate(options)])
    card["gate"] = {
        "data": f"{_validated_on(options.name)}{_GATE_MORE[options.name]}",
        "map_33_fp32": round(compared.map_reference, 4),
        "map_33_int8": round(compared.map_candidate, 4),
        "precision_lost_most": round(max(compared.precision_lost.values()), 4),
        "recall_lost_most": round(max(lost / max(1, of) for lost, of in compared.boxes_lost.values()), 4),
    }
    _write_parity(folder)
    write_fp16(reference / "model.onnx", folder / "model_fp16.onnx")
    card["fp16"] = {"file": "model_fp16.onnx", "sha256": _sha256(folder / "model_fp16.onnx")}
    _write(folder / "card.json", card | {"cost": None})
    card["cost"] = cost.of(folder)
    return card


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _settings(log: Path) -> list[dict[str, str]]:
    """The settings of every run that went into the checkpoint, and the step it began with."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    return [{"from_step": str(one["step"])} | one["settings"] for one in lines if "settings" in one]


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _card(name: str, version: str, quantizing: Sequence[Sample]) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "sha256": "0" * 64,
        "decode": "golden_pair",
        "inputs": [{"name": one, "shape": [1, 1, 640, 640], "dtype": "uint8"} for one in ("image", "golden")],
        "needs_golden": True,
        "classes": list(CODES),
        "min_score": 0.25,
        "nms_iou": 0.4,
        "naming": "copper",
        "opset": OPSET,
        "quantization": {
            "format": "QDQ, static",
            "activations": "uint8, per tensor",
            "weights": "int8, per channel",
            "method": "min-max",
            "calibration_set": f"{CALIBRATION_IMAGES} training images, seed 2000 (scripts/training/package.py)",
            "calibration_sha256": digest(quantizing),
        },
        **ABOUT[name],
    }


# --- images ---------------------------------------------------------------------------------------------------------


def _calibration_set(name: str, data: Path | None) -> list[Sample]:
    """For the ranges of the activations: images of the line, and real pairs where they are trained on."""
    rng = np.random.default_rng(2_000)
    pairs = deeppcb(data, list(DEEPPCB_TRAIN)) if name == "deeppcb" and data is not None else []
    chosen = rng.choice(len(pairs), min(len(pairs), CALIBRATION_IMAGES * 3 // 4), replace=False)
    real = [pairs[int(one)].load() for one in chosen]
    drawn = [freehand_board(f"train-{index}", rng) for index in range((CALIBRATION_IMAGES - len(real)) // 2)]
    line = [
        rendered(layout(f"train-{index}"), rng, int(rng.integers(4, 20)))
        for index in range(CALIBRATION_IMAGES - len(real) - len(drawn))
    ]
    return [*real, *drawn, *line]


def freehand_board(name: str, rng: np.random.Generator) -> Sample:
    """A whole black and white board with freehand defects."""
    copper = (layout(name).copper > 127).astype(np.uint8)
    scene = augment.Scene(image=copper, golden=copper, boxes=np.zeros((0, 5), np.float32))
    scene = draw_onto(augment.etching(scene, rng), 24, rng)
    image, golden = ((1 - one) * np.uint8(255) for one in (scene.image, scene.golden))
    boxes = scene.boxes.copy()
    boxes[:, 1:] = boxes[:, 1:].clip(0, copper.shape[0])
    return Sample(image=image, golden=golden, boxes=boxes)


def _validation_set(name: str, data: Path | None) -> list[Sample]:
    if name == "deeppcb" and data is not None:
        return [pair.load() for pair in _pairs(data)]
    rng = np.random.default_rng(3_000)
    line = [rendered(layout(f"validate-{index}"), rng, int(rng.integers(0, 20))) for index in range(30)]
    return [*line, *(freehand_board(f"validate-{index}", rng) for index in range(30, 60))]


GATE_PAIRS = 100
_GATE_MORE = {"board": "", "deeppcb": f" and {GATE_PAIRS} training pairs"}


def _more_for_the_gate(options: argparse.Namespace) -> list[Sample]:
    """A point of recall needs a hundred defects of each class; whether they were trained on does not matter here."""
    if options.name != "deeppcb" or options.data is None:
        return []
    pairs = deeppcb(options.data, list(DEEPPCB_TRAIN))
    chosen = np.random.default_rng(4_000).choice(len(pairs), GATE_PAIRS, replace=False)
    return [pairs[int(one)].load() for one in chosen]


def _pairs(data: Path) -> list[Pair]:
    return deeppcb(data, list(DEEPPCB_VALIDATE))


def _validated_on(name: str) -> str:
    rendered_boards = "60 rendered boards, validate-0 to -59, half of them with freehand defects"
    return f"DeepPCB {', '.join(DEEPPCB_VALIDATE)}" if name == "deeppcb" else rendered_boards


# --- score calibration ----------------------------------------------------------------------------------------------


def _calibrated(folder: Path, card: dict[str, Any], samples: Sequence[Sample], name: str) -> dict[str, Any]:
    _write(folder / "card.json", card | {"sha256": _sha256(folder / "model.onnx"), "parity": False})
    slope, offset = platt(parity_gate.look(parity_gate.open_for_measuring(folder), samples))
    return {
        "slope": round(slope, 4),
        "offset": round(offset, 4),
        "fitted_on": f"{_validated_on(name)}, each also mended",
    }


def _clean(sample: Sample) -> Sample:
    """The same part without its defects: what is sure on a line of mostly good parts must be sure on these, too."""
    truth = tuple((CODES[int(row[0])], (row[1], row[2], row[3], row[4])) for row in sample.boxes.tolist())
    part = mended(Labelled(name="", image=sample.image, golden=sample.golden, truth=truth))
    return Sample(image=grey(part.image), golden=sample.golden, boxes=sample.boxes[:0])


def platt(judged: Sequence[Judged]) -> tuple[float, float]:
    """Slope and offset that make a score the share of true boxes among those with that score (Newton's method)."""
    every = ranked(judged, CODES, parity_gate.IOU)
    score, hit = every.score.clip(1e-6, 1 - 1e-6), every.hit.astype(float)
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
