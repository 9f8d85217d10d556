"""``edge-agent weights``: what the ranking has learned, version by version, and the way back."""

import json
from typing import Annotated, Any

import typer

from edge_agent.commands.stored import Config, State, open_store, person
from edge_agent.learning.anchoring import Anchoring, anchoring
from edge_agent.learning.learner import HISTORY, WEIGHTS, roll_back
from edge_agent.learning.reconcile import ANCHORING_CASES

app = typer.Typer(no_args_is_help=True)


@app.callback()
def weights() -> None:
    """What the ranking has learned from confirmed causes."""


@app.command("list")
def list_versions(
    state: State = None,
    config: Config = None,
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """List the versions of the learned weights, oldest first; the last one is in use.

    Example: edge-agent weights list --state state
    """
    store = open_store(state, config)
    with store.reader() as uow:
        history: list[dict[str, Any]] = uow.facts.get(HISTORY) or []
        used = uow.facts.get(WEIGHTS)
        found = anchoring(uow.answers.cases(limit=ANCHORING_CASES))
    store.close()
    rows = [_row(one, used) for one in history]
    if form == "json":
        typer.echo(json.dumps({"versions": rows, "anchoring": _anchored(found)}, indent=2))
        return
    for row in rows:
        mark = "*" if row["in_use"] else " "
        typer.echo(
            f"{mark} {row['version']}  {row['cases']} cases, left-out log loss {row['loss']:.3f} "
            f"(catalogue {row['catalogue_loss']:.3f}), gain {row['gain']:.2f}, temperature {row['temperature']:.2f}"
        )
    if not used:
        typer.echo("the catalogue alone is in use")
    typer.echo(_said(found))


@app.command()
def rollback(state: State = None, config: Config = None) -> None:
    """Use the version before the present one again; the catalogue alone when there is none.

    It is noted in the audit log. The next confirmed case may lead to a new fit.

    Example: edge-agent weights rollback --state state
    """
    store = open_store(state, config)
    with store.unit(durable=True) as uow:
        known = bool(uow.facts.get(WEIGHTS))
        now = roll_back(uow, actor=person()) if known else None
        uow.commit()
    store.close()
    if now is None:
        typer.echo("nothing to roll back: the catalogue alone is in use", err=True)
        raise typer.Exit(1)
    typer.echo(f"in use: {'the catalogue alone' if now.version == 'seed' else now.version}")


def _anchored(found: Anchoring) -> dict[str, Any]:
    low, high = found.interval
    return {
        "shown": found.shown,
        "shown_agree": found.shown_agree,
        "blind": found.blind,
        "blind_agree": found.blind_agree,
        "gap": found.gap,
        "gap_95": None if found.gap is None else [low, high],
        "trust_in_yes": found.trust_in_yes,
    }


def _said(found: Anchoring) -> str:
    counts = (
        f"first suspect named: {found.shown_agree} of {found.shown} with the ranking in sight, "
        f"{found.blind_agree} of {found.blind} before it was shown"
    )
    if found.gap is None:
        return f"{counts}; how much people follow it is not known yet"
    low, high = found.interval
    gap = f"anchoring {found.gap:+.2f} (95 %: {low:+.2f} to {high:+.2f})"
    return f"{counts}; {gap}; a bare yes counts {found.trust_in_yes:.2f}"


def _row(kept: dict[str, Any], used: dict[str, Any] | None) -> dict[str, Any]:
    record = kept["weights"]
    return {
        "version": record["version"],
        "cases": len(kept["orders"]),
        "loss": kept["loss"],
        "catalogue_loss": kept["seed_loss"],
        "gain": record["gain"],
        "temperature": record.get("temperature", 1.0),
        "in_use": used is not None and used.get("version") == record["version"],
    }
