"""Signed evidence bars: what speaks for a cause (filled, right) and what against it (outlined, left)."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.domain.svg.canvas import Canvas, shorten

_ROW = 18.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBar:
    """One piece of evidence and what it adds to the cause, in log-odds (negative: takes away)."""

    evidence_id: str
    label: str
    delta: float


def evidence_bars(
    bars: Sequence[EvidenceBar], *, title: str, width: float = 420, most: int = 8, labels: bool = True
) -> str:
    """The strongest pieces, strongest first.

    Args:
        bars: evidence of one cause.
        title: for readers who cannot see it.
        width: of the drawing in CSS pixels; the height follows from the number of rows.
        most: rows at most.
        labels: write the statements beside the bars; else only the ids, where the statements stand nearby.
    """
    rows = sorted(bars, key=lambda bar: (-abs(bar.delta), bar.evidence_id))[:most]
    desc = ", ".join(f"{row.evidence_id} {'for' if row.delta >= 0 else 'against'}" for row in rows) or "No evidence."
    canvas = Canvas(width, 18 + _ROW * max(len(rows), 1), title=title, desc=desc, kind="evidence")
    if not rows:
        canvas.text(0, 24, "Nothing measured speaks for or against it")
        return canvas.render()
    middle, reach = (width * 0.28, width * 0.26) if labels else (width * 0.54, width * 0.42)
    most_delta = max(abs(row.delta) for row in rows) or 1.0
    canvas.text(middle - 4, 10, "against", anchor="end", size=9)
    canvas.text(middle + 4, 10, "for", size=9)
    for index, row in enumerate(rows):
        _row(canvas, row, 18 + _ROW * index, middle, reach / most_delta, width if labels else 0.0)
    canvas.line(middle, 13, middle, 18 + _ROW * len(rows), "axis")
    return canvas.render()


def _row(canvas: Canvas, row: EvidenceBar, y: float, middle: float, scale: float, width: float) -> None:
    long = max(abs(row.delta) * scale, 1.5)
    style, x = ("bar", middle) if row.delta >= 0 else ("bar-against", middle - long)
    canvas.shape("rect", style, hint=row.label, x=x, y=y, width=long, height=_ROW - 7)
    text_x = width * 0.56
    canvas.text(text_x, y + 9, row.evidence_id, "ink", font_weight="600")
    if width:
        canvas.text(text_x + 24, y + 9, shorten(row.label, int((width - text_x - 24) / 5.2)), "muted")
