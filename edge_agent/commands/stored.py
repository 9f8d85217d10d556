"""The box's store for a command at the terminal, also while the agent runs; and who sits there."""

import os
import pwd
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.config import load
from edge_agent.domain.faults import ConfigError

State = Annotated[Path | None, typer.Option(help="State folder; default $STATE_DIRECTORY, else ./state.")]
Config = Annotated[Path | None, typer.Option(help="plant.yaml whose store is meant (PostgreSQL), instead of --state.")]


def open_store(state: Path | None, config: Path | None = None) -> Database:
    """The store in the state folder, or the one that a configuration names; nothing is created.

    Raises:
        ConfigError: there is none.
    """
    if config is not None:
        plant = load(config).plant
        if plant.store.url:
            return Database(plant.store.url, clock=SystemClock())
        state = state or plant.state_dir
    folder = state_folder(state)
    url = sqlite_url(folder)
    if not Path(url.partition(":///")[2]).is_file():
        raise ConfigError(f"{folder} holds no store: expected {url}; give the state folder with --state")
    return Database(url, clock=SystemClock())


def state_folder(state: Path | None, config: Path | None = None) -> Path:
    """The state folder that was given, that a configuration names, or the service's own."""
    if state is None and config is not None:
        state = load(config).plant.state_dir
    return state or Path(os.environ.get("STATE_DIRECTORY", "state").partition(":")[0])


def person() -> str:
    """The account at the terminal, for the audit log."""
    user = os.geteuid()
    try:
        return f"terminal:{pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"terminal:uid-{user}"
