"""A data set: labelled images, who may use them, and a version that is the hash of the content."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from edge_agent.domain.defect import BoxXyxy

PLACES = 3
"""Decimals of a box on disk: a thousandth of a pixel. Finer differences are no difference."""


class Split(StrEnum):
    """What an image is for."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Box:
    """One labelled defect. x1 and y1 are exclusive; a box may be wrong (outside, empty): `data check` says so."""

    code: str
    xyxy_px: BoxXyxy

    @property
    def area_px(self) -> float:
        """Width times height; 0 for an empty box."""
        x0, y0, x1, y1 = self.xyxy_px
        return max(0.0, x1 - x0) * max(0.0, y1 - y0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One labelled image.

    Attributes:
        image: path below the data set's folder.
        group: images that look alike because they show the same board, lot or part: never on two sides of a split.
        boxes: located defects.
        codes: defects that the image is known to have somewhere.
        golden: the defect-free twin, where there is one.
        label_source: who says so.
        origin: where the image was, below the source.
    """

    image: str
    sha256: str
    size_wh: tuple[int, int]
    group: str
    split: Split
    boxes: tuple[Box, ...] = ()
    codes: tuple[str, ...] = ()
    golden: str | None = None
    golden_sha256: str | None = None
    label_source: str = ""
    origin: str = ""

    @property
    def is_good(self) -> bool:
        """Is the image labelled as free of defects?"""
        return not self.boxes and not self.codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something that was not taken: where it stands, what was found there, and what was expected."""

    file: str
    line: str
    value: str
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A data set.

    Attributes:
        version: see `version_of`.
        licence: who may use the images for what; empty when nobody said.
        privacy: whether people or their data can be seen; empty when nobody said.
        source: where it came from (``kind``, ``name``) and how it was split.
        test_groups: groups kept out of training, whatever the other splits are.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    licence: str = ""
    privacy: str = ""
    source: Mapping[str, str] = field(default_factory=dict)
    test_groups: tuple[str, ...] = ()
    made_at: str = ""
    skipped: int = 0

    def counts(self) -> dict[str, dict[str, int]]:
        """Images, images without defect, boxes and groups, for each split."""
        return {split.value: _counts([item for item in self.items if item.split is split]) for split in Split}


def _counts(items: Sequence[Item]) -> dict[str, int]:
    return {
        "images": len(items),
        "good_images": sum(item.is_good for item in items),
        "boxes": sum(len(item.boxes) for item in items),
        "groups": len({item.group for item in items}),
    }


def version_of(classes: Sequence[str], items: Iterable[Item]) -> str:
    """SHA-256 over classes, pixels, labels, groups and splits.

    The order of items and of boxes does not matter, nor do file names, link or copy, and texts such as the licence.
    """
    digests = sorted(hashlib.sha256(_content(item)).digest() for item in items)
    whole = hashlib.sha256(json.dumps(list(classes)).encode())
    for digest in digests:
        whole.update(digest)
    return whole.hexdigest()


def _content(item: Item) -> bytes:
    boxes = sorted([box.code, *(round(float(value), PLACES) + 0.0 for value in box.xyxy_px)] for box in item.boxes)
    content = [item.sha256, item.golden_sha256, item.group, item.split.value, boxes, sorted(item.codes)]
    return json.dumps(content).encode()
