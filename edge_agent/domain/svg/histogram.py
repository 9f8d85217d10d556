"""Histogram: how a measured value is spread, against its limits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.domain.svg.canvas import Canvas, plain, ticks

_LEFT, _RIGHT, _TOP, _BOTTOM = 36.0, 10.0, 18.0, 32.0
_UNREADABLE = 1e100
"""Beyond this (and for NaN) a reading is no measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A vertical line at a value, with a name."""

    value: float
    label: str


def histogram(
    values: Sequence[float],
    *,
    title: str,
    unit: str,
    limits: Sequence[Limit] = (),
    bins: int = 20,
    size_wh: tuple[float, float] = (420, 180),
) -> str:
    """Bars of equal width over the range of the values (and the limits).

    Args:
        values: measurements; those that are none (NaN, infinite) are left out and counted in the description.
        title: for readers who cannot see it.
        unit: of the values, for the axis.
        limits: lines to compare with.
        bins: number of bars.
        size_wh: width and height in CSS pixels.
    """
    finite = np.asarray([value for value in values if abs(value) < _UNREADABLE], dtype=np.float64)
    desc = f"{finite.size} values, {len(values) - finite.size} unreadable."
    if not finite.size:
        canvas = Canvas(*size_wh, title=title, desc=desc, kind="histogram")
        canvas.text(size_wh[0] / 2, size_wh[1] / 2, "Nothing measured in this period", anchor="middle", size=11)
        return canvas.render()
    ends = [*(limit.value for limit in limits), float(finite.min()), float(finite.max())]
    low, high = min(ends), max(ends)
    high = max(high, low + max(abs(low), abs(high)) * 1e-6) if high > low else low + max(1.0, abs(low) * 1e-6)
    canvas = Canvas(
        *size_wh, title=title, desc=f"{desc} Median {plain(float(np.median(finite)))} {unit}.", kind="histogram"
    )
    _bars(canvas, np.histogram(finite, bins=bins, range=(low, high))[0].tolist(), low, high, size_wh)
    _axis(canvas, low, high, unit, limits, size_wh)
    return canvas.render()


def _bars(canvas: Canvas, counts: list[int], low: float, high: float, size_wh: tuple[float, float]) -> None:
    width, height = size_wh[0] - _LEFT - _RIGHT, size_wh[1] - _TOP - _BOTTOM
    steps = [step for step in ticks(max(counts), 3) if step == int(step)]
    for step in steps:
        y = _TOP + height * (1 - step / steps[-1])
        canvas.line(_LEFT, y, _LEFT + width, y, "axis" if step == 0 else "grid")
        canvas.text(_LEFT - 5, y + 3.5, f"{step:.0f}", anchor="end", size=9)
    slot, span = width / len(counts), (high - low) / len(counts)
    for index, count in enumerate(counts):
        if count:
            tall = height * count / steps[-1]
            hint = f"{plain(low + span * index)} to {plain(low + span * (index + 1))}: {count}"
            x = _LEFT + slot * index
            canvas.shape("rect", "bar", hint=hint, x=x + 0.5, y=_TOP + height - tall, width=slot - 1, height=tall)


def _axis(
    canvas: Canvas, low: float, high: float, unit: str, limits: Sequence[Limit], size_wh: tuple[float, float]
) -> None:
    width, bottom = size_wh[0] - _LEFT - _RIGHT, size_wh[1] - _BOTTOM
    canvas.text(2, 9, "parts", size=9)
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        canvas.text(_LEFT + width * share, bottom + 13, plain(low + (high - low) * share), anchor=anchor, size=9)
    canvas.text(_LEFT + width / 2, bottom + 26, unit, anchor="middle", size=9)
    for limit in limits:
        x = _LEFT + width * (limit.value - low) / (high - low)
        canvas.line(x, _TOP, x, bottom, "limit")
        anchor = "end" if x > _LEFT + width / 2 else "start"
        canvas.text(x, _TOP - 4, f"{limit.label} {plain(limit.value)}", "ink", size=9, anchor=anchor)
