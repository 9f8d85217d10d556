"""Augmentations, named for what they stand for on a real station."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.adapters.detectors.naming import ADDED, REMOVED, Mask
from edge_agent.simulation.boards import CODES

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Boxes = npt.NDArray[np.float32]

PAD_PX = 8
"""Scenes are this much larger than the crop on each side, so that nothing at a border is made up."""
SEEN_SHARE = 0.6
"""A box less visible than this in a crop is neither demanded nor punished."""

_OPPOSITE = {CODES.index(a): CODES.index(b) for a, b in (*zip(REMOVED, ADDED, strict=True),)}
_OPPOSITE |= {b: a for a, b in _OPPOSITE.items()}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Two copper masks (H, W) of 0 and 1, and (K, 5) boxes of class, x0, y0, x1, y1; not yet a picture."""

    image: Mask
    golden: Mask
    boxes: Boxes


@dataclass(frozen=True, kw_only=True)
class Crop:
    """What the network is fed.

    Attributes:
        image, golden: (S, S) uint8.
        boxes: (K, 5) of class, x0, y0, x1, y1: to be found.
        ignored: (M, 4): neither demanded nor punished.
        levels: (2, 2) float32, low and high grey level of both whole images.
    """

    image: Image
    golden: Image
    boxes: Boxes
    ignored: Boxes
    levels: Floats


# --- cutting --------------------------------------------------------------------------------------------------------


def window(scene: Scene, size_px: int, rng: np.random.Generator) -> Scene:
    """A square around one of the defects, or anywhere; the scene's edge is repeated where it ends."""
    height, width = scene.image.shape
    x, y = (float(rng.uniform(0, side)) for side in (width, height))
    if len(scene.boxes) and rng.random() < 0.8:
        # Large defects are rare and hard: they come more often than their share.
        longest = (scene.boxes[:, 3:] - scene.boxes[:, 1:3]).max(axis=1)
        weight = (longest / 40).clip(1, 3) * (longest < 0.9 * size_px) + 1e-3
        _, x0, y0, x1, y1 = scene.boxes[int(rng.choice(len(scene.boxes), p=weight / weight.sum()))]
        reach = 0.38 * size_px
        x, y = (x0 + x1) / 2 + rng.uniform(-reach, reach), (y0 + y1) / 2 + rng.uniform(-reach, reach)
    slack = PAD_PX
    left = int(np.clip(x - size_px / 2, -slack, width + slack - size_px))
    top = int(np.clip(y - size_px / 2, -slack, height + slack - size_px))
    rows = np.arange(top, top + size_px).clip(0, height - 1)
    columns = np.arange(left, left + size_px).clip(0, width - 1)
    boxes = scene.boxes - np.array([0, left, top, left, top], np.float32)
    keep = (boxes[:, 3] > 0) & (boxes[:, 4] > 0) & (boxes[:, 1] < size_px) & (boxes[:, 2] < size_px)
    grid = np.ix_(rows, columns)
    return Scene(image=scene.image[grid], golden=scene.golden[grid], boxes=boxes[keep])


def cut_grey(image: Image, golden: Image, boxes: Boxes, size_px: int, rng: np.random.Generator) -> Crop:
    """A crop of a finished picture, turned and mirrored."""
    seen = window(Scene(image=image, golden=golden, boxes=boxes), size_px + 2 * PAD_PX, rng)
    turned = orientation(seen, rng)
    return _crop(turned, turned.image, turned.golden, np.stack([levels(image), levels(golden)]))


def levels(grey: Image) -> Floats:
    """Low and high grey level, as the network finds them."""
    middle = float(grey.mean())
    above = grey > middle
    if not above.any():
        return np.array([middle, middle], np.float32)
    return np.array([grey[~above].mean(), grey[above].mean()], np.float32)


def _crop(scene: Scene, image: Image, golden: Image, low_high: Floats) -> Crop:
    """Cut the padding off and sort the boxes."""
    size = image.shape[0] - 2 * PAD_PX
    boxes = scene.boxes - np.array([0, PAD_PX, PAD_PX, PAD_PX, PAD_PX], np.float32)
    clipped = boxes.copy()
    clipped[:, 1:] = clipped[:, 1:].clip(0, size)
    whole = (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2])
    seen = (clipped[:, 3] - clipped[:, 1]) * (clipped[:, 4] - clipped[:, 2])
    share = seen / np.maximum(whole, 1)
    inner = np.s_[PAD_PX : PAD_PX + size, PAD_PX : PAD_PX + size]
    return Crop(
        image=np.ascontiguousarray(image[inner]),
        golden=np.ascontiguousarray(golden[inner]),
        boxes=clipped[share >= SEEN_SHARE],
        ignored=clipped[(share > 0) & (share < SEEN_SHARE), 1:],
        levels=low_high.astype(np.float32),
    )


# --- the board ------------------------------------------------------------------------------------------------------


def other_layout(copper: Mask, size_px: int, rng: np.random.Generator) -> Mask:
    """Another scale, copper width and shape of corners; (size_px, size_px)."""
    scale = float(np.exp(rng.uniform(np.log(0.42), np.log(1.5))))
    side = min(copper.shape[0], int(size_px / scale) + 1)
    x, y = (int(rng.integers(0, copper.shape[0] - side + 1)) for _ in range(2))
    piece = copper[y : y + side, x : x + side].astype(np.float32)
    if rng.random() < 0.25:
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(0, 90)), 1.0)
        piece = cv2.warpAffine(piece, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
    piece = cv2.resize(piece, (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.4:
        piece = cv2.GaussianBlur(piece, (0, 0), float(rng.uniform(1, 4)))
    found = (piece > rng.uniform(0.3, 0.7)).astype(np.uint8)
    width = int(rng.integers(-2, 3))
    kernel = np.ones((abs(width) + 1, abs(width) + 1), np.uint8)
    found = cv2.dilate(found, kernel) if width > 0 else cv2.erode(found, kernel) if width < 0 else found
    return np.asarray(1 - found if rng.random() < 0.25 else found, np.uint8)


def polarity(scene: Scene) -> Scene:
    """Copper for laminate: a board that is mostly plane. What was missing is now too much."""
    boxes = scene.boxes.copy()
    boxes[:, 0] = [_OPPOSITE[int(code)] for code in boxes[:, 0]]
    return Scene(image=1 - scene.image, golden=1 - scene.golden, boxes=boxes)


def etching(scene: Scene, rng: np.random.Generator) -> Scene:
    """Ragged edges, other ones in the image than in the golden image."""
    strength = float(rng.choice([0.0, 0.5, 1.0])) * rng.uniform(0.3, 1.0)
    return Scene(
        image=_ragged(scene.image, strength, rng), golden=_ragged(scene.golden, strength, rng), boxes=scene.boxes
    )


def _ragged(copper: Mask, strength: float, rng: np.random.Generator) -> Mask:
    """Threshold soft edges under a noise of two scales; 1 moves edges by one to two pixels."""
    if strength == 0:
        return copper
    soft = cv2.GaussianBlur(copper.astype(np.float32), (0, 0), 1.6)
    height, width = copper.shape
    fine = rng.standard_normal((height // 2, width // 2), dtype=np.float32)
    coarse = rng.standard_normal((height // 9 + 1, width // 9 + 1), dtype=np.float32)
    noise = 0.13 * cv2.resize(fine, (width, height), interpolation=cv2.INTER_LINEAR)
    noise += 0.16 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    ragged = soft + strength * noise > 0.5 + strength * rng.normal(0, 0.06)
    # Thin traces and gaps survive: only edges move.
    core = cv2.erode(copper, np.ones((3, 3), np.uint8)) | (1 - cv2.dilate(copper, np.ones((3, 3), np.uint8)))
    return np.asarray(np.where(core > 0, copper, ragged), np.uint8)


def specks(scene: Scene, rng: np.random.Generator) -> Scene:
    """Grains of dirt, too small to be a defect, alone or as dust; none within a defect's box."""
    image = scene.image.copy()
    height, width = image.shape
    free = np.ones_like(image)
    for _, x0, y0, x1, y1 in scene.boxes.astype(int).tolist():
        free[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = 0
    for _ in range(int(rng.poisson(1.5)) if rng.random() < 0.5 else 0):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        grains, spread = (int(rng.integers(3, 12)), 12.0) if rng.random() < 0.3 else (1, 0.0)
        for dx, dy in rng.normal(0, 1, (grains, 2)) * spread:
            largest = 3 if grains > 1 else 4
            left, top = int(np.clip(x + dx, 0, width - 4)), int(np.clip(y + dy, 0, height - 4))
            grain = np.s_[top : top + int(rng.integers(1, largest)), left : left + int(rng.integers(1, largest))]
            image[grain] ^= free[grain]
    return Scene(image=image, golden=scene.golden, boxes=scene.boxes)


# --- the station ----------------------------------------------------------------------------------------------------


def registration(scene: Scene, rng: np.random.Generator) -> Scene:
    """What remains of a misplacement: mostly less than a pixel, now and then more; also other from place to place."""
    choice = rng.random()
    if choice < 0.3:
        return scene
    shift = rng.uniform(-3, 3, 2) if choice > 0.92 else rng.normal(0, 0.7, 2)
    drift = rng.normal(0, float(rng.choice([0.0, 0.7, 1.4])), (2, 3, 3))
    golden = _drifted(scene.golden, shift[:, None, None] + drift - drift.mean(axis=(1, 2), keepdims=True))
    return Scene(image=scene.image, golden=golden, boxes=scene.boxes)


def _drifted(copper: Mask, motion_px: npt.NDArray[np.float64]) -> Mask:
    """Move each place by a motion that is given on a coarse grid, (2, rows, columns) of x and y, and smooth between."""
    height, width = copper.shape
    fields = [cv2.resize(one.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC) for one in motion_px]
    x = np.arange(width, dtype=np.float32)[None, :] - fields[0]
    y = np.arange(height, dtype=np.float32)[:, None] - fields[1]
    moved = cv2.remap(copper * 255, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return (moved > 127).astype(np.uint8)


def orientation(scene: Scene, rng: np.random.Generator) -> Scene:
    """Mounted the other way round: mirrored and turned by right angles."""
    mirror, quarters = bool(rng.random() < 0.5), int(rng.integers(0, 4))
    image, golden = (_turn(one, mirror, quarters) for one in (scene.image, scene.golden))
    corners = _turn_boxes(scene.boxes[:, 1:], scene.image.shape[0], mirror, quarters)
    return Scene(image=image, golden=golden, boxes=np.concatenate([scene.boxes[:, :1], corners], axis=1))


def turned(crop: Crop, rng: np.random.Generator) -> Crop:
    """The same for a finished crop."""
    mirror, quarters = bool(rng.random() < 0.5), int(rng.integers(0, 4))
    image, golden = (_turn(one, mirror, quarters) for one in (crop.image, crop.golden))
    size = crop.image.shape[0]
    corners = _turn_boxes(crop.boxes[:, 1:], size, mirror, quarters)
    boxes = np.concatenate([crop.boxes[:, :1], corners], axis=1)
    ignored = _turn_boxes(crop.ignored, size, mirror, quarters)
    return Crop(image=image, golden=golden, boxes=boxes, ignored=ignored, levels=crop.levels)


def _turn(image: Image, mirror: bool, quarters: int) -> Image:
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirror else image, quarters))


def _turn_boxes(boxes: Boxes, size: int, mirror: bool, quarters: int) -> Boxes:
    """(K, 4) of x0, y0, x1, y1."""
    x0, y0, x1, y1 = boxes.T
    if mirror:
        x0, x1 = size - x1, size - x0
    for _ in range(quarters):
        x0, y0, x1, y1 = y0, size - x1, y1, size - x0
    return np.stack([x0, y0, x1, y1], axis=1)


def light(scene: Scene, rng: np.random.Generator, *, grey: bool) -> Crop:
    """A picture: black and white as a binarised scan, or grey under uneven light, out of focus, with noise."""
    if not grey:
        image, golden = ((1 - one) * np.uint8(255) for one in (scene.image, scene.golden))
        return _crop(scene, image, golden, np.array([[0, 255], [0, 255]], np.float32))
    low, high = float(rng.uniform(0, 90)), float(rng.uniform(150, 255))
    image = _lit(scene.image, low, high, rng)
    golden = np.asarray(230 - 210 * scene.golden.astype(np.int16), np.uint8)
    wrong = rng.normal(0, 0.03, 2) * (high - low)
    return _crop(scene, image, golden, np.array([[low + wrong[0], high + wrong[1]], [20, 230]], np.float32))


def _lit(copper: Mask, low: float, high: float, rng: np.random.Generator) -> Image:
    picture = high - (high - low) * copper.astype(np.float32)
    if rng.random() < 0.5:
        picture = _dirt(picture, 0.2 * (high - low), rng)
    if rng.random() < 0.8:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 1.4)))
    height, width = picture.shape
    slope = rng.uniform(-0.1, 0.1, 2)
    picture *= 1 + slope[0] * np.linspace(-1, 1, width, dtype=np.float32)
    picture *= (1 + slope[1] * np.linspace(-1, 1, height, dtype=np.float32))[:, None]
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(rng.uniform(0, 8))
    found = picture.clip(0, 255).astype(np.uint8)
    return jpeg(found, int(rng.integers(50, 96))) if rng.random() < 0.3 else found


def _dirt(picture: Floats, depth: float, rng: np.random.Generator) -> Floats:
    """Faint specks: at most a fifth of the contrast between copper and laminate."""
    for _ in range(int(rng.poisson(picture.size / 640**2 * 40))):
        at = int(rng.integers(0, picture.shape[1])), int(rng.integers(0, picture.shape[0]))
        veil = np.zeros_like(picture)
        cv2.circle(veil, at, int(rng.integers(1, 7)), float(rng.uniform(-depth, depth)), -1)
        picture = picture + veil
    return picture


def jpeg(image: Image, quality: int) -> Image:
    """A lossy round trip."""
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)
