"""Folders as labels: ``good/`` and a folder for each class, below ``train/``, ``val/`` and ``test/`` if need be.

With MVTec's ``ground_truth/<class>/<name>_mask.png`` (white where the defect is) the masks' regions become boxes;
without, the image is known to have the defect, not where.
"""

from pathlib import Path

import cv2
import numpy as np

from edge_agent.datasets.dataset import Box, Skipped, Split
from edge_agent.datasets.draft import BadValue, Draft, Gathered, class_name, split_named
from edge_agent.datasets.files import SUFFIXES, Decode, Unreadable, inside, read_bounded, walk
from edge_agent.domain.faults import ConfigError, PartFault

GOOD = frozenset({"good", "ok"})
MASKS = "ground_truth"
_MIN_MASK_PX = 4
"""Smaller specks of a mask are its encoder's, not the defect's."""


def gather(root: Path, decode: Decode) -> Gathered:
    """All images, labelled by the folder they lie in.

    Raises:
        ConfigError: no images.
    """
    drafts: list[Draft] = []
    skipped: list[Skipped] = []
    for path in walk(root):
        relative = path.relative_to(root)
        if relative.parts[0] == MASKS:
            continue
        found = _draft(root, path, decode)
        (drafts if isinstance(found, Draft) else skipped).append(found)  # type: ignore[arg-type]
    if not drafts:
        raise ConfigError(f"{root}: no images in class folders: expected good/ and a folder for each defect class")
    codes = {code for one in drafts for code in (*one.codes, *(box.code for box in one.boxes))}
    return Gathered(kind="folders", drafts=drafts, skipped=skipped, classes=tuple(sorted(codes)))


def _draft(root: Path, path: Path, decode: Decode) -> Draft | Skipped:
    origin = path.relative_to(root).as_posix()

    def skip(value: str, expected: str) -> Skipped:
        return Skipped(file=origin, line="", value=value, expected=expected)

    parts = list(path.relative_to(root).parts)
    split = _split_folder(parts[0]) if len(parts) > 1 else None
    folders = parts[1:-1] if split else parts[:-1]
    if inside(root, origin) is None or path.is_dir():
        return skip("a link", "a file of the folder (links out of it and to folders are not followed)")
    if path.suffix.lower() not in SUFFIXES:
        return skip(path.suffix or "no suffix", f"an image: {', '.join(sorted(SUFFIXES))}")
    if not folders:
        return skip("an image in no class folder", "good/ or a folder named as the class")
    try:
        code = class_name(folders[0])
        good = code.lower() in GOOD
        boxes = () if good else _mask_boxes(root / MASKS / code, path, code, decode)
    except BadValue as bad:
        return skip(str(bad.value), bad.expected)
    return Draft(
        image=path,
        origin=origin,
        file=origin,
        split=split,
        boxes=boxes,
        codes=() if good or boxes else (code,),
        label_source="folders",
    )


def _split_folder(name: str) -> Split | None:
    return split_named(name) if name.lower() in {"train", "val", "valid", "validation", "test"} else None


def _mask_boxes(folder: Path, image: Path, code: str, decode: Decode) -> tuple[Box, ...]:
    """The regions of the image's mask; none where there is no mask."""
    names = [f"{image.stem}_mask.png", f"{image.stem}.png", f"{image.stem}_mask{image.suffix}"]
    mask = next((folder / name for name in names if (folder / name).exists()), None)
    if mask is None:
        return ()
    try:
        pixels = decode(read_bounded(mask), name=mask.name)
    except (Unreadable, PartFault) as error:
        raise BadValue(f"mask {mask.name}: {error}", "a readable mask, or none") from error
    grey = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    regions = cv2.connectedComponentsWithStats((grey > np.iinfo(grey.dtype).max // 2).astype(np.uint8))[2][1:]
    boxes = tuple(
        Box(code=code, xyxy_px=(float(x), float(y), float(x + width), float(y + height)))
        for x, y, width, height, area in regions
        if area >= _MIN_MASK_PX
    )
    if not boxes:
        raise BadValue(f"mask {mask.name} is empty", "a mask that shows the defect")
    return boxes
