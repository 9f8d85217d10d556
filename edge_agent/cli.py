"""The commands. Each lives in a module of ``commands`` that is imported only when it is asked for."""

import os
import sys
from importlib import import_module

import typer

from edge_agent import __version__
from edge_agent.domain.faults import ConfigError, Transient

EXIT_FAILED = 1
EXIT_CONFIG = 78

COMMANDS = {
    "run": ("edge_agent.commands.run", "Inspect parts as configured, until stopped."),
    "demo": ("edge_agent.commands.demo", "Run the whole loop on a simulated line."),
    "check": ("edge_agent.commands.check", "Check a configuration: every error at once, with file and line."),
    "config": ("edge_agent.commands.config", "Copy a configuration with everything it names."),
    "doctor": ("edge_agent.commands.doctor", "Check this box: what is missing, and what to do about it."),
    "inspect": ("edge_agent.commands.inspect", "Inspect image files."),
    "teach": ("edge_agent.commands.teach", "Teach a model from images of good parts alone."),
    "calibrate": ("edge_agent.commands.calibrate", "Set a station's limits from its own good frames."),
    "evaluate": ("edge_agent.commands.evaluate", "Measure a detector on labelled images."),
    "report": ("edge_agent.commands.report", "Print a work-order sheet or a shift report as PDF."),
    "data": ("edge_agent.commands.data", "Import labelled images, and check them before anything learns from them."),
    "models": (
        "edge_agent.commands.models",
        "Add, verify, sign and compare models; let one look beside the live one, promote it, take it back.",
    ),
    "challenge": ("edge_agent.commands.challenge", "Show known parts to a station; release one that holds its parts."),
    "drift": ("edge_agent.commands.drift", "Has the inspection itself changed? Figures against their reference."),
    "explain": ("edge_agent.commands.explain", "Tell the whole story of an incident, the language model's part too."),
    "llm": ("edge_agent.commands.llm", "Let a language model sit the exam that decides what it may do."),
    "orders": ("edge_agent.commands.orders", "List, show and answer work orders."),
    "outbox": ("edge_agent.commands.outbox", "Show what waits for the plant; retry or drop what was put aside."),
    "mes": ("edge_agent.commands.mes", "A small reference MES: receive work orders, answer them."),
    "collect": ("edge_agent.commands.collect", "Bring what many boxes send into one PostgreSQL database."),
    "audit": ("edge_agent.commands.audit", "Verify, list and export the audit log."),
    "keys": ("edge_agent.commands.keys", "Make and show signing keys; sign and check messages."),
    "weights": ("edge_agent.commands.weights", "List what the ranking has learned; go back a version."),
    "fmea": ("edge_agent.commands.fmea", "Check and show the catalogue of causes."),
    "diagnose": ("edge_agent.commands.diagnose", "Rank causes for incidents from files."),
    "replay": ("edge_agent.commands.replay", "Run stored inspections through the present diagnosis."),
}
"""Command to (module, one line of help). The module has a ``command`` function or a typer ``app``."""

EPILOG = """Exit codes: 0 done; 1 failed (the message says what); 2 wrong usage; 78 the configuration must be changed.

Examples:

  edge-agent demo --parts 200

  edge-agent check plant_config/examples/folder

  edge-agent run --config plant_config/examples/folder

  edge-agent inspect board.png --model board --golden golden.png --format json
"""


def _version(show: bool) -> None:
    if show:
        typer.echo(f"edge-agent {__version__}")
        raise typer.Exit


def build(only: str | None = None) -> typer.Typer:
    """The command line; ``only`` imports the one command that was asked for."""
    app = typer.Typer(
        name="edge-agent",
        help="The closed loop for visual inspection, on a box at the line.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def main(
        version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
    ) -> None: ...

    for name, (module, text) in COMMANDS.items():
        if only in COMMANDS and name != only:
            continue
        loaded = import_module(module)
        if hasattr(loaded, "app"):
            group = loaded.app.registered_callback
            app.add_typer(loaded.app, name=name, help=text + _examples(group.callback if group else None))
        else:
            app.command(name, help=text + _examples(loaded.command))(loaded.command)
    return app


def _examples(command: object) -> str:
    """What the command's docstring says after its first paragraph (examples, exit codes)."""
    _, _, rest = (getattr(command, "__doc__", "") or "").partition("\n\n")
    return f"\n\n{rest}" if rest else ""


def main() -> None:
    """Entry point of ``edge-agent``."""
    # Before numpy is loaded: its BLAS takes every core and spins on it, whatever else the box has to do.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    only = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    try:
        build(only)()
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(EXIT_CONFIG) from error
    except Transient as error:
        typer.echo(f"failed: {error}", err=True)
        raise SystemExit(EXIT_FAILED) from error


if __name__ == "__main__":
    main()
