"""What is normal at every place of an image: PaDiM's Gaussians, estimated so that few images suffice.

PaDiM (Defard et al. 2021) keeps a mean and a covariance for each place. Here the covariance is that of a block of
neighbouring places, drawn towards the covariance of all places: with n images the share of its own is
``n / (n + SHRINK)``. On aligned parts it learns what varies where; on textures, where places do not differ, it loses
nothing that was measured (docs/teaching.md).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]

SHRINK = 43.0
_RIDGE = 0.05
"""Added to the variances, as a share of their mean: what never varied must not outweigh everything."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Normal:
    """One view's model.

    Attributes:
        mean: (h, w, C).
        whitening: (blocks, C, C), lower triangular: after it, what is normal in this block has covariance 1.
        block: side of a block in places; h and w are multiples of it.
        centre: mean distance of held-out good images at each place, (h, w).
        spread: deviation of it, (h, w).
    """

    mean: Floats
    whitening: Floats
    block: int
    centre: Floats
    spread: Floats

    def white(self, features: Floats) -> Floats:
        """What is normal has mean 0 and covariance 1 in it, (h, w, C) to the same."""
        return np.asarray(whitened(features[None], self.mean, self.whitening, self.block)[0], np.float32)

    def map(self, white: Floats) -> Floats:
        """Standardised distance at every place, of what `white` gave, to (h, w): about 0 where the image is normal."""
        return np.asarray((lengths(white) - self.centre) / self.spread, np.float32)


def fit(images: Halves | Floats, block: int) -> tuple[Floats, Floats]:
    """Mean and whitening of images, (n, h, w, C); see `Normal`."""
    number, channels = len(images), images.shape[-1]
    mean = images.mean(axis=0, dtype=np.float32)
    rest = _blocks(images - mean, block)
    # The mean was estimated from the same images: n - 1 of n are free.
    free = number / max(number - 1, 1)
    scatter = np.matmul(rest.transpose(0, 2, 1), rest) * np.float32(free / rest.shape[1])
    pooled = scatter.mean(axis=0, dtype=np.float64)
    own = number / (number + SHRINK)
    ridge = _RIDGE * np.trace(pooled) / channels + 1e-9
    covariance = own * scatter.astype(np.float64) + ((1 - own) * pooled + ridge * np.eye(channels))
    lower = np.linalg.cholesky(np.linalg.inv(covariance))
    return mean, lower.astype(np.float32)


def whitened(images: Floats, mean: Floats, whitening: Floats, block: int) -> Floats:
    """Deviations from the mean in units of what is normal, (n, h, w, C) to the same."""
    number, height, width, channels = images.shape
    white = np.matmul(_blocks(images - mean, block), whitening)
    rows, columns = height // block, width // block
    white = white.reshape(rows, columns, number, block, block, channels).transpose(2, 0, 3, 1, 4, 5)
    return np.asarray(white.reshape(images.shape), np.float32)


def lengths(white: Floats) -> Floats:
    """Mahalanobis distance of whitened places: (..., C) to (...)."""
    return np.asarray(np.sqrt(np.einsum("...i,...i->...", white, white)), np.float32)


def _blocks(images: Floats, block: int) -> Floats:
    """(n, h, w, C) to (blocks, n * block * block, C)."""
    number, height, width, channels = images.shape
    rows, columns = height // block, width // block
    cut = images.reshape(number, rows, block, columns, block, channels).transpose(1, 3, 0, 2, 4, 5)
    return np.ascontiguousarray(cut.reshape(rows * columns, number * block * block, channels), np.float32)
