"""Damage to any material, drawn by other means than `flaws`: (image 0 to 1, rng) to the damaged image.

Strengths reach from faint to plain; `visibility` says how well each one can be seen.
"""

from collections.abc import Callable

import cv2
import numpy as np

from edge_agent.simulation.surfaces.materials import spectral
from edge_agent.simulation.surfaces.textures import Floats

Damage = Callable[[Floats, np.random.Generator], Floats]


def _away(shape: tuple[int, ...], points: Floats) -> Floats:
    """Distance in pixels of every place from a chain of points, (n, 2) as x and y."""
    canvas = np.full((shape[0] * 4, shape[1] * 4), 255, np.uint8)
    cv2.polylines(canvas, [np.round(points * 4 * 16).astype(np.int32)], False, 0, 1, cv2.LINE_8, 4)
    far = np.asarray(cv2.distanceTransform(canvas, cv2.DIST_L2, 5), np.float32) / 4
    return np.asarray(cv2.resize(far, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.float32)


def _place(image: Floats, rng: np.random.Generator) -> Floats:
    return np.asarray(rng.uniform(0.2, 0.8, 2) * (image.shape[1], image.shape[0]), np.float32)


def _reach(image: Floats) -> float:
    return float(np.sqrt(image.shape[0] * image.shape[1]))


def _jagged(rng: np.random.Generator, start: Floats, end: Floats, rough: float) -> Floats:
    """Midpoint displacement between two points."""
    points = np.stack([start, end])
    for _ in range(5):
        step = np.diff(points, axis=0)
        across = np.stack([-step[:, 1], step[:, 0]], 1)
        middle = points[:-1] + step / 2 + across * rng.normal(0, rough, (len(step), 1))
        points = np.insert(points, np.arange(1, len(points)), middle, axis=0)
    return np.asarray(points, np.float32)


def fissure(image: Floats, rng: np.random.Generator) -> Floats:
    """A crack that branches: dark, with a lip that catches the light."""
    start, angle = _place(image, rng), rng.uniform(0, 2 * np.pi)
    long = rng.uniform(0.15, 0.45) * _reach(image)
    end = start + long * np.array([np.cos(angle), np.sin(angle)], np.float32)
    trunk = _jagged(rng, start, end, 0.16)
    far = _away(image.shape, trunk)
    for _ in range(int(rng.integers(0, 3))):
        at = trunk[rng.integers(5, len(trunk) - 5)]
        turn = angle + rng.choice([-1, 1]) * rng.uniform(0.4, 1.0)
        tip = at + 0.35 * long * np.array([np.cos(turn), np.sin(turn)], np.float32)
        far = np.minimum(far, _away(image.shape, _jagged(rng, at, tip, 0.16)))
    width = rng.uniform(0.5, 1.1)
    gap, lip = np.exp(-((far / width) ** 2)), np.exp(-(((far - 2 * width) / width) ** 2))
    return np.asarray(image * (1 - rng.uniform(0.25, 0.6) * gap[:, :, None]) + 0.04 * lip[:, :, None], np.float32)


def scrape(image: Floats, rng: np.random.Generator) -> Floats:
    """Hairlines side by side along an arc, pressed harder in the middle: bright or dark."""
    start, angle = _place(image, rng), rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)], np.float32)
    across = np.array([-along[1], along[0]], np.float32)
    t = np.linspace(0, 1, 40, dtype=np.float32)[:, None]
    long, sag = rng.uniform(0.15, 0.5) * _reach(image), rng.normal(0, 0.06)
    sign, strength = rng.choice([-1, 1]), rng.uniform(0.08, 0.25)
    changed = image
    for line in range(int(rng.integers(1, 4))):
        arc = start + long * (t * along + 4 * sag * t * (1 - t) * across) + across * line * rng.uniform(2, 5)
        pressed = np.exp(-((_away(image.shape, arc.astype(np.float32)) / rng.uniform(0.5, 1.0)) ** 2))
        x, y = np.meshgrid(np.arange(image.shape[1]), np.arange(image.shape[0]))
        where = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / long
        pressed = pressed * np.clip(np.sin(np.pi * np.clip(where, 0, 1)) * 1.5, 0, 1)
        changed = changed + sign * strength * pressed[:, :, None]
    return np.asarray(changed, np.float32)


def _puddle(image: Floats, rng: np.random.Generator, reach: float) -> Floats:
    """Signed distance, in pixels, from an uneven outline; positive inside."""
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    at = _place(image, rng)
    lobes = rng.normal(0, 1, 4) / np.arange(2, 6)
    phase = rng.uniform(0, 2 * np.pi, 4)
    turn = np.arctan2(y - at[1], x - at[0])
    uneven = sum(lobe * np.cos((n + 2) * turn + p) for n, (lobe, p) in enumerate(zip(lobes, phase, strict=True)))
    return np.asarray(reach * (1 + 0.25 * uneven) - np.hypot(x - at[0], y - at[1]), np.float32)


def _soft(inside: Floats, edge_px: float) -> Floats:
    """From 0 outside to 1 inside."""
    return np.asarray(0.5 + 0.5 * np.tanh(inside / (2 * edge_px)), np.float32)


def drying(image: Floats, rng: np.random.Generator) -> Floats:
    """A drop that dried: a weak tint with a darker rim."""
    inside = _puddle(image, rng, rng.uniform(0.04, 0.12) * _reach(image))
    film = _soft(inside, 1.5)
    rim = np.exp(-(((inside - 2) / 2.5) ** 2))
    absorbs = rng.uniform(0.03, 0.12) * film + rng.uniform(0.05, 0.2) * rim
    tint = rng.uniform(0.4, 1.0, 3)
    return np.asarray(image * np.exp(-absorbs[:, :, None] * tint), np.float32)


def fading(image: Floats, rng: np.random.Generator) -> Floats:
    """A larger area that is a little lighter, darker or of another hue, without an edge."""
    inside = _puddle(image, rng, rng.uniform(0.08, 0.2) * _reach(image))
    area = _soft(inside, 0.02 * _reach(image))
    hue = rng.normal(0, 1, 3)
    hue = 0.6 * hue / np.linalg.norm(hue) + 0.6 * rng.choice([-1, 1])
    return np.asarray(image * (1 + rng.uniform(0.06, 0.18) * area[:, :, None] * hue), np.float32)


def knock(image: Floats, rng: np.random.Generator) -> Floats:
    """A dent: one flank in the light, one in the shade, and what lies on it moves."""
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    at, reach, lamp = _place(image, rng), rng.uniform(0.025, 0.07) * _reach(image), rng.normal(0.8, 0.2)
    bowl = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * reach**2))
    slope_x, slope_y = -(x - at[0]) / reach * bowl, -(y - at[1]) / reach * bowl
    moved = cv2.remap(image, x + 2 * slope_x, y + 2 * slope_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    light = rng.uniform(0.12, 0.35) * (slope_x * np.cos(lamp) + slope_y * np.sin(lamp))
    return np.asarray(moved * (1 + light[:, :, None]), np.float32)


def dirt(image: Floats, rng: np.random.Generator) -> Floats:
    """Splinters in a heap, or a hair, with a soft shadow."""
    height, width = image.shape[:2]
    cover = np.zeros((height, width), np.float32)
    at = _place(image, rng)
    if rng.random() < 0.4:
        bend = np.cumsum(np.cumsum(rng.normal(0, 0.5, (40, 2)), 0), 0)
        hair = at + bend * rng.uniform(0.15, 0.35) * _reach(image) / (np.ptp(bend) + 1e-6)
        cover = np.exp(-((_away(image.shape, hair.astype(np.float32)) / 0.9) ** 2)).astype(np.float32)
    else:
        drawn = np.zeros((height, width), np.uint8)
        for _ in range(int(rng.integers(2, 8))):
            size = rng.uniform(0.006, 0.016) * _reach(image)
            corners = at + rng.normal(0, 0.03 * _reach(image), 2) + rng.normal(0, size, (5, 2))
            hull = cv2.convexHull(np.round(corners * 16).astype(np.int32))
            cv2.fillConvexPoly(drawn, hull, 255, cv2.LINE_AA, 4)
        cover = np.asarray(drawn / np.float32(255), np.float32)
    shadow = np.roll(np.asarray(cv2.GaussianBlur(cover, (0, 0), 2), np.float32), (2, 2), (0, 1)) * 0.2
    dark = image * (1 - shadow[:, :, None])
    colour = np.clip(image.mean((0, 1)) + rng.choice([-1, 1]) * rng.uniform(0.15, 0.4, 3), 0, 1)
    return np.asarray(dark * (1 - 0.85 * cover[:, :, None]) + 0.85 * cover[:, :, None] * colour, np.float32)


def pits(image: Floats, rng: np.random.Generator) -> Floats:
    """A few small pores close together."""
    at = _place(image, rng)
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    changed = image
    for _ in range(int(rng.integers(2, 7))):
        cx, cy = at + rng.normal(0, 0.03 * _reach(image), 2)
        pore = np.exp(-((((x - cx) ** 2 + (y - cy) ** 2) / rng.uniform(1.0, 2.2) ** 2) ** 2))
        changed = changed * (1 - rng.uniform(0.3, 0.7) * pore[:, :, None])
    return np.asarray(changed, np.float32)


def wear(image: Floats, rng: np.random.Generator) -> Floats:
    """A place that is worn smooth, or roughened."""
    inside = _puddle(image, rng, rng.uniform(0.06, 0.13) * _reach(image))
    area = _soft(inside, 3)[:, :, None]
    smooth = np.asarray(cv2.bilateralFilter(np.asarray(image, np.float32), 9, 0.5, 6), np.float32)
    if rng.random() < 0.5 and float(np.abs(smooth - image).mean()) > 0.015:
        return np.asarray(image + area * rng.uniform(0.6, 1.0) * (smooth - image), np.float32)
    rough = spectral(rng, (image.shape[1], image.shape[0]), fall=0.7)[:, :, None]
    return np.asarray(image + area * rough * rng.uniform(0.03, 0.07), np.float32)


DAMAGE: dict[str, Damage] = {
    "fissure": fissure, "scrape": scrape, "drying": drying, "fading": fading, "knock": knock, "dirt": dirt,
    "pits": pits, "wear": wear,
}  # fmt: skip
