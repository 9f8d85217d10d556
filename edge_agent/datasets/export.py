"""A data set as the files that training tools read: YOLO's and COCO's."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from edge_agent.datasets.boxes import to_coco, to_yolo
from edge_agent.datasets.dataset import Dataset, Item, Split
from edge_agent.datasets.disk import Loaded
from edge_agent.datasets.files import inside
from edge_agent.domain.faults import ConfigError, Transient


class Form(StrEnum):
    """What to write."""

    yolo = "yolo"
    coco = "coco"


def write(loaded: Loaded, target: Path, form: Form) -> int:
    """The number of images written.

    Raises:
        ConfigError: the folder exists, lines cannot be read, labels have no boxes, or an image is gone.
        Transient: it cannot be written.
    """
    _check(loaded, target)
    names = _names(loaded.dataset.items)
    try:
        for item, name in zip(loaded.dataset.items, names, strict=True):
            _place((loaded.folder / item.image).resolve(), target / "images" / item.split.value / name)
        _WRITERS[form](loaded.dataset, names, target)
    except OSError as error:
        raise Transient(f"cannot write {target}: {error.strerror}") from error
    return len(names)


def _place(image: Path, target: Path) -> None:
    """A hard link where the disk allows it, else a copy: tools that look through links find a plain file."""
    if not image.is_file():
        raise ConfigError(f"{image}: gone, or no file; run `edge-agent data check`")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(image)
    except OSError:
        shutil.copyfile(image, target)


def _check(loaded: Loaded, target: Path) -> None:
    if target.exists():
        raise ConfigError(f"{target} exists: name another folder")
    if loaded.broken_lines:
        first = loaded.broken_lines[0]
        raise ConfigError(f"{loaded.folder}: {first.file}:{first.line}: {first.value}; run `edge-agent data check`")
    known = set(loaded.dataset.classes)
    for item in loaded.dataset.items:
        if item.codes:
            raise ConfigError(f"{item.origin}: labelled {', '.join(item.codes)} without a box; a detector needs boxes")
        if unknown := sorted({box.code for box in item.boxes} - known):
            raise ConfigError(f"{item.origin}: class {unknown[0]!r} is not one of the data set's")
        if inside(loaded.folder, str(Path(item.image).parent)) is None or ".." in Path(item.image).parts:
            raise ConfigError(f"{item.origin}: image {item.image} leads out of the data set")


def _names(items: Sequence[Item]) -> list[str]:
    """A file name for each item: its number keeps two items of one image apart."""
    return [f"{place:06}-{item.sha256[:12]}{Path(item.image).suffix}" for place, item in enumerate(items)]


def _yolo(dataset: Dataset, names: Sequence[str], target: Path) -> None:
    numbers = {code: number for number, code in enumerate(dataset.classes)}
    for item, name in zip(dataset.items, names, strict=True):
        labels = (target / "labels" / item.split.value / name).with_suffix(".txt")
        labels.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            " ".join([str(numbers[box.code]), *(f"{value:.9f}" for value in to_yolo(box.xyxy_px, item.size_wh))])
            for box in item.boxes
        ]
        labels.write_text("".join(f"{line}\n" for line in lines), "ascii")
    splits = {item.split for item in dataset.items}
    about = {"path": "."} | {split.value: f"images/{split.value}" for split in Split if split in splits}
    (target / "data.yaml").write_text(
        yaml.safe_dump(about | {"names": list(dataset.classes)}, sort_keys=False, allow_unicode=True), "utf-8"
    )


def _coco(dataset: Dataset, names: Sequence[str], target: Path) -> None:
    """One file for each split, as COCO does."""
    folder = target / "annotations"
    folder.mkdir()
    for split in Split:
        chosen = [pair for pair in zip(dataset.items, names, strict=True) if pair[0].split is split]
        if chosen:
            text = json.dumps(_coco_of(dataset, chosen), ensure_ascii=False)
            (folder / f"instances_{split.value}.json").write_text(text, "utf-8")


def _coco_of(dataset: Dataset, chosen: Sequence[tuple[Item, str]]) -> dict[str, Any]:
    numbers = {code: number for number, code in enumerate(dataset.classes, start=1)}
    boxes = [(place, box) for place, (item, _) in enumerate(chosen, start=1) for box in item.boxes]
    return {
        "info": {"description": dataset.name, "version": dataset.version},
        "licenses": [{"id": 1, "name": dataset.licence}],
        "categories": [{"id": number, "name": code} for code, number in numbers.items()],
        "images": [
            {"id": place, "file_name": name, "width": item.size_wh[0], "height": item.size_wh[1], "license": 1}
            for place, (item, name) in enumerate(chosen, start=1)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": place,
                "category_id": numbers[box.code],
                "bbox": list(to_coco(box.xyxy_px)),
                "area": box.area_px,
                "iscrowd": 0,
            }
            for number, (place, box) in enumerate(boxes, start=1)
        ],
    }


_WRITERS: Mapping[Form, Callable[[Dataset, Sequence[str], Path], None]] = {Form.yolo: _yolo, Form.coco: _coco}
