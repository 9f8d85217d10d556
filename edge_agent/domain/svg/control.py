"""Control chart: a rate (or a CUSUM) over time, with its limits and the interval in which a change began."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.domain.svg.canvas import Canvas, percent, plain, ticks

_LEFT, _RIGHT, _TOP, _BOTTOM = 42.0, 58.0, 18.0, 32.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartPoint:
    """One subgroup.

    Attributes:
        label: when, for the axis and the hint, e.g. ``10:42``.
        value: the share of defective parts, or the statistic.
        upper: this subgroup's own upper limit; None where there is none.
        n: parts in it.
    """

    label: str
    value: float
    upper: float | None = None
    n: int = 0


def control_chart(
    points: Sequence[ChartPoint],
    *,
    title: str,
    center: float | None = None,
    center_label: str = "normal",
    threshold: float | None = None,
    threshold_label: str = "alarm",
    onset: tuple[float, float] | None = None,
    as_percent: bool = True,
    unit: str = "defective",
    size_wh: tuple[float, float] = (420, 220),
) -> str:
    """Points in order, joined; those above their limit are drawn as larger diamonds.

    Args:
        points: oldest first.
        title: for readers who cannot see it.
        center: the normal value, drawn as a line.
        center_label: its name.
        threshold: one limit for all points (CUSUM); p-chart limits stand in the points.
        threshold_label: its name.
        onset: from and to as positions in ``points`` (0 is the first), drawn as a band.
        as_percent: values are shares; the axis then ends at 100 %.
        unit: what the values are, for the axis.
        size_wh: width and height in CSS pixels.
    """
    canvas = Canvas(*size_wh, title=title, desc=_desc(points, onset), kind="control")
    if not points:
        canvas.text(size_wh[0] / 2, size_wh[1] / 2, "No parts in this period yet", anchor="middle", size=11)
        return canvas.render()
    plot = _Plot(points, size_wh, [center or 0.0, threshold or 0.0], as_percent=as_percent)
    if onset:
        plot.band(canvas, onset)
    plot.grid(canvas, unit)
    for level, style, label in ((center, "center", center_label), (threshold, "limit", threshold_label)):
        if level is not None:
            plot.level(canvas, level, style, label)
    plot.limits(canvas)
    plot.draw(canvas, threshold)
    return canvas.render()


def _desc(points: Sequence[ChartPoint], onset: tuple[float, float] | None) -> str:
    if not points:
        return "No data."
    above = sum(_is_above(point, None) for point in points)
    began = f" The change began between {_near(points, onset[0])} and {_near(points, onset[1])}." if onset else ""
    return f"{len(points)} points from {points[0].label} to {points[-1].label}, {above} above their limit.{began}"


def _near(points: Sequence[ChartPoint], position: float) -> str:
    return points[min(max(round(position), 0), len(points) - 1)].label


def _is_above(point: ChartPoint, threshold: float | None) -> bool:
    limit = point.upper if point.upper is not None else threshold
    return limit is not None and point.value > limit


class _Plot:
    """Maps positions and values to the drawing."""

    def __init__(
        self,
        points: Sequence[ChartPoint],
        size_wh: tuple[float, float],
        levels: list[float],
        *,
        as_percent: bool,
    ) -> None:
        self._points = points
        self._show: Callable[[float], str] = percent if as_percent else plain
        self._width, self._height = size_wh[0] - _LEFT - _RIGHT, size_wh[1] - _TOP - _BOTTOM
        highest = max([*levels, *(max(point.value, point.upper or 0.0) for point in points)])
        self._ticks = ticks(min(highest * 1.05, 1.0) if as_percent else highest * 1.05)

    def x(self, position: float) -> float:
        return _LEFT + self._width * (position + 0.5) / len(self._points)

    def y(self, value: float) -> float:
        return _TOP + self._height * (1 - value / self._ticks[-1])

    def grid(self, canvas: Canvas, unit: str) -> None:
        canvas.text(2, 9, unit, size=9)
        for tick in self._ticks:
            y = self.y(tick)
            canvas.line(_LEFT, y, _LEFT + self._width, y, "axis" if tick == 0 else "grid")
            canvas.text(_LEFT - 5, y + 3.5, self._show(tick), anchor="end", size=9)
        last = len(self._points) - 1
        for position in sorted({0, last // 3, 2 * last // 3, last}):
            anchor = "middle" if last else "start"
            canvas.text(self.x(position), _TOP + self._height + 13, self._points[position].label, anchor=anchor, size=9)

    def band(self, canvas: Canvas, onset: tuple[float, float]) -> None:
        """The interval, at least three pixels wide, and its name."""
        low, high = (min(max(edge, -0.5), len(self._points) - 0.5) for edge in onset)
        x0, x1 = self.x(low), max(self.x(high), self.x(low) + 3)
        canvas.shape("rect", "band", hint="the change began here", x=x0, y=_TOP, width=x1 - x0, height=self._height)
        canvas.line(x0, _TOP, x0, _TOP + self._height, "band-edge")
        canvas.line(x1, _TOP, x1, _TOP + self._height, "band-edge")
        anchor = "end" if x0 > _LEFT + self._width * 0.8 else "start"
        canvas.text(x1 if anchor == "end" else x0, _TOP - 4, "change began", "ink", size=9, anchor=anchor)

    def level(self, canvas: Canvas, level: float, style: str, label: str) -> None:
        canvas.line(_LEFT, self.y(level), _LEFT + self._width, self.y(level), style)
        x = _LEFT + self._width + 4
        canvas.text(x, self.y(level) - 1.5, label, "ink", size=9)
        canvas.text(x, self.y(level) + 8.5, self._show(level), "ink", size=9)

    def limits(self, canvas: Canvas) -> None:
        """The upper limit as steps: it depends on the number of parts in each subgroup."""
        steps: list[tuple[float, float]] = []
        for position, point in enumerate(self._points):
            if point.upper is not None:
                steps += [(self.x(position - 0.5), self.y(point.upper)), (self.x(position + 0.5), self.y(point.upper))]
        if steps:
            canvas.polyline(steps, "limit")
            canvas.text(steps[-1][0] + 4, steps[-1][1] + 3, "limit", "ink", size=9)

    def draw(self, canvas: Canvas, threshold: float | None) -> None:
        places = [(self.x(position), self.y(point.value)) for position, point in enumerate(self._points)]
        canvas.polyline(places, "line")
        small = len(places) > 60
        for (x, y), point in zip(places, self._points, strict=True):
            hint = f"{point.label}: {self._show(point.value)}" + (f" of {point.n} parts" if point.n else "")
            if _is_above(point, threshold):
                r = 3.0 if small else 4.5
                spots = f"{x:.2f},{y - r:.2f} {x + r:.2f},{y:.2f} {x:.2f},{y + r:.2f} {x - r:.2f},{y:.2f}"
                canvas.shape("polygon", "dot-bad", hint=hint, points=spots)
            elif not small:
                canvas.shape("circle", "dot", hint=hint, cx=x, cy=y, r=2.25)
