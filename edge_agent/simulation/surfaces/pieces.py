"""Pieces of a material before a camera: the same number is the same piece, with or without a flaw."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.simulation.surfaces.damage import DAMAGE
from edge_agent.simulation.surfaces.materials import MATERIALS
from edge_agent.simulation.surfaces.textures import Floats

OWN = "own"
"""The flaw that a material has of its own: missing print, a torn rib."""
DAMAGES = (*DAMAGE, OWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Which piece.

    Attributes:
        material: a name of ``MATERIALS``.
        flaw: a name of ``DAMAGES``, or empty.
    """

    material: str
    number: int
    flaw: str = ""


def shot(piece: Piece) -> npt.NDArray[np.uint8]:
    """Its picture, (h, w, 3) BGR; grey materials have three equal channels."""
    made, size_wh, grey = MATERIALS[piece.material]
    seed = [*piece.material.encode(), piece.number]
    image = made(np.random.default_rng([1, *seed]), size_wh, piece.flaw == OWN)
    if piece.flaw in DAMAGE:
        image = DAMAGE[piece.flaw](image, np.random.default_rng([2, *seed]))
    taken = _taken(image, np.random.default_rng([3, *seed]))
    if grey:
        return np.asarray(cv2.merge([cv2.cvtColor(taken, cv2.COLOR_BGR2GRAY)] * 3), np.uint8)
    return taken


def _taken(image: Floats, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Another camera than that of `render`: vignette, lamp level and tint, focus, shot noise."""
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    lean_x, lean_y = rng.normal(0, 0.06, 2)
    vignette = 1 - 0.12 * ((x - lean_x) ** 2 + (y - lean_y) ** 2)
    lamp = rng.normal(1, 0.025) * (1 + 0.008 * rng.normal(0, 1, 3))
    light = vignette + rng.normal(0, 0.03) * x + rng.normal(0, 0.03) * y
    electrons = np.maximum(image * light[:, :, None] * lamp, 0) * 4000
    sharp = cv2.GaussianBlur(electrons, (0, 0), 0.55 + 0.1 * rng.random())
    noisy = sharp + np.sqrt(sharp + 400) * rng.standard_normal(sharp.shape)
    return np.asarray(np.clip(noisy / 4000 * 255 + 0.5, 0, 255), np.uint8)
