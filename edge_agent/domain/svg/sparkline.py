"""Sparkline: the course of a value, small enough for a line of text."""

from collections.abc import Sequence

from edge_agent.domain.svg.canvas import Canvas, plain


def sparkline(values: Sequence[float | None], *, title: str, size_wh: tuple[float, float] = (96, 22)) -> str:
    """A line through the values, the last one marked. None is a gap: unknown is not drawn as normal."""
    known = [value for value in values if value is not None]
    desc = f"from {plain(known[0])} to {plain(known[-1])}" if known else "no values"
    canvas = Canvas(*size_wh, title=title, desc=desc, kind="spark")
    if not known:
        return canvas.render()
    low, span = min(known), (max(known) - min(known)) or 1.0
    step = (size_wh[0] - 6) / max(len(values) - 1, 1)
    run: list[tuple[float, float]] = []
    for index, value in enumerate([*values, None]):
        if value is not None:
            run.append((3 + index * step, size_wh[1] - 3 - (size_wh[1] - 6) * (value - low) / span))
            continue
        if len(run) > 1:
            canvas.polyline(run, "line")
        elif run:
            canvas.shape("circle", "dot", cx=run[0][0], cy=run[0][1], r=1)
        run = []
    if values and values[-1] is not None:
        y = size_wh[1] - 3 - (size_wh[1] - 6) * (values[-1] - low) / span
        canvas.shape("circle", "dot", cx=3 + (len(values) - 1) * step, cy=y, r=2.25)
    return canvas.render()
