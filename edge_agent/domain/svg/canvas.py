"""Writes SVG elements: escaped text, rounded numbers, one style table."""

import math
import re
from collections.abc import Iterable
from html import escape

STYLE: dict[str, dict[str, str]] = {
    "ink": {"fill": "#1b2733"},
    "muted": {"fill": "#55626f"},
    "bad-text": {"fill": "#a3231a"},
    "grid": {"stroke": "#d5dbe1", "stroke-width": "0.75", "fill": "none"},
    "axis": {"stroke": "#55626f", "stroke-width": "1", "fill": "none"},
    "bar": {"fill": "#2f5d8c"},
    "bar-soft": {"fill": "#a9c0d8", "stroke": "#2f5d8c", "stroke-width": "0.75"},
    "bar-against": {"fill": "#ffffff", "stroke": "#a3231a", "stroke-width": "1.25"},
    "line": {"stroke": "#2f5d8c", "stroke-width": "1.75", "fill": "none", "stroke-linejoin": "round"},
    "line-halo": {"stroke": "#ffffff", "stroke-width": "4", "fill": "none", "stroke-linejoin": "round"},
    "line-sum": {"stroke": "#8a6414", "stroke-width": "1.5", "fill": "none", "stroke-linejoin": "round"},
    "dot-sum": {"fill": "#ffffff", "stroke": "#8a6414", "stroke-width": "1.5"},
    "center": {"stroke": "#2c6e49", "stroke-width": "1.25", "fill": "none"},
    "limit": {"stroke": "#a3231a", "stroke-width": "1.25", "stroke-dasharray": "5 3", "fill": "none"},
    "band": {"fill": "#f3e2bd"},
    "band-edge": {"stroke": "#8a6414", "stroke-width": "1", "stroke-dasharray": "2 2", "fill": "none"},
    "dot": {"fill": "#2f5d8c"},
    "dot-bad": {"fill": "#a3231a", "stroke": "#ffffff", "stroke-width": "0.75"},
    "mark": {"fill": "none", "stroke": "#a3231a", "stroke-width": "1.75"},
    "panel": {"fill": "#f4f6f8", "stroke": "#55626f", "stroke-width": "1"},
    "box": {"fill": "none", "stroke": "#e0261b", "stroke-width": "2"},
    "box-doubt": {"fill": "none", "stroke": "#d98a00", "stroke-width": "2", "stroke-dasharray": "6 4"},
    "box-halo": {"fill": "none", "stroke": "#ffffff", "stroke-width": "4"},
    "tag": {"fill": "#e0261b"},
    "tag-text": {"fill": "#ffffff"},
}
"""Class to presentation attributes for paper: they stay apart when printed in black and white."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


def number(value: float) -> str:
    """At most two decimals, no trailing zeros, never ``-0``: the same bytes on every machine."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def clean(text: str) -> str:
    """Escaped for an attribute or element; characters that XML forbids become U+FFFD."""
    return escape(_CONTROL.sub("\ufffd", text), quote=True)


def shorten(text: str, width: int) -> str:
    """At most ``width`` characters, with an ellipsis where something was cut."""
    return text if len(text) <= width else text[: max(width - 1, 1)].rstrip() + "…"


class Canvas:
    """An SVG drawing of ``width`` x ``height`` user units (CSS pixels), origin top left."""

    def __init__(self, width: float, height: float, *, title: str, desc: str, kind: str) -> None:
        self._size_wh = (width, height)
        self._title, self._desc, self._kind = title, desc, kind
        self._parts: list[str] = []

    def shape(self, tag: str, style: str, *, hint: str = "", **attributes: float | str) -> None:
        """One element of a style class; ``hint`` is shown when pointed at. ``_`` in a name stands for ``-``."""
        values = {**STYLE[style], **{key.replace("_", "-"): _value(value) for key, value in attributes.items()}}
        written = "".join(f' {key}="{clean(value)}"' for key, value in values.items())
        body = f"><title>{clean(hint)}</title></{tag}>" if hint else "/>"
        self._parts.append(f'<{tag} class="c-{style}"{written}{body}')

    def text(
        self,
        x: float,
        y: float,
        text: str,
        style: str = "muted",
        *,
        size: float = 10,
        anchor: str = "start",
        **extra: str,
    ) -> None:
        """A line of text with its baseline at (x, y)."""
        more = "".join(f' {key.replace("_", "-")}="{clean(value)}"' for key, value in extra.items())
        fill = STYLE[style]["fill"]
        self._parts.append(
            f'<text class="c-{style}" x="{number(x)}" y="{number(y)}" font-size="{number(size)}" '
            f'text-anchor="{anchor}" fill="{fill}"{more}>{clean(text)}</text>'
        )

    def line(self, x0: float, y0: float, x1: float, y1: float, style: str) -> None:
        """A straight line."""
        self.shape("line", style, x1=x0, y1=y0, x2=x1, y2=y1)

    def polyline(self, points: Iterable[tuple[float, float]], style: str) -> None:
        """A line through the points."""
        self.shape("polyline", style, points=" ".join(f"{number(x)},{number(y)}" for x, y in points))

    def raw(self, markup: str) -> None:
        """Markup that the caller has escaped."""
        self._parts.append(markup)

    def render(self) -> str:
        """The SVG element, fit for inlining into HTML and (with its namespace) for a file."""
        width, height = (number(side) for side in self._size_wh)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="chart {self._kind}" role="img" '
            f'aria-label="{clean(self._title)}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="Noto Sans, Helvetica, Arial, sans-serif"><title>{clean(self._title)}</title>'
            f"<desc>{clean(self._desc)}</desc>{''.join(self._parts)}</svg>"
        )


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else number(value)


def ticks(top: float, wanted: int = 4) -> list[float]:
    """Round values from 0 to at least ``top``, about ``wanted`` steps (1, 2 or 5 times a power of ten)."""
    if not math.isfinite(top) or top <= 0:
        return [0.0, 1.0]
    rough = top / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999999)
    return [round(step * index, 12) for index in range(math.ceil(top / step - 1e-9) + 1)]


def percent(share: float) -> str:
    """A share as a percentage with as many decimals as it needs: ``4 %``, ``0.5 %``."""
    return f"{share * 100:.3g} %"


def plain(value: float) -> str:
    """A number for people: ``12``, ``0.25``, ``1.2e+06`` where it must."""
    return f"{value:.4g}"
