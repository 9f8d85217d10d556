"""A photo with boxes drawn over it, whole or a cut-out. The picture itself is never changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.domain.defect import BoxXyxy
from edge_agent.domain.svg.canvas import STYLE, clean, number


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoBox:
    """A box in the picture's pixels with the text on its tag. ``doubt`` draws it dashed."""

    xyxy_px: BoxXyxy
    label: str = ""
    doubt: bool = False


def photo(
    href: str,
    size_wh: tuple[int, int],
    boxes: Sequence[PhotoBox] = (),
    *,
    title: str,
    view_xyxy_px: BoxXyxy | None = None,
    shown_px: float = 320,
) -> str:
    """The picture at ``href`` with boxes over it.

    Args:
        href: address of the picture.
        size_wh: its width and height in pixels.
        boxes: what to mark, in its pixels.
        title: for readers who cannot see it.
        view_xyxy_px: the part to show; None shows all.
        shown_px: about how large it will be shown (longer side, CSS pixels), for the thickness of lines.
    """
    x0, y0, x1, y1 = view_xyxy_px or (0.0, 0.0, float(size_wh[0]), float(size_wh[1]))
    unit = max(x1 - x0, y1 - y0) / shown_px
    shown = "; ".join(box.label for box in boxes if box.label) or "no marks"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="photo" role="img" aria-label="{clean(title)}" '
        f'viewBox="{number(x0)} {number(y0)} {number(x1 - x0)} {number(y1 - y0)}" '
        f'font-family="Noto Sans, Helvetica, Arial, sans-serif"><title>{clean(title)}</title>'
        f"<desc>{clean(shown)}</desc>"
        f'<image href="{clean(href)}" x="0" y="0" width="{size_wh[0]}" height="{size_wh[1]}"/>'
    )
    return head + "".join(_box(box, unit, (x0, y0, x1, y1)) for box in boxes) + "</svg>"


def _box(box: PhotoBox, unit: float, view: BoxXyxy) -> str:
    margin = 3 * unit
    x0, y0, x1, y1 = box.xyxy_px
    place = (
        f'x="{number(x0 - margin)}" y="{number(y0 - margin)}" '
        f'width="{number(x1 - x0 + 2 * margin)}" height="{number(y1 - y0 + 2 * margin)}"'
    )
    style = "box-doubt" if box.doubt else "box"
    dash = f' stroke-dasharray="{number(6 * unit)} {number(4 * unit)}"' if box.doubt else ""
    edge = (
        f'<g class="mark"><rect class="c-box-halo" {place} fill="none" stroke="#ffffff" '
        f'stroke-width="{number(4.5 * unit)}"/>'
        f'<rect class="c-{style}" {place} fill="none" stroke="{STYLE[style]["stroke"]}" '
        f'stroke-width="{number(2 * unit)}"{dash}/>'
    )
    return edge + (_tag(box, unit, view) if box.label else "") + "</g>"


def _tag(box: PhotoBox, unit: float, view: BoxXyxy) -> str:
    """The label above the box, or below it where there is no room; kept inside the view."""
    size, wide = 11 * unit, (len(box.label) * 6.3 + 8) * unit
    x = max(min(box.xyxy_px[0] - 4 * unit, view[2] - wide), view[0])
    y = box.xyxy_px[1] - 4 * unit - 15 * unit
    y = y if y >= view[1] else min(box.xyxy_px[3] + 4 * unit, view[3] - 15 * unit)
    return (
        f'<rect class="c-tag" x="{number(x)}" y="{number(y)}" width="{number(wide)}" height="{number(15 * unit)}" '
        f'fill="{STYLE["tag"]["fill"]}"/>'
        f'<text class="c-tag-text" x="{number(x + 4 * unit)}" y="{number(y + 11 * unit)}" '
        f'font-size="{number(size)}" fill="#ffffff">{clean(box.label)}</text>'
    )
