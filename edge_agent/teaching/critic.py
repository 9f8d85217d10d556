"""A small network that tells places of good images from spoiled ones, in a view's whitened features.

A Gaussian's distance counts every direction alike, so that a faint flaw drowns in the sum of all the harmless ones. The
critic learns from flaws that were put onto good images (`spoiling`) which directions a flaw moves on this surface: the
idea of DRAEM (Zavrtanik et al. 2021) and SimpleNet (Liu et al. 2023), with one hidden layer and in seconds on a CPU.
It adds to the distance and does not replace it: the distance alone knows of flaws that nobody thought of.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

HIDDEN = 48
_EPOCHS, _BATCH = 12, 256
_RATE, _DECAY, _DROPPED = 3e-3, 1e-2, 0.1
_FAR, _SCALE = 10.0, np.float32(1 / 3)
"""Whitened features are cut at the first and multiplied by the second."""
_BETA_1, _BETA_2 = np.float32(0.9), np.float32(0.999)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Critic:
    """One hidden layer; each of its units counts once as it is where positive, and once by its size.

    Attributes:
        into: (C, H).
        bias: (H,).
        out: (2 H,).
        level: added to the result.
    """

    into: Floats
    bias: Floats
    out: Floats
    level: float

    def opinion(self, white: Floats) -> Floats:
        """The logarithm of the odds that a place is spoiled, (..., C) to (...)."""
        return np.asarray(_units(_scaled(white) @ self.into + self.bias) @ self.out + self.level, np.float32)


def trained(good: Floats, spoiled: Floats, weights: Floats, rng: np.random.Generator) -> Critic:
    """A critic of places, (n, C) and (m, C) whitened; Adam with decoupled decay (Loshchilov and Hutter 2019).

    Args:
        weights: of the spoiled places, (m,): how much the flaw changed there. Good and spoiled places weigh the same in
            all.
    """
    places = _scaled(np.concatenate([good, spoiled]))
    is_spoiled = np.repeat(np.array([0, 1], np.float32), [len(good), len(spoiled)])
    share = np.concatenate([np.full(len(good), 0.5 / len(good)), 0.5 * weights / weights.sum()])
    weigh = (share * len(places) / _BATCH).astype(np.float32)
    found = _Learner(places.shape[1], steps=_EPOCHS * (len(places) // _BATCH), rng=rng)
    for _ in range(_EPOCHS):
        order = rng.permutation(len(places))
        for at in range(0, len(places) - _BATCH + 1, _BATCH):
            some = order[at : at + _BATCH]
            found.step(places[some], is_spoiled[some], weigh[some])
    into, bias, out, level = found.weights
    return Critic(into=into, bias=bias, out=out[:, 0], level=float(level[0]))


class _Learner:
    def __init__(self, channels: int, *, steps: int, rng: np.random.Generator) -> None:
        into = rng.standard_normal((channels, HIDDEN), np.float32) / np.float32(np.sqrt(channels))
        out = rng.standard_normal((2 * HIDDEN, 1), np.float32) * np.float32(0.1)
        self.weights = [into, np.zeros(HIDDEN, np.float32), out, np.zeros(1, np.float32)]
        self._first = [np.zeros_like(one) for one in self.weights]
        self._second = [np.zeros_like(one) for one in self.weights]
        self._steps, self._done, self._rng = max(steps, 1), 0, rng

    def step(self, places: Floats, is_spoiled: Floats, weigh: Floats) -> None:
        """One step down the weighted logistic loss of these places."""
        into, bias, out, level = self.weights
        seen = places * (self._rng.random(places.shape, np.float32) > _DROPPED)
        hidden = seen @ into + bias
        units = _units(hidden)
        odds = (units @ out + level)[:, 0]
        error = ((1 / (1 + np.exp(-np.clip(odds, -30, 30))) - is_spoiled) * weigh)[:, None]
        back = error @ out.T
        back = back[:, :HIDDEN] * (hidden > 0) + back[:, HIDDEN:] * np.sign(hidden)
        self._move([seen.T @ back, back.sum(0), units.T @ error, error.sum(0)])

    def _move(self, gradients: list[Floats]) -> None:
        self._done += 1
        rate = _RATE * (1 - self._done / self._steps) + 1e-5
        for index, gradient in enumerate(gradients):
            self._first[index] = _BETA_1 * self._first[index] + (1 - _BETA_1) * gradient
            self._second[index] = _BETA_2 * self._second[index] + (1 - _BETA_2) * gradient**2
            first = self._first[index] / (1 - float(_BETA_1) ** self._done)
            second = self._second[index] / (1 - float(_BETA_2) ** self._done)
            decay = _DECAY * self.weights[index] if index in (0, 2) else 0
            moved = self.weights[index] - rate * (first / (np.sqrt(second) + 1e-8) + decay)
            self.weights[index] = np.asarray(moved, np.float32)


def _scaled(white: Floats) -> Floats:
    return np.asarray(np.clip(white, -_FAR, _FAR) * _SCALE, np.float32)


def _units(hidden: Floats) -> Floats:
    return np.concatenate([np.maximum(hidden, 0), np.abs(hidden)], axis=-1)
