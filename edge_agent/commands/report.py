"""``edge-agent report``: print documents from a state folder, also while the daemon runs."""

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.documents.weasy import WeasyPrinter, default_templates
from edge_agent.adapters.images.folder import FolderImages
from edge_agent.commands.stored import Config, State, open_store, state_folder
from edge_agent.config.plant import RetentionSection
from edge_agent.observability import logs
from edge_agent.ports import ImageStore, PrintJob, UnitOfWork
from edge_agent.responding.documents.house import noted_house, noted_shift_ends
from edge_agent.responding.documents.letterhead import Letterhead
from edge_agent.responding.documents.sheet import sheet_path, work_order_sheet
from edge_agent.responding.documents.shift import last_shift, shift_path, shift_report

_ORDERS = 500


class Kind(StrEnum):
    """What can be printed."""

    WORK_ORDER = "work-order"
    SHIFT = "shift"


def command(
    kind: Annotated[Kind, typer.Argument(help="What to print.")],
    last: Annotated[bool, typer.Option("--last", help="The newest order, or the last shift.")] = False,
    start: Annotated[
        str, typer.Option("--from", help="Begin, e.g. 2026-11-20T06:00 (plant time unless it says).")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="End (not included).")] = "",
    state: State = None,
    config: Config = None,
    out: Annotated[Path, typer.Option(help="Folder to print into.")] = Path(),
    templates: Annotated[Path | None, typer.Option(help="Templates of your own.")] = None,
    deadline_s: Annotated[float, typer.Option(help="Seconds for one document.", min=1)] = 60,
) -> None:
    """Print a work-order sheet or a shift report as PDF; the paths go to standard output.

    The last shift is the last one that ended and made parts. Where none has ended since the first part it is the one
    in progress, so far. The period that was taken goes to standard error.

    Example: edge-agent report shift --from 2026-11-20T06:00 --to 2026-11-20T14:00 --out reports

    Exit codes: 0 printed; 1 nothing to print, or the printer failed; 2 wrong usage; 78 no store there.
    """
    if last == bool(start or end) or bool(start) != bool(end):
        raise typer.BadParameter("give either --last, or --from and --to")
    logs.configure(level="warning")
    store = open_store(state, config)
    images = FolderImages(state_folder(state, config) / "images", RetentionSection(), clock=SystemClock())
    printer = WeasyPrinter(templates or default_templates(), clock=SystemClock())
    printed = 0
    try:
        with store.reader() as uow:
            for job, path in _jobs(uow, images, kind, start, end):
                printer.print(job, out / path, deadline_s)
                typer.echo(str(out / path))
                printed += 1
    finally:
        printer.close()
        store.close()
    if not printed:
        typer.echo(f"nothing to print: no {'order' if kind is Kind.WORK_ORDER else 'part'} found", err=True)
        raise typer.Exit(1)


def _jobs(uow: UnitOfWork, images: ImageStore, kind: Kind, start: str, end: str) -> Iterator[tuple[PrintJob, Path]]:
    letterhead, catalogue = noted_house(uow)
    period = (_instant(start, letterhead.timezone), _instant(end, letterhead.timezone)) if start else None
    if kind is Kind.SHIFT:
        period = period or _last_shift(uow, letterhead)
        if period and any(uow.inspections.count(*period).values()):
            yield shift_report(uow, images, *period, letterhead), Path(shift_path(*period).name)
        return
    orders = uow.orders.list(limit=_ORDERS)
    chosen = [o for o in orders if period[0] <= o.updated_at < period[1]] if period else orders[:1]
    for order in reversed(chosen):
        yield work_order_sheet(uow, images, order, catalogue, letterhead), Path(sheet_path(order).name)


def _last_shift(uow: UnitOfWork, letterhead: Letterhead) -> tuple[datetime, datetime] | None:
    """What ``--last`` means here, told on standard error."""
    found = last_shift(uow, SystemClock().now(), noted_shift_ends(uow), letterhead.timezone)
    if found is None:
        return None
    start, end, why = found
    typer.echo(f"period: {letterhead.span(start, end)} {letterhead.zone(end)} ({why})", err=True)
    return start, end


def _instant(text: str, zone: tzinfo) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write it as 2026-11-20T06:00") from None
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
