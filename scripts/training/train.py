"""The training loop: seeded, resumable, on a few CPU threads."""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from edge_agent.simulation.boards import CODES
from training.data import Sample, Source, crops, deeppcb
from training.loss import loss, targets
from training.network import STRIDE, GoldenPair

CROP_PX = 320
BATCH = 12
DEEPPCB_TRAIN = ("group00041", "group13000", "group20085", "group77000")
DEEPPCB_VALIDATE = ("group44000", "group50600")
DEEPPCB_TEST = ("group92000",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``train``."""
    parser.add_argument("name", choices=["board", "deeppcb"])
    parser.add_argument("--steps", type=int, default=3000, help="length of the whole schedule")
    parser.add_argument("--work", type=Path, default=Path("build/train"))
    parser.add_argument("--data", type=Path, help="the DeepPCB folder")
    parser.add_argument("--start", type=Path, help="weights to begin with (a checkpoint)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1, help="more only on idle cores: they wait for each other")


def source(name: str, data: Path | None) -> Source:
    """What a model is trained on."""
    if name == "board":
        return Source()
    if data is None:
        raise SystemExit("deeppcb needs --data")
    pairs = tuple(deeppcb(data, list(DEEPPCB_TRAIN)))
    return Source(pairs=pairs, real_share=0.6, template_share=0.25)


class Stream(IterableDataset[tuple[torch.Tensor, ...]]):
    """Batch ``n`` depends on the seed and ``n`` alone: a resumed run sees what it would have seen."""

    def __init__(self, origin: Source, seed: int, first: int, last: int) -> None:
        self.origin, self.seed, self.first, self.last = origin, seed, first, last

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        for step in range(self.first, self.last):
            rng = np.random.default_rng([self.seed, step])
            samples: list[Sample] = []
            while len(samples) < BATCH:
                samples.extend(crops(self.origin.sample(rng), CROP_PX, rng, 3))
            yield collate(samples[:BATCH])


def collate(samples: list[Sample]) -> tuple[torch.Tensor, ...]:
    """Stack images and make targets."""
    image = torch.from_numpy(np.stack([sample.image for sample in samples])[:, None])
    golden = torch.from_numpy(np.stack([sample.golden for sample in samples])[:, None])
    cells = CROP_PX // STRIDE
    return image, golden, *targets([torch.from_numpy(s.boxes) for s in samples], len(CODES), cells, cells)


def run(options: argparse.Namespace) -> None:
    """Train to the end of the schedule."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    folder = options.work / options.name
    folder.mkdir(parents=True, exist_ok=True)
    network = GoldenPair(len(CODES))
    if options.start:
        network.load_state_dict(torch.load(options.start, weights_only=True)["average"])
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995), use_buffers=True
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-3)
    first = _resume(folder / "last.pt", network, average, optimizer)
    stream = Stream(source(options.name, options.data), options.seed, first, options.steps)
    loader = DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4)
    network.train()
    sums, began = np.zeros(2), time.monotonic()
    for step, batch in enumerate(loader, start=first):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, options.steps, options.rate)
        sums += _step(network, optimizer, batch)
        average.update_parameters(network)
        if (step + 1) % 25 == 0:
            seconds = time.monotonic() - began
            print(f"step {step + 1} heat {sums[0] / 25:.3f} box {sums[1] / 25:.3f} {seconds:.0f} s", flush=True)
            sums[:] = 0
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            _save(folder / "last.pt", step + 1, network, average, optimizer)


def rate_at(step: int, steps: int, peak: float) -> float:
    """Warm-up over 100 steps, then a cosine to a hundredth."""
    if step < 100:
        return peak * (step + 1) / 100
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - 100) / max(1, steps - 100))))


def _step(network: GoldenPair, optimizer: torch.optim.Optimizer, batch: tuple[torch.Tensor, ...]) -> np.ndarray:
    image, golden, heat, distance, weight = batch
    logits, sides = network(image.float(), golden.float())
    heat_loss, box_loss = loss(logits, sides, heat, distance, weight)
    optimizer.zero_grad()
    (heat_loss + box_loss).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return np.array([heat_loss.item(), box_loss.item()])


def _resume(file: Path, network: GoldenPair, average: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    network.load_state_dict(state["network"])
    average.module.load_state_dict(state["average"])
    average.n_averaged.fill_(state["step"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _save(
    file: Path, step: int, network: GoldenPair, average: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    state = {
        "step": step,
        "network": network.state_dict(),
        "average": average.module.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    temporary = file.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(file)
