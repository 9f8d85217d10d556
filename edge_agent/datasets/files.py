"""Files that somebody else made: bounded, regular, inside the folder they claim to be in."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from edge_agent.domain.frame import Pixels

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
MAX_IMAGE_BYTES = 404 * 1024 * 1024
"""50 megapixels of four 16-bit channels, and some: what the image reader accepts at most."""


class Decode(Protocol):
    """Bytes of an image file to pixels. Raises PartFault for anything that is not a whole image."""

    def __call__(self, raw: bytes, *, name: str) -> Pixels: ...


class Unreadable(Exception):
    """A file cannot be read; the message says why."""


def read_bounded(path: Path, most_bytes: int = MAX_IMAGE_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        Unreadable: absent, no regular file (device, pipe, folder, loop of links), or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise Unreadable("not a regular file")
            if about.st_size > most_bytes:
                raise Unreadable(f"{about.st_size} bytes; at most {most_bytes} are read")
            return file.read(most_bytes)
    except OSError as error:
        raise Unreadable(_why(error)) from error
    except ValueError as error:
        raise Unreadable(str(error)) from error


def _why(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a loop of links"
    return (error.strerror or str(error)).lower()


def inside(root: Path, name: str) -> Path | None:
    """The path ``name`` below ``root``, links followed; None when it leads out of it or is no path."""
    try:
        path = (root / name).resolve()
        return root / name if path.is_relative_to(root.resolve()) else None
    except (OSError, ValueError, RuntimeError):
        return None


def walk(root: Path) -> Iterator[Path]:
    """Every entry below a folder in a fixed order: files, and links to folders (which are not followed)."""
    for folder, below, files in os.walk(root):
        below.sort()
        linked = [name for name in below if (Path(folder) / name).is_symlink()]
        below[:] = [name for name in below if name not in linked and not name.startswith(".")]
        yield from (Path(folder) / name for name in sorted([*files, *linked]) if not name.startswith("."))


def shown(value: object, most: int = 120) -> str:
    """A value from a file, for people: one line, bounded, printable."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else _text(value)
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[: most + 1])
    return text if len(text) <= most else text[:most] + "…"


def _text(value: object) -> str:
    if isinstance(value, int) and abs(value) > 10**100:
        return f"a number of about {value.bit_length() * 3 // 10} digits"
    return str(value)
