"""``edge-agent models``: what models there are, and whether they are what their cards say."""

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.catalogue import all_models, read_card, resolve
from edge_agent.adapters.detectors.opening import verified
from edge_agent.commands.desk import MODELS, taught_models
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.faults import ConfigError
from edge_agent.observability import logs

app = typer.Typer(no_args_is_help=True)

Folder = Annotated[Path, typer.Option(help="The folder of the models.")]


@app.command("list")
def list_models(models: Folder = MODELS) -> None:
    """List models with what they are for.

    Example: edge-agent models list
    """
    for name in [*all_models(models), *all_models(taught_models())]:
        card = read_card(resolve(models, name, taught_models()))
        typer.echo(f"{name}  {card.description}")
        size_wh = f"{card.inputs[0].shape[3]}x{card.inputs[0].shape[2]}"
        sees = ", ".join(card.classes) or "nothing by itself"
        typer.echo(f"  takes {size_wh}{' and a golden image' if card.needs_golden else ''}; sees {sees}")
        typer.echo(f"  licence: {card.licence}")
        if card.restrictions:
            typer.echo(f"  mind: {card.restrictions}")
        for one in card.accuracy:
            figures = ", ".join(f"{key} {value:g}" for key, value in one.figures.items())
            typer.echo(f"  on {one.data}: {figures}")


@app.command("verify")
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="name or name/version; all without one.")] = None,
    models: Folder = MODELS,
) -> None:
    """Verify models: card, sha256, inputs, and that they still see what they saw when they were made.

    Example: edge-agent models verify board

    Exit codes: 0 all hold, 1 one does not.
    """
    logs.configure(level="warning", style="console")
    wrong = 0
    for name in names or [*all_models(models), *all_models(taught_models())]:
        try:
            folder = resolve(models, name, taught_models())
            shown, providers = verified(folder, DetectorOptions(), clock=SystemClock())
        except ConfigError as error:
            wrong += 1
            typer.echo(f"{name}: WRONG: {error}")
        else:
            typer.echo(f"{shown}: holds ({', '.join(providers)})")
    if wrong:
        raise typer.Exit(1)
