"""Surfaces without flaws, one function for each family: (rng, side) to (side, side, 3) float32, 0 to 1.

No two calls give the same picture: phase, grain and light change, as they do from part to part.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Texture = Callable[[np.random.Generator, int], Floats]


def noise(rng: np.random.Generator, side: int, *, cell_px: float, stretch: float = 1.0) -> Floats:
    """Smooth noise of mean 0 and deviation 1; ``stretch`` draws it out along x."""
    shape = (max(2, round(side / cell_px)), max(2, round(side / (cell_px * stretch))))
    small = rng.standard_normal(shape).astype(np.float32)
    big = np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)
    return np.asarray((big - big.mean()) / (big.std() + 1e-6), np.float32)


def fractal(rng: np.random.Generator, side: int, *, cell_px: float, octaves: int = 4, fall: float = 0.55) -> Floats:
    """Noise at several scales, mean 0, deviation 1."""
    total = sum(noise(rng, side, cell_px=max(cell_px / 2**n, 1.0)) * fall**n for n in range(octaves))
    return np.asarray(total / np.std(total), np.float32)


def _grid(side: int) -> tuple[Floats, Floats]:
    y, x = np.mgrid[:side, :side].astype(np.float32)
    return x, y


def _tinted(grey: npt.NDArray[np.floating], bgr: tuple[float, float, float]) -> Floats:
    return np.asarray(grey[:, :, None] * np.array(bgr, np.float32), np.float32)


def brushed(rng: np.random.Generator, side: int) -> Floats:
    """Brushed metal."""
    lines = noise(rng, side, cell_px=1.2, stretch=120) * 0.05 + noise(rng, side, cell_px=3, stretch=60) * 0.03
    return _tinted(0.6 + lines + noise(rng, side, cell_px=1) * 0.015, (1.0, 0.99, 0.97))


def turned(rng: np.random.Generator, side: int) -> Floats:
    """A turned metal face: rings around a centre that is nearly always in the same place."""
    x, y = _grid(side)
    cx, cy = side / 2 + rng.normal(0, 2), side / 2 + rng.normal(0, 2)
    radius = np.hypot(x - cx, y - cy)
    profile = np.convolve(rng.standard_normal(side * 2), np.ones(3) / 3, "same").astype(np.float32)
    rings = np.interp(radius.ravel(), np.arange(side * 2), profile).reshape(side, side)
    glint = np.cos(2 * (np.arctan2(y - cy, x - cx) - rng.normal(0.6, 0.1)))
    return _tinted(np.float32(0.5) + 0.06 * rings.astype(np.float32) + 0.1 * glint, (0.97, 0.99, 1.0))


def woven(rng: np.random.Generator, side: int) -> Floats:
    """Plain weave."""
    x, y = _grid(side)
    pitch = 9.0 + rng.normal(0, 0.1)
    along = x + noise(rng, side, cell_px=40) * 0.6 + rng.uniform(0, pitch)
    across = y + noise(rng, side, cell_px=40) * 0.6 + rng.uniform(0, pitch)
    warp, weft = np.abs(np.sin(np.pi * along / pitch)), np.abs(np.sin(np.pi * across / pitch))
    over = ((along // pitch + across // pitch) % 2).astype(np.float32)
    grey = 0.25 + 0.35 * (over * warp + (1 - over) * weft) + noise(rng, side, cell_px=1) * 0.03
    return _tinted(grey.astype(np.float32), (0.9, 0.95, 1.0))


def twill(rng: np.random.Generator, side: int) -> Floats:
    """Denim-like twill: diagonal ribs with uneven dye."""
    x, y = _grid(side)
    bend = noise(rng, side, cell_px=60) * 0.8
    ribs = np.sin(2 * np.pi * (x + y * 0.6 + bend) / 7.0 + rng.uniform(0, 6))
    thread = noise(rng, side, cell_px=1.5, stretch=5)
    grey = 0.45 + 0.12 * ribs + 0.05 * thread + 0.03 * fractal(rng, side, cell_px=50)
    return _tinted(grey.astype(np.float32), (1.0, 0.7, 0.5))


def wood(rng: np.random.Generator, side: int) -> Floats:
    """Wood grain."""
    x, y = _grid(side)
    wave = y + noise(rng, side, cell_px=70, stretch=3) * 8
    grain = np.sin(2 * np.pi * wave / (13 + rng.normal(0, 1)) + rng.uniform(0, 6))
    pores = np.minimum(noise(rng, side, cell_px=1.2, stretch=14) + 1.2, 0)
    grey = 0.6 + 0.06 * grain + 0.05 * pores + 0.03 * noise(rng, side, cell_px=2, stretch=30) + 0 * x
    return _tinted(grey.astype(np.float32), (0.55, 0.75, 1.0))


def leather(rng: np.random.Generator, side: int) -> Floats:
    """Leather: cells with creases between them."""
    points = rng.uniform(0, side, ((side // 9) ** 2, 2)).astype(np.float32)
    seeds = np.full((side, side), 255, np.uint8)
    seeds[points[:, 1].astype(int), points[:, 0].astype(int)] = 0
    distance = np.asarray(cv2.distanceTransform(seeds, cv2.DIST_L2, 5), np.float32)
    grey = 0.42 - 0.016 * np.minimum(distance, 9) + 0.02 * fractal(rng, side, cell_px=20)
    return _tinted(grey.astype(np.float32), (0.55, 0.7, 1.0))


def tiles(rng: np.random.Generator, side: int) -> Floats:
    """Ceramic tiles, joints at nearly the same place: an aligned object."""
    x, y = _grid(side)
    pitch = side / 4
    dx, dy = rng.normal(0, 1.5, 2)
    joint = np.minimum((x + dx) % pitch, (y + dy) % pitch) < 4
    grey = np.where(joint, 0.35, 0.75) + 0.02 * fractal(rng, side, cell_px=30) + 0.01 * noise(rng, side, cell_px=1)
    return _tinted(grey.astype(np.float32), (0.95, 1.0, 1.0))


def solar(rng: np.random.Generator, side: int) -> Floats:
    """A solar cell under electroluminescence: busbars in place, grains anywhere, dark towards the rim."""
    x, y = _grid(side)
    dx, dy = rng.normal(0, 1.5, 2)
    grains = np.maximum(fractal(rng, side, cell_px=24, octaves=3) - 0.8, 0)
    rim = ((x / side - 0.5) ** 2 + (y / side - 0.5) ** 2) * rng.uniform(0.3, 0.6)
    grey = 0.62 - 0.12 * grains - rim + 0.02 * noise(rng, side, cell_px=1)
    bus = np.min([np.abs(y + dy - side * share) for share in (0.25, 0.5, 0.75)], axis=0) < 3
    fingers = 0.03 * (np.sin(2 * np.pi * (x + dx) / 6) > 0.3)
    return _tinted(np.where(bus, 0.2, grey - fingers).astype(np.float32), (1.0, 1.0, 1.0))


def cast(rng: np.random.Generator, side: int) -> Floats:
    """Cast or blasted metal."""
    height = fractal(rng, side, cell_px=6, octaves=3)
    shade = cv2.Sobel(height, cv2.CV_32F, 1, 0) + cv2.Sobel(height, cv2.CV_32F, 0, 1)
    grey = 0.45 + 0.03 * np.asarray(shade, np.float32) + 0.03 * fractal(rng, side, cell_px=80)
    return _tinted(grey.astype(np.float32), (1.0, 0.98, 0.95))


def mesh(rng: np.random.Generator, side: int) -> Floats:
    """A perforated sheet or wire mesh, anywhere."""
    x, y = _grid(side)
    x, y = x + rng.uniform(0, 40), y + rng.uniform(0, 40)
    pitch = 18.0
    odd = (y // pitch) % 2
    holes = np.hypot((x + odd * pitch / 2) % pitch - pitch / 2, y % pitch - pitch / 2)
    grey = 0.15 + 0.5 * np.clip(holes - 5, 0, 1.5) / 1.5 + 0.02 * fractal(rng, side, cell_px=12)
    return _tinted(grey.astype(np.float32), (0.98, 1.0, 1.0))


def carpet(rng: np.random.Generator, side: int) -> Floats:
    """Pile: tufts of several tints."""
    tufts = noise(rng, side, cell_px=3) * 0.09 + noise(rng, side, cell_px=1.3) * 0.06
    tint = noise(rng, side, cell_px=2.5)[:, :, None] * np.array([0.03, 0.0, -0.03], np.float32)
    return np.asarray(_tinted(0.45 + tufts, (0.85, 0.95, 1.0)) + tint, np.float32)


def painted(rng: np.random.Generator, side: int) -> Floats:
    """Smooth paint or plastic with orange peel."""
    peel = noise(rng, side, cell_px=7) * 0.008 + noise(rng, side, cell_px=1) * 0.008
    return _tinted(0.55 + peel, (1.0, 0.75, 0.6))


def connector(rng: np.random.Generator, side: int) -> Floats:
    """An object, always nearly in place: a housing with two rows of pins and a label."""
    image = np.full((side, side, 3), 0.12, np.float32)
    dx, dy = rng.normal(0, 1.2, 2)
    unit = side / 16

    def box(x0: float, y0: float, x1: float, y1: float, bgr: tuple[float, float, float]) -> None:
        corner, other = (round(x0 * unit + dx), round(y0 * unit + dy)), (round(x1 * unit + dx), round(y1 * unit + dy))
        cv2.rectangle(image, corner, other, bgr, -1)

    box(1.5, 3, 14.5, 13, (0.28, 0.3, 0.3))
    box(5.5, 10.2, 10.5, 12.2, (0.75, 0.78, 0.8))
    for column in range(8):
        for row in (4.2, 7.2):
            bright = 0.7 + rng.normal(0, 0.03)
            box(2.5 + column * 1.45, row, 3.3 + column * 1.45, row + 1.7, (bright * 0.6, bright * 0.85, bright))
    image += noise(rng, side, cell_px=2)[:, :, None] * 0.012
    return image


TUNE: dict[str, Texture] = {
    "brushed": brushed, "woven": woven, "leather": leather, "wood": wood, "tiles": tiles, "painted": painted,
}  # fmt: skip
"""Families that methods and settings may be chosen with."""

LATER_TUNE: dict[str, Texture] = {
    "twill": twill, "turned": turned, "solar": solar, "cast": cast, "mesh": mesh, "carpet": carpet,
    "connector": connector,
}  # fmt: skip
"""Families that were first only reported on and tuned with since."""

GREY = frozenset({"brushed", "turned", "solar", "cast", "mesh", "tiles"})
"""Families that are usually looked at by a camera without colours."""
