"""``edge-agent demo``: the whole loop on the simulated line."""

import json
import signal
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.documents.weasy import WeasyPrinter, default_templates
from edge_agent.adapters.images.folder import FolderImages
from edge_agent.adapters.store.database import FILE_NAME, Database, sqlite_url
from edge_agent.bootstrap.folders import Folders
from edge_agent.config.plant import RetentionSection
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.observability import logs
from edge_agent.responding.documents.house import noted_house
from edge_agent.responding.documents.shift import shift_path, shift_report
from edge_agent.simulation.demo import summary
from edge_agent.simulation.demo.audience import audience
from edge_agent.simulation.demo.children import ChildDied
from edge_agent.simulation.demo.configuration import LANGUAGE_MODEL, ROOT, Places
from edge_agent.simulation.demo.stage import Programme, Stage
from edge_agent.simulation.line.line import run_id
from edge_agent.simulation.process import FAULTS

DEFAULT_STATE = ROOT / "state" / "demo"
PRINT_S = 60.0
OWN_CAMERA = "v4l2"
"""The example that is named at the end."""


def command(
    parts: Annotated[int, typer.Option(min=1, help="Stop after this many parts.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Decides the faults and everything random.")] = 23,
    fault: Annotated[str | None, typer.Option(help="Use only this hidden fault; `list` names them.")] = None,
    state: Annotated[Path, typer.Option(help="State folder; kept between runs.")] = DEFAULT_STATE,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the summary to this file.")] = None,
    forever: Annotated[bool, typer.Option("--forever", help="Go on until Ctrl-C.")] = False,
    rate: Annotated[float, typer.Option(min=0.1, max=50, help="Parts a second at most.")] = 5.0,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live picture.")] = False,
) -> None:
    """Run the whole loop on a simulated line, and show it.

    Starts mosquitto, the agent, an etch line with a hidden fault, and an MES with a technician, each a process of its
    own; shows parts, incidents, suspects, work orders and answers as they come; stops by itself and says what came
    of it, first of all whether the first suspect was the true cause.

    Examples: edge-agent demo; edge-agent demo --parts 120 --fault conveyor_fast; edge-agent demo --seed 7 --json o.json

    Exit codes: 0 done, 1 a process died (its log's end is shown), 2 wrong usage, 78 something is not installed.
    """
    _check_fault(fault)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    clock = SystemClock()
    stage = Stage(
        Programme(
            parts=None if forever else parts,
            seed=seed,
            fault=fault,
            rate=rate,
            model=LANGUAGE_MODEL if LANGUAGE_MODEL.is_file() else None,
        ),
        places=Places(state=state.resolve()),
        audience=audience(plain),
        run=run_id(clock.now),
        now=clock.now,
        stop=stop,
    )
    died = _play(stage)
    account = _with_shift_report(_account(stage, clock), stage.places.state, clock)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(account.as_json(), indent=2) + "\n", encoding="utf-8")
    for line in summary.told(account, _own_camera()):
        typer.echo(line)
    if died is not None:
        typer.echo(f"\nfailed: {died}", err=True)
        raise typer.Exit(1)


def _check_fault(fault: str | None) -> None:
    if fault == "list":
        for one in FAULTS.values():
            typer.echo(f"{one.name:<26} {one.cause_text}")
        raise typer.Exit
    if fault is not None and fault not in FAULTS:
        raise typer.BadParameter(f"{fault!r} is none of {', '.join(sorted(FAULTS))}", param_hint="--fault")


def _play(stage: Stage) -> ChildDied | None:
    """Run the stage; a process that died is handed back, so that the summary of what was done still comes."""
    try:
        stage.begin()
        stage.watch()
    except ChildDied as death:
        return death
    finally:
        stage.end()
    return None


def _account(stage: Stage, clock: SystemClock) -> summary.Account:
    folders = Folders(state=stage.places.state)
    file = stage.places.state / FILE_NAME
    if not file.exists():
        raise ConfigError(f"the agent made no store: {file} is not there")
    store = Database(sqlite_url(stage.places.state), clock=clock)
    try:
        with store.reader() as unit:
            return summary.gather(
                unit,
                run=stage.story.run,
                since=stage.since,
                until=clock.now(),
                documents=folders.documents,
                truth=stage.truth,
                line=stage.line_account(),
                heard=stage.story.parts,
            )
    finally:
        store.close()


def _with_shift_report(account: summary.Account, state: Path, clock: SystemClock) -> summary.Account:
    """The summary with a shift report of the run; without it, and a word why, where it cannot be printed."""
    if not account.inspections:
        return account
    start, end = account.inspections[0].ended_at, account.inspections[-1].ended_at + timedelta(microseconds=1)
    target = Folders(state=state).documents / shift_path(start, end)
    store = Database(sqlite_url(state), clock=clock)
    printer = WeasyPrinter(default_templates(), clock=clock)
    logs.configure(level="warning")
    try:
        with store.reader() as unit:
            images = FolderImages(Folders(state=state).images, RetentionSection(), clock=clock)
            printer.print(shift_report(unit, images, start, end, noted_house(unit)[0]), target, PRINT_S)
    except Transient as error:
        typer.echo(f"no shift report: {error}", err=True)
        return account
    finally:
        printer.close()
        store.close()
    return replace(account, documents=[*account.documents, target])


def _own_camera() -> list[str]:
    """How to go on from here, with paths that work where the user stands."""
    program = _from_here(Path(sys.executable).parent / "edge-agent")
    examples = _from_here(ROOT / "plant_config" / "examples")
    return [
        "With your own camera, e.g. a USB camera (next to it: rtsp, gige, genicam, folder, video):",
        f"  {program} run --config {examples / OWN_CAMERA}",
    ]


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
