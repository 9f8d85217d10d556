"""A data set's folder: ``dataset.json``, ``items.jsonl``, ``skipped.jsonl`` and ``images/``."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.datasets.boxes import MAX_PX
from edge_agent.datasets.dataset import Box, Dataset, Item, Skipped, Split
from edge_agent.datasets.files import Unreadable, read_bounded, shown
from edge_agent.domain.defect import BoxXyxy
from edge_agent.domain.faults import ConfigError

FORMAT = "edge-agent-dataset/1"
HEAD, ITEMS, SKIPPED, IMAGES = "dataset.json", "items.jsonl", "skipped.jsonl", "images"
_MAX_HEAD_BYTES = 16 * 1024**2
_MAX_ITEMS_BYTES = 4 * 1024**3


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _BoxLine(_Section):
    code: str = Field(min_length=1, max_length=100)
    xyxy_px: tuple[float, float, float, float]


class _ItemLine(_Section):
    image: str = Field(min_length=1, max_length=4096)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_wh: tuple[int, int]
    group: str = Field(max_length=4096)
    split: Split
    boxes: tuple[_BoxLine, ...] = ()
    codes: tuple[str, ...] = ()
    golden: str | None = None
    golden_sha256: str | None = None
    label_source: str = ""
    origin: str = ""

    def item(self) -> Item:
        """Raises ValueError: a number beyond all images."""
        if not all(0 < side <= MAX_PX for side in self.size_wh):
            raise ValueError(f"size_wh {shown(self.size_wh)}: expected 1 to {MAX_PX:g}")
        boxes = tuple(Box(code=box.code, xyxy_px=_sane(box.xyxy_px)) for box in self.boxes)
        return Item(**{name: getattr(self, name) for name in type(self).model_fields} | {"boxes": boxes})


class _Head(_Section):
    format: Literal["edge-agent-dataset/1"]
    name: str
    version: str = Field(pattern=r"^[0-9a-f]{64}$")
    classes: tuple[str, ...]
    licence: str = ""
    privacy: str = ""
    source: dict[str, str] = {}
    test_groups: tuple[str, ...] = ()
    made_at: str = ""
    skipped: int = 0
    counts: dict[str, dict[str, int]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A data set as it is on disk, and the lines that could not be read.

    ``dataset.version`` is what the folder says; `version_of` says what it is.
    """

    folder: Path
    dataset: Dataset
    broken_lines: tuple[Skipped, ...]
    counts: Mapping[str, Mapping[str, int]]


def is_dataset(folder: Path) -> bool:
    """Does the folder hold a data set?"""
    return (folder / HEAD).is_file()


def write(folder: Path, dataset: Dataset, skipped: Iterable[Skipped]) -> None:
    """The texts of a data set; images are there already. ``dataset.json`` comes last: it says that all is there."""
    _write_lines(folder / ITEMS, (_item_line(item) for item in dataset.items))
    _write_lines(folder / SKIPPED, (_skipped_line(one) for one in skipped))
    head = {
        "format": FORMAT,
        "name": dataset.name,
        "version": dataset.version,
        "classes": dataset.classes,
        "licence": dataset.licence,
        "privacy": dataset.privacy,
        "source": dict(dataset.source),
        "test_groups": dataset.test_groups,
        "made_at": dataset.made_at,
        "skipped": dataset.skipped,
        "counts": dataset.counts(),
    }
    (folder / HEAD).write_text(json.dumps(head, indent=2, ensure_ascii=False) + "\n", "utf-8", "surrogateescape")


def _write_lines(file: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    with file.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as out:
        for line in lines:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")


def _item_line(item: Item) -> dict[str, Any]:
    boxes = [{"code": box.code, "xyxy_px": list(box.xyxy_px)} for box in item.boxes]
    golden = {"golden": item.golden, "golden_sha256": item.golden_sha256} if item.golden else {}
    codes = {"codes": list(item.codes)} if item.codes else {}
    return {
        "image": item.image,
        "sha256": item.sha256,
        "size_wh": list(item.size_wh),
        "group": item.group,
        "split": item.split.value,
        "boxes": boxes,
        **codes,
        **golden,
        "label_source": item.label_source,
        "origin": item.origin,
    }


def _skipped_line(one: Skipped) -> dict[str, str]:
    return {"file": one.file, "line": one.line, "value": one.value, "expected": one.expected}


def read(folder: Path) -> Loaded:
    """A data set's texts; its images are not opened.

    Raises:
        ConfigError: there is no data set, or its ``dataset.json`` cannot be understood.
    """
    head = _head(folder)
    items: list[Item] = []
    broken: list[Skipped] = []
    for place, line in enumerate(_lines(folder / ITEMS), start=1):
        try:
            items.append(_ItemLine.model_validate_json(line).item())
        except (ValidationError, ValueError) as error:
            value, expected = _complaint(error)
            broken.append(Skipped(file=ITEMS, line=str(place), value=value, expected=expected))
    dataset = Dataset(
        name=head.name,
        version=head.version,
        classes=head.classes,
        items=tuple(items),
        licence=head.licence,
        privacy=head.privacy,
        source=head.source,
        test_groups=head.test_groups,
        made_at=head.made_at,
        skipped=head.skipped,
    )
    return Loaded(folder=folder, dataset=dataset, broken_lines=tuple(broken), counts=head.counts)


def _head(folder: Path) -> _Head:
    file = folder / HEAD
    try:
        return _Head.model_validate_json(read_bounded(file, _MAX_HEAD_BYTES))
    except Unreadable as error:
        raise ConfigError(f"{file}: {error}; expected a data set made by `edge-agent data import`") from error
    except ValidationError as error:
        value, expected = _complaint(error)
        raise ConfigError(f"{file}: {value}: {expected}") from error


def _lines(file: Path) -> Iterable[bytes]:
    try:
        raw = read_bounded(file, _MAX_ITEMS_BYTES)
    except Unreadable as error:
        raise ConfigError(f"{file}: {error}; expected a line of JSON for each image") from error
    return (line for line in raw.split(b"\n") if line.strip())


def _complaint(error: ValueError) -> tuple[str, str]:
    if not isinstance(error, ValidationError):
        return shown(str(error)), "a line as `edge-agent data import` writes it"
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(one) for one in first["loc"])
    return f"{place}: {shown(first['input'])}".removeprefix(": "), first["msg"]


def _sane(xyxy_px: BoxXyxy) -> BoxXyxy:
    if any(abs(value) > MAX_PX for value in xyxy_px):
        raise ValueError(f"xyxy_px {shown(xyxy_px)}: expected numbers between -{MAX_PX:g} and {MAX_PX:g}")
    return xyxy_px
