"""Image files to pixels, without trusting them: size and completeness are known before a pixel is decoded.

Sources: PNG (W3C, 3rd edition, sections 5 and 11), JPEG (ITU-T T.81, annex B), BMP (BITMAPFILEHEADER and
BITMAPINFOHEADER), TIFF 6.0 and BigTIFF.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from edge_agent.domain.faults import PartFault
from edge_agent.domain.frame import Pixels

MAX_MEGAPIXELS = 50.0
_BYTES_PER_PIXEL = 8
"""The most that a file may take per allowed pixel: four channels of 16 bits, uncompressed."""
_OVERHEAD_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an image file says about itself.

    Attributes:
        damage: looks for what is missing or broken, and says it; empty when the file is whole. May be slow.
    """

    kind: str
    size_wh: tuple[int, int]
    damage: Callable[[], str]


def read_image(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> Pixels:
    """The pixels of an image file, at its own depth.

    Raises:
        PartFault: ``image.missing``, ``image.unreadable``, or one of `decode`'s codes.
    """
    limit = _most_bytes(max_megapixels)
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except FileNotFoundError as error:
        raise PartFault("image.missing", f"{path}: no such file") from error
    except OSError as error:
        raise PartFault("image.unreadable", f"{path}: {error.strerror}") from error
    return decode(raw, name=str(path), max_megapixels=max_megapixels)


def decode(raw: bytes, *, name: str, max_megapixels: float = MAX_MEGAPIXELS) -> Pixels:
    """Bytes of a PNG, JPEG, BMP or TIFF file to pixels.

    Returns:
        (H, W) or (H, W, 3) BGR, uint8 or uint16, as stored; orientation tags are not applied.

    Raises:
        PartFault: ``image.empty``, ``image.not_an_image``, ``image.too_large`` (nothing was decoded),
            ``image.truncated``, ``image.depth``.
    """
    if not raw:
        raise PartFault("image.empty", f"{name}: the file is empty")
    header = read_header(raw)
    if header is None:
        raise PartFault("image.not_an_image", f"{name}: neither PNG, JPEG, BMP nor TIFF (begins {raw[:8].hex(' ')})")
    width, height = header.size_wh
    if width * height > max_megapixels * 1e6 or len(raw) > _most_bytes(max_megapixels):
        text = f"{width} x {height} pixels in {len(raw)} bytes; at most {max_megapixels:g} megapixels are accepted"
        raise PartFault("image.too_large", f"{name}: {text}")
    damage = header.damage()
    if damage:
        raise PartFault("image.truncated", f"{name}: damaged {header.kind}: {damage}")
    return _decoded(raw, header, name)


def read_header(raw: bytes) -> Header | None:
    """What the file says about itself; None when it is no image of a known kind or has no readable header."""
    for magic, reader in _READERS:
        if raw.startswith(magic):
            try:
                return reader(raw)
            except (struct.error, IndexError, ValueError, OverflowError):
                return Header(kind="image", size_wh=(0, 0), damage=lambda: "the header is cut off or broken")
    return None


def _most_bytes(max_megapixels: float) -> int:
    return int(max_megapixels * 1e6 * _BYTES_PER_PIXEL) + _OVERHEAD_BYTES


def _decoded(raw: bytes, header: Header, name: str) -> Pixels:
    try:
        image: Any = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PartFault("image.truncated", f"{name}: damaged {header.kind}: {error.err}") from error
    if image is None:
        raise PartFault("image.truncated", f"{name}: damaged {header.kind}: it cannot be decoded")
    size_wh = (int(image.shape[1]), int(image.shape[0]))
    if size_wh != header.size_wh:
        raise PartFault("image.truncated", f"{name}: the header says {header.size_wh}, the content is {size_wh}")
    return _checked_depth(image, name)


def _checked_depth(image: Any, name: str) -> Pixels:
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 3 and image.shape[2] == 4 and bool((image[:, :, 3] == np.iinfo(image.dtype).max).all()):
        image = np.ascontiguousarray(image[:, :, :3])
    if image.dtype not in (np.uint8, np.uint16) or not (image.ndim == 2 or image.shape[2] == 3):
        channels = 1 if image.ndim == 2 else image.shape[2]
        text = f"{channels} channel(s) of {image.dtype}; expected 1 or 3 of 8 or 16 bits without transparency"
        raise PartFault("image.depth", f"{name}: {text}")
    pixels: Pixels = image
    return pixels


# --- PNG ------------------------------------------------------------------------------------------------------------


def _png(raw: bytes) -> Header:
    width, height = struct.unpack_from(">II", raw, 16)
    return Header(kind="PNG", size_wh=(width, height), damage=lambda: _png_damage(raw))


def _png_damage(raw: bytes) -> str:
    """Walk the chunks to IEND and check their CRCs."""
    at = 8
    view = memoryview(raw)
    while at + 12 <= len(raw):
        (length,) = struct.unpack_from(">I", raw, at)
        end = at + 12 + length
        if end > len(raw):
            break
        (crc,) = struct.unpack_from(">I", raw, end - 4)
        if zlib.crc32(view[at + 4 : end - 4]) != crc:
            return f"checksum of chunk {raw[at + 4 : at + 8]!r} is wrong"
        if raw[at + 4 : at + 8] == b"IEND":
            return ""
        at = end
    return "the end (IEND) is missing"


# --- JPEG -----------------------------------------------------------------------------------------------------------

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_CHECKED_SOF = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive: what the second decoder knows, too."""


def _jpeg(raw: bytes) -> Header:
    """Segments up to the first scan; its end marker must follow. Thumbnails sit in segments and are skipped."""
    at, size_wh, sof, channels = 2, (0, 0), 0, 0
    while raw[at] == 0xFF:
        marker = raw[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xD9:
            break
        (length,) = struct.unpack_from(">H", raw, at + 2)
        if marker in _SOF:
            height, width = struct.unpack_from(">HH", raw, at + 5)
            size_wh, sof, channels = (width, height), marker, raw[at + 9]
        if marker == 0xDA:
            strict = sof in _CHECKED_SOF and channels in (1, 3)
            return Header(kind="JPEG", size_wh=size_wh, damage=partial(_jpeg_damage, raw, at, strict=strict))
        at += 2 + length
    return Header(kind="JPEG", size_wh=size_wh, damage=lambda: "there is no image data")


def _jpeg_damage(raw: bytes, scan: int, *, strict: bool) -> str:
    """libjpeg fills what is missing with grey and only warns; so look at the end marker, then decode strictly.

    The strict decoder (FFmpeg's, told to stop at the first error) finds a hole in the middle of the file as well.
    """
    if raw.rfind(b"\xff\xd9", scan) < 0:
        return "the end (EOI) is missing"
    if not strict:
        return ""
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"err_detect": "explode"}
    try:
        frames = decoder.decode(av.Packet(raw)) + decoder.decode(None)
    except (av.error.PatchWelcomeError, NotImplementedError):
        return ""
    except av.error.FFmpegError as error:
        return f"the image data is damaged ({error.strerror})"
    return "" if frames else "the image data is damaged"


# --- BMP ------------------------------------------------------------------------------------------------------------


def _bmp(raw: bytes) -> Header:
    (offset,) = struct.unpack_from("<I", raw, 10)
    width, height = struct.unpack_from("<ii", raw, 18)
    bits, compression = struct.unpack_from("<HI", raw, 28)
    height = abs(height)
    needed = offset + ((width * bits + 31) // 32) * 4 * height
    if width <= 0:
        raise ValueError(width)
    damage = "" if compression in (1, 2) or len(raw) >= needed else f"{len(raw)} bytes of {needed}"
    return Header(kind="BMP", size_wh=(width, height), damage=lambda: damage)


# --- TIFF -----------------------------------------------------------------------------------------------------------

_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_WIDTH, _HEIGHT, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 256, 257, 273, 279, 324, 325
_MAX_ENTRIES = 1_000_000


def _tiff(raw: bytes) -> Header:
    tags = _tiff_tags(raw)
    size_wh = (tags[_WIDTH][0], tags[_HEIGHT][0])
    offsets = tags.get(_STRIPS) or tags.get(_TILES) or ()
    lengths = tags.get(_STRIP_BYTES) or tags.get(_TILE_BYTES) or ()
    needed = max((a + b for a, b in zip(offsets, lengths, strict=False)), default=0)
    damage = "" if 0 < needed <= len(raw) else f"{len(raw)} bytes of {needed}" if needed else "there is no image data"
    return Header(kind="TIFF", size_wh=size_wh, damage=lambda: damage)


def _tiff_tags(raw: bytes) -> dict[int, tuple[int, ...]]:
    order = "<" if raw[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", raw, 2)[0] == 43
    word, counter, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    (directory,) = struct.unpack_from(f"{order}{word}", raw, 8 if big else 4)
    (count,) = struct.unpack_from(f"{order}{counter}", raw, directory)
    first = directory + struct.calcsize(counter)
    tags: dict[int, tuple[int, ...]] = {}
    for at in range(first, first + min(count, 4096) * entry_bytes, entry_bytes):
        tag, kind, number = struct.unpack_from(f"{order}HH{word}", raw, at)
        if tag in (_WIDTH, _HEIGHT, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES) and kind in _TIFF_TYPES:
            value_at = at + 4 + struct.calcsize(word)
            tags[tag] = _tiff_values(raw, order, word, _TIFF_TYPES[kind], number, value_at)
    struct.unpack_from(f"{order}{word}", raw, first + count * entry_bytes)  # the link to the next directory
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise ValueError("no size")
    return tags


def _tiff_values(raw: bytes, order: str, word: str, code: str, number: int, at: int) -> tuple[int, ...]:
    if not 0 < number <= _MAX_ENTRIES:
        raise ValueError(number)
    layout = f"{order}{number}{code}"
    if struct.calcsize(layout) > struct.calcsize(word):
        (at,) = struct.unpack_from(f"{order}{word}", raw, at)
    return struct.unpack_from(layout, raw, at)


_READERS = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8\xff", _jpeg),
    (b"BM", _bmp),
    (b"II\x2a\x00", _tiff),
    (b"MM\x00\x2a", _tiff),
    (b"II\x2b\x00", _tiff),
    (b"MM\x00\x2b", _tiff),
)
