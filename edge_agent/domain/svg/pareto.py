"""Pareto chart: what occurs most, and how much of the whole it makes."""

from collections.abc import Mapping
from itertools import accumulate

from edge_agent.domain.svg.canvas import Canvas, shorten, ticks

_LEFT, _RIGHT, _TOP, _BOTTOM = 34.0, 36.0, 16.0, 34.0


def pareto(
    counts: Mapping[str, int],
    *,
    title: str,
    unit: str = "defects",
    size_wh: tuple[float, float] = (420, 220),
    most: int = 7,
) -> str:
    """Bars in falling order with the cumulative share.

    Args:
        counts: name to number; those beyond ``most`` are drawn together as "other", last.
        title: for readers who cannot see it.
        unit: what is counted, for the axis.
        size_wh: width and height in CSS pixels.
        most: bars at most.
    """
    bars = _bars(counts, most)
    total = sum(count for _, count in bars)
    canvas = Canvas(*size_wh, title=title, desc=_desc(bars, total, unit), kind="pareto")
    if not total:
        canvas.text(size_wh[0] / 2, size_wh[1] / 2, f"No {unit} in this period", anchor="middle", size=11)
        return canvas.render()
    width, height = size_wh[0] - _LEFT - _RIGHT, size_wh[1] - _TOP - _BOTTOM
    _scale(canvas, max(count for _, count in bars), width, height, unit)
    _draw(canvas, bars, total, width, height)
    return canvas.render()


def _bars(counts: Mapping[str, int], most: int) -> list[tuple[str, int]]:
    ranked = sorted(((name, count) for name, count in counts.items() if count > 0), key=lambda bar: (-bar[1], bar[0]))
    if len(ranked) <= most:
        return ranked
    return [*ranked[: most - 1], ("other", sum(count for _, count in ranked[most - 1 :]))]


def _desc(bars: list[tuple[str, int]], total: int, unit: str) -> str:
    return f"{total} {unit}. " + ", ".join(f"{name}: {count}" for name, count in bars)


def _scale(canvas: Canvas, most: int, width: float, height: float, unit: str) -> None:
    steps = [step for step in ticks(most) if step == int(step)]
    for step in steps:
        y = _TOP + height - height * step / steps[-1]
        canvas.line(_LEFT, y, _LEFT + width, y, "axis" if step == 0 else "grid")
        canvas.text(_LEFT - 5, y + 3.5, f"{step:.0f}", anchor="end")
    for share in (0.0, 0.5, 1.0):
        canvas.text(_LEFT + width + 5, _TOP + height - height * share + 3.5, f"{share:.0%}".replace("%", " %"))
    canvas.text(2, 9, unit, size=9)
    canvas.text(_LEFT + width + _RIGHT - 2, 9, "cumulative", size=9, anchor="end")


def _draw(canvas: Canvas, bars: list[tuple[str, int]], total: int, width: float, height: float) -> None:
    top = [step for step in ticks(max(count for _, count in bars)) if step == int(step)][-1]
    slot = width / len(bars)
    bar = min(slot * 0.68, 56.0)
    for index, (name, count) in enumerate(bars):
        middle, tall = _LEFT + slot * (index + 0.5), height * count / top
        y = _TOP + height - tall
        share = f"{name}: {count} ({count / total:.0%})"
        canvas.shape("rect", "bar", hint=share, x=middle - bar / 2, y=y, width=bar, height=tall)
        count_y = _TOP + height - 6 if tall > 16 else y - 4
        style = "tag-text" if tall > 16 else "ink"
        canvas.text(middle, count_y, str(count), style, anchor="middle", font_weight="600")
        for row, line in enumerate(_lines(name, int(slot / 5.4))):
            canvas.text(middle, _TOP + height + 13 + row * 11, line, "ink", size=9.5, anchor="middle")
    cumulative = list(accumulate(count for _, count in bars))
    points = [(_LEFT + slot * (i + 0.5), _TOP + height * (1 - part / total)) for i, part in enumerate(cumulative)]
    canvas.polyline(points, "line-halo")
    canvas.polyline(points, "line-sum")
    for x, y in points:
        canvas.shape("circle", "dot-sum", cx=x, cy=y, r=2.75)


def _lines(name: str, width: int) -> list[str]:
    """At most two lines of ``width`` characters, broken at a space, ``_`` or ``-`` where there is one."""
    if len(name) <= width:
        return [name]
    cut = max((name.rfind(mark, 0, width + 1) for mark in " _-"), default=-1)
    if cut <= 0:
        return [shorten(name, width)]
    return [name[:cut].rstrip(), shorten(name[cut:].lstrip(" _-"), width)]
