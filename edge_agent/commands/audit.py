"""``edge-agent audit``: follow, read and hand out the audit log."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.commands.stored import Config, State, open_store
from edge_agent.domain.audit import AuditCheck, AuditEntry, ChainWalk
from edge_agent.domain.faults import ConfigError
from edge_agent.ports import UnitOfWork

app = typer.Typer(no_args_is_help=True)

Format = Annotated[str, typer.Option("--format", help="text or json.")]


@app.command()
def verify(
    state: State = None,
    config: Config = None,
    file: Annotated[Path | None, typer.Option(help="An export, instead of the box's own store.")] = None,
    head: Annotated[str, typer.Option(help="Hash of an entry that was noted elsewhere: is it still there?")] = "",
) -> None:
    """Follow the chain from the first entry to the last.

    Example: edge-agent audit verify --state state

    Exit codes: 0 unbroken, 1 broken (the message says where), or the noted entry is not in it.
    """
    if file is not None:
        check, known = _verify_file(file, head)
    else:
        store = open_store(state, config)
        with store.reader() as unit:
            check = unit.audit.verify()
            known = any(entry.hash == head for entry in _pages(unit)) if head else True
        store.close()
    if check.fault:
        typer.echo(f"broken: {check.fault}; {check.entries} entries before it are right", err=True)
        raise typer.Exit(1)
    if not known:
        typer.echo(f"the chain is unbroken, but holds no entry {head}: it was cut off, or made anew", err=True)
        raise typer.Exit(1)
    typer.echo(f"unbroken: {check.entries} entries, head {check.head}")


@app.command("list")
def list_entries(
    state: State = None,
    config: Config = None,
    limit: Annotated[int, typer.Option(min=1, help="Entries at most.")] = 50,
    subject: Annotated[str | None, typer.Option(help="Only those about this, e.g. station:aoi-1.")] = None,
    form: Format = "text",
) -> None:
    """List entries, newest first.

    Example: edge-agent audit list --subject station:aoi-1
    """
    store = open_store(state, config)
    with store.reader() as unit:
        entries = unit.audit.latest(limit, subject=subject)
    store.close()
    if form == "json":
        typer.echo(json.dumps([_record(entry) for entry in entries], indent=2, ensure_ascii=False))
        return
    for entry in entries:
        typer.echo(_line(entry))
    if not entries:
        typer.echo("no entries")


@app.command()
def export(state: State = None, config: Config = None) -> None:
    """Write all entries to standard output, oldest first, one JSON object a line.

    Example: edge-agent audit export --state state > audit.jsonl
    """
    store = open_store(state, config)
    with store.reader() as unit:
        for entry in _pages(unit):
            typer.echo(json.dumps(_record(entry), ensure_ascii=False))
    store.close()


def _pages(unit: UnitOfWork) -> Iterator[AuditEntry]:
    last = 0
    while page := unit.audit.rows(after=last):
        yield from page
        last = page[-1].seq


def _verify_file(file: Path, head: str) -> tuple[AuditCheck, bool]:
    """Raises ConfigError: it cannot be read."""
    walk, known = ChainWalk(), not head
    try:
        with file.open(encoding="utf-8") as lines:
            for entry in _entries(lines, file):
                if not walk.take([entry]):
                    break
                known = known or entry.hash == head
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    return walk.result(), known


def _entries(lines: Iterable[str], file: Path) -> Iterator[AuditEntry]:
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
            yield AuditEntry(**fields | {"at": datetime.fromisoformat(fields["at"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{file}, line {number}: not an entry of an audit log: {error}") from error


def _record(entry: AuditEntry) -> dict[str, Any]:
    return asdict(entry) | {"at": entry.at.isoformat(timespec="microseconds")}


def _line(entry: AuditEntry) -> str:
    changed = f"  {entry.before[:12] or '-'} -> {entry.after[:12]}" if entry.after else ""
    detail = f"  {entry.detail}" if entry.detail else ""
    return (
        f"{entry.seq:>6}  {entry.at:%Y-%m-%d %H:%M:%S}  {entry.actor}  {entry.action}  {entry.subject}{changed}{detail}"
    )
