"""``edge-agent check``: is this configuration right?"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from edge_agent.adapters.detectors.catalogue import read_card, resolve
from edge_agent.bootstrap import parts
from edge_agent.config import Configuration, load
from edge_agent.config.catalogue import load_catalogue, load_priority_table, unused_signals
from edge_agent.config.load import InvalidConfiguration, Station
from edge_agent.config.located import Path_, Problem, read
from edge_agent.config.plant_codes import plant_codes
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.recipe import Recipe

T = TypeVar("T")


def command(
    config: Annotated[Path, typer.Argument(help="plant.yaml, or the folder that holds it.")] = Path("plant_config"),
    show: Annotated[bool, typer.Option("--show", help="Print what was understood, defaults included.")] = False,
) -> None:
    """Check a configuration.

    Reads every file that plant.yaml names, the golden images and the models' cards, and reports all errors at once,
    each with file, line, key, the value found and what was expected. Nothing is started.

    Example: edge-agent check plant_config/examples/folder

    Exit codes: 0 right, 78 wrong.
    """
    configuration = load(config)
    catalogue = verify(configuration)
    for line in summary(configuration, catalogue):
        typer.echo(line)
    if show:
        typer.echo(configuration.plant.model_dump_json(indent=2))
        for station in configuration.stations:
            typer.echo(station.config.model_dump_json(indent=2))


def verify(configuration: Configuration) -> Catalogue:
    """Check what the configuration's files name: catalogue, tables, models, classes, golden images.

    Raises:
        InvalidConfiguration: with all problems found.
    """
    problems: list[Problem] = []
    catalogue = _collected(
        lambda: load_catalogue(configuration.resolve(configuration.plant.diagnosis.catalogue)), problems
    )
    if catalogue is not None:
        known = catalogue
        _collected(lambda: plant_codes(configuration, known), problems)
    table = configuration.plant.diagnosis.priority_table
    _collected(lambda: load_priority_table(configuration.resolve(table) if table else None), problems)
    for station in configuration.stations:
        for product, recipe in station.recipes.items():
            problems.extend(_recipe_problems(configuration, station, product, recipe))
    if problems or catalogue is None:
        raise InvalidConfiguration(problems)
    return catalogue


def _collected(load_it: Callable[[], T], problems: list[Problem]) -> T | None:
    try:
        return load_it()
    except InvalidConfiguration as error:
        problems.extend(error.problems)
        return None


def taught_models(configuration: Configuration) -> Path:
    """Where models that were taught on this box are; nothing is made by looking."""
    state = configuration.plant.state_dir or Path(os.environ.get("STATE_DIRECTORY", "state").partition(":")[0])
    return state.resolve() / "models"


def _recipe_problems(configuration: Configuration, station: Station, product: str, recipe: Recipe) -> Iterator[Problem]:
    located = read(configuration.resolve(station.config.recipes[product]))

    def problem(key: Path_, message: str) -> Problem:
        dotted = ".".join(str(part) for part in key)
        return Problem(file=located.file, line=located.line_of(key), key=dotted, message=message)

    try:
        models = (parts.models_folder(configuration.plant), taught_models(configuration))
        found = [resolve(models[0], name, *models[1:]) for name in recipe.models]
        trust = parts.model_trust(configuration)
        for folder in found:
            trust.check(folder)
        cards = [read_card(folder) for folder in found]
    except ConfigError as error:
        yield problem(("model",), str(error))
    else:
        known = [code for card in cards for code in card.classes]
        for code in dict.fromkeys(limit.code for limit in recipe.limits):
            if code not in known:
                seen = ", ".join(known)
                yield problem(("limits", code), f"model {recipe.model!r} sees no such class (it sees: {seen})")
    try:
        parts.goldens().check(recipe.golden)
    except ConfigError as error:
        yield problem(("golden", "image"), str(error))


def summary(configuration: Configuration, catalogue: Catalogue) -> Iterator[str]:
    """What was understood, in a few lines."""
    for station in configuration.stations:
        products = ", ".join(
            f"{product} (recipe {r.ref.recipe_id} v{r.ref.version})" for product, r in station.recipes.items()
        )
        kinds = f"camera {station.config.camera.kind}, trigger {station.config.trigger.kind}"
        yield f"station {station.config.id}: {kinds}; {products}"
    yield f"catalogue {catalogue.domain} {catalogue.version}: {len(catalogue.causes)} causes"
    unused = unused_signals(catalogue, set(configuration.plant.telemetry.signals))
    if unused:
        yield f"note: the catalogue knows signals that this plant does not deliver: {', '.join(unused)}"
    yield f"{len(configuration.files) + 1} files read, no errors"
