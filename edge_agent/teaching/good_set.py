"""The good images: read, checked, and named where they are not taken."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_agent.datasets.files import Decode, Unreadable, read_bounded
from edge_agent.datasets.looking import dhash, eight_bits, grey_of
from edge_agent.domain.faults import ConfigError, PartFault
from edge_agent.domain.frame import Pixels

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
LEAST = 5
"""With fewer images nothing is taught."""
ADVISED = 20
MOST = 300
_SAME_SHAPE = 0.1
"""Aspect ratios may differ by this share."""
_NEAR_BITS = 6
_NEAR_LEVELS = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodImage:
    """One good image: where it is, how large, what it contains, and what it looks like."""

    path: Path
    size_wh: tuple[int, int]
    sha256: str
    bits: bytes
    """256-bit difference hash."""
    thumb: bytes
    """16x16 grey levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodSet:
    """What will be learned from.

    Attributes:
        skipped: file and why it was not taken.
        near: pairs of images that are nearly the same picture: they say less than two.
    """

    images: tuple[GoodImage, ...]
    skipped: tuple[tuple[Path, str], ...] = ()
    near: tuple[tuple[Path, Path], ...] = ()
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    left_out: int = 0
    """Images that were not looked at, because there were more than are taken."""

    @property
    def sha256(self) -> str:
        """Of the images' contents, whatever their names and order."""
        return hashlib.sha256("".join(sorted(one.sha256 for one in self.images)).encode()).hexdigest()

    @property
    def size_wh(self) -> tuple[int, int]:
        """The most common size."""
        return max(self.sizes, key=lambda size: (self.sizes[size], size))


def read_good(folder: Path, decode: Decode, *, most: int = MOST) -> GoodSet:
    """Look at every image of a folder (not below it).

    A file that cannot be read is skipped and named, as is an exact copy of another one and an image of another shape
    than most; nothing is dropped in silence.

    Args:
        most: of more images this many are taken, evenly over the folder.

    Raises:
        ConfigError: no folder, or fewer than `LEAST` images are left.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    files = [entry for entry in sorted(folder.iterdir()) if entry.suffix.lower() in SUFFIXES and entry.is_file()]
    there = len(files)
    files = [files[index * there // most] for index in range(most)] if there > most else files
    images, skipped = _read(files, decode)
    images, odd = _of_one_shape(images)
    skipped += odd
    if len(images) < LEAST:
        said = "".join(f"\n  {path.name}: {why}" for path, why in skipped[:20])
        text = (
            f"{folder}: {len(images)} usable good images, at least {LEAST} are needed ({ADVISED} and more are better)"
        )
        raise ConfigError(text + said)
    sizes = Counter(one.size_wh for one in images)
    return GoodSet(
        images=tuple(images),
        skipped=tuple(skipped),
        near=tuple(_near(images)),
        sizes=dict(sizes),
        left_out=there - len(files),
    )


def pixels_of(image: GoodImage, decode: Decode) -> Pixels:
    """Its pixels, read again.

    Raises:
        ConfigError: it is not the file it was.
    """
    raw = read_bounded(image.path)
    if hashlib.sha256(raw).hexdigest() != image.sha256:
        raise ConfigError(f"{image.path} was changed while it was taught from")
    return decode(raw, name=str(image.path))


def _read(files: Iterable[Path], decode: Decode) -> tuple[list[GoodImage], list[tuple[Path, str]]]:
    images: list[GoodImage] = []
    skipped: list[tuple[Path, str]] = []
    known: dict[str, Path] = {}
    for file in files:
        try:
            found = _look(file, decode)
        except (Unreadable, PartFault) as error:
            skipped.append((file, getattr(error, "text", str(error))))
            continue
        if found.sha256 in known:
            skipped.append((file, f"the same file as {known[found.sha256].name}"))
            continue
        known[found.sha256] = file
        images.append(found)
    return images, skipped


def _look(file: Path, decode: Decode) -> GoodImage:
    raw = read_bounded(file)
    pixels = decode(raw, name=str(file))
    grey = grey_of(eight_bits(pixels))
    height, width = grey.shape[:2]
    small = grey[:: max(height // 16, 1), :: max(width // 16, 1)][:16, :16]
    return GoodImage(
        path=file,
        size_wh=(width, height),
        sha256=hashlib.sha256(raw).hexdigest(),
        bits=np.packbits(np.asarray(dhash(grey), np.uint8)).tobytes(),
        thumb=small.tobytes(),
    )


def same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Are these sizes of one shape, so that one may be scaled to the other?"""
    return abs((a[0] / a[1]) / (b[0] / b[1]) - 1) <= _SAME_SHAPE


def _of_one_shape(images: Sequence[GoodImage]) -> tuple[list[GoodImage], list[tuple[Path, str]]]:
    if not images:
        return [], []
    common = Counter(one.size_wh for one in images).most_common(1)[0][0]
    kept = [one for one in images if same_shape(one.size_wh, common)]
    odd = [
        (one.path, f"{one.size_wh[0]}x{one.size_wh[1]} px, most are {common[0]}x{common[1]}")
        for one in images
        if not same_shape(one.size_wh, common)
    ]
    return kept, odd


def _near(images: Sequence[GoodImage]) -> list[tuple[Path, Path]]:
    """Pairs that differ in a few bits of the hash and hardly in their grey levels."""
    if len({len(one.thumb) for one in images}) != 1:
        return []
    bits = np.stack([np.frombuffer(one.bits, np.uint8) for one in images])
    thumbs = np.stack([np.frombuffer(one.thumb, np.uint8) for one in images]).astype(np.float32)
    found: list[tuple[Path, Path]] = []
    for index, one in enumerate(images):
        apart = np.bitwise_count(bits[index + 1 :] ^ bits[index]).sum(1)
        levels = np.abs(thumbs[index + 1 :] - thumbs[index]).mean(1)
        twins = np.flatnonzero((apart <= _NEAR_BITS) & (levels <= _NEAR_LEVELS))
        found.extend((one.path, images[index + 1 + int(twin)].path) for twin in twins)
    return found
