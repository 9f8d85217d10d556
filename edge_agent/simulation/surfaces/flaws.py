"""Flaws on a surface: (image 0 to 1, rng) to the image with the flaw and a mask of where it is."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.simulation.surfaces.textures import Floats, fractal, noise

Mask = npt.NDArray[np.float32]
Flaw = Callable[[Floats, np.random.Generator], tuple[Floats, Mask]]


def _path(rng: np.random.Generator, side: int, length: float, bend: float, steps: int = 12) -> npt.NDArray[np.int32]:
    """Points of a bending line, in 1/16 pixels, that begins away from the rim."""
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, steps))
    step = length / steps
    start = rng.uniform(0.25, 0.75, 2) * side
    points = start + np.cumsum(np.stack([np.cos(angle), np.sin(angle)], 1), 0) * step
    return np.asarray(np.round(points * 16), np.int32)


def _drawn(side: int, points: npt.NDArray[np.int32], width: int) -> Mask:
    mask = np.zeros((side, side), np.uint8)
    cv2.polylines(mask, [points.reshape(-1, 1, 2)], False, 255, width, cv2.LINE_AA, 4)
    return np.asarray(mask / np.float32(255), np.float32)


def _blob(rng: np.random.Generator, side: int, radius: float, rough: float = 0.35) -> Mask:
    """A soft-edged patch of uneven outline, away from the rim."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    cx, cy = rng.uniform(0.2, 0.8, 2) * side
    stretch = rng.uniform(0.7, 1.4)
    distance = np.hypot((x - cx) * stretch, (y - cy) / stretch) + noise(rng, side, cell_px=radius) * radius * rough
    return np.asarray(np.clip((radius - distance) / 2 + 0.5, 0, 1), np.float32)


def _mixed(image: Floats, mask: Mask, other: Floats | float) -> Floats:
    return np.asarray(image * (1 - mask[:, :, None]) + other * mask[:, :, None], np.float32)


def scratch(image: Floats, rng: np.random.Generator) -> tuple[Floats, Mask]:
    """A bright, nearly straight line."""
    side = image.shape[0]
    mask = _drawn(side, _path(rng, side, rng.uniform(0.2, 0.5) * side, 0.04), int(rng.integers(1, 3)))
    return np.asarray(image + mask[:, :, None] * rng.uniform(0.12, 0.3), np.float32), mask


def crack(image: Floats, rng: np.random.Generator) -> tuple[Floats, Mask]:
    """A thin, dark, jagged line."""
    side = image.shape[0]
    mask = _drawn(side, _path(rng, side, rng.uniform(0.2, 0.5) * side, 0.5, steps=18), 1)
    return np.asarray(image * (1 - mask[:, :, None] * rng.uniform(0.3, 0.6)), np.float32), mask


def stain(image: Floats, rng: np.random.Generator) -> tuple[Floats, Mask]:
    """A soft patch, darker or tinted."""
    side = image.shape[0]
    mask = np.asarray(cv2.GaussianBlur(_blob(rng, side, rng.uniform(0.05, 0.11) * side), (0, 0), 2), np.float32)
    tint = 1 - rng.uniform(0.1, 0.3) * rng.uniform(0.5, 1, 3).astype(np.float32)
    return _mixed(image, mask, image * tint), mask


def dent(image: Floats, rng: np.random.Generator) -> tuple[Floats, Mask]:
    """A dip: light on one side, shade on the other; the texture bends with it."""
    side = image.shape[0]
    mask = np.asarray(cv2.GaussianBlur(_blob(rng, side, rng.uniform(0.04, 0.08) * side, 0.15), (0, 0), 5), np.float32)
    slope = cv2.Sobel(mask, cv2.CV_32F, 1, 0) + cv2.Sobel(mask, cv2.CV_32F, 0, 1)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    bent = cv2.remap(image, x + 8 * slope, y + 8 * slope, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    shade = np.asarray(slope, np.float32)[:, :, None] * rng.uniform(0.25, 0.5)
    return np.asarray(bent + shade, np.float32), np.asarray(mask > 0.1, np.float32)


def hole(image: Floats, rng: np.random.Generator) -> tuple[Floats, Mask]:
    """A small dark hole with a bright lip."""
    side = image.shape[0]
    mask = _blob(rng, side, rng.uniform(0.012, 0.03) * side, 0.2)
    lip = np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.5), np.float32) - mask
    return np.asarray(_mixed(image, mask, 0.08) + np.maximum(lip, 0)[:, :, None] * 0.2, np.float32), mask


def contamination(image: Floats, rng: np.random.Generator) -> tuple[Floats, Mask]:
    """Fibres and crumbs of something else."""
    side = image.shape[0]
    mask = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        mask = np.maximum(mask, _drawn(side, _path(rng, side, rng.uniform(0.08, 0.2) * side, 0.35), 2))
    for _ in range(int(rng.integers(1, 4))):
        mask = np.maximum(mask, _blob(rng, side, rng.uniform(0.008, 0.016) * side))
    colour = rng.uniform(0.05, 0.95, 3).astype(np.float32)
    return _mixed(image, mask * 0.8, colour), mask


def discolouration(image: Floats, rng: np.random.Generator) -> tuple[Floats, Mask]:
    """A larger patch that is a little lighter, darker or another colour."""
    side = image.shape[0]
    mask = np.asarray(cv2.GaussianBlur(_blob(rng, side, rng.uniform(0.1, 0.2) * side), (0, 0), 4), np.float32)
    gain = 1 + rng.choice([-1, 1]) * rng.uniform(0.08, 0.2) * np.array([1, rng.uniform(0, 1), rng.uniform(0, 1)])
    return _mixed(image, mask, image * gain.astype(np.float32)), mask


def roughness(image: Floats, rng: np.random.Generator) -> tuple[Floats, Mask]:
    """A patch whose texture is rubbed off, or another one."""
    side = image.shape[0]
    mask = _blob(rng, side, rng.uniform(0.06, 0.12) * side)
    rubbed = np.asarray(cv2.GaussianBlur(image, (0, 0), 4), np.float32)
    if rng.random() < 0.5 and np.abs(rubbed - image).mean() > 0.02:
        return _mixed(image, mask, rubbed), mask
    return _mixed(image, mask, image + fractal(rng, side, cell_px=3, octaves=2)[:, :, None] * 0.07), mask


FLAWS: dict[str, Flaw] = {
    "scratch": scratch, "crack": crack, "stain": stain, "dent": dent, "hole": hole,
    "contamination": contamination, "discolouration": discolouration, "roughness": roughness,
}  # fmt: skip
