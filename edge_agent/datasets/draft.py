"""What a source says about its images, before anything is read or copied."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.datasets.boxes import MAX_PX
from edge_agent.datasets.dataset import Box, Skipped, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One labelled image of a source.

    Attributes:
        file, line: where its labels stand, for messages.
        boxes: in pixels, or as shares of the image's size where ``as_shares``.
        group: empty when the source does not know.
        split: as the source names it; None when it does not.
        size_wh: as the source names it; checked against the file.
        sha256: of the image, as the source names it; checked against the file.
    """

    image: Path
    origin: str
    file: str
    label_source: str
    line: str = ""
    golden: Path | None = None
    group: str = ""
    split: Split | None = None
    boxes: tuple[Box, ...] = ()
    codes: tuple[str, ...] = ()
    as_shares: bool = False
    size_wh: tuple[int, int] | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What a source holds.

    Attributes:
        classes: in the source's order.
        about: more about the source, kept in the data set (never a path of this box).
    """

    kind: str
    drafts: Sequence[Draft]
    skipped: Sequence[Skipped]
    classes: tuple[str, ...]
    about: Mapping[str, str] = field(default_factory=dict)


class BadValue(Exception):
    """A value in a label file is not what it should be."""

    def __init__(self, value: object, expected: str) -> None:
        super().__init__(expected)
        self.value = value
        self.expected = expected


def number(value: object, most: float = MAX_PX) -> float:
    """A finite number of sane size. Raises BadValue."""
    expected = f"a number between -{most:g} and {most:g}"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadValue(value, expected)
    try:
        found = float(value)
    except (ValueError, OverflowError) as error:
        raise BadValue(value, expected) from error
    if not math.isfinite(found) or abs(found) > most:
        raise BadValue(value, expected)
    return found


_NUMBER = re.compile(r"[0-9]{1,9}")


def index(value: str, expected: str) -> int:
    """A small whole number, not below 0. Raises BadValue."""
    if not _NUMBER.fullmatch(value, 0) or not value.isascii():
        raise BadValue(value, expected)
    return int(value)


def class_name(value: object) -> str:
    """A name of a class. Raises BadValue."""
    if not isinstance(value, str) or not value.strip() or len(value) > 100 or not value.isprintable():
        raise BadValue(value, "a class name: 1 to 100 printable characters")
    return value.strip()


def split_named(name: str) -> Split | None:
    """The split a folder or file name speaks of."""
    words = re.split(r"[^a-z]+", name.lower())
    for word in words:
        if word.startswith("train"):
            return Split.TRAIN
        if word in {"val", "valid", "validation"}:
            return Split.VAL
        if word.startswith("test"):
            return Split.TEST
    return None
