"""What was found, as data for a page to look at: every picture is inside it."""

import base64
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from edge_agent.datasets.checking import Checked
from edge_agent.datasets.dataset import Item, Split
from edge_agent.datasets.files import Decode, Unreadable
from edge_agent.datasets.finding import Example, Finding, Level
from edge_agent.datasets.looking import Grey, eight_bits, read_verified
from edge_agent.domain.defect import BoxXyxy
from edge_agent.domain.faults import PartFault

THUMB_PX = 200
_SURROUNDINGS = 2.5
"""A crop shows the box this many times as large."""
_MIN_CROP_PX = 64.0
_RED_BGR = (40, 40, 220)


def page_data(checked: Checked, decode: Decode) -> dict[str, Any]:
    """Everything that the template ``data.html`` shows."""
    dataset = checked.dataset
    pictures = _Pictures(checked, decode)
    return {
        "name": dataset.name,
        "version": dataset.version,
        "made_at": dataset.made_at,
        "facts": {
            "Licence": dataset.licence,
            "Privacy": dataset.privacy,
            "Source": ", ".join(f"{key}: {value}" for key, value in dataset.source.items()),
            "Test groups": ", ".join(dataset.test_groups),
        },
        "splits": [split.value for split in Split],
        "counts": dataset.counts(),
        "classes": [
            {"code": code, "labels": {split.value: by[split] for split in Split}, "all": by.total()}
            for code, by in checked.by_class.items()
        ],
        "most": max((by.total() for by in checked.by_class.values()), default=0),
        "levels": {level.value: checked.count(level) for level in Level},
        "findings": [_finding(one, pictures) for one in checked.findings],
    }


def _finding(one: Finding, pictures: "_Pictures") -> dict[str, Any]:
    return {
        "level": one.level.value,
        "check": one.check,
        "text": one.text,
        "count": one.count,
        "examples": [{"where": case.where, "what": case.what, "pictures": pictures.of(case)} for case in one.examples],
    }


class _Pictures:
    """Thumbnails as data URIs; an image that cannot be shown is left out (a finding of its own says why)."""

    def __init__(self, checked: Checked, decode: Decode) -> None:
        self._folder = checked.folder
        self._decode = decode
        self._hashes: Mapping[str, str | None] = {
            name: digest for item in checked.dataset.items for name, digest in _files(item)
        }

    def of(self, case: Example) -> list[str]:
        """The example's pictures, each as ``data:image/jpeg;base64,…``."""
        found = [self._picture(name, case.xyxy_px) for name in (case.image, case.other) if name]
        return [one for one in found if one]

    def _picture(self, name: str, xyxy_px: BoxXyxy | None) -> str:
        try:
            pixels = eight_bits(read_verified(self._folder, name, self._hashes.get(name), self._decode))
        except (Unreadable, PartFault):
            return ""
        done, encoded = cv2.imencode(".jpg", _thumb(pixels, xyxy_px), [cv2.IMWRITE_JPEG_QUALITY, 85])
        return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}" if done else ""


def _files(item: Item) -> list[tuple[str, str | None]]:
    return [(item.image, item.sha256), *([(item.golden, item.golden_sha256)] if item.golden else [])]


def _thumb(pixels: Grey, xyxy_px: BoxXyxy | None) -> Grey:
    """The whole image, or the box with its surroundings and a frame around it."""
    colour = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR) if pixels.ndim == 2 else pixels
    if xyxy_px is None:
        return _fitted(colour)
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = xyxy_px
    half = max((x1 - x0) * _SURROUNDINGS / 2, (y1 - y0) * _SURROUNDINGS / 2, _MIN_CROP_PX / 2)
    cx, cy = min(max((x0 + x1) / 2, 0), width - 1), min(max((y0 + y1) / 2, 0), height - 1)
    left, top = max(0, int(cx - half)), max(0, int(cy - half))
    crop = colour[top : int(cy + half) + 1, left : int(cx + half) + 1]
    scale = THUMB_PX / max(crop.shape[:2])
    shown = _fitted(crop)
    corners = [round((value - edge) * scale) for value, edge in zip(xyxy_px, (left, top, left, top), strict=True)]
    cv2.rectangle(shown, (corners[0], corners[1]), (corners[2], corners[3]), _RED_BGR, 2)
    return shown


def _fitted(pixels: Grey) -> Grey:
    """The longer side becomes 200 pixels."""
    height, width = pixels.shape[:2]
    scale = THUMB_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.ascontiguousarray(cv2.resize(pixels, size, interpolation=how), np.uint8)
