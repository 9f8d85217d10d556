"""DeepPCB's folders: ``groupX/NNNNN/*_test.jpg`` beside ``*_temp.jpg``, labels in ``groupX/NNNNN_not/*.txt``.

Source: https://github.com/tangsanli5201/DeepPCB, README, "Image Annotation".
"""

from pathlib import Path

from edge_agent.datasets.dataset import Box, Skipped
from edge_agent.datasets.draft import BadValue, Draft, Gathered, index, number
from edge_agent.datasets.files import Unreadable, inside, read_bounded, shown
from edge_agent.domain.faults import ConfigError

CLASSES = ("open", "short", "mousebite", "spur", "spurious_copper", "pin_hole")
"""DeepPCB's types 1 to 6, in our words."""
_LINE = "x1 y1 x2 y2 type, with type 1 to 6"
_MAX_LABEL_BYTES = 1_000_000


def gather(root: Path) -> Gathered:
    """All pairs. The group is DeepPCB's own: boards of one group share their layout.

    Raises:
        ConfigError: no pair is there.
    """
    drafts: list[Draft] = []
    skipped: list[Skipped] = []
    for image in sorted(root.glob("group*/*/*_test.*")):
        found = _pair(root, image)
        (drafts if isinstance(found, Draft) else skipped).append(found)  # type: ignore[arg-type]
    skipped += _lonely_labels(root)
    if not drafts and not skipped:
        raise ConfigError(f"{root}: no DeepPCB pairs: expected group*/*/*_test.jpg")
    return Gathered(kind="deeppcb", drafts=drafts, skipped=skipped, classes=CLASSES)


def _pair(root: Path, image: Path) -> Draft | Skipped:
    stem, suffix = image.stem.removesuffix("_test"), image.suffix
    labels = image.parent.parent / f"{image.parent.name}_not" / f"{stem}.txt"
    golden = image.with_name(f"{stem}_temp{suffix}")
    name = labels.relative_to(root).as_posix()
    for path in (image, golden, labels):
        origin = path.relative_to(root).as_posix()
        if inside(root, origin) is None:
            return Skipped(file=origin, line="", value="a link out of the folder", expected="a file of the folder")
    try:
        lines = read_bounded(labels, _MAX_LABEL_BYTES).split(b"\n")
    except Unreadable as error:
        return Skipped(file=name, line="", value=str(error), expected=f"the labels of {image.name}")
    boxes = []
    for place, line in enumerate(lines, start=1):
        try:
            boxes += [_box(line)] if line.strip() else []
        except BadValue as bad:
            return Skipped(file=name, line=str(place), value=shown(bad.value), expected=bad.expected)
    group = image.relative_to(root).parts[0]
    return Draft(
        image=image,
        golden=golden,
        origin=image.relative_to(root).as_posix(),
        file=name,
        group=group,
        boxes=tuple(boxes),
        label_source="deeppcb",
    )


def _box(line: bytes) -> Box:
    try:
        words = line.decode("ascii").replace(",", " ").split()
        x0, y0, x1, y1, kind = words
    except (UnicodeDecodeError, ValueError) as error:
        raise BadValue(line, _LINE) from error
    code = index(kind, _LINE)
    corners = (number(x0), number(y0), number(x1), number(y1))
    if not 1 <= code <= len(CLASSES) or corners[2] < corners[0] or corners[3] < corners[1]:
        raise BadValue(line, _LINE)
    return Box(code=CLASSES[code - 1], xyxy_px=corners)


def _lonely_labels(root: Path) -> list[Skipped]:
    """Label files whose image is gone."""
    lonely = []
    for labels in sorted(root.glob("group*/*_not/*.txt")):
        folder = labels.parent.parent / labels.parent.name.removesuffix("_not")
        if not any(folder.glob(f"{labels.stem}_test.*")):
            lonely.append(
                Skipped(
                    file=labels.relative_to(root).as_posix(),
                    line="",
                    value="labels without an image",
                    expected=f"{folder.name}/{labels.stem}_test.jpg",
                )
            )
    return lonely
