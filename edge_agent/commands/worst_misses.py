"""Pictures of what a detector got wrong, worst first: what was seen, the golden image, the truth and the boxes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge_agent.commands.evaluate_detector import IOU, OPERATING_SCORE, Measured, found_in
from edge_agent.domain.defect import BoxXyxy
from edge_agent.domain.frame import Pixels
from edge_agent.inspecting.accuracy import Judged, iou

MOST = 40
_WINDOW_PX = 200
_ZOOM = 2
_TRUTH, _FOUND = (60, 160, 0), (0, 0, 220)
"""Colours, BGR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """One thing that went wrong.

    Attributes:
        badness: 1 for a defect without any trace of a box; the score for a box on nothing.
        kind: ``missed`` or ``false``.
    """

    badness: float
    kind: str
    code: str
    xyxy_px: BoxXyxy
    look: Measured


def misses(looks: Sequence[Measured]) -> list[Miss]:
    """Worst first. Escaped parts come before all others."""
    found = [miss for look in looks if not look.part.mended for miss in _of(look)]
    return sorted(found, key=lambda one: -one.badness)


def _of(look: Measured) -> Iterator[Miss]:
    for code, box in look.judged.truth:
        if not found_in(look.judged, code, box):
            escaped = 1.0 if look.score < OPERATING_SCORE else 0.0
            badness = 1.0 - _best_score(look.judged, code, box) + escaped
            yield Miss(badness=badness, kind="missed", code=code, xyxy_px=box, look=look)
    for one in look.judged.found:
        right = any(code == one.code and iou(one.xyxy_px, box) >= IOU for code, box in look.judged.truth)
        if one.score >= OPERATING_SCORE and not right:
            yield Miss(badness=one.score, kind="false", code=one.code, xyxy_px=one.xyxy_px, look=look)


def _best_score(image: Judged, code: str, box: BoxXyxy) -> float:
    scores = [one.score for one in image.found if one.code == code and iou(one.xyxy_px, box) >= IOU]
    return max(scores, default=0.0)


def write_pictures(folder: Path, looks: Sequence[Measured], most: int = MOST) -> list[Path]:
    """``worst-001-missed-open-IMAGE.png`` and so on; pictures of an earlier run are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("worst-*.png"):
        old.unlink()
    written = []
    for number, miss in enumerate(misses(looks)[:most], start=1):
        file = folder / f"worst-{number:03}-{miss.kind}-{miss.code}-{miss.look.part.name[:24]}.png"
        cv2.imwrite(str(file), picture(miss))
        written.append(file)
    return written


def picture(miss: Miss) -> Pixels:
    """What was seen beside the golden image, truth green, boxes red; (H, W, 3) uint8 BGR."""
    part = miss.look.part
    left, top = _corner(miss.xyxy_px, part.image)
    seen = _enlarged(part.image, left, top)
    for code, box in part.truth:
        _draw(seen, code, box, (left, top), _TRUTH)
    for one in miss.look.judged.found:
        if one.score >= OPERATING_SCORE / 5:
            _draw(seen, f"{one.code} {one.score:.2f}", one.xyxy_px, (left, top), _FOUND)
    if part.golden is None:
        return seen
    between = np.full((seen.shape[0], 6, 3), 128, np.uint8)
    return np.asarray(np.hstack([seen, between, _enlarged(part.golden, left, top)]), np.uint8)


def _corner(box: BoxXyxy, image: Pixels) -> tuple[int, int]:
    height, width = image.shape[:2]
    x, y = (box[0] + box[2]) / 2 - _WINDOW_PX / 2, (box[1] + box[3]) / 2 - _WINDOW_PX / 2
    return max(0, min(int(x), width - _WINDOW_PX)), max(0, min(int(y), height - _WINDOW_PX))


def _enlarged(image: Pixels, left: int, top: int) -> Pixels:
    window = image[top : top + _WINDOW_PX, left : left + _WINDOW_PX]
    if window.dtype != np.uint8:
        window = (window / max(1.0, float(window.max())) * 255).astype(np.uint8)
    colour = cv2.cvtColor(np.ascontiguousarray(window), cv2.COLOR_GRAY2BGR) if window.ndim == 2 else window
    return np.asarray(cv2.resize(colour, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_NEAREST), np.uint8)


def _draw(canvas: Pixels, text: str, box: BoxXyxy, origin: tuple[int, int], colour: tuple[int, int, int]) -> None:
    x0, y0, x1, y1 = (round((value - origin[index % 2]) * _ZOOM) for index, value in enumerate(box))
    cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, 1)
    line = min(max(10, y0 - 3 if colour == _TRUTH else y1 + 11), canvas.shape[0] - 3)
    cv2.putText(canvas, text, (max(0, x0), line), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)
