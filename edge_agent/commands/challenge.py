"""``edge-agent challenge``: begin a challenge with known parts, watch it, or release a station that holds its parts."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.store.database import Database
from edge_agent.commands.stored import Config, State, open_store, person
from edge_agent.domain.challenge import fact
from edge_agent.inspecting.challenge_commands import note

_ASK_S = 0.5


def command(
    station: Annotated[str, typer.Argument(help="The station's id.")],
    by: Annotated[str, typer.Option(help="Who begins or releases: a role or pseudonym.")] = "",
    release: Annotated[bool, typer.Option("--release", help="Let the line go on until the next one is due.")] = False,
    reason: Annotated[str, typer.Option(help="Why it is released; kept in the audit log.")] = "",
    wait: Annotated[float, typer.Option(help="Wait so many seconds for the outcome.", min=0)] = 0.0,
    show: Annotated[bool, typer.Option("--show", help="Only show how it stands.")] = False,
    state: State = None,
    config: Config = None,
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Begin a station's challenge: the parts it names come next, are inspected like any other and counted nowhere.

    When all are judged as they must be, the challenge is passed, and parts that were held come through again. A wrong
    one holds every part until a challenge is passed or a named person releases the station.

    Examples:

      edge-agent challenge aoi-1 --by OP-3 --wait 600 --state state

      edge-agent challenge aoi-1 --release --by QE-2 --reason "golden part is damaged" --state state

    Exit codes: 0 begun, released, shown, or (with --wait) passed; 1 no such challenge, or not passed.
    """
    store = open_store(state, config)
    try:
        if not show:
            _note(store, station, release=release, by=by, reason=reason)
        record = _awaited(store, station, wait if not (release or show) else 0.0)
    finally:
        store.close()
    typer.echo(json.dumps(dict(record), indent=2) if form == "json" else "\n".join(_lines(station, record)))
    if wait and not release and not show and (record["run"] or record["failed"] or "passed" not in record["outcome"]):
        raise typer.Exit(1)


def _note(store: Database, station: str, *, release: bool, by: str, reason: str) -> None:
    try:
        with store.unit(durable=True) as unit:
            note(unit, station, release=release, by=by, reason=reason, now=SystemClock().now())
            action = "challenge.released" if release else "challenge.started"
            said = f"{by}: {reason}" if reason else by
            unit.audit.append(actor=person(), action=action, subject=f"challenge:{station}", detail=said)
            unit.commit()
    except LookupError as error:
        typer.echo(f"{error} (it begins with the agent's start)", err=True)
        raise typer.Exit(1) from error
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _awaited(store: Database, station: str, wait_s: float) -> Mapping[str, Any]:
    """What is stored, at the latest after the wait; sooner when the challenge is over."""
    until = time.monotonic() + wait_s
    while True:
        with store.reader() as unit:
            record: Mapping[str, Any] | None = unit.facts.get(fact(station))
        if record is None:
            typer.echo(f"station {station!r} has no challenge", err=True)
            raise typer.Exit(1)
        if not record["run"] or time.monotonic() >= until:
            return record
        time.sleep(_ASK_S)


def _lines(station: str, record: Mapping[str, Any]) -> Iterator[str]:
    if record["failed"]:
        yield f"{station}: ALL PARTS ARE HELD: {record['failed']}"
    elif record.get("holding"):
        yield f"{station}: ALL PARTS ARE HELD: {record['holding']}"
    if record["run"]:
        run = record["run"]
        yield f"{station}: challenge of {run['by']} since {run['started_at'][:16]}; show these parts:"
    else:
        yield f"{station}: {record['outcome'] or 'no challenge yet'}; due at {record.get('due_at', '?')[:16]}"
    results: Mapping[str, str] = record.get("results", {})
    for part in record.get("parts", []):
        counts = "".join(f", {count} x {code}" for code, count in part["defects"].items())
        result = results.get(part["part_id"])
        came = "not seen yet" if result is None else f"WRONG: {result}" if result else "as expected"
        image = " (an image, inspected by the agent itself)" if part["image"] else ""
        yield f"  {part['part_id']}{image}: {part['evaluation']}{counts}: {came}"
