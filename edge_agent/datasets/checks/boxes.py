"""Are the boxes where boxes can be, and of a size that a defect can have?"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

from edge_agent.datasets.boxes import iou
from edge_agent.datasets.dataset import Box, Item
from edge_agent.datasets.finding import Example, Finding, Level, found

TINY_PX = 3.0
HUGE_SHARE = 0.5
WHOLE_SHARE = 0.95
SAME_IOU = 0.9
_SLACK_PX = 0.5
_MOST_PAIRS = 2000
"""Boxes of one image that are compared with each other; no part has more defects."""

KINDS = {
    "boxes.outside": (Level.ERROR, "Boxes with no pixel inside the image."),
    "boxes.empty": (Level.ERROR, "Boxes without width or height."),
    "boxes.beyond_edge": (Level.WARNING, "Boxes that reach beyond the image."),
    "boxes.tiny": (Level.WARNING, f"Boxes with a side below {TINY_PX:g} px: slips of the mouse, or too small to see."),
    "boxes.whole_image": (Level.WARNING, "Boxes around the whole image: a class without a place."),
    "boxes.huge": (Level.WARNING, f"Boxes over more than {HUGE_SHARE:.0%} of the image."),
    "boxes.twice": (Level.WARNING, f"Two boxes of one class on the same place (IoU above {SAME_IOU:g})."),
    "boxes.two_classes": (Level.ERROR, f"Two classes for the same place (IoU above {SAME_IOU:g})."),
}


def check(items: Sequence[Item]) -> list[Finding]:
    """All that is wrong with boxes."""
    cases: dict[str, list[Example]] = defaultdict(list)
    for item in items:
        for box in item.boxes:
            for kind in _wrong(box, item.size_wh):
                cases[kind].append(_example(item, box))
        for a, b in combinations(item.boxes[:_MOST_PAIRS], 2):
            if iou(a.xyxy_px, b.xyxy_px) > SAME_IOU:
                kind = "boxes.twice" if a.code == b.code else "boxes.two_classes"
                cases[kind].append(_example(item, a, f"{a.code} and {b.code}"))
    return [one for kind, (level, text) in KINDS.items() for one in found(level, kind, text, cases[kind])]


def _wrong(box: Box, size_wh: tuple[int, int]) -> list[str]:
    """The worst that is to be said of one box, and whether it reaches beyond the image."""
    x0, y0, x1, y1 = box.xyxy_px
    width, height = size_wh
    if x1 <= x0 or y1 <= y0:
        return ["boxes.empty"]
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        return ["boxes.outside"]
    beyond = min(x0, y0, width - x1, height - y1) < -_SLACK_PX
    share = box.area_px / (width * height)
    kinds = ["boxes.beyond_edge"] * beyond
    if min(x1 - x0, y1 - y0) < TINY_PX:
        kinds.append("boxes.tiny")
    elif share >= WHOLE_SHARE:
        kinds.append("boxes.whole_image")
    elif share > HUGE_SHARE:
        kinds.append("boxes.huge")
    return kinds


def _example(item: Item, box: Box, what: str = "") -> Example:
    place = " ".join(f"{value:g}" for value in box.xyxy_px)
    return Example(where=item.origin, what=f"{what or box.code} at {place}", image=item.image, xyxy_px=box.xyxy_px)
