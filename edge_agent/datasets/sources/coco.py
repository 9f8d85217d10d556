"""COCO's object detection format: JSON with ``images``, ``annotations`` and ``categories``.

Source: https://cocodataset.org/#format-data (boxes are ``[x, y, width, height]`` in pixels).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.datasets.boxes import from_coco
from edge_agent.datasets.dataset import Box, Skipped, Split
from edge_agent.datasets.draft import BadValue, Draft, Gathered, class_name, number, split_named
from edge_agent.datasets.files import Unreadable, inside, read_bounded, shown, walk
from edge_agent.domain.faults import ConfigError

_MAX_JSON_BYTES = 2 * 1024**3
_BOX = "bbox: [x, y, width, height] in pixels, width and height not below 0"


def gather(root: Path, *, images: Path | None = None) -> Gathered:
    """All images of one annotation file, or of every one in a folder.

    Args:
        root: the JSON file or its folder.
        images: where ``file_name`` begins; by default beside the JSON, in ``images/``, or in a folder of its split.

    Raises:
        ConfigError: no annotation file, or one that is not COCO's.
    """
    files = [root] if root.is_file() else [file for file in walk(root) if file.suffix == ".json"]
    folder = root.parent if root.is_file() else root
    several = len(files) > 1
    found = [
        _File(file=file, folder=folder, images=images, data=data)
        for file in files
        if (data := _loaded(file, must_fit=not several)) is not None
    ]
    if not found:
        raise ConfigError(f"{root}: no COCO annotations: expected a .json with images, annotations and categories")
    drafts: list[Draft] = []
    skipped: list[Skipped] = []
    classes: dict[str, None] = {}
    for one in found:
        classes |= dict.fromkeys(one.read(drafts, skipped))
    return Gathered(kind="coco", drafts=drafts, skipped=skipped, classes=tuple(classes))


def _loaded(file: Path, *, must_fit: bool) -> Mapping[str, Any] | None:
    """The JSON; None for one of several that is something else."""
    try:
        data = json.loads(read_bounded(file, _MAX_JSON_BYTES).decode("utf-8"))
    except (Unreadable, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: {shown(str(error), 300)}; expected COCO's JSON") from error
    keys = ("images", "annotations", "categories")
    if isinstance(data, dict) and all(isinstance(data.get(key), list) for key in keys):
        return data
    if must_fit:
        raise ConfigError(f"{file}: expected the lists images, annotations and categories")
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One annotation file."""

    file: Path
    folder: Path
    images: Path | None
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.file.relative_to(self.folder).as_posix()

    def read(self, drafts: list[Draft], skipped: list[Skipped]) -> Iterable[str]:
        """Adds what it holds; returns the names of its classes."""
        names = self._names()
        boxes, broken = self._boxes(names, skipped)
        twice = {key for key, count in Counter(_key(one) for one in self.data["images"]).items() if count > 1}
        split = split_named(self.file.stem) or split_named(self.file.parent.name)
        for place, about in enumerate(self.data["images"]):
            line = f"images[{place}]"
            key = _key(about)
            try:
                if key in broken:
                    raise BadValue(broken[key], "an image whose annotations are all readable")
                if key is None or key in twice:
                    raise BadValue(about, "an id of its own")
                drafts.append(self._draft(about, boxes.get(key, []), split, line))
            except BadValue as bad:
                skipped.append(self._skipped(line, bad))
        known = {_key(one) for one in self.data["images"]}
        for key in [key for key in boxes if key not in known]:
            skipped.append(self._skipped("annotations", BadValue(f"image_id {key}", "the id of one of the images")))
        return names.values()

    def _names(self) -> dict[Any, str]:
        names: dict[Any, str] = {}
        for place, one in enumerate(self.data["categories"]):
            try:
                if not isinstance(one, dict) or not isinstance(one.get("id"), int) or one["id"] in names:
                    raise BadValue(one, "a category with an id of its own")
                names[one["id"]] = class_name(one.get("name"))
            except BadValue as bad:
                raise ConfigError(
                    f"{self.file}: categories[{place}]: {shown(bad.value)}: expected {bad.expected}"
                ) from bad
        if len(set(names.values())) != len(names):
            raise ConfigError(f"{self.file}: categories: a name stands there twice; expected one id for each class")
        return names

    def _boxes(
        self, names: Mapping[Any, str], skipped: list[Skipped]
    ) -> tuple[Mapping[Any, Sequence[Box]], Mapping[Any, str]]:
        """Boxes by image, and the images that have a box that cannot be read."""
        boxes: dict[Any, list[Box]] = defaultdict(list)
        broken: dict[Any, str] = {}
        for place, one in enumerate(self.data["annotations"]):
            line = f"annotations[{place}]"
            key = one.get("image_id") if isinstance(one, dict) else None
            key = key if isinstance(key, int | str) else None
            try:
                boxes[key].append(_box(one, names))
            except BadValue as bad:
                skipped.append(self._skipped(line, bad))
                broken.setdefault(key, f"{line}: {shown(bad.value)}")
        return boxes, broken

    def _draft(self, about: Mapping[str, Any], boxes: Sequence[Box], split: Split | None, line: str) -> Draft:
        name = about.get("file_name")
        path, origin = self._find(name) if isinstance(name, str) else (None, "")
        if path is None:
            raise BadValue(name, "file_name: the path of an image below the data set's folder")
        return Draft(
            image=path,
            origin=origin,
            file=self.name,
            line=line,
            split=split,
            boxes=tuple(boxes),
            size_wh=_size(about),
            label_source="coco",
        )

    def _find(self, name: str) -> tuple[Path | None, str]:
        """The image, and its path below the folder that it was found in. Nothing outside the folder is opened."""
        bases = [self.images] if self.images else self._bases()
        for base in bases:
            path = inside(base, name)
            root = base if self.images else self.folder
            if path is not None and path.is_file() and path.resolve().is_relative_to(root.resolve()):
                return path, path.resolve().relative_to(root.resolve()).as_posix()
        return None, ""

    def _bases(self) -> list[Path]:
        own, stem = self.file.parent, self.file.stem.removeprefix("instances_")
        near = [own] if own == self.folder else [own, own.parent]
        return [base / below for base in near for below in ("", "images", stem, f"images/{stem}")]

    def _skipped(self, line: str, bad: BadValue) -> Skipped:
        return Skipped(file=self.name, line=line, value=shown(bad.value), expected=bad.expected)


def _key(about: Any) -> Any:
    key = about.get("id") if isinstance(about, dict) else None
    return key if isinstance(key, int | str) else None


def _size(about: Mapping[str, Any]) -> tuple[int, int] | None:
    size = about.get("width"), about.get("height")
    if size == (None, None):
        return None
    width, height = (number(one) for one in size)
    return int(width), int(height)


def _box(one: Any, names: Mapping[Any, str]) -> Box:
    if not isinstance(one, dict):
        raise BadValue(one, "an annotation")
    category = one.get("category_id")
    if not isinstance(category, int) or category not in names:
        raise BadValue(category, "category_id: the id of one of the categories")
    if one.get("iscrowd"):
        raise BadValue("iscrowd", "single objects: a region of many cannot be counted")
    box = one.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise BadValue(box, _BOX)
    x, y, width, height = (number(value) for value in box)
    if width < 0 or height < 0:
        raise BadValue(box, _BOX)
    return Box(code=names[category], xyxy_px=from_coco((x, y, width, height)))
