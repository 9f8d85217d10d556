"""A surface as a camera sees it: texture, perhaps a flaw, uneven light, lens and sensor."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.simulation.surfaces.flaws import FLAWS, Mask
from edge_agent.simulation.surfaces.textures import Floats, Texture, noise


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """A picture of a surface, (side, side, 3) BGR, and where its flaw is (0 to 1), if it has one."""

    pixels: npt.NDArray[np.uint8]
    flaw: str = ""
    mask: Mask | None = None


def render(
    texture: Texture, rng: np.random.Generator, *, side: int = 256, flaw: str = "", grey: bool = False
) -> Surface:
    """One picture; ``flaw`` is a name of ``FLAWS`` or empty, ``grey`` a camera without colours."""
    image, mask = texture(rng, side), None
    if flaw:
        image, mask = FLAWS[flaw](image, rng)
    pixels = photographed(image, rng)
    if grey:
        pixels = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[:, :, None], 3, axis=2).astype(np.uint8)
    return Surface(pixels=pixels, flaw=flaw, mask=mask)


def photographed(image: Floats, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Light that differs from part to part (level and gradient), a little blur, sensor noise."""
    side = image.shape[0]
    x = np.linspace(-1, 1, side, dtype=np.float32)
    slope_x, slope_y = rng.normal(0, 0.05, 2)
    light = rng.normal(1, 0.03) + slope_x * x[None, :] + slope_y * x[:, None] + 0.01 * noise(rng, side, cell_px=120)
    lit = image * light[:, :, None].astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(lit, (0, 0), 0.5), np.float32)
    noisy = soft + rng.normal(0, 0.01, soft.shape).astype(np.float32)
    return np.asarray(np.clip(noisy * 255 + 0.5, 0, 255), np.uint8)
