"""What the gate measures only where a station was calibrated for it: noise, direction of blur, tiles beside golden."""

import math

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

TILE_PX = 16
"""Side of a tile in pixels of the scaled-down image."""
_CHECKER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def fineness(centre: Grey) -> dict[str, float]:
    """How fine the picture is along each direction, and how noisy.

    ``focus_across``, ``focus_down``: mean squared second over first derivative, along x and along y. Motion blurs one
    of them, and the ratio of both together hardly notices. ``noise``: Immerkaer's estimate (1996), grey levels; texture
    counts in, so it means something only against the same part's own.
    """
    if min(centre.shape, default=0) < 8:
        return {"focus_across": 0.0, "focus_down": 0.0, "noise": 0.0}
    smooth = cv2.GaussianBlur(centre, (3, 3), 0)
    checked = cv2.filter2D(centre, cv2.CV_16S, _CHECKER)
    noise = cv2.norm(checked, cv2.NORM_L1) / centre.size * math.sqrt(math.pi / 2) / 6
    return {
        "focus_across": _ratio(cv2.Sobel(smooth, cv2.CV_16S, 2, 0), cv2.Sobel(smooth, cv2.CV_16S, 1, 0)),
        "focus_down": _ratio(cv2.Sobel(smooth, cv2.CV_16S, 0, 2), cv2.Sobel(smooth, cv2.CV_16S, 0, 1)),
        "noise": noise,
    }


def _ratio(second: npt.NDArray[np.generic], first: npt.NDArray[np.generic]) -> float:
    below = cv2.norm(first, cv2.NORM_L2SQR)
    return cv2.norm(second, cv2.NORM_L2SQR) / below if below > 0 else 0.0


def beside_golden(small: Grey, golden: Grey, shift_xy: tuple[float, float]) -> dict[str, float]:
    """How the picture differs from the golden one, tile by tile, both scaled down and laid over each other.

    ``tile_residual``: the worst tile's mean difference in grey levels, after gain and offset of the whole picture were
    taken out: something lies over the part, a glare, a piece that is missing or another one. ``residual``: the mean of
    all tiles: turned, moved in itself, another part. ``tile_light``: the worst tile's difference of brightness alone.

    Args:
        small, golden: (h, w), the same size.
        shift_xy: translation of golden onto small, in their pixels.
    """
    seen, known = _overlap(small, golden, shift_xy)
    if min(seen.shape) < TILE_PX:
        return {"tile_residual": 255.0, "residual": 255.0, "tile_light": 255.0}
    seen, known = cv2.GaussianBlur(seen, (3, 3), 0), cv2.GaussianBlur(known, (3, 3), 0)
    fitted = _fitted(np.asarray(seen, np.float32), np.asarray(known, np.float32))
    away = np.asarray(seen, np.float32) - fitted
    tiles, light = _tiled(np.abs(away)), np.abs(_tiled(away))
    return {
        "tile_residual": float(tiles.max()),
        "residual": float(tiles.mean()),
        "tile_light": float(light.max()),
    }


def _overlap(small: Grey, golden: Grey, shift_xy: tuple[float, float]) -> tuple[Grey, Grey]:
    """The parts of both that show the same, without the rim. Moved by fractions of a pixel, too: edges matter here."""
    height, width = small.shape
    matrix = np.array([[1, 0, shift_xy[0]], [0, 1, shift_xy[1]]], np.float32)
    moved = cv2.warpAffine(golden, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rim_x, rim_y = math.ceil(abs(shift_xy[0])) + 1, math.ceil(abs(shift_xy[1])) + 1
    inside = np.s_[rim_y : max(height - rim_y, rim_y), rim_x : max(width - rim_x, rim_x)]
    return small[inside], np.asarray(moved, np.uint8)[inside]


def _fitted(seen: Float32, known: Float32) -> Float32:
    """The golden picture in the light of this one: gain and offset by least squares, repeated without what is odd."""
    kept = np.ones(seen.shape, bool)
    fitted = known
    for _ in range(2):
        a, b = known[kept], seen[kept]
        spread = float(((a - a.mean()) ** 2).mean())
        gain = float(((a - a.mean()) * (b - b.mean())).mean()) / spread if spread > 1 else 1.0
        gain = min(max(gain, 0.2), 5.0)
        fitted = gain * (known - a.mean()) + b.mean()
        away = np.abs(seen - fitted)
        kept = away <= max(float(np.quantile(away, 0.9)), 1.0)
    return np.asarray(fitted, np.float32)


def _tiled(values: Float32) -> Float32:
    columns, rows = max(values.shape[1] // TILE_PX, 1), max(values.shape[0] // TILE_PX, 1)
    return np.asarray(cv2.resize(values, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
