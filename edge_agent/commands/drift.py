"""``edge-agent drift``: what the watch over the inspection itself has found, and a new reference by a person."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from edge_agent.adapters.clock import SystemClock
from edge_agent.commands.stored import Config, State, open_store, person
from edge_agent.domain.drift import Watched, fact, name_of, watched
from edge_agent.learning.drift_watch import accept_fact


def command(
    station: Annotated[str, typer.Argument(help="The station's id.")],
    accept: Annotated[bool, typer.Option("--accept", help="What is now is the reference from now on.")] = False,
    by: Annotated[str, typer.Option(help="Who accepts it: a role or pseudonym.")] = "",
    reason: Annotated[str, typer.Option(help="Why, e.g. the lamp was changed.")] = "",
    state: State = None,
    config: Config = None,
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Show how far a station's figures are from their reference, and which have drifted.

    ``--accept`` takes the next parts for a new reference: after a lamp, a lens or a fixture was changed on purpose. It
    is noted in the audit log; limits and models stay as they are.

    Examples:

      edge-agent drift aoi-1 --state state

      edge-agent drift aoi-1 --accept --by QE-2 --reason "new lamp" --state state
    """
    store = open_store(state, config)
    try:
        with store.reader() as unit:
            record: Mapping[str, Any] | None = unit.facts.get(fact(station))
        if record is None:
            typer.echo(f"station {station!r} is not watched, or no part has come since it is", err=True)
            raise typer.Exit(1)
        if accept:
            _accepted(store, station, by, reason)
            return
    finally:
        store.close()
    if form == "json":
        typer.echo(json.dumps({"station": station} | dict(record), indent=2))
        return
    for line in _lines(record, watched(record)):
        typer.echo(line)


def _accepted(store: Any, station: str, by: str, reason: str) -> None:
    if not by.strip() or not reason.strip():
        raise typer.BadParameter(
            "--accept needs --by and --reason: the audit log says who took this for normal, and why"
        )
    with store.unit(durable=True) as unit:
        wish = {"by": by, "reason": reason, "at": SystemClock().now().isoformat()}
        unit.facts.set(accept_fact(station), wish)
        unit.audit.append(actor=person(), action="drift.accepted", subject=f"drift:{station}", detail=f"{by}: {reason}")
        unit.commit()
    typer.echo(f"{station}: the next parts make the new reference")


def _lines(record: Mapping[str, Any], found: Watched) -> list[str]:
    lines = [f"{'figure':28s} {'product':16s} {'usual':>10s} {'now':>10s} {'index':>7s}"]
    for one in record["figures"]:
        named = f"{name_of(one['quantity']):28.28s} {one['product']:16.16s}"
        lines.append(f"{named} {one['usual']:10.4g} {one['now']:10.4g} {one['size']:7.3f}")
    if not record["figures"]:
        lines = ["no reference is complete yet"]
    lines += [f"DRIFTED: {one.name} of {one.product_id}, since {one.since:%Y-%m-%d %H:%M} UTC" for one in found.lasting]
    return lines
