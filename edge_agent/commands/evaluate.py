"""``edge-agent evaluate``: how well does a detector see? Measured through the station's own path."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.commands.desk import MODELS, Desk, recipe_of
from edge_agent.commands.labelled import Labelled, Selection, load
from edge_agent.commands.machine import machine
from edge_agent.domain.inspection import Disposition, Inspection
from edge_agent.domain.quality import wilson
from edge_agent.inspecting.accuracy import (
    Counts,
    Found,
    Judged,
    average_precision,
    counts,
    mean_average_precision,
    total,
)
from edge_agent.observability import logs

app = typer.Typer(no_args_is_help=True)

IOU = 0.33
"""DeepPCB's own criterion; 0.5 is reported beside it."""
LOWEST_SCORE = 0.01
"""Average precision needs the whole curve, far below what a station reports."""
OPERATING_SCORE = 0.5
"""Fixed: scores are calibrated when a model is packaged, nothing is tuned on the data measured here."""


@app.callback()
def evaluate() -> None:
    """Measure models on labelled images."""


@app.command("detector")
def detector(
    model: Annotated[str, typer.Option(help="name or name/version.")],
    data: Annotated[str, typer.Option(help="boards:SEED:N (rendered), an imported data set, or DeepPCB's folder.")],
    groups: Annotated[str, typer.Option(help="Groups, separated by commas; default all.")] = "",
    split: Annotated[
        Path | None,
        typer.Option(
            help="A file that lists DeepPCB images; of an imported data set train, val or test (the default)."
        ),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="Judge parts by this recipe instead of the plain one.")] = None,
    models: Annotated[Path, typer.Option(help="The folder of the models.")] = MODELS,
    threads: Annotated[int, typer.Option(min=1, max=64)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Measure a detector on labelled images.

    Every image goes through gate, registration, detector and decision, as on the line. The score threshold is the
    card's calibrated 0.5 and is not tuned on this data. A part escapes when it has a defect and is accepted; it is
    overkill when it has none and is not accepted. Data that the model was trained on says nothing: see its card.

    Examples:

    edge-agent evaluate detector --model board --data boards:1:200

    edge-agent evaluate detector --model deeppcb --data DeepPCB --groups group92000 --json

    edge-agent evaluate detector --model deeppcb --data build/data --split test
    """
    logs.configure(level="warning", style="console")
    selection = Selection(groups=tuple(name for name in groups.split(",") if name), split=split)
    desk = Desk(recipe_of(recipe, model), models=models, threads=threads, min_score=LOWEST_SCORE)
    looks = measure(desk, load(data, selection))
    figures = summarise(looks, desk.detector.card.classes)
    figures |= {"model": f"{desk.detector.ref.name}/{desk.detector.ref.version}", "machine": machine()}
    figures |= {"data": f"{data} {groups}".strip() if not split else f"{data} {split.name}", "threads": threads}
    typer.echo(json.dumps(figures) if as_json else as_text(figures))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One labelled part and what became of it."""

    inspection: Inspection
    judged: Judged

    @property
    def defective(self) -> bool:
        """Does the truth name a defect?"""
        return bool(self.judged.truth)


def measure(desk: Desk, parts: Iterable[Labelled]) -> list[Measured]:
    """Inspect all parts."""
    return [_measure(desk, part) for part in parts]


def _measure(desk: Desk, part: Labelled) -> Measured:
    inspection = desk.inspect_pixels(part.image, part.golden, part.name)
    found = tuple(Found(code=one.code, score=one.score, xyxy_px=one.xyxy_px) for one in inspection.defects)
    return Measured(inspection=inspection, judged=Judged(found=found, truth=part.truth))


def summarise(looks: Sequence[Measured], codes: Sequence[str]) -> dict[str, Any]:
    """All figures."""
    images = [one.judged for one in looks]
    by_code = counts(images, codes, IOU, OPERATING_SCORE)
    every = total(by_code)
    times = sorted(one.inspection.duration_ms for one in looks)
    return {
        "images": len(images),
        "defects": sum(len(image.truth) for image in images),
        "map_33": round(mean_average_precision(images, codes, 0.33), 4),
        "map_50": round(mean_average_precision(images, codes, 0.5), 4),
        "f_score": round(every.f_score, 4),
        "precision": round(every.precision, 4),
        "recall": round(every.recall, 4),
        "false_boxes_per_image": round(every.false / max(1, len(images)), 4),
        "by_class": {code: _class_figures(images, code, by_code) for code in codes},
        "escapes": _share([one.inspection.disposition is Disposition.ACCEPT for one in looks if one.defective]),
        "overkill": _share(
            [one.inspection.disposition is not Disposition.ACCEPT for one in looks if not one.defective]
        ),
        "ms_median": round(statistics.median(times), 2) if times else None,
        "ms_p99": round(times[min(len(times) - 1, int(0.99 * len(times)))], 2) if times else None,
    }


def _class_figures(images: Sequence[Judged], code: str, by_code: Mapping[str, Counts]) -> dict[str, Any]:
    one = by_code[code]
    precision = average_precision(images, code, IOU)
    low, high = wilson(one.hit, one.hit + one.missed)
    return {
        "ap_33": None if precision is None else round(precision, 4),
        "recall": round(one.recall, 4),
        "recall_95": [round(low, 4), round(high, 4)],
        "precision": round(one.precision, 4),
        "truths": one.hit + one.missed,
        "false": one.false,
    }


def _share(cases: Sequence[bool]) -> dict[str, Any] | None:
    """Count, number and Wilson's 95 % interval; None where there was no such part."""
    if not cases:
        return None
    low, high = wilson(sum(cases), len(cases))
    return {"count": sum(cases), "of": len(cases), "interval_95": [round(low, 4), round(high, 4)]}


def as_text(figures: Mapping[str, Any]) -> str:
    """For people."""
    lines = [
        f"{figures['model']} on {figures['data']}: {figures['images']} images, {figures['defects']} defects",
        f"mAP {figures['map_33']:.3f} (IoU 0.33), {figures['map_50']:.3f} (IoU 0.5); at score {OPERATING_SCORE}: "
        f"F {figures['f_score']:.3f}, precision {figures['precision']:.3f}, recall {figures['recall']:.3f}",
    ]
    for code, one in figures["by_class"].items():
        low, high = one["recall_95"]
        precision = "-" if one["ap_33"] is None else f"{one['ap_33']:.3f}"
        lines.append(
            f"  {code:16} AP {precision}  recall {one['recall']:.3f} ({low:.2f} to {high:.2f}) of {one['truths']}, "
            f"{one['false']} false"
        )
    lines.append(f"escapes: {_as_share(figures['escapes'])}; overkill: {_as_share(figures['overkill'])}")
    lines.append(f"false boxes per image: {figures['false_boxes_per_image']:.3f}")
    lines.append(
        f"frame to decision: median {figures['ms_median']} ms, p99 {figures['ms_p99']} ms, {figures['machine']}"
    )
    return "\n".join(lines)


def _as_share(share: Mapping[str, Any] | None) -> str:
    if share is None:
        return "no such parts in this data"
    low, high = share["interval_95"]
    return f"{share['count']} of {share['of']} parts (95 %: {low:.1%} to {high:.1%})"
