"""``edge-agent replay``: what would today's catalogue and tools have said about stored inspections?"""

import json
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from edge_agent import __version__
from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.store.database import Database
from edge_agent.commands.stored import State, open_store
from edge_agent.config import load
from edge_agent.config.catalogue import load_catalogue, load_priority_table
from edge_agent.contract.envelope import Sender
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.inference import BACKGROUND
from edge_agent.domain.priority import PriorityTable
from edge_agent.domain.work_order import OrderState
from edge_agent.learning.reconcile import close_incidents
from edge_agent.ports import Store, UnitOfWork
from edge_agent.responding.analyse import WEIGHTS
from edge_agent.responding.correlate import close_incident
from edge_agent.responding.responder import Responder
from edge_agent.responding.settings import Settings, settings_of

SENDER = Sender(agent="replay", topic_root="replay", uri_base="", software_version=__version__)
PAGE = 500
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
MAX_INCIDENTS = 10_000
CLOSED_BECAUSE = "closed_because"
BY_ORDER = "order "
"""How the reason begins where an order's end closed an incident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One incident and what it was blamed on."""

    station_id: str
    family: str
    opened_at: datetime
    parts: int
    first_suspect: str | None
    grade: str
    order: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """An order's end, told by the MES: from then on the trouble counts as over."""

    at: datetime
    station_id: str
    family: str


def command(
    config: Annotated[
        Path, typer.Option(help="plant.yaml or its folder: catalogue and settings to try, and a store on PostgreSQL.")
    ] = Path("plant_config"),
    state: State = None,
    catalogue: Annotated[Path | None, typer.Option(help="Another catalogue than the configured one.")] = None,
    learned: Annotated[bool, typer.Option(help="With the learned weights, or the catalogue alone.")] = True,
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Run stored inspections through the present diagnosis, in a scratch store, and show what would differ.

    Where the MES closed an order, the replay takes the trouble for over at the same moment. Nothing in the state
    folder changes and nothing is sent.

    Example: edge-agent replay --state state --config plant_config --catalogue plant_config/fmea/pcb.yaml

    Exit codes: 0 nothing differs; 1 something does; 78 the configuration or the store is wrong.
    """
    configuration = load(config)
    diagnosis = configuration.plant.diagnosis
    chosen = catalogue or configuration.resolve(diagnosis.catalogue)
    table = load_priority_table(configuration.resolve(diagnosis.priority_table) if diagnosis.priority_table else None)
    source = open_store(state, config if configuration.plant.store.url and state is None else None)
    try:
        then = findings(source)
        now = replayed(source, settings_of(configuration), chosen, table, learned=learned)
    finally:
        source.close()
    rows = compare(then, now)
    if form == "json":
        typer.echo(json.dumps([{"then": _plain(a), "now": _plain(b), "differs": _differs(a, b)} for a, b in rows]))
    else:
        for before, after in rows:
            typer.echo(f"{'!' if _differs(before, after) else ' '} then {_words(before)}  |  now {_words(after)}")
        differing = sum(_differs(before, after) for before, after in rows)
        typer.echo(f"{len(then)} incidents then, {len(now)} now; {differing} differ")
    if any(_differs(before, after) for before, after in rows):
        raise typer.Exit(1)


def replayed(
    source: Store, settings: Settings, catalogue: Path, table: PriorityTable, *, learned: bool
) -> list[Finding]:
    """The findings of the present catalogue and tools on what ``source`` holds."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        scratch = Database(f"sqlite:///{folder}/agent.db", clock=clock)
        scratch.migrate()
        try:
            _copy_surroundings(source, scratch, learned=learned)
            responder = Responder(
                store=scratch,
                clock=clock,
                catalogue=load_catalogue(catalogue),
                priority_table=table,
                settings=replace(settings, orders_per_shift=MAX_INCIDENTS),  # many shifts at once: no limit
                sender=SENDER,
            )
            after = 0
            for closing in [*closings(source), None]:
                after = _copy_inspections(source, scratch, after, closing.at if closing else None)
                while responder.step():
                    pass
                if closing is not None:
                    _close(scratch, closing)
            return findings(scratch)
        finally:
            scratch.close()


def findings(store: Store) -> list[Finding]:
    """All incidents of a store with their newest analysis and order, oldest first."""
    with store.reader() as uow:
        return [_finding(uow, incident) for incident in reversed(uow.incidents.recent(MAX_INCIDENTS))]


def compare(then: list[Finding], now: list[Finding]) -> list[tuple[Finding | None, Finding | None]]:
    """Pairs of the same incident: same station and family, the nearest in time."""
    left = list(now)
    rows: list[tuple[Finding | None, Finding | None]] = []
    for one in then:
        same = [other for other in left if (other.station_id, other.family) == (one.station_id, one.family)]
        match = min(same, key=lambda other: abs(other.opened_at - one.opened_at), default=None)
        if match is not None:
            left.remove(match)
        rows.append((one, match))
    return rows + [(None, other) for other in left]


def _family(incident: Incident) -> str:
    return incident.attributes.get("family", incident.code)


def _finding(uow: UnitOfWork, incident: Incident) -> Finding:
    analysis = uow.analyses.latest(incident.incident_id)
    first = analysis.first_suspect if analysis else None
    order = uow.orders.for_incident(incident.incident_id)
    return Finding(
        station_id=incident.station_id,
        family=_family(incident),
        opened_at=incident.opened_at,
        parts=incident.defective_parts,
        first_suspect=first.cause_id if first else None,
        grade=first.grade if first else "",
        order=order.number if order else None,
    )


def closings(store: Store) -> list[Closing]:
    """When the MES closed what, oldest first. What the rate ended the replay finds by itself."""
    with store.reader() as uow:
        closed = [one for one in uow.incidents.recent(MAX_INCIDENTS) if one.state is IncidentState.CLOSED]
    answered = [one for one in closed if one.attributes.get(CLOSED_BECAUSE, "").startswith(BY_ORDER)]
    return sorted(
        (Closing(at=one.updated_at, station_id=one.station_id, family=_family(one)) for one in answered),
        key=lambda closing: closing.at,
    )


def _close(target: Store, closing: Closing) -> None:
    """The incidents of this place that are open now end here, with their orders, as they did then."""
    with target.unit(durable=False) as uow:
        for incident in uow.incidents.open():
            if (incident.station_id, _family(incident)) != (closing.station_id, closing.family):
                continue
            order = uow.orders.for_incident(incident.parent_id or incident.incident_id)
            if order is None or order.is_terminal:
                uow.incidents.save(close_incident(incident, closing.at, f"{BY_ORDER}closed then"))
                continue
            closed = replace(order, state=OrderState.CLOSED, updated_at=closing.at)
            uow.orders.save(closed)
            close_incidents(uow, closed, closing.at)
        uow.commit()


def _copy_inspections(source: Store, target: Store, after: int, until: datetime | None) -> int:
    """Those that ended before ``until``, page by page; the number of the last one."""
    with source.reader() as uow:
        while page := uow.inspections.after(after, PAGE):
            chosen = [pair for pair in page if until is None or pair[1].ended_at < until]
            with target.unit(durable=False) as scratch:
                for number, inspection in chosen:
                    scratch.inspections.add(inspection)
                    after = number
                scratch.commit()
            if len(chosen) < len(page):
                return after
    return after


def _copy_surroundings(source: Store, target: Store, *, learned: bool) -> None:
    """Signals and events; with what was learned, where wanted."""
    with source.reader() as uow:
        end = datetime.now(UTC)
        with target.unit(durable=False) as scratch:
            for signal in uow.plant.signals():
                scratch.plant.add_samples(uow.plant.series(signal, BEGINNING, end))
            for event in uow.plant.events(BEGINNING, end):
                scratch.plant.add_event(event)
            for key in (WEIGHTS, BACKGROUND) if learned else ():
                scratch.facts.set(key, uow.facts.get(key))
            scratch.commit()


def _differs(before: Finding | None, after: Finding | None) -> bool:
    if before is None or after is None:
        return True
    return before.first_suspect != after.first_suspect or (before.order is None) != (after.order is None)


def _plain(one: Finding | None) -> dict[str, object] | None:
    if one is None:
        return None
    return {
        "station": one.station_id,
        "family": one.family,
        "opened_at": one.opened_at.isoformat(),
        "defective_parts": one.parts,
        "first_suspect": one.first_suspect,
        "grade": one.grade,
        "order": one.order,
    }


def _words(one: Finding | None) -> str:
    if one is None:
        return "no incident"
    order = "ordered" if one.order else "no order"
    return f"{one.opened_at:%m-%d %H:%M:%S} {one.station_id} {one.family}: {one.first_suspect} ({one.grade}), {order}"
