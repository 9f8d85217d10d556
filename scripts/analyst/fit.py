"""Training: batches of one kind of dialogue, loss on the answers only."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from analyst.dialogues import Dialogue
from analyst.network import Network

_KEEP_S = 300.0
END = 2
"""``<|im_end|>``."""


class Tokens:
    """The base model's own tokenizer and its dialogue marks."""

    def __init__(self, model: Path) -> None:
        from llama_cpp import Llama

        self._llama = Llama(model_path=str(model), vocab_only=True, verbose=False)

    def __call__(self, text: str) -> list[int]:
        return list(self._llama.tokenize(text.encode(), add_bos=False, special=True))

    def split(self, one: Dialogue) -> tuple[list[int], list[int], list[int]]:
        """The constant beginning, the rest of the prompt, and the answer."""
        whole = self(
            f"<|im_start|>system\n{one.system}<|im_end|>\n<|im_start|>user\n{one.prompt}<|im_end|>\n"
            "<|im_start|>assistant\n"
        )
        start = self(f"<|im_start|>system\n{one.system}<|im_end|>\n")
        assert whole[: len(start)] == start
        return start, whole[len(start) :], [*self(one.answer), END]


def batches(source: Iterator[Dialogue], tokens: Tokens, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Prefix, inputs and targets (-100: no loss); alike lengths together, one kind in a batch."""
    while True:
        pool = sorted(
            (tokens.split(one) for one in itertools.islice(source, 16 * size)),
            key=lambda parts: (len(parts[0]), len(parts[1]) + len(parts[2])),
        )
        groups = [list(group) for _, group in itertools.groupby(pool, key=lambda parts: parts[0])]
        cut = [group[n : n + size] for group in groups for n in range(0, len(group), size)]
        order = torch.randperm(len(cut)).tolist()
        for place in order:
            yield _stacked(cut[place])


def _stacked(parts: list[tuple[list[int], list[int], list[int]]]) -> tuple[Tensor, Tensor, Tensor]:
    longest = max(len(asked) + len(answer) for _, asked, answer in parts)
    inputs = torch.full((len(parts), longest), END)
    targets = torch.full((len(parts), longest), -100)
    for row, (_, asked, answer) in enumerate(parts):
        inputs[row, : len(asked) + len(answer)] = torch.tensor(asked + answer)
        targets[row, len(asked) - 1 : len(asked) + len(answer) - 1] = torch.tensor(answer)
    return torch.tensor(parts[0][0]), inputs, targets


def loss_of(network: Network, prefix: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, float]:
    """Mean loss of the answers' tokens, and the share of tokens that greedy decoding gets right."""
    hidden = network(prefix, inputs)
    places = targets != -100
    scores = network.logits(hidden[places])
    right = (scores.argmax(-1) == targets[places]).float().mean().item()
    return functional.cross_entropy(scores, targets[places]), right


def fit(
    network: Network,
    source: Iterator[tuple[Tensor, Tensor, Tensor]],
    *,
    steps: int,
    minutes: float,
    rate: float,
    say: Callable[[str], Any],
    keep: Callable[[int], Any],
) -> int:
    """Train until the steps or the minutes are over; the number of steps done."""
    wanted = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(wanted, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    began, shown = time.monotonic(), []
    kept = began
    for step in range(1, steps + 1):
        used = max((time.monotonic() - began) / 60 / minutes, step / steps)
        if used >= 1 and step > 1:
            return step - 1
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, step / 20) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * used)))
        loss, right = loss_of(network, *next(source))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(wanted, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        shown.append((loss.item(), right))
        if step % 10 == 0 or step == steps:
            recent = shown[-10:]
            say(
                f"step {step}  loss {sum(a for a, _ in recent) / len(recent):.3f}  tokens right "
                f"{sum(b for _, b in recent) / len(recent):.3f}  {time.monotonic() - began:.0f} s"
            )
        if time.monotonic() - kept > _KEEP_S:
            keep(step)
            kept = time.monotonic()
    return steps
