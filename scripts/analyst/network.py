"""A Llama-architecture model read from a GGUF file into torch, with low-rank adapters that can be trained.

The tensors stay as the file holds them (its rotation pairs neighbours), so the adapters fit the same file.
"""

from pathlib import Path

import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from torch import Tensor, nn
from torch.nn import functional

PLACES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


class Adapted(nn.Module):
    """A frozen weight with an adapter beside it: ``W x + scale * B A x``."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.scale = scale
        self.a = nn.Parameter(torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5)
        self.b = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, x: Tensor) -> Tensor:
        low = functional.linear(x, self.a.to(x.dtype))
        return functional.linear(x, self.weight) + self.scale * functional.linear(low, self.b.to(x.dtype))


class Layer(nn.Module):
    """Attention and feed-forward of one block."""

    def __init__(self, tensors: dict[str, Tensor], rank: int, scale: float, heads: tuple[int, int], eps: float) -> None:
        super().__init__()
        self.heads, self.groups = heads
        self.eps = eps
        self.register_buffer("attn_norm", tensors["attn_norm"])
        self.register_buffer("ffn_norm", tensors["ffn_norm"])
        self.at = nn.ModuleDict({name: Adapted(tensors[name], rank, scale) for name in PLACES})

    def keys(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of (batch, time, width), split into heads and rotated."""
        normed = norm(x, self.attn_norm, self.eps)
        q, k, v = (self.at[f"attn_{name}"](normed) for name in "qkv")
        size = q.shape[-1] // self.heads

        def split(t: Tensor, heads: int) -> Tensor:
            return t.view(*t.shape[:2], heads, size).transpose(1, 2)

        return rotate(split(q, self.heads), turn), rotate(split(k, self.groups), turn), split(v, self.groups)

    def rest(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Attend, and the feed-forward."""
        repeat = self.heads // self.groups
        k, v = k.repeat_interleave(repeat, dim=1), v.repeat_interleave(repeat, dim=1)
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x = x + self.at["attn_output"](seen)
        normed = norm(x, self.ffn_norm, self.eps)
        return x + self.at["ffn_down"](functional.silu(self.at["ffn_gate"](normed)) * self.at["ffn_up"](normed))


class Network(nn.Module):
    """The whole model. The constant beginning of a prompt is computed once for a batch."""

    def __init__(self, path: Path, *, rank: int, alpha: float) -> None:
        super().__init__()
        reader = GGUFReader(path)

        def meta(name: str) -> float:
            return float(reader.fields[f"llama.{name}"].contents())

        tensors = {one.name: torch.from_numpy(dequantize(one.data, one.tensor_type).copy()) for one in reader.tensors}
        heads = int(meta("attention.head_count")), int(meta("attention.head_count_kv"))
        self.eps, self.base = meta("attention.layer_norm_rms_epsilon"), meta("rope.freq_base")
        self.head_size = int(meta("embedding_length")) // heads[0]
        self.register_buffer("embedding", tensors["token_embd.weight"].bfloat16())
        self.register_buffer("output_norm", tensors["output_norm.weight"])
        self.layers = nn.ModuleList()
        for n in range(int(meta("block_count"))):
            own = {name: tensors[f"blk.{n}.{name}.weight"].bfloat16() for name in PLACES}
            own |= {name: tensors[f"blk.{n}.{name}.weight"] for name in ("attn_norm", "ffn_norm")}
            self.layers.append(Layer(own, rank, alpha / rank, heads, self.eps))

    def forward(self, prefix: Tensor, rest: Tensor) -> Tensor:
        """Hidden states (batch, time, width) of ``rest`` (batch, time), which follows ``prefix`` (time,)."""
        start, length = len(prefix), rest.shape[1]
        before, after = functional.embedding(prefix[None], self.embedding), functional.embedding(rest, self.embedding)
        turns = turn_of(start + length, self.head_size, self.base)
        triangle = torch.ones(length, length, dtype=torch.bool).tril()
        mask = torch.cat([torch.ones(length, start, dtype=torch.bool), triangle], dim=1)
        own = torch.ones(start, start, dtype=torch.bool).tril()
        for layer in self.layers:
            q0, k0, v0 = layer.keys(before, (turns[0][:start], turns[1][:start]))
            q1, k1, v1 = layer.keys(after, (turns[0][start:], turns[1][start:]))
            k = torch.cat([k0.expand(len(rest), -1, -1, -1), k1], dim=2)
            v = torch.cat([v0.expand(len(rest), -1, -1, -1), v1], dim=2)
            before, after = layer.rest(before, q0, k0, v0, own), layer.rest(after, q1, k, v, mask)
        return norm(after, self.output_norm, self.eps)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token; input and output share their matrix."""
        return functional.linear(hidden, self.embedding).float()

    def adapters(self) -> dict[str, Adapted]:
        """By tensor name in the file."""
        return {f"blk.{n}.{name}.weight": layer.at[name] for n, layer in enumerate(self.layers) for name in PLACES}


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root-mean-square normalisation."""
    return functional.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), eps)


def turn_of(length: int, size: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine (length, size / 2) of the rotary positions."""
    angles = torch.outer(torch.arange(length).float(), base ** (-torch.arange(0, size, 2).float() / size))
    return angles.cos().bfloat16(), angles.sin().bfloat16()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn neighbouring pairs by their position's angle."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = turn
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
