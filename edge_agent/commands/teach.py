"""``edge-agent teach``: a model from images of good parts alone, on the box."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from edge_agent.adapters.cameras.image_file import decode
from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.catalogue import resolve, versions
from edge_agent.adapters.detectors.making_taught import NETWORK, Making, Recorded, feature_network, write_model
from edge_agent.commands.desk import MODELS, taught_models
from edge_agent.domain.faults import ConfigError, PartFault
from edge_agent.observability import logs
from edge_agent.teaching.conformal import images_needed
from edge_agent.teaching.good_set import ADVISED, GoodSet, pixels_of, read_good
from edge_agent.teaching.lesson import Lesson, learn
from edge_agent.teaching.spoiling import Features, Spoilt, spoilt_number
from edge_agent.teaching.views import working_size

SIDE_PX, LARGE_SIDE_PX = 256, 384
"""Images are looked at at about this size, squared, and at 1.5 times of it; large ones at the second."""
LARGE_PX = 700
_Look = TypeVar("_Look")
MOST = 300
"""More good images than this teach little more and take longer: this many are taken, evenly over the folder."""


def command(
    good: Annotated[Path, typer.Option(help="Folder with images of good parts (not below it).")],
    name: Annotated[str, typer.Option(help="Name of the model.")],
    force: Annotated[bool, typer.Option("--force", help="The name exists: make its next version.")] = False,
    false_reject_rate: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Share of good parts that may be stopped.")
    ] = 0.01,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the images and say what would be done.")] = False,
    json_lines: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    models: Annotated[
        Path | None, typer.Option(help="Where the model goes; default: models in the state folder.")
    ] = None,
    side: Annotated[int | None, typer.Option(min=64, max=1024, help="Working size; default: by the images.")] = None,
    most: Annotated[int, typer.Option(min=5, max=1000, help="At most this many images are taken.")] = MOST,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of the feature network.")] = 2,
) -> None:
    """Teach a model from good images only.

    It learns what good parts look like, sets its threshold so that at most the stated share of good parts is stopped
    (from held-out good images, see docs/teaching.md), and can be used at once, also as `model` of a recipe.

    Examples:

    edge-agent teach --good parts/good --name bracket

    edge-agent inspect --folder parts/new --model bracket --format json

    Exit codes: 0 taught (or the dry run found nothing against it), 2 wrong usage, 78 the images do not do.
    """
    logs.configure(level="warning", style="console")
    console = Console(stderr=True)
    into = models or taught_models()
    version = _next_version(into, name, force)
    good_set = read_good(good, decode, most=most)
    for line in _findings(good_set, false_reject_rate):
        console.print(line, highlight=False)
    if dry_run:
        console.print(f"would teach {name}/{version} into {into}", highlight=False)
        return
    begun = time.perf_counter()
    working_wh = working_size(good_set.size_wh, side or side_for(good_set.size_wh))
    making = Making(network=feature_network(resolve(MODELS, NETWORK)), working_wh=working_wh, threads=threads)
    lesson = _learn(good_set, making, false_reject_rate, console)
    seconds = time.perf_counter() - begun
    recorded = Recorded(
        name=name,
        version=version,
        good_sha256=good_set.sha256,
        images=len(good_set.images),
        size_wh=good_set.size_wh,
        taught_at=SystemClock().now().astimezone(UTC).isoformat(timespec="seconds"),
    )
    folder = write_model(into, making, lesson, recorded)
    _say(folder, lesson, recorded, seconds, as_json=json_lines)


def side_for(size_wh: tuple[int, int]) -> int:
    """The working size for images of this size."""
    return LARGE_SIDE_PX if size_wh[0] * size_wh[1] >= LARGE_PX**2 else SIDE_PX


def _next_version(models: Path, name: str, force: bool) -> str:
    """The version to make.

    Raises:
        ConfigError: the name is no name, belongs to the product, or is taken and ``force`` is not given.
    """
    if not name or not all(letter.isalnum() or letter in "_.-" for letter in name) or name[0] in ".-":
        raise typer.BadParameter(f"--name {name!r}: letters, digits, '_', '.' and '-' only")
    if models != MODELS and versions(MODELS / name):
        raise ConfigError(f"{name!r} is a model that comes with the product: choose another name")
    there = versions(models / name)
    if there and not force:
        raise ConfigError(f"model {name!r} exists in {models} (version {there[-1]}): --force makes the next version")
    numbers = [int(one) for one in there if one.isdigit()]
    return str(max(numbers, default=0) + 1)


def _findings(good: GoodSet, rate: float) -> Iterator[str]:
    """What the images are like, and what is wrong with them."""
    sizes = ", ".join(f"{count} of {width}x{height} px" for (width, height), count in sorted(good.sizes.items()))
    yield f"{len(good.images)} good images ({sizes})"
    if len(good.sizes) > 1:
        width, height = good.size_wh
        yield f"mind: the sizes differ; all are scaled to one, and frames of {width}x{height} px fit best"
    if good.skipped:
        yield f"skipped: {len(good.skipped)} files"
        yield from (f"  {path.name}: {why}" for path, why in good.skipped[:20])
        if len(good.skipped) > 20:
            yield f"  and {len(good.skipped) - 20} more"
    if good.left_out:
        yield f"{good.left_out} more images are not needed and not taken (--most)"
    if good.near:
        pairs = ", ".join(f"{a.name} = {b.name}" for a, b in good.near[:3])
        yield f"mind: {len(good.near)} pairs are nearly the same picture ({pairs}) and say less than others"
    if len(good.images) < ADVISED:
        yield f"mind: {len(good.images)} images are few; {ADVISED} and more that show all that is normal are better"
    if len(good.images) < images_needed(rate):
        yield f"mind: a false-reject rate of {rate:.3g} can be promised from {images_needed(rate)} images on"


def _learn(good: GoodSet, making: Making, rate: float, console: Console) -> Lesson:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        looking = progress.add_task("looking at good images", total=len(good.images))
        spoiling = progress.add_task("looking at spoiled ones", total=spoilt_number(len(good.images)))
        looks = _Looks(good, making)
        return learn(
            _counted(looks.good(), lambda: progress.advance(looking)),
            _counted(looks.spoilt(), lambda: progress.advance(spoiling)),
            rate=rate,
            told=lambda view: progress.update(spoiling, description=f"learning: {view}"),
        )


class _Looks:
    """Features of the good images, as they are and spoiled; a fault names the file."""

    def __init__(self, good: GoodSet, making: Making) -> None:
        self._images = good.images
        self._making = making

    def good(self) -> Iterator[Features]:
        for image in self._images:
            try:
                yield self._making.backbone.views(pixels_of(image, decode))
            except PartFault as fault:
                raise ConfigError(f"{image.path}: {fault.text}") from fault

    def spoilt(self) -> Iterator[Spoilt]:
        try:
            yield from self._making.spoilt(len(self._images), lambda index: pixels_of(self._images[index], decode))
        except PartFault as fault:
            raise ConfigError(f"a good image with a flaw put onto it: {fault.text}") from fault


def _counted(looks: Iterator[_Look], done: Callable[[], None]) -> Iterator[_Look]:
    for look in looks:
        yield look
        done()


def _say(folder: Path, lesson: Lesson, recorded: Recorded, seconds: float, *, as_json: bool) -> None:
    accept = lesson.accept
    if as_json:
        figures = {
            "model": f"{recorded.name}/{recorded.version}",
            "folder": str(folder),
            "images": recorded.images,
            "good_sha256": recorded.good_sha256,
            "wanted_rate": accept.wanted_rate,
            "promised_rate": round(accept.promised_rate, 5),
            "seconds": round(seconds, 2),
        }
        typer.echo(json.dumps(figures))
        return
    typer.echo(f"taught {recorded.name}/{recorded.version} in {seconds:.1f} s: {folder}")
    kept = f"at most {accept.promised_rate:.2%} of good parts are stopped"
    if not accept.kept:
        kept += f" ({accept.wanted_rate:.2%} was asked for; {images_needed(accept.wanted_rate)} images can promise it)"
    typer.echo(kept)
    typer.echo(f"try it: edge-agent inspect --folder DIR --model {recorded.name} --format json")
