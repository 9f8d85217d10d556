"""``edge-agent check``: is the configuration right?"""

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.config import load
from edge_agent.config.catalogue import load_catalogue


def command(
    config: Annotated[Path, typer.Argument(help="plant.yaml, or the folder that holds it.")] = Path("plant_config"),
    show: Annotated[bool, typer.Option("--show", help="Print what was understood, defaults included.")] = False,
) -> None:
    """Check a configuration.

    Reads every file that plant.yaml names and reports all errors at once, each with file, line, key, the value
    found and what was expected. Nothing is started.

    Example: edge-agent check plant_config/examples/folder

    Exit codes: 0 right, 78 wrong.
    """
    configuration = load(config)
    catalogue = load_catalogue(configuration.resolve(configuration.plant.diagnosis.catalogue))
    for station in configuration.stations:
        products = ", ".join(
            f"{product} (recipe {r.ref.recipe_id} v{r.ref.version})" for product, r in station.recipes.items()
        )
        kinds = f"camera {station.config.camera.kind}, trigger {station.config.trigger.kind}"
        typer.echo(f"station {station.config.id}: {kinds}; {products}")
    typer.echo(f"catalogue {catalogue.domain} {catalogue.version}: {len(catalogue.causes)} causes")
    typer.echo(f"{len(configuration.files) + 1} files read, no errors")
    if show:
        typer.echo(configuration.plant.model_dump_json(indent=2))
        for station in configuration.stations:
            typer.echo(station.config.model_dump_json(indent=2))
