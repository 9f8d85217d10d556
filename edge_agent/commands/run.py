"""``edge-agent run``: the daemon."""

import faulthandler
import signal
from pathlib import Path
from typing import Annotated

import structlog
import typer

from edge_agent import __version__
from edge_agent.bootstrap import Parts, build, note_start, table
from edge_agent.commands.check import verify
from edge_agent.config import load
from edge_agent.observability import logs
from edge_agent.runtime.memory import calm_allocator, settle_garbage_collector
from edge_agent.runtime.supervisor import Supervisor

log = structlog.get_logger(__name__)


def command(
    config: Annotated[Path, typer.Option(help="plant.yaml, or the folder that holds it.")] = Path("plant_config"),
    log_style: Annotated[str, typer.Option(help="auto (console on a terminal), json or console.")] = "auto",
) -> None:
    """Inspect parts as configured, until stopped.

    Loads the configuration, migrates the store, warms the models up, connects to cameras and broker, and goes on
    until SIGTERM or Ctrl-C. A broker that is away does not hold up the start.

    Example: edge-agent run --config plant_config/examples/folder

    Exit codes: 0 stopped when asked, 1 something could not be kept running (start it again), 78 the configuration
    must be changed (starting it again would not help).
    """
    faulthandler.enable()  # systemd's watchdog ends a hung process with SIGABRT: the journal shows where it hung
    calm_allocator()
    configuration = load(config)
    logs.configure(level=configuration.plant.log_level, style=logs.as_format(log_style))
    verify(configuration)
    log.info("starting", version=__version__, config=str(configuration.folder), agent=configuration.plant.agent)
    parts = build(configuration)
    note_start(parts)
    settle_garbage_collector()
    supervisor = Supervisor(table(parts, is_alive=lambda: supervisor.is_alive), status=lambda: status_line(parts))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.request_stop())
    code = supervisor.run()
    parts.store.close()
    raise typer.Exit(code)


def status_line(parts: Parts) -> str:
    """One line for ``systemctl status``: first whether parts can be inspected, READY says only that the agent runs."""
    blocking = parts.health.blocking()
    if blocking:
        return "NOT READY FOR PARTS: " + "; ".join(f"{entry.component}: {entry.detail}" for entry in blocking)
    board = parts.health.board()
    trouble = [f"{entry.component} {entry.condition}" for entry in board if entry.condition != "ok"]
    return "all well" if not trouble else "; ".join(trouble)
