"""Defect map: where on the part the defects sit, over its outline or its golden image."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.domain.svg.canvas import Canvas, clean, number, shorten

_SHAPES = ("circle", "square", "triangle", "diamond", "cross", "plus")

_LETTER_PX, _BESIDE_PX = 5.3, 42.0
"""Of the legend: a letter, and what stands beside the name (the mark and the count)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One defect: its centre in golden-image pixels, its class, and where it comes from."""

    x_px: float
    y_px: float
    code: str
    hint: str = ""


def defect_map(
    marks: Sequence[Mark], part_wh_px: tuple[int, int], *, title: str, background: str | None = None, width: float = 240
) -> str:
    """Marks over the part, one shape for each class, with a legend.

    Args:
        marks: the defects; those outside the part are drawn on its edge.
        part_wh_px: width and height of the golden image.
        title: for readers who cannot see it.
        background: address of the golden image; None draws the outline only.
        width: of the drawing in CSS pixels; the height follows from the part's.
    """
    codes = sorted({mark.code for mark in marks}, key=lambda code: (-sum(m.code == code for m in marks), code))
    shapes = {code: _SHAPES[index % len(_SHAPES)] for index, code in enumerate(codes)}
    part_w, part_h = (max(side, 1) for side in part_wh_px)
    scale = (width - 2) / part_w
    # Short names stand in two columns; a class whose name would be cut off has a line of its own.
    columns = 2 if all(len(code) * _LETTER_PX < width / 2 - _BESIDE_PX for code in codes) else 1
    tall, rows = part_h * scale, max(-(-len(codes) // columns), 1)
    desc = f"{len(marks)} defects. " + ", ".join(f"{code}: {sum(m.code == code for m in marks)}" for code in codes)
    canvas = Canvas(width, tall + 8 + rows * 14, title=title, desc=desc, kind="map")
    canvas.shape("rect", "panel", x=1, y=1, width=width - 2, height=tall)
    if background:
        canvas.raw(
            f'<image class="c-faint" href="{clean(background)}" x="1" y="1" width="{number(width - 2)}" '
            f'height="{number(tall)}" preserveAspectRatio="none" opacity="0.3"/>'
        )
    for mark in marks:
        x, y = min(max(mark.x_px, 0), part_w) * scale + 1, min(max(mark.y_px, 0), part_h) * scale + 1
        _mark(canvas, shapes[mark.code], x, y, f"{mark.code} {mark.hint}".strip())
    _legend(canvas, codes, shapes, marks, tall + 14, width, columns)
    return canvas.render()


def _legend(
    canvas: Canvas,
    codes: list[str],
    shapes: dict[str, str],
    marks: Sequence[Mark],
    top: float,
    width: float,
    columns: int,
) -> None:
    if not codes:
        canvas.text(2, top + 3, "no defects")
    for index, code in enumerate(codes):
        x, y = 7 + (index % columns) * width / columns, top + (index // columns) * 14
        _mark(canvas, shapes[code], x, y, "")
        count = sum(mark.code == code for mark in marks)
        canvas.text(
            x + 9,
            y + 3.5,
            f"{shorten(code, int((width / columns - _BESIDE_PX) / _LETTER_PX))} ({count})",
            "ink",
            size=9.5,
        )


def _mark(canvas: Canvas, shape: str, x: float, y: float, hint: str) -> None:
    r = 4.5
    if shape == "circle":
        canvas.shape("circle", "mark", hint=hint, cx=x, cy=y, r=r)
    elif shape == "square":
        canvas.shape("rect", "mark", hint=hint, x=x - r, y=y - r, width=2 * r, height=2 * r)
    else:
        canvas.shape("path", "mark", hint=hint, d=_path(shape, x, y, r))


def _path(shape: str, x: float, y: float, r: float) -> str:
    corners = {
        "triangle": [("M", 0, -r), ("L", r, r), ("L", -r, r), ("Z", 0, 0)],
        "diamond": [("M", 0, -r), ("L", r, 0), ("L", 0, r), ("L", -r, 0), ("Z", 0, 0)],
        "cross": [("M", -r, -r), ("L", r, r), ("M", r, -r), ("L", -r, r)],
        "plus": [("M", 0, -r), ("L", 0, r), ("M", -r, 0), ("L", r, 0)],
    }[shape]
    return " ".join(step if step == "Z" else f"{step}{number(x + dx)} {number(y + dy)}" for step, dx, dy in corners)
