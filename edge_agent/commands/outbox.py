"""``edge-agent outbox``: what waits for the plant, and what was put aside; also while the agent runs."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.link.quota import limit_bytes, used_bytes
from edge_agent.commands.stored import Config, State, open_store, person, state_folder
from edge_agent.config import load
from edge_agent.config.plant import MqttSection
from edge_agent.domain.message import Lane, LaneUsage, OutboxRow, OutboxState
from edge_agent.ports import UnitOfWork

app = typer.Typer(no_args_is_help=True)

Format = Annotated[str, typer.Option("--format", help="text or json.")]
Sequences = Annotated[list[int] | None, typer.Argument(help="Sequence numbers, as `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All that were put aside.")]


@app.command("list")
def list_rows(
    state: State = None,
    config: Config = None,
    only: Annotated[
        OutboxState | None, typer.Option("--only", help="Rows in this state; default: unfinished ones.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows of each state at most.")] = 50,
    form: Format = "text",
) -> None:
    """List messages to the plant, newest first: those put aside with the reason, those that wait.

    Example: edge-agent outbox list --only quarantined
    """
    wanted = [only] if only else [OutboxState.QUARANTINED, OutboxState.SENT, OutboxState.PENDING]
    store = open_store(state, config)
    with store.reader() as unit:
        rows = [row for one in wanted for row in unit.outbox.rows(state=one, limit=limit)]
        counts = unit.outbox.counts()
    store.close()
    if form == "json":
        typer.echo(json.dumps([_brief(row) for row in rows], indent=2))
        return
    for row in rows:
        typer.echo(_line(row))
    if not rows:
        typer.echo(f"nothing is {only.value}" if only else "nothing waits, nothing was put aside")
    more = {one.value: counts[one] - limit for one in wanted if counts[one] > limit}
    for name, count in more.items():
        typer.echo(f"and {count} more {name} (--limit)")


@app.command()
def show(
    sequence: Annotated[int, typer.Argument(help="Sequence number, as `list` shows it.")],
    state: State = None,
    config: Config = None,
) -> None:
    """Show one message: its fate and its body.

    Example: edge-agent outbox show 1234
    """
    store = open_store(state, config)
    with store.reader() as unit:
        row = unit.outbox.get(sequence)
    store.close()
    if row is None:
        typer.echo(f"no message {sequence}: it was never written, or retention has removed it", err=True)
        raise typer.Exit(1)
    typer.echo(json.dumps(_brief(row) | _more(row), indent=2, ensure_ascii=False))


@app.command()
def stats(state: State = None, config: Config = None, form: Format = "text") -> None:
    """Count messages by lane and state, with size and age of what waits, and say how full the outbox is.

    Example: edge-agent outbox stats --format json
    """
    store = open_store(state, config)
    now = SystemClock().now()
    with store.reader() as unit:
        counts, oldest = unit.outbox.counts_by_lane(), unit.outbox.oldest_pending()
        held, used = {usage.lane: usage for usage in unit.outbox.usage()}, used_bytes(unit.outbox)
    age_s = None if oldest is None else round((now - oldest).total_seconds(), 1)
    store.close()
    table = {lane: {one: counts.get((lane, one), 0) for one in OutboxState} for lane in Lane}
    limit = _quota(state, config)
    if form == "json":
        lanes = {lane.name.lower(): {one.value: n for one, n in row.items()} for lane, row in table.items()}
        waiting = {lane.name.lower(): _waiting(usage, now) for lane, usage in held.items()}
        quota = {"limit_bytes": limit, "used_bytes": used, "used": round(used / limit, 4)}
        found = {"lanes": lanes, "waiting": waiting, "oldest_unsent_s": age_s, "quota": quota}
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(f"{'lane':12s}" + "".join(f"{one.value:>13s}" for one in OutboxState) + f"{'MB':>9s}{'oldest':>10s}")
    for lane, row in table.items():
        numbers = "".join(f"{n:13d}" for n in row.values())
        typer.echo(f"{lane.value} {lane.name.lower():10s}{numbers}{_size_and_age(held.get(lane), now)}")
    typer.echo("all was sent" if age_s is None else f"the oldest unsent message is {age_s:.0f} s old")
    typer.echo(f"{used / limit:.1%} of the quota of {limit / 2**20:.0f} MiB in use")


@app.command()
def resend(state: State = None, config: Config = None) -> None:
    """Send everything again now that the MES has not confirmed, instead of at its next retry.

    For a MES that lost its data; what it has already, it knows by the id.

    Example: edge-agent outbox resend
    """
    store = open_store(state, config)
    with store.unit() as unit:
        count = unit.outbox.resend_unreceipted(SystemClock().now())
        unit.audit.append(actor=person(), action="outbox.resent", subject="outbox", detail=f"{count} without receipt")
        unit.commit()
    store.close()
    typer.echo(f"{count} to be sent again")


@app.command()
def retry(sequences: Sequences = None, every: All = False, state: State = None, config: Config = None) -> None:
    """Send messages again that were put aside, once their cause is gone (access rule, size limit).

    Example: edge-agent outbox retry 1234 1235
    """

    def again(unit: UnitOfWork, row: OutboxRow) -> None:
        unit.outbox.retry(row.sequence, at=SystemClock().now(), detail="")

    taken = _take_in_hand(sequences, every, state, config, "retried", again)
    typer.echo(f"{len(taken)} to be sent again")


@app.command()
def drop(
    sequences: Sequences = None,
    every: All = False,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, the plant shall never get them.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Work orders (lane 0) too.")] = False,
    state: State = None,
    config: Config = None,
) -> None:
    """Give messages up that were put aside. The audit log keeps what was given up, and by whom.

    Work orders, their index and their acknowledgements are given up with --force only: nobody else has them.

    Example: edge-agent outbox drop 1234 --yes
    """

    def give_up(unit: UnitOfWork, row: OutboxRow) -> None:
        if row.message.lane is Lane.ORDERS and not force:
            typer.echo(f"{row.sequence} is about a work order ({row.message.topic}): give it up with --force", err=True)
            raise typer.Exit(1)
        unit.outbox.drop(row.sequence, detail=f"given up by {person()}")

    if not yes:
        typer.echo("the plant would never get them: say --yes", err=True)
        raise typer.Exit(1)
    taken = _take_in_hand(sequences, every, state, config, "dropped", give_up)
    typer.echo(f"{len(taken)} given up")


def _quota(state: Path | None, config: Path | None) -> int:
    """As configured; without a configuration, the default."""
    plant = None if config is None else load(config).plant
    options = MqttSection(host="") if plant is None else plant.mqtt
    remote = plant is not None and plant.store.url is not None
    return limit_bytes(options, None if remote else state_folder(state, config))


def _waiting(usage: LaneUsage, now: datetime) -> dict[str, Any]:
    age_s = round((now - usage.oldest_at).total_seconds(), 1)
    return {"rows": usage.rows, "bytes": usage.size_bytes, "oldest_s": age_s}


def _size_and_age(usage: LaneUsage | None, now: datetime) -> str:
    if usage is None:
        return f"{'-':>9s}{'-':>10s}"
    age = str(now - usage.oldest_at).partition(".")[0]
    return f"{usage.size_bytes / 1e6:9.1f}{age.replace(' days, ', 'd ').replace(' day, ', 'd '):>10s}"


def _take_in_hand(
    sequences: Sequence[int] | None,
    every: bool,
    state: Path | None,
    config: Path | None,
    word: str,
    act: Callable[[UnitOfWork, OutboxRow], None],
) -> list[OutboxRow]:
    """Do it to all of them or, when one cannot be, to none."""
    if bool(sequences) == every:
        raise typer.BadParameter("give sequence numbers, or --all")
    store = open_store(state, config)
    with store.unit() as unit:
        rows = _aside(unit, sequences)
        for row in rows:
            act(unit, row)
            unit.audit.append(
                actor=person(),
                action=f"outbox.{word}",
                subject=f"message:{row.message.message_id}",
                detail=f"sequence {row.sequence}, {row.message.topic}; it was put aside: {row.detail}",
            )
        unit.commit()
    store.close()
    return rows


def _aside(unit: UnitOfWork, sequences: Sequence[int] | None) -> list[OutboxRow]:
    if not sequences:
        return unit.outbox.rows(state=OutboxState.QUARANTINED, limit=1_000_000)[::-1]
    found = [(number, unit.outbox.get(number)) for number in sequences]
    wrong = [
        f"{number} is {row.state.value if row else 'not there'}"
        for number, row in found
        if row is None or row.state is not OutboxState.QUARANTINED
    ]
    if wrong:
        typer.echo(
            f"only messages that were put aside (quarantined) can be taken in hand: {', '.join(wrong)}", err=True
        )
        raise typer.Exit(1)
    return [row for _, row in found if row is not None]


def _line(row: OutboxRow) -> str:
    tried = f"{row.attempts} attempt{'s' * (row.attempts != 1)}"
    why = f": {row.detail}" if row.detail else ""
    return (
        f"{row.sequence:>8}  {row.state.value:11s}  lane {row.message.lane.value}  "
        f"{row.message.created_at:%Y-%m-%d %H:%M:%S}  {len(row.message.body):>7} B  {row.message.topic}  {tried}{why}"
    )


def _brief(row: OutboxRow) -> dict[str, Any]:
    message = row.message
    return {
        "sequence": row.sequence,
        "id": str(message.message_id),
        "state": row.state.value,
        "detail": row.detail,
        "attempts": row.attempts,
        "topic": message.topic,
        "lane": message.lane.name.lower(),
        "done_when": message.ack.value,
        "created_at": message.created_at.isoformat(),
        "expires_at": message.expires_at.isoformat() if message.expires_at else None,
        "next_attempt_at": row.next_attempt_at.isoformat(),
        "bytes": len(message.body),
    }


def _more(row: OutboxRow) -> dict[str, Any]:
    message = row.message
    try:
        body: Any = json.loads(message.body) if message.body else None
    except ValueError:
        body = message.body.decode(errors="replace")
    return {
        "retain": message.retain,
        "order_key": message.order_key,
        "correlation": message.correlation,
        "response_topic": message.response_topic,
        "properties": dict(message.properties),
        "body": body,
    }
