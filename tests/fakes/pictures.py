"""Small pictures and data sets on disk, for tests."""

from pathlib import Path

import cv2
import numpy as np

from edge_agent.adapters.cameras.image_file import decode
from edge_agent.datasets import making
from edge_agent.datasets.dataset import Box, Dataset, Split
from edge_agent.datasets.draft import Draft, Gathered
from edge_agent.datasets.looking import Grey

SIZE_WH = (96, 64)


def picture(seed: int, size_wh: tuple[int, int] = SIZE_WH) -> Grey:
    """Soft blobs, different for every seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 235, (8, 12), np.uint8)
    return np.asarray(cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC), np.uint8)


def draw(path: Path, seed: int, size_wh: tuple[int, int] = SIZE_WH) -> Path:
    """A picture in a file."""
    return save(path, picture(seed, size_wh))


def save(path: Path, pixels: Grey) -> Path:
    """Pixels in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, encoded = cv2.imencode(path.suffix, pixels)
    assert done
    path.write_bytes(encoded.tobytes())
    return path


def box(code: str = "spur", xyxy_px: tuple[float, float, float, float] = (10, 10, 30, 24)) -> Box:
    return Box(code=code, xyxy_px=xyxy_px)


def draft(image: Path, *boxes: Box, group: str = "", split: Split | None = Split.TRAIN, **more: object) -> Draft:
    """A draft of one image."""
    plain = {"origin": image.name, "file": "labels", "label_source": "test"} | more
    return Draft(image=image, group=group or image.stem, split=split, boxes=boxes, **plain)  # type: ignore[arg-type]


def quiet(done: int, total: int) -> None:
    """Progress that nobody looks at."""
    assert done <= total


def data_set(folder: Path, *drafts: Draft, classes: tuple[str, ...] = ("spur", "open"), **wish: object) -> Dataset:
    """A data set on disk, with licence and privacy said."""
    gathered = Gathered(kind="test", drafts=drafts, skipped=(), classes=classes)
    said = {"name": "t", "made_at": "2026-01-05", "licence": "own", "privacy": "none in view"} | wish
    return making.make(gathered, folder, making.Wish(**said), decode, quiet).dataset  # type: ignore[arg-type]
