"""Thresholds with a stated false-reject rate, from scores of good parts alone.

Conformal prediction (Vovk, Gammerman, Shafer 2005): when the scores of n good parts and of the next one are
exchangeable, the next exceeds the k-th smallest of the n with probability at most ``1 - k / (n + 1)``. The scores must
come from models that had not seen their part; here from cross-validation (the "CV+" of Barber, Candes, Ramdas and
Tibshirani, "Predictive inference with the jackknife+", 2021), where the rate holds up to a small slack in theory and
errs on the safe side in practice, because each held-out score comes from a model taught with fewer images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Where good ends.

    Attributes:
        value: scores above this are not accepted.
        wanted_rate: the share of good parts that may lie above it, as asked for.
        promised_rate: the share that is promised; larger than ``wanted_rate`` where the images are too few.
        images: number of held-out scores it rests on.
    """

    value: float
    wanted_rate: float
    promised_rate: float
    images: int

    @property
    def kept(self) -> bool:
        """Is what was asked for promised?"""
        return self.promised_rate <= self.wanted_rate + 1e-9


def threshold(held_out: Sequence[float], rate: float) -> Threshold:
    """The smallest threshold that good parts exceed with at most this probability.

    With fewer than ``1 / rate - 1`` scores nothing can promise the rate: the largest score is taken, or the normal
    quantile of the scores' logarithms where that is larger, and ``promised_rate`` says what the ranks alone allow.

    Args:
        held_out: scores of good parts by models that had not seen them, positive.
        rate: between 0 and 1.

    Raises:
        ValueError: no scores, or a rate that is none.
    """
    if not held_out or not 0 < rate < 1:
        raise ValueError("a threshold needs scores, and a rate between 0 and 1")
    scores = np.sort(np.asarray(held_out, float))
    n = len(scores)
    rank = math.ceil((n + 1) * (1 - rate) - 1e-9)
    if rank <= n:
        return Threshold(
            value=float(scores[rank - 1]), wanted_rate=rate, promised_rate=(n + 1 - rank) / (n + 1), images=n
        )
    value = max(float(scores[-1]), _extrapolated(scores, rate))
    return Threshold(value=value, wanted_rate=rate, promised_rate=1 / (n + 1), images=n)


def images_needed(rate: float) -> int:
    """How many good images promise this rate."""
    return math.ceil(1 / rate - 1 - 1e-9)


def _extrapolated(scores: "np.typing.NDArray[np.float64]", rate: float) -> float:
    """The log-normal quantile: an estimate, no promise."""
    logs = np.log(np.maximum(scores, 1e-12))
    return float(np.exp(logs.mean() + _normal_quantile(1 - rate) * logs.std(ddof=min(1, len(logs) - 1))))


def _normal_quantile(share: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)
