"""The size of a stored picture, from its first bytes, without decoding it."""

import struct

_NO_SIZE = frozenset({0xC4, 0xC8, 0xCC})
"""Markers in the range of JPEG's start-of-frame markers that are none (ITU-T T.81, table B.1)."""


def picture_size_wh(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels of a JPEG or PNG file, or None when the bytes do not tell.

    Args:
        head: the beginning of the file; 64 KiB is enough for pictures that this product wrote.
    """
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 24:
        width, height = struct.unpack(">II", head[16:24])
        return int(width), int(height)
    return _jpeg_size_wh(head) if head[:2] == b"\xff\xd8" else None


def _jpeg_size_wh(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return int(width), int(height)
        at += 2 + length
    return None
