"""Boxes between the ways they are written down. All sizes in pixels unless the name says share."""

from edge_agent.domain.defect import BoxXyxy

MAX_PX = 1e6
"""No image is wider: a larger number is damage, not a label."""


def from_yolo(cx_cy_w_h_share: BoxXyxy, size_wh: tuple[int, int]) -> BoxXyxy:
    """YOLO's centre and size, as shares of the image."""
    cx, cy, width, height = cx_cy_w_h_share
    return (
        (cx - width / 2) * size_wh[0],
        (cy - height / 2) * size_wh[1],
        (cx + width / 2) * size_wh[0],
        (cy + height / 2) * size_wh[1],
    )


def to_yolo(xyxy_px: BoxXyxy, size_wh: tuple[int, int]) -> BoxXyxy:
    """The inverse of `from_yolo`."""
    x0, y0, x1, y1 = xyxy_px
    width, height = size_wh
    return (x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height


def from_coco(x_y_w_h_px: BoxXyxy) -> BoxXyxy:
    """COCO's corner and size."""
    x, y, width, height = x_y_w_h_px
    return x, y, x + width, y + height


def to_coco(xyxy_px: BoxXyxy) -> BoxXyxy:
    """The inverse of `from_coco`."""
    x0, y0, x1, y1 = xyxy_px
    return x0, y0, x1 - x0, y1 - y0


def iou(a: BoxXyxy, b: BoxXyxy) -> float:
    """Intersection over union; 0 for boxes that share no area, or less than a float can say."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = width * height
    if width <= 0 or height <= 0 or shared == 0:
        return 0.0
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
