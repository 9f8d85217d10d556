"""``edge-agent inspect``: image files through the same gate, detector and decision as on the line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.commands.desk import MODELS, Desk, recipe_of
from edge_agent.domain.inspection import Inspection
from edge_agent.observability import logs

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})

DEEPPCB_NAMES = {"spurious_copper": "copper", "pin_hole": "pin-hole"}
"""DeepPCB's words for our classes, where they differ."""


class Format(StrEnum):
    """How results are printed."""

    text = "text"
    json = "json"
    deeppcb = "deeppcb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One image and, where named, its golden image."""

    image: Path
    golden: Path | None = None


def command(
    images: Annotated[list[Path] | None, typer.Argument(help="Image files.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Every image in this folder (not below it).")] = None,
    pairs: Annotated[Path | None, typer.Option(help='A file with lines "image golden".')] = None,
    recipe: Annotated[Path | None, typer.Option(help="The recipe file: limits, model, golden image.")] = None,
    model: Annotated[str | None, typer.Option(help="A model's name; without --recipe every class counts.")] = None,
    golden: Annotated[Path | None, typer.Option(help="The known-good image of all these images.")] = None,
    format: Annotated[Format, typer.Option(help="json is one line per image.")] = Format.text,
    json_lines: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for result files (--format deeppcb).")] = None,
    models: Annotated[Path, typer.Option(help="The folder of the models.")] = MODELS,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of the detector.")] = 1,
) -> None:
    """Inspect image files.

    Each image goes through the gate, the detector and the recipe's decision, as a part on the line does. An image
    that cannot be read or judged gets a line as well (NOT_INSPECTED or NOT_DECIDABLE, HOLD, with the reason).

    Examples:

    edge-agent inspect board.png --model board --golden golden.png

    edge-agent inspect --folder images --recipe plant_config/recipes/board-a.yaml --format json

    edge-agent inspect --pairs pairs.txt --model deeppcb --format deeppcb --out results

    Exit codes: 0 all images have an answer (whatever it is), 2 wrong usage, 78 a recipe or model is wrong.
    """
    logs.configure(level="warning", style="console")
    chosen = Format.json if json_lines else format
    if recipe is None and model is None:
        raise typer.BadParameter("give --recipe or --model")
    if chosen is Format.deeppcb and out is None:
        raise typer.BadParameter("--format deeppcb writes files: give --out")
    rule = recipe_of(recipe, model)
    marker = rule.golden.replace[0] if rule.golden and rule.golden.replace and not golden else ""
    jobs = list(_jobs(images or [], folder, pairs, golden, marker))
    if not jobs:
        raise typer.BadParameter("no images: name some, or give --folder or --pairs")
    desk = Desk(rule, models=models, threads=threads)
    for job in jobs:
        _report(job.image, desk.inspect_file(job.image, job.golden), chosen, out)


def _jobs(
    images: list[Path], folder: Path | None, pairs: Path | None, golden: Path | None, marker: str
) -> Iterator[Job]:
    yield from (Job(image=image, golden=golden) for image in images)
    if folder is not None:
        if not folder.is_dir():
            raise typer.BadParameter(f"{folder} is not a folder")
        # Where the recipe finds golden images beside the parts' images, they are not parts themselves.
        found = (entry for entry in sorted(folder.iterdir()) if entry.suffix.lower() in SUFFIXES)
        yield from (Job(image=entry, golden=golden) for entry in found if marker in entry.name)
    if pairs is not None:
        yield from _read_pairs(pairs)


def _read_pairs(file: Path) -> Iterator[Job]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise typer.BadParameter(f'{file}:{number}: expected "image golden", found {line!r}')
        yield Job(image=_beside(file, words[0]), golden=_beside(file, words[1]))


def _beside(file: Path, name: str) -> Path:
    """Relative to the pairs file's folder; to the working directory where it is not there."""
    path = file.parent / name
    return path if path.exists() or not Path(name).exists() else Path(name)


def _report(image: Path, inspection: Inspection, chosen: Format, out: Path | None) -> None:
    match chosen:
        case Format.json:
            typer.echo(json.dumps(as_json(image, inspection), ensure_ascii=False))
        case Format.text:
            typer.echo(_as_text(image, inspection))
        case Format.deeppcb:
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                (out / f"{image.stem.removesuffix('_test')}.txt").write_text(as_deeppcb(inspection))
            typer.echo(_as_text(image, inspection))


def as_json(image: Path, inspection: Inspection) -> dict[str, Any]:
    """The stable line for programs."""
    return {
        "image": str(image),
        "evaluation": inspection.evaluation.value,
        "disposition": inspection.disposition.value,
        "score": round(inspection.score, 4),
        "defects": [
            {"code": one.code, "score": round(one.score, 4), "xyxy_px": [round(value, 1) for value in one.xyxy_px]}
            for one in inspection.defects
        ],
        "reasons": [{"code": one.code, "text": one.text} for one in inspection.reasons],
        "ms": round(inspection.duration_ms, 2),
    }


def _as_text(image: Path, inspection: Inspection) -> str:
    what = ", ".join(f"{one.code} {one.score:.2f}" for one in inspection.defects)
    why = "; ".join(one.text for one in inspection.reasons)
    line = f"{image}: {inspection.evaluation.value} {inspection.disposition.value} {inspection.duration_ms:.1f} ms"
    return "  ".join(part for part in (line, why, f"[{what}]" if what else "") if part)


def as_deeppcb(inspection: Inspection) -> str:
    """DeepPCB's result format (its README, "Benchmarks"): ``x1,y1,x2,y2,confidence,type``, a line per defect."""
    lines = [
        ",".join(
            [*(str(round(value)) for value in one.xyxy_px), f"{one.score:.4f}", DEEPPCB_NAMES.get(one.code, one.code)]
        )
        for one in inspection.defects
    ]
    return "".join(f"{line}\n" for line in lines)
