"""``edge-agent evaluate``: how well does a detector see? Measured through the station's own path."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.commands.desk import MODELS, Desk, recipe_of
from edge_agent.commands.evaluate_detector import LOWEST_SCORE, as_text, measure, summarise
from edge_agent.commands.evaluate_diagnosis import diagnosis
from edge_agent.commands.labelled import Labelled, Selection, load, mended
from edge_agent.commands.machine import machine
from edge_agent.commands.worst_misses import write_pictures
from edge_agent.observability import logs

app = typer.Typer(no_args_is_help=True)


app.command("diagnosis")(diagnosis)


@app.callback()
def evaluate() -> None:
    """Measure models on labelled images, and the diagnosis on scenarios."""


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
    mend: Annotated[
        bool, typer.Option("--mend", help="Judge each defective part again, its labelled boxes filled from the golden.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the figures and pictures of the worst misses.")] = None,
    models: Annotated[Path, typer.Option(help="The folder of the models.")] = MODELS,
    threads: Annotated[int, typer.Option(min=1, max=64)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Measure a detector on labelled images.

    Every image goes through gate, registration, detector and decision, as on the line. The score threshold is the
    card's calibrated 0.5 and is not tuned on this data. A part escapes when it has a defect and is accepted; it is
    overkill when it has none and is not accepted. Data that the model was trained on says nothing: see its card.

    Data without clean parts says nothing about overkill. With --mend each defective part is judged a second time with
    its labelled boxes filled from the golden image: no defect is left, the scan's own noise is.

    Examples:

    edge-agent evaluate detector --model board --data boards:1:200

    edge-agent evaluate detector --model deeppcb --data DeepPCB --groups group92000 --mend --json

    edge-agent evaluate detector --model deeppcb --data build/data --split test --out build/evaluation
    """
    logs.configure(level="warning", style="console")
    selection = Selection(groups=tuple(name for name in groups.split(",") if name), split=split)
    desk = Desk(recipe_of(recipe, model), models=models, threads=threads, min_score=LOWEST_SCORE)
    looks = measure(desk, _parts(data, selection, mend), keep_pixels=out is not None)
    figures = summarise(looks, desk.detector.card.classes)
    figures |= {"model": f"{desk.detector.ref.name}/{desk.detector.ref.version}", "machine": machine()}
    figures |= {"data": f"{data} {groups}".strip() if not split else f"{data} {split.name}", "threads": threads}
    if out is not None:
        write_pictures(out, looks)
        (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    typer.echo(json.dumps(figures) if as_json else as_text(figures))


def _parts(data: str, selection: Selection, mend: bool) -> Iterator[Labelled]:
    for part in load(data, selection):
        yield part
        if mend and part.truth and part.golden is not None:
            yield mended(part)
