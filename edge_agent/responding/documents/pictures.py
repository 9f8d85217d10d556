"""Photos for documents: a cut-out around the defect, and the same place on a good part."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.domain.defect import BoxXyxy, Defect
from edge_agent.domain.inspection import ImageRef, Inspection
from edge_agent.domain.picture_size import picture_size_wh
from edge_agent.domain.svg import PhotoBox, photo
from edge_agent.ports import ImageStore

_HEAD_BYTES = 1 << 16
_VIEW_TIMES = 5.0
_SHOWN_PX = 140.0
_VIEW_LEAST_PX = 160.0


Address = Callable[[ImageRef, Path], str]
"""Makes the address under which a document finds a stored image."""


def file_address(_: ImageRef, path: Path) -> str:
    """For a printer on this box."""
    return path.resolve().as_uri()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A stored image that is still there, and the address to show it by."""

    path: Path
    size_wh: tuple[int, int]
    href: str


def find_picture(
    inspection: Inspection, role: str, images: ImageStore, address: Address = file_address
) -> Picture | None:
    """The image of this role, or None when none was kept or retention has removed it."""
    ref = next((image for image in inspection.images if image.role == role), None)
    return None if ref is None else picture_of(ref, images, address)


def picture_of(ref: ImageRef, images: ImageStore, address: Address = file_address) -> Picture | None:
    """The image, or None when it is gone or unreadable."""
    path = images.path(ref)
    try:
        with path.open("rb") as file:
            size_wh = picture_size_wh(file.read(_HEAD_BYTES))
    except OSError:
        return None
    return Picture(path=path, size_wh=size_wh, href=address(ref, path)) if size_wh else None


def main_defect(inspection: Inspection, code: str | None = None) -> Defect | None:
    """The surest defect (of this class, where the part has one)."""
    of_class = [defect for defect in inspection.defects if defect.code == code]
    return max(of_class or inspection.defects, key=lambda defect: defect.score, default=None)


def view_around(box: BoxXyxy, size_wh: tuple[int, int]) -> BoxXyxy:
    """A square around the box, some times its size, moved to lie within the picture."""
    x0, y0, x1, y1 = box
    side = min(max(max(x1 - x0, y1 - y0) * _VIEW_TIMES, _VIEW_LEAST_PX), float(min(size_wh)))
    left = min(max((x0 + x1 - side) / 2, 0.0), size_wh[0] - side)
    top = min(max((y0 + y1 - side) / 2, 0.0), size_wh[1] - side)
    return left, top, left + side, top + side


def to_golden(box: BoxXyxy, inspection: Inspection) -> BoxXyxy:
    """A box of the frame in golden-image pixels, by the shift that the gate measured."""
    shift = inspection.quality.shift_xy_px if inspection.quality else None
    dx, dy = shift or (0.0, 0.0)
    x0, y0, x1, y1 = box
    return x0 - dx, y0 - dy, x1 - dx, y1 - dy


def photo_pair(
    inspection: Inspection,
    images: ImageStore,
    *,
    code: str | None,
    label: Callable[[str], str],
    address: Address = file_address,
) -> tuple[dict[str, str], list[str]] | None:
    """The surest defect (the whole picture where there is none) and the same place on the good part.

    Args:
        inspection: of the part.
        images: where its pictures are.
        code: the class to show, where the part has it.
        label: a class as people read it.
        address: of a picture, for the reader of the document.

    Returns:
        Data for a template, and the files it needs; None when no picture is left.
    """
    frame = find_picture(inspection, "frame", images, address)
    if frame is None:
        return None
    defect = main_defect(inspection, code)
    boxes = [PhotoBox(xyxy_px=defect.xyxy_px)] if defect else []
    view = view_around(defect.xyxy_px, frame.size_wh) if defect else None
    part, name = inspection.shot.part_id, label(defect.code) if defect else _why(inspection)
    pair = {
        "part_id": part,
        "label": f"{name} {defect.score:.2f}" if defect else name,
        "inspection_id": str(inspection.inspection_id),
        "defect_svg": photo(
            frame.href, frame.size_wh, boxes, title=f"{name} on {part}", view_xyxy_px=view, shown_px=_SHOWN_PX
        ),
        "golden_svg": "",
    }
    files = [str(frame.path.resolve())]
    if golden := find_picture(inspection, "golden", images, address):
        pair["golden_svg"] = _golden(golden, inspection, boxes, view)
        files.append(str(golden.path.resolve()))
    return pair, files


def _golden(golden: Picture, inspection: Inspection, boxes: Sequence[PhotoBox], view: BoxXyxy | None) -> str:
    places = [PhotoBox(xyxy_px=to_golden(box.xyxy_px, inspection), doubt=True) for box in boxes]
    moved = to_golden(view, inspection) if view else None
    title = "the same place on a good part"
    return photo(golden.href, golden.size_wh, places, title=title, view_xyxy_px=moved, shown_px=_SHOWN_PX)


def _why(inspection: Inspection) -> str:
    return inspection.reasons[0].text if inspection.reasons else ""


def photo_pairs(
    inspections: Iterable[Inspection],
    images: ImageStore,
    *,
    code: str | None,
    label: Callable[[str], str],
    most: int,
    address: Address = file_address,
) -> tuple[list[dict[str, str]], list[str]]:
    """The pairs of the first ``most`` inspections that still have a picture, and all files they need."""
    pairs: list[dict[str, str]] = []
    files: list[str] = []
    for inspection in inspections:
        if len(pairs) == most:
            break
        if made := photo_pair(inspection, images, code=code, label=label, address=address):
            pairs.append(made[0])
            files.extend(made[1])
    return pairs, sorted(set(files))


def surest_first(inspections: Sequence[Inspection]) -> list[Inspection]:
    """By score, then by id, so that the choice repeats."""
    return sorted(inspections, key=lambda seen: (-seen.score, seen.inspection_id))
