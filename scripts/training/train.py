"""The training loop: seeded, resumable, on a CPU thread and another one that makes the samples."""

import argparse
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from edge_agent.simulation.boards import CODES
from training.augment import Crop, turned
from training.data import Source, deeppcb
from training.loss import Targets, loss, targets
from training.network import STRIDE, GoldenPair, compare, normalise
from training.warm import load_packaged

SHAPES = ((160, 22), (256, 9), (384, 4))
"""Side of the crops and how many make a batch: about the same number of pixels."""
SHARES = (0.5, 0.3, 0.2)
DEEPPCB_TRAIN = ("group00041", "group13000", "group20085", "group44000", "group77000")
DEEPPCB_VALIDATE = ("group50600",)
DEEPPCB_TEST = ("group92000",)
SAVE_EVERY = 50
SEEN = 2
AVERAGE = 0.998
SETTLING = 12
"""Batches that a packaged model's batch norms are put back with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``train``."""
    parser.add_argument("name", choices=["board", "deeppcb"])
    parser.add_argument("--steps", type=int, default=6000, help="length of the whole schedule")
    parser.add_argument("--work", type=Path, default=Path("build/train"))
    parser.add_argument("--data", type=Path, help="the DeepPCB folder")
    parser.add_argument("--groups", default=",".join(DEEPPCB_TRAIN), help="the groups of DeepPCB to train on")
    parser.add_argument("--start", type=Path, help="weights to begin with (a checkpoint or a model_fp16.onnx)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --work")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1, help="more only on idle cores: they wait for each other")


def source(name: str, data: Path | None, groups: str = "") -> Source:
    """What a model is trained on."""
    if name == "board":
        return Source(line_share=0.25)
    if data is None:
        raise SystemExit("deeppcb needs --data")
    pairs = tuple(deeppcb(data, groups.split(",")))
    return Source(pairs=pairs, real_share=0.5, template_share=0.25, line_share=0.08, grey_share=0.2)


Batch = tuple[torch.Tensor, ...]


class Stream(IterableDataset[Batch]):
    """Batch ``n`` depends on the seed and ``n`` alone: a resumed run sees what it would have seen.

    Every sample is seen `SEEN` times in a row, each time turned or mirrored another way: drawing one costs as much as
    learning from it.
    """

    def __init__(self, origin: Source, seed: int, first: int, last: int) -> None:
        self.origin, self.seed, self.first, self.last = origin, seed, first, last

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        drawn: tuple[int, list[Crop]] = (-1, [])
        for step in range(self.first, self.last):
            if drawn[0] != step // SEEN:
                drawn = step // SEEN, self._draw(step // SEEN)
            rng = np.random.default_rng([self.seed, step, 1])
            yield collate([turned(crop, rng) for crop in drawn[1]])

    def _draw(self, number: int) -> list[Crop]:
        rng = np.random.default_rng([self.seed, number])
        size, count = SHAPES[int(rng.choice(len(SHAPES), p=SHARES))]
        return self.origin.batch(rng, size, count)


def collate(crops: list[Crop]) -> Batch:
    """Stack images and make targets."""
    image = torch.from_numpy(np.stack([crop.image for crop in crops])[:, None])
    golden = torch.from_numpy(np.stack([crop.golden for crop in crops])[:, None])
    levels = torch.from_numpy(np.stack([crop.levels for crop in crops]))
    cells = crops[0].image.shape[0] // STRIDE
    boxes, ignored = ([torch.from_numpy(one) for one in rows] for rows in _rows(crops))
    wanted = targets(boxes, ignored, len(CODES), cells, cells)
    return image, golden, levels, *(getattr(wanted, field.name) for field in dataclasses.fields(wanted))


def _rows(crops: list[Crop]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [crop.boxes for crop in crops], [crop.ignored for crop in crops]


def run(options: argparse.Namespace) -> None:
    """Train to the end of the schedule."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    folder = options.work / options.name
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(options.rate, options.steps, settings(options))
    origin = source(options.name, options.data, options.groups)
    first = trainer.load(folder / "last.pt") if options.resume and (folder / "last.pt").exists() else 0
    if options.start and not first:
        trainer.start(options.start, origin, options.seed)
    stream = Stream(origin, options.seed, first, options.steps)
    loader = DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=8)
    # Line by line: what a killed run did is in the log of the one that goes on.
    with (folder / "log.jsonl").open("a" if first else "w", buffering=1) as log:
        log.write(json.dumps({"step": first, "settings": trainer.settings}) + "\n")
        _loop(trainer, loader, first, folder, log.write)


def settings(options: argparse.Namespace) -> dict[str, str]:
    """What a run depends on beside the code; the weights it starts with by their sha256."""
    found = {"steps": str(options.steps), "seed": str(options.seed), "rate": str(options.rate)}
    if options.name == "deeppcb":
        found["groups"] = options.groups
    if options.start:
        found["start"] = hashlib.sha256(options.start.read_bytes()).hexdigest()
    return found


def _loop(trainer: "Trainer", loader: Any, first: int, folder: Path, write: Any) -> None:
    sums, began = np.zeros(2), time.monotonic()
    for step, batch in enumerate(loader, start=first):
        sums += trainer.step(step, batch)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == trainer.steps:
            heat, box = sums / SAVE_EVERY
            line = {"step": step + 1, "heat": round(heat, 4), "box": round(box, 4)}
            write(json.dumps(line | {"seconds": round(time.monotonic() - began)}) + "\n")
            print(line, f"{time.monotonic() - began:.0f} s", flush=True)
            sums[:] = 0
            trainer.save(folder / "last.pt", step + 1)


def _compared(batch: Batch) -> torch.Tensor:
    """What the network sees of a batch."""
    image, golden, levels = batch[:3]
    seen, known = (levels[:, index, :, None, None] for index in (0, 1))
    compared = compare(normalise(image.float(), seen), normalise(golden.float(), known))
    return compared.contiguous(memory_format=torch.channels_last)


class Trainer:
    """Network, its moving average, optimizer and schedule."""

    def __init__(self, rate: float, steps: int, settings: Mapping[str, str] | None = None) -> None:
        self.rate, self.steps, self.settings = rate, steps, dict(settings or {})
        self.network = GoldenPair(len(CODES)).to(memory_format=torch.channels_last).train()
        self.average = torch.optim.swa_utils.AveragedModel(self.network, multi_avg_fn=_follow, use_buffers=True)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=rate, weight_decay=5e-3)

    def start(self, file: Path, origin: Source, seed: int) -> None:
        """Begin with the weights of a checkpoint or of a packaged model."""
        if file.suffix == ".onnx":
            first = Stream(origin, seed, 0, SETTLING)
            load_packaged(self.network, file, (_compared(batch) for batch in first))
        else:
            self.network.load_state_dict(torch.load(file, weights_only=True)["average"])

    def step(self, step: int, batch: Batch) -> np.ndarray:
        """One step; heat loss and box loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(step, self.steps, self.rate)
        encoded = batch[3:]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, sides = self.network(_compared(batch))
        heat_loss, box_loss = loss(logits.float(), sides.float(), Targets(*encoded))
        self.optimizer.zero_grad()
        (heat_loss + 1.5 * box_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return np.array([heat_loss.item(), box_loss.item()])

    def save(self, file: Path, step: int) -> None:
        """Write a checkpoint; the one before it stays until this one is whole."""
        state = {
            "step": step,
            "settings": self.settings,
            "network": self.network.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        temporary = file.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(file)

    def load(self, file: Path) -> int:
        """Go on from a checkpoint; its step.

        Raises:
            SystemExit: the run was begun with other settings: the result would be that of neither.
        """
        state = torch.load(file, weights_only=True)
        begun = state["settings"]
        other = [f"{key} {begun.get(key)}" for key in begun | self.settings if begun.get(key) != self.settings.get(key)]
        if other:
            raise SystemExit(f"{file}: begun with {', '.join(other)}: go on with the same, or train without --resume")
        self.network.load_state_dict(state["network"])
        self.average.module.load_state_dict(state["average"])
        self.average.n_averaged.fill_(state["step"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])


@torch.no_grad()
def _follow(average: list[torch.Tensor], current: list[torch.Tensor], number: torch.Tensor | int) -> None:
    """Move the average: fast at first, so that the random start is forgotten."""
    keep = min(AVERAGE, (1 + float(number)) / (10 + float(number)))
    for slow, fast in zip(average, current, strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, 1 - keep)
        else:
            slow.copy_(fast)


def rate_at(step: int, steps: int, peak: float) -> float:
    """Warm-up over 100 steps, then a cosine to a hundredth."""
    if step < 100:
        return peak * (step + 1) / 100
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - 100) / max(1, steps - 100))))
