"""A page about a training run: its curves, and what the packaged model gets right and wrong. One file, no scripts."""

import argparse
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 420, 220
_LEFT, _BOTTOM, _TOP = 44, 30, 12
_COLOURS = ("#0b5fa5", "#b3541e", "#3a7d44")
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:right}
td:first-child,th:first-child{text-align:left}svg{margin:.5rem 1rem .5rem 0}figure{display:inline-block;margin:0}"""

Line = tuple[str, Sequence[tuple[float, float]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``report``."""
    parser.add_argument("name", choices=["board", "deeppcb"])
    parser.add_argument("--work", type=Path, default=Path("build/train"))
    parser.add_argument(
        "--figures", type=Path, nargs="*", default=[], help="figures.json of `edge-agent evaluate detector --out`"
    )


def run(options: argparse.Namespace) -> None:
    """Write ``report.html`` beside the checkpoint."""
    folder = options.work / options.name
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    figures = [json.loads(file.read_text()) for file in options.figures]
    (folder / "report.html").write_text(page(log, figures), encoding="utf-8")
    print(folder / "report.html")


def page(log: Sequence[Mapping[str, Any]], figures: Sequence[Mapping[str, Any]]) -> str:
    """The page.

    Args:
        log: the lines of ``log.jsonl``.
        figures: evaluations of the packaged model.
    """
    settings = [line["settings"] for line in log if "settings" in line]
    steps = [line for line in log if "heat" in line]
    parts = ["<h1>Training of a detector</h1>", *(_settings(one) for one in settings)]
    parts += ["<h2>Losses</h2>", *(_losses(steps, key, title) for key, title in _LOSSES)] if steps else []
    parts += [_evaluation(one) for one in figures]
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>Training report</title><style>{_STYLE}</style>"
    return "\n".join([head, *parts, "</html>", ""])


_LOSSES = (("heat", "Finding and naming (focal loss per defect)"), ("box", "Boxes (1 - GIoU)"))


def _settings(one: Mapping[str, str]) -> str:
    shown = ", ".join(f"{html.escape(key)} {html.escape(value)}" for key, value in one.items() if value != "None")
    return f"<p>Run: {shown}</p>"


def _losses(steps: Sequence[Mapping[str, Any]], key: str, title: str) -> str:
    points = [(float(line["step"]), float(line[key])) for line in steps]
    return chart(title, "step", [(key, points)])


def _evaluation(one: Mapping[str, Any]) -> str:
    name = f"{html.escape(one['model'])} on {html.escape(one['data'])}"
    head = f"<h2>{name}</h2><p>mAP at IoU 0.33 {one['map_33']:.4f}; at score 0.5: F {one['f_score']:.4f}, "
    head += f"precision {one['precision']:.4f}, recall {one['recall']:.4f}; calibration error "
    head += f"{one['calibration']['ece']:.4f}</p>"
    curve = [(point["recall"], point["precision"]) for point in one["curve"]]
    bins = [(point["score"], point["true_share"]) for point in one["calibration"]["bins"]]
    return "\n".join(
        [
            head,
            chart("Precision against recall", "recall", [("precision", sorted(curve))], unit=True),
            chart("Reliability", "score", [("true", bins), ("ideal", [(0, 0), (1, 1)])], unit=True),
            _classes(one["by_class"]),
            _confusion(one["confusion"]),
        ]
    )


def _classes(by_class: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        f"<tr><td>{html.escape(code)}<td>{_number(one['ap_33'])}<td>{_number(one['recall'])}"
        f"<td>{_number(one['precision'])}<td>{one['truths']}<td>{one['false']}</tr>"
        for code, one in by_class.items()
    ]
    head = "<tr><th>class<th>AP<th>recall<th>precision<th>defects<th>false boxes</tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _confusion(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Truth down, answer across; what is right is left out."""
    names = sorted({one[side] for one in pairs for side in ("truth", "found")})
    count = {(one["truth"], one["found"]): one["count"] for one in pairs}
    head = "".join(f"<th>{html.escape(name)}" for name in names)
    rows = "".join(
        f"<tr><td>{html.escape(truth)}{''.join(f'<td>{count.get((truth, found), 0) or str()}' for found in names)}</tr>"
        for truth in names
    )
    return f"<h3>Confusion: truth down, answer across</h3><table><tr><th>{head}</tr>{rows}</table>"


# --- drawing --------------------------------------------------------------------------------------------------------


def chart(title: str, label: str, lines: Sequence[Line], *, unit: bool = False) -> str:
    """Lines over a common axis as SVG; ``unit``: both axes from 0 to 1."""
    points = [point for _, line in lines for point in line] or [(0.0, 0.0)]
    right = 1.0 if unit else max(x for x, _ in points) or 1.0
    top = 1.0 if unit else max(y for _, y in points) or 1.0

    def at(x: float, y: float) -> str:
        left = _LEFT + (WIDTH - _LEFT - 8) * x / right
        return f"{left:.1f},{HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * y / top:.1f}"

    drawn = [_polyline(line, colour, at) for (_, line), colour in zip(lines, _COLOURS, strict=False)]
    drawn += [_words(at(right * share, 0), f"{right * share:g}", 14) for share in (0, 0.5, 1)]
    drawn += [_words(at(0, top * share), f"{top * share:.2g}", 0, anchor="end") for share in (0.5, 1)]
    axes = f'<polyline points="{at(0, top)} {at(0, 0)} {at(right, 0)}" fill="none" stroke="#666"/>'
    body = f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{html.escape(title)}">{axes}{"".join(drawn)}'
    key = " ".join(
        f'<span style="color:{c}">{html.escape(n)}</span>' for (n, _), c in zip(lines, _COLOURS, strict=False)
    )
    return (
        f"<figure>{body}</svg><figcaption>{html.escape(title)} over {html.escape(label)}: {key}</figcaption></figure>"
    )


def _polyline(line: Sequence[tuple[float, float]], colour: str, at: Any) -> str:
    points = " ".join(at(x, y) for x, y in line)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def _words(place: str, text: str, down: int, *, anchor: str = "middle") -> str:
    x, y = (float(value) for value in place.split(","))
    left = x - 5 if anchor == "end" else x
    return f'<text x="{left:.1f}" y="{y + down + 2:.1f}" font-size="11" text-anchor="{anchor}">{text}</text>'
