"""One look at every image of a data set: what the checks need to know of its pixels, and nothing that is large."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.datasets.crops import describe
from edge_agent.datasets.dataset import Item
from edge_agent.datasets.disk import Loaded
from edge_agent.datasets.files import Decode, Unreadable, inside, read_bounded
from edge_agent.datasets.making import Progress
from edge_agent.domain.faults import PartFault
from edge_agent.domain.frame import Pixels

HASH_SIDE = 16
"""dHash of 16x16 gradients: 256 bits, so that boards that merely look alike stay apart."""
THUMB_SIDE = 64

Bits = npt.NDArray[np.uint64]
Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """One item's image.

    Attributes:
        fault: why it cannot be used; the rest is None then.
        brightness: mean grey level, 0 to 255.
        sharpness: logarithm of the Laplacian's variance on the image at 256 pixels.
        dhash: (4,) the signs of horizontal gradients, 256 bits.
        thumb: (64, 64) grey.
        crops: (boxes, features) one row for each box; see `crops.describe`.
    """

    item: Item
    fault: str = ""
    brightness: float = 0.0
    sharpness: float = 0.0
    dhash: Bits | None = None
    thumb: Grey | None = None
    crops: npt.NDArray[np.float32] | None = None


def look_at(loaded: Loaded, decode: Decode, progress: Progress) -> list[Look]:
    """A look for every item, in the data set's order."""
    items = loaded.dataset.items
    return list(_looks(loaded.folder, items, decode, progress))


def _looks(folder: Path, items: tuple[Item, ...], decode: Decode, progress: Progress) -> Iterator[Look]:
    goldens = _Goldens(folder, decode)
    for done, item in enumerate(items):
        progress(done, len(items))
        try:
            pixels = read_verified(folder, item.image, item.sha256, decode)
            golden = goldens.of(item)
        except (Unreadable, PartFault) as error:
            yield Look(item=item, fault=str(error))
            continue
        if (int(pixels.shape[1]), int(pixels.shape[0])) != item.size_wh:
            yield Look(
                item=item, fault=f"{pixels.shape[1]} x {pixels.shape[0]} pixels; items.jsonl says {item.size_wh}"
            )
            continue
        yield _look(item, eight_bits(pixels), golden)
    progress(len(items), len(items))


def read_verified(folder: Path, name: str, sha256: str | None, decode: Decode) -> Pixels:
    """The pixels of a file of a data set.

    Raises:
        Unreadable: outside the folder, absent, or not the content that was recorded.
        PartFault: no whole image.
    """
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts or inside(folder, str(Path(name).parent)) is None:
        raise Unreadable(f"{name} leads out of the data set")
    raw = read_bounded(path)
    digest = hashlib.sha256(raw).hexdigest()
    if digest != sha256:
        raise Unreadable(f"changed since import: sha256 {digest[:12]}…, recorded {str(sha256)[:12]}…")
    return decode(raw, name=path.name)


class _Goldens:
    """The last golden image: neighbours in a data set often share it."""

    def __init__(self, folder: Path, decode: Decode) -> None:
        self._folder, self._decode = folder, decode
        self._name: str | None = None
        self._pixels: Grey | None = None

    def of(self, item: Item) -> Grey | None:
        """Grey, 8 bits. Raises Unreadable or PartFault, with the golden image named."""
        if item.golden is None:
            return None
        if item.golden != self._name:
            try:
                pixels = read_verified(self._folder, item.golden, item.golden_sha256, self._decode)
            except (Unreadable, PartFault) as error:
                raise Unreadable(f"golden image: {error}") from error
            self._name, self._pixels = item.golden, grey_of(eight_bits(pixels))
        return self._pixels


def _look(item: Item, pixels: Grey, golden: Grey | None) -> Look:
    grey = grey_of(pixels)
    small = cv2.resize(grey, (256, 256), interpolation=cv2.INTER_AREA)
    return Look(
        item=item,
        brightness=float(grey.mean()),
        sharpness=float(np.log1p(cv2.Laplacian(small, cv2.CV_32F).var())),
        dhash=dhash(grey),
        thumb=np.asarray(cv2.resize(small, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA), np.uint8),
        crops=describe(pixels, golden, [box.xyxy_px for box in item.boxes]),
    )


def dhash(grey: Grey) -> Bits:
    """Signs of the gradients between neighbours of a 17x16 thumbnail: (4,) uint64.

    Source: N. Krawetz, "Kind of Like That" (2013): the difference hash.
    """
    small = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    signs = small[:, 1:] > small[:, :-1]
    return np.packbits(signs.ravel()).view(np.uint64)


def eight_bits(pixels: Pixels) -> Grey:
    """As stored when 8 bits; 16 bits by their upper byte."""
    return np.asarray(pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8), np.uint8)


def grey_of(pixels: Grey) -> Grey:
    """(H, W) of (H, W) or (H, W, 3) BGR."""
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
