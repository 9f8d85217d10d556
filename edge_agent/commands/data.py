"""``edge-agent data``: labelled images from elsewhere into one form, and checked before anything learns from them."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge_agent.adapters.cameras.image_file import decode
from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.documents.pages import Pages
from edge_agent.adapters.documents.weasy import WeasyPrinter, default_templates
from edge_agent.adapters.images.folder import FolderImages
from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.config.plant import RetentionSection
from edge_agent.datasets import disk, export, making
from edge_agent.datasets.checking import Checked
from edge_agent.datasets.checking import check as check_all
from edge_agent.datasets.dataset import Skipped
from edge_agent.datasets.draft import Gathered
from edge_agent.datasets.finding import Level
from edge_agent.datasets.making import Made, Placing, Wish
from edge_agent.datasets.page import page_data
from edge_agent.datasets.sources import coco, deeppcb, folders, verdicts, yolo
from edge_agent.datasets.splitting import SplitRule
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.observability import logs
from edge_agent.ports import PrintJob

app = typer.Typer(no_args_is_help=True)

PRINT_S = 300.0
_SHOWN_SKIPPED = 10
_TEMPLATE = "data.html"


class Source(StrEnum):
    """Where labelled images come from."""

    yolo = "yolo"
    coco = "coco"
    deeppcb = "deeppcb"
    folders = "folders"
    store = "store"


Folder = Annotated[Path, typer.Argument(help="A data set's folder (it holds dataset.json).")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@app.callback()
def data() -> None:
    """Import, check and export labelled images."""


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="Folder or file to import; for --from store the state folder.")],
    target: Annotated[Path, typer.Argument(help="Folder to make.")],
    kind: Annotated[Source, typer.Option("--from", help="What the source is.")],
    name: Annotated[str, typer.Option(help="Name of the data set; default the target's.")] = "",
    placing: Annotated[bool, typer.Option("--copy/--link", help="Copy the images in, or link to them.")] = True,
    licence: Annotated[str, typer.Option(help="What the images may be used for.")] = "",
    privacy: Annotated[str, typer.Option(help="Whether people or their data can be seen.")] = "",
    val: Annotated[float, typer.Option(help="Share of the images to tune with.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of the images to measure with.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Of the split; the same seed splits the same groups the same way.")] = 7,
    test_groups: Annotated[str, typer.Option(help="Exactly these groups test, separated by commas.")] = "",
    group_by: Annotated[str, typer.Option(help="Pattern; its bracket is the image's group, e.g. (lot[0-9]+)_.")] = "",
    resplit: Annotated[bool, typer.Option("--resplit", help="Do not keep the source's own split.")] = False,
    images: Annotated[Path | None, typer.Option(help="Where image names begin (coco).")] = None,
    unlabelled_is_good: Annotated[
        bool, typer.Option("--unlabelled-is-good", help="An image without a label file has no defects (yolo).")
    ] = False,
    accepted: Annotated[
        bool, typer.Option("--accepted", help="Parts the agent accepted, as good images nobody looked at (store).")
    ] = False,
    min_trust: Annotated[float, typer.Option(help="Least trust in an answer, 0 to 1 (store).")] = verdicts.MIN_TRUST,
    as_json: AsJson = False,
) -> None:
    """Import labelled images into one folder with one form.

    Whole groups of images (boards, lots) go to one split. What is not taken is listed in skipped.jsonl with file,
    line, value and what was expected; an image with one unreadable label is not taken at all.

    Examples:

    edge-agent data import DeepPCB build/deeppcb --from deeppcb --test-groups group92000 --licence "research only"

    edge-agent data import /var/lib/edge-agent build/line --from store --licence own --privacy "no people in view"

    Exit codes: 0 imported; 1 the disk is full; 2 wrong usage; 78 nothing to import there, or the folder exists.
    """
    logs.configure(level="warning", style="console")
    wish = Wish(
        name=name or target.resolve().name,
        made_at=SystemClock().now().isoformat(timespec="seconds"),
        placing=Placing.COPY if placing else Placing.LINK,
        licence=licence,
        privacy=privacy,
        group_by=group_by,
        split=SplitRule(val=val, test=test, seed=seed, test_groups=_words(test_groups), resplit=resplit),
    )
    if not source.exists():
        raise ConfigError(f"{source}: nothing there; expected a folder or file to import")
    gathered = _gather(kind, source, images, unlabelled_is_good, accepted, min_trust)
    with _bar("importing") as progress:
        made = making.make(gathered, target, wish, decode, progress)
    typer.echo(json.dumps(_imported(made, target)) if as_json else "\n".join(_imported_lines(made, target)))


def _gather(
    kind: Source, source: Path, images: Path | None, unlabelled_is_good: bool, accepted: bool, min_trust: float
) -> Gathered:
    match kind:
        case Source.yolo:
            return yolo.gather(source, unlabelled_is_good=unlabelled_is_good)
        case Source.coco:
            return coco.gather(source, images=images)
        case Source.deeppcb:
            return deeppcb.gather(source)
        case Source.folders:
            return folders.gather(source, decode)
        case Source.store:
            return _own(source, accepted, min_trust)


def _own(state: Path, accepted: bool, min_trust: float) -> Gathered:
    """The agent's own inspections."""
    url = sqlite_url(state)
    if not Path(url.partition(":///")[2]).is_file():
        raise ConfigError(f"{state} holds no store: expected {url}; give the state folder")
    clock = SystemClock()
    store = Database(url, clock=clock)
    try:
        with store.reader() as uow:
            kept = FolderImages(state / "images", RetentionSection(), clock=clock)
            return verdicts.gather(uow, kept, min_trust=min_trust, accepted_too=accepted)
    finally:
        store.close()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _imported(made: Made, target: Path) -> dict[str, Any]:
    dataset = made.dataset
    return {
        "dataset": str(target),
        "name": dataset.name,
        "version": dataset.version,
        "classes": list(dataset.classes),
        "counts": dataset.counts(),
        "skipped": len(made.skipped),
        "skipped_because": dict(Counter(one.expected for one in made.skipped).most_common()),
    }


def _imported_lines(made: Made, target: Path) -> Iterator[str]:
    dataset = made.dataset
    yield f"{target}: {dataset.name}, version {dataset.version[:12]}, classes {', '.join(dataset.classes) or 'none'}"
    for split, counts in dataset.counts().items():
        yield (
            f"  {split:5}  {counts['images']} images ({counts['good_images']} without defect), "
            f"{counts['boxes']} boxes, {counts['groups']} groups"
        )
    yield from (f"skipped  {_skipped_line(one)}" for one in made.skipped[:_SHOWN_SKIPPED])
    if made.skipped:
        yield f"{len(made.skipped)} skipped; all of them are in {target / disk.SKIPPED}"


def _skipped_line(one: Skipped) -> str:
    return f"{f'{one.file} {one.line}'.strip()}: {one.value}; expected {one.expected}"


@app.command()
def check(
    folder: Folder,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(help="Write a page to look at.")] = None,
    pdf: Annotated[Path | None, typer.Option(help="Write the same as PDF.")] = None,
) -> None:
    """Check a data set: files, copies, leaks, balance, boxes, odd labels, drift, licence and privacy.

    An error makes labels or figures wrong, a warning may, a note is good to know. docs/datasets.md says what each
    check looks for.

    Example: edge-agent data check build/deeppcb --html build/deeppcb.html

    Exit codes: 0 no errors; 1 errors were found; 78 there is no data set.
    """
    logs.configure(level="warning", style="console")
    with _bar("checking") as progress:
        checked = check_all(folder, decode, progress)
    if html or pdf:
        _print(page_data(checked, decode), html, pdf)
    typer.echo(json.dumps(_as_json(checked)) if as_json else "\n".join(_as_text(checked)))
    if checked.count(Level.ERROR):
        raise typer.Exit(1)


def _print(shown: dict[str, Any], html: Path | None, pdf: Path | None) -> None:
    templates = default_templates()
    if html:
        _write(html, Pages(templates).html(_TEMPLATE, shown))
    if pdf:
        printer = WeasyPrinter(templates, clock=SystemClock())
        try:
            printer.print(PrintJob(template=_TEMPLATE, data=shown), pdf, PRINT_S)
        finally:
            printer.close()


def _write(file: Path, text: str) -> None:
    """Complete or not at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="replace", dir=file.parent, delete=False) as out:
            out.write(text)
        Path(out.name).chmod(0o644)
        Path(out.name).replace(file)
    except OSError as error:
        raise Transient(f"cannot write {file}: {error.strerror}") from error


def _as_json(checked: Checked) -> dict[str, Any]:
    dataset = checked.dataset
    return {
        "dataset": str(checked.folder),
        "name": dataset.name,
        "version": dataset.version,
        "counts": dataset.counts(),
        "levels": {level.value: checked.count(level) for level in Level},
        "findings": [
            {
                "level": one.level.value,
                "check": one.check,
                "text": one.text,
                "count": one.count,
                "examples": [{"where": case.where, "what": case.what} for case in one.examples],
            }
            for one in checked.findings
        ],
    }


def _as_text(checked: Checked) -> Iterator[str]:
    dataset = checked.dataset
    yield f"{dataset.name}, version {dataset.version[:12]}: {len(dataset.items)} images"
    for one in checked.findings:
        yield f"{one.level.value:8} {one.check}: {one.text} ({one.count})"
        for case in one.examples[:3]:
            yield f"           {case.where}{f': {case.what}' if case.what else ''}"
    yield ", ".join(f"{checked.count(level)} {level.value}s" for level in Level)


@app.command("export")
def export_(
    folder: Folder,
    target: Annotated[Path, typer.Argument(help="Folder to make.")],
    form: Annotated[export.Form, typer.Option("--as", help="What to make.")],
) -> None:
    """Write a data set as YOLO's or COCO's files, for a training tool. Images are hard links where the disk allows it.

    Example: edge-agent data export build/deeppcb build/deeppcb-yolo --as yolo

    Exit codes: 0 done; 1 the disk is full; 78 there is no data set, it has unreadable lines, or the folder exists.
    """
    written = export.write(disk.read(folder), target, form)
    typer.echo(f"{target}: {written} images")


@contextmanager
def _bar(what: str) -> Iterator[making.Progress]:
    """A progress bar on standard error, where a person looks at it."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
