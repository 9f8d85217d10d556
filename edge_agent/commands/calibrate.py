"""``edge-agent calibrate``: limits of a station from its own good frames."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.adapters.cameras.image_file import read_image
from edge_agent.commands.inspect import SUFFIXES
from edge_agent.config.load import load_recipe
from edge_agent.domain.faults import ConfigError, PartFault
from edge_agent.domain.recipe import ImageLimits
from edge_agent.inspecting.calibrating import CEILINGS, SPANS, Calibration, calibrate, measure
from edge_agent.inspecting.gate import Reference
from edge_agent.observability import logs

app = typer.Typer(no_args_is_help=True)


@app.callback()
def main() -> None:
    """Set a station's limits from its own good frames."""


@app.command("gate")
def gate_limits(
    good: Annotated[Path, typer.Option(help="Folder with good frames of one product (not below it).")],
    recipe: Annotated[
        Path | None, typer.Option(help="The product's recipe: its golden image, size and bounds.")
    ] = None,
    golden: Annotated[Path | None, typer.Option(help="The golden image, where no recipe names it.")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="Print JSON instead of the recipe's section.")] = False,
) -> None:
    """Set the image gate's limits from good frames of this station.

    Prints the `image:` section to put into the recipe; nothing is changed. Limits are two-sided where both sides are
    faults (fineness: too little is blur, too much is noise), and lie outside of everything that was seen. With a
    golden image, tiles are compared with it too (occlusion, glare, missing or wrong pieces, turned parts).

    Example: edge-agent calibrate gate --good frames --recipe plant_config/recipes/board-a.yaml

    Exit codes: 0 done, 78 the frames or the recipe do not do.
    """
    logs.configure(level="warning", style="console")
    if not good.is_dir():
        raise ConfigError(f"{good} is not a folder")
    rule = load_recipe(recipe) if recipe else None
    named = golden or (Path(rule.golden.image_path) if rule and rule.golden and rule.golden.image_path else None)
    reference = Reference.of(read_image(named)) if named else None
    seen, sizes = [], set()
    for file, metrics, size in _measured(good, reference):
        if metrics is None:
            typer.echo(f"skipped: {file.name}: {size}", err=True)
            continue
        seen.append(metrics)
        sizes.add(size)
    if len(sizes) > 1:
        raise ConfigError(f"{good}: frames of different sizes ({', '.join(sorted(sizes))}): calibrate one product")
    done = calibrate(seen, rule.image if rule else ImageLimits())
    typer.echo(json.dumps(as_section(done.limits)) if json_lines else as_text(done))


def _measured(folder: Path, reference: Reference | None) -> Iterator[tuple[Path, dict[str, float] | None, str]]:
    """Each frame's metrics and size, or None and why not."""
    for file in sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in SUFFIXES):
        try:
            pixels = read_image(file)
        except PartFault as fault:
            yield file, None, fault.text
            continue
        quality = measure(pixels, reference)
        if quality.usable:
            yield file, dict(quality.metrics), f"{pixels.shape[1]}x{pixels.shape[0]}"
        else:
            yield file, None, quality.reasons[0].text


def as_section(limits: ImageLimits) -> dict[str, object]:
    """The recipe's ``image`` section."""
    found: dict[str, object] = {"max_megapixels": limits.max_megapixels}
    if limits.size_wh:
        found["size_wh"] = list(limits.size_wh)
    for name in SPANS:
        span = getattr(limits, name)
        if span is not None:
            found[name] = [float(f"{span[0]:.4g}"), float(f"{span[1]:.4g}")]
    for name in (*CEILINGS, "min_match"):
        value = getattr(limits, name)
        if value is not None:
            found[name] = float(f"{value:.4g}")
    return found


def as_text(done: Calibration) -> str:
    """The section as YAML, with what it rests on."""
    lines = [
        f"# from {done.frames} good frames; judged by limits made without them, {done.refused} would be refused",
        "image:",
    ]
    lines += [f"  {name}: {value}" for name, value in as_section(done.limits).items()]
    return "\n".join(lines)
