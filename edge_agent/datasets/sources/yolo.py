"""YOLO's folders: ``images/…`` beside ``labels/…``, names in ``data.yaml`` or ``classes.txt``.

A line is ``class cx cy w h`` as shares of the image, or ``class x y x y …`` (a polygon: its bounding box is taken).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from edge_agent.datasets.boxes import from_yolo
from edge_agent.datasets.dataset import Box, Skipped, Split
from edge_agent.datasets.draft import BadValue, Draft, Gathered, class_name, index, number, split_named
from edge_agent.datasets.files import SUFFIXES, Unreadable, inside, read_bounded, shown, walk
from edge_agent.domain.defect import BoxXyxy
from edge_agent.domain.faults import ConfigError

_MAX_LABEL_BYTES = 4_000_000
_MAX_LIST_BYTES = 64_000_000
_MOST_SHARE = 100.0
"""A share of the image beyond this is damage; between 1 and this it is a wrong label that `data check` reports."""
Named = tuple[Path, Split | None]
_LINE = "class cx cy w h, as shares of the image"
_KEYS = {"train": Split.TRAIN, "val": Split.VAL, "valid": Split.VAL, "test": Split.TEST}


def gather(root: Path, *, unlabelled_is_good: bool = False) -> Gathered:
    """All labelled images.

    Args:
        root: the folder, or a ``data.yaml`` in it.
        unlabelled_is_good: take an image without a label file as one without defects. Otherwise it is skipped:
            labels that got lost must not teach that a defect is nothing.

    Raises:
        ConfigError: no images, or no class names.
    """
    file = root if root.is_file() else _yaml_in(root)
    folder = root.parent if root.is_file() else root
    about = _about(file) if file else {}
    names = _names(about, file, folder)
    base = _base(about, file, folder)
    drafts: list[Draft] = []
    skipped: list[Skipped] = []
    for image, split in _images(about, base, skipped):
        found = _draft(base, image, split, names, unlabelled_is_good)
        (drafts if isinstance(found, Draft) else skipped).append(found)  # type: ignore[arg-type]
    skipped += _lonely_labels(base)
    if not drafts and not skipped:
        raise ConfigError(f"{root}: no images: expected images/ beside labels/, or a data.yaml that names them")
    return Gathered(kind="yolo", drafts=drafts, skipped=skipped, classes=tuple(names.values()))


def _yaml_in(folder: Path) -> Path | None:
    found = [folder / name for name in ("data.yaml", "data.yml", "dataset.yaml") if (folder / name).is_file()]
    return found[0] if found else None


def _about(file: Path) -> Mapping[str, Any]:
    try:
        loaded = yaml.safe_load(read_bounded(file, _MAX_LABEL_BYTES).decode("utf-8"))
    except (Unreadable, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{file}: {shown(str(error), 300)}; expected YAML with names and train") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{file}: expected a mapping with names and train, found {type(loaded).__name__}")
    return loaded


def _names(about: Mapping[str, Any], file: Path | None, folder: Path) -> dict[int, str]:
    """Class number to name."""
    names: Any = about.get("names")
    place = file or folder / "classes.txt"
    if names is None:
        place = folder / "classes.txt"
        try:
            text = read_bounded(place, _MAX_LABEL_BYTES).decode("utf-8")
        except (Unreadable, UnicodeDecodeError) as error:
            raise ConfigError(f"{place}: {error}; expected class names, here or under names in data.yaml") from error
        names = [line for line in text.splitlines() if line.strip()]
    pairs = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(pairs, dict) or not pairs or not all(isinstance(key, int) and key >= 0 for key in pairs):
        raise ConfigError(f"{place}: names: expected a list, or a mapping of class numbers to names")
    try:
        found = {key: class_name(pairs[key]) for key in sorted(pairs)}
    except BadValue as bad:
        raise ConfigError(f"{place}: names: {shown(bad.value)!r}: expected {bad.expected}") from bad
    if len(set(found.values())) != len(found):
        raise ConfigError(f"{place}: names: a name stands there twice; expected one number for each class")
    return found


def _base(about: Mapping[str, Any], file: Path | None, folder: Path) -> Path:
    """Where relative paths begin: ``path`` of the YAML, as long as it stays in the folder that was named."""
    named = about.get("path")
    if named is None or file is None or str(named) in {"", "."}:
        return folder
    base = inside(folder, str(named))
    if base is not None and base.is_dir():
        return base
    if any(isinstance(about.get(key), str) and (folder / str(about[key])).exists() for key in _KEYS):
        return folder  # The folder was moved, as usual: what the YAML names lies beside it.
    raise ConfigError(
        f"{file}: path: {shown(named)!r} is no folder below {folder}; move the YAML there, or remove path"
    )


def _images(about: Mapping[str, Any], base: Path, skipped: list[Skipped]) -> Iterator[Named]:
    named = [(split, key, about[key]) for key, split in _KEYS.items() if about.get(key)]
    if not named:
        yield from _below(base, base, None, skipped)
        return
    for split, key, value in named:
        for entry in value if isinstance(value, list) else [value]:
            path = _inside_or_beside(base, str(entry))
            if path is None or not path.exists():
                expected = "a folder or list of images below the data set"
                skipped.append(Skipped(file="data.yaml", line=key, value=shown(entry), expected=expected))
            elif path.is_file():
                yield from _listed(base, path, split, skipped)
            else:
                yield from _below(base, path, split, skipped)


def _inside_or_beside(base: Path, entry: str) -> Path | None:
    """Exports often write ``../train/images`` and mean ``train/images``."""
    path = inside(base, entry)
    if path is None and entry.startswith("../"):
        path = inside(base, entry.removeprefix("../"))
    return path


def _below(base: Path, folder: Path, split: Split | None, skipped: list[Skipped]) -> Iterator[Named]:
    for path in walk(folder):
        if path.suffix.lower() in SUFFIXES:
            yield path, split or _split_of(path.relative_to(base))
        elif path.is_symlink() and path.is_dir():
            expected = "a folder (links to folders are not followed)"
            skipped.append(Skipped(file=path.relative_to(base).as_posix(), line="", value="a link", expected=expected))


def _split_of(path: Path) -> Split | None:
    return next((split for part in path.parts[:-1] if (split := split_named(part))), None)


def _listed(base: Path, file: Path, split: Split, skipped: list[Skipped]) -> Iterator[Named]:
    name = file.relative_to(base).as_posix()
    try:
        lines = read_bounded(file, _MAX_LIST_BYTES).split(b"\n")
    except Unreadable as error:
        skipped.append(Skipped(file=name, line="", value=str(error), expected="a list of images"))
        return
    for place, line in enumerate(lines, start=1):
        text = line.strip()
        path = inside(base, text.decode("utf-8", "replace")) if text else None
        if path is not None and path.suffix.lower() in SUFFIXES:
            yield path, split
        elif text:
            expected = "the path of an image below the data set"
            skipped.append(Skipped(file=name, line=str(place), value=shown(text), expected=expected))


def _draft(
    base: Path, image: Path, split: Split | None, names: Mapping[int, str], unlabelled_is_good: bool
) -> Draft | Skipped:
    origin = image.relative_to(base).as_posix()
    labels = base / labels_of(origin)
    name = labels.relative_to(base).as_posix()
    if inside(base, origin) is None or inside(base, name) is None:
        return Skipped(file=origin, line="", value="a link out of the folder", expected="a file of the folder")
    lines: list[bytes] = []
    if labels.exists() or not unlabelled_is_good:
        try:
            lines = read_bounded(labels, _MAX_LABEL_BYTES).split(b"\n")
        except Unreadable as error:
            expected = f"the labels of {origin} (an empty file for an image without defects)"
            return Skipped(file=name, line="", value=str(error), expected=expected)
    boxes = []
    for place, line in enumerate(lines, start=1):
        try:
            boxes += [_box(line, names)] if line.strip() else []
        except BadValue as bad:
            return Skipped(file=name, line=str(place), value=shown(bad.value), expected=bad.expected)
    return Draft(
        image=image, origin=origin, file=name, split=split, boxes=tuple(boxes), as_shares=True, label_source="yolo"
    )


def labels_of(image: str) -> str:
    """Where an image's labels are: the last ``images`` in its path becomes ``labels``."""
    path = PurePosixPath(image)
    parts = list(path.parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[:-1][::-1].index("images")
        parts[last] = "labels"
    return PurePosixPath(*parts).with_suffix(".txt").as_posix()


def _box(line: bytes, names: Mapping[int, str]) -> Box:
    try:
        words = line.decode("ascii").split()
    except UnicodeDecodeError as error:
        raise BadValue(line, _LINE) from error
    numbers = f"a class number of {min(names)} to {max(names)}"
    code = index(words[0], numbers)
    if code not in names:
        raise BadValue(words[0], numbers)
    values = [number(word, _MOST_SHARE) for word in words[1:]]
    return Box(code=names[code], xyxy_px=_shares(values, line))


def _shares(values: list[float], line: bytes) -> BoxXyxy:
    if len(values) >= 6 and len(values) % 2 == 0:
        xs, ys = values[0::2], values[1::2]
        return min(xs), min(ys), max(xs), max(ys)
    if len(values) != 4 or values[2] < 0 or values[3] < 0:
        raise BadValue(line, _LINE)
    return from_yolo((values[0], values[1], values[2], values[3]), (1, 1))


def _lonely_labels(base: Path) -> list[Skipped]:
    """Label files whose image is gone."""
    lonely = []
    for labels in walk(base):
        parts = labels.relative_to(base).parts
        if labels.suffix != ".txt" or "labels" not in parts[:-1]:
            continue
        last = len(parts) - 2 - parts[:-1][::-1].index("labels")
        image = base.joinpath(*parts[:last], "images", *parts[last + 1 :])
        if not any(image.with_suffix(suffix).exists() for suffix in (*SUFFIXES, *(s.upper() for s in SUFFIXES))):
            name, expected = labels.relative_to(base).as_posix(), image.with_suffix("").relative_to(base).as_posix()
            lonely.append(Skipped(file=name, line="", value="labels without an image", expected=f"{expected}.jpg"))
    return lonely
