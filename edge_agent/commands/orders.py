"""``edge-agent orders``: list, show and answer work orders, also while the daemon runs."""

import json
from hashlib import sha256
from typing import Annotated, Any
from uuid import UUID

import typer

from edge_agent.adapters.clock import SystemClock
from edge_agent.commands.stored import Config, State, open_store, person
from edge_agent.contract import payloads, topics
from edge_agent.contract.inbound import InvalidMessage, identified, job_response
from edge_agent.domain.analysis import Analysis
from edge_agent.domain.evidence import Evidence
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.verdict import ResponseEvent
from edge_agent.domain.work_order import WorkOrder
from edge_agent.ports import UnitOfWork
from edge_agent.responding.evidence.vision_description import TOOL as DESCRIBED

app = typer.Typer(no_args_is_help=True)
LOCAL_SOURCE = "urn:edge-agent:local"

Number = Annotated[str, typer.Argument(help="The order's number (WO-0007) or id.")]
Format = Annotated[str, typer.Option("--format", help="text or json.")]


@app.command("list")
def list_orders(
    state: State = None,
    config: Config = None,
    everything: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    form: Format = "text",
) -> None:
    """List orders, newest first.

    Example: edge-agent orders list --all --state state
    """
    store = open_store(state, config)
    with store.reader() as uow:
        orders = uow.orders.list(open_only=not everything)
    store.close()
    if form == "json":
        typer.echo(json.dumps([_brief(order.shown()) for order in orders], indent=2))
        return
    for order in (one.shown() for one in orders):
        first = order.suspects[0] if order.suspects else None
        suspect = f"{first.cause_id} {first.name} ({first.grade})" if first else "no suspect"
        suspect = "ranking hidden: say first what you suspect" if order.ranking_hidden else suspect
        typer.echo(f"{order.number}  rev {order.revision}  P{order.priority}  {order.state.value:9s}  {suspect}")
        typer.echo(f"    {order.problem}")
    if not orders:
        typer.echo("no orders" if everything else "no open orders (--all shows the closed ones)")


@app.command()
def show(number: Number, state: State = None, config: Config = None, form: Format = "text") -> None:
    """Show one order: problem, suspects with what speaks for and against, checks, actions, containment, answers.

    Example: edge-agent orders show WO-0001
    """
    store = open_store(state, config)
    with store.reader() as uow:
        order = _find(uow, number).shown()
        analysis = uow.analyses.latest(order.incident_id)
        answers = [f"{one.received_at:%H:%M:%S} {one.event.value} {one.reason}" for one in _responses(uow, order)]
    store.close()
    if form == "json":
        typer.echo(json.dumps(_full(order, analysis), indent=2))
        return
    for line in _lines(order, analysis):
        typer.echo(line)
    for answer in answers:
        typer.echo(f"answered: {answer}".rstrip())


@app.command()
def respond(
    number: Number,
    event: Annotated[ResponseEvent, typer.Argument(help="What happened to it.")],
    cause: Annotated[str, typer.Option(help="The cause that was found (catalogue id, NONE or OTHER).")] = "",
    text: Annotated[str, typer.Option(help="What was found, in words.")] = "",
    action: Annotated[list[str] | None, typer.Option(help="Action done (catalogue id); may be repeated.")] = None,
    part: Annotated[list[str] | None, typer.Option(help="Part used, NUMBER or NUMBER=QUANTITY.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes it took.", min=0)] = None,
    by: Annotated[str, typer.Option(help="Role or pseudonym, never a name.")] = "operator",
    reason: Annotated[str, typer.Option(help="Why, e.g. of a rejection.")] = "",
    check: Annotated[list[str] | None, typer.Option(help="Check done, ID=found or ID=not-found.")] = None,
    suspicion: Annotated[str, typer.Option(help="What you suspect (catalogue id), before you see a ranking.")] = "",
    state: State = None,
    config: Config = None,
) -> None:
    """Answer an order here, as the MES would over MQTT: the same rules apply.

    The answer waits in the inbox until the daemon takes it, usually within a second.

    Example: edge-agent orders respond WO-0001 closed --cause A17 --action clean-etch-nozzles --minutes 35
    """
    store = open_store(state, config)
    clock = SystemClock()
    with store.reader() as uow:
        order = _find(uow, number)
    body: dict[str, Any] = {
        "responseId": str(clock.new_id()),
        "jobOrderId": str(order.order_id),
        "rev": order.revision,
        "event": event.value,
        "reason": reason,
        "suspicion": suspicion,
        "checks": [_check(one) for one in check or []],
    }
    if cause or text or action or part or minutes is not None:
        body["actual"] = {
            "causeCode": cause or None,
            "causeText": text,
            "confirms": _confirms(order, cause),
            "actions": action or [],
            "parts": [_part(one) for one in part or []],
            "personnel": by,
        } | ({"minutes": minutes} if minutes is not None else {})
    message = identified(
        InboundMessage(
            source=LOCAL_SOURCE,
            message_id="",
            topic=topics.response(order.order_id),
            body=json.dumps(body).encode(),
            received_at=clock.now(),
        )
    )
    _checked(message)
    with store.unit(durable=True) as uow:
        uow.inbox.add(message)
        uow.audit.append(
            actor=person(),
            action="order.answered",
            subject=f"order:{order.number}",
            after=sha256(message.body).hexdigest(),
            detail=f"revision {order.revision}: {event.value}{f', cause {cause}' if cause else ''}",
        )
        uow.commit()
    store.close()
    typer.echo(f"{order.number}: {event.value} is on its way")


@app.command()
def suspect(
    number: Number,
    cause: Annotated[str, typer.Option(help="The cause that you suspect (catalogue id, NONE or OTHER).")],
    state: State = None,
    config: Config = None,
) -> None:
    """Say what you suspect before you see a ranking; an order that hides its ranking shows it then.

    Example: edge-agent orders suspect WO-0001 --cause A17
    """
    respond(
        number,
        ResponseEvent.RECEIVED,
        cause="",
        text="",
        action=None,
        part=None,
        minutes=None,
        by="operator",
        reason="",
        check=None,
        suspicion=cause,
        state=state,
        config=config,
    )


@app.command()
def close(
    number: Number,
    cause: Annotated[str, typer.Option(help="The cause that was found (catalogue id, NONE or OTHER).")],
    text: Annotated[str, typer.Option(help="What was found, in words.")] = "",
    action: Annotated[list[str] | None, typer.Option(help="Action done (catalogue id); may be repeated.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes it took.", min=0)] = None,
    state: State = None,
    config: Config = None,
) -> None:
    """Close an order with the cause that was found: short for ``respond ... closed``.

    Example: edge-agent orders close WO-0001 --cause A17 --action clean-etch-nozzles --minutes 35
    """
    respond(
        number,
        ResponseEvent.CLOSED,
        cause=cause,
        text=text,
        action=action,
        part=None,
        minutes=minutes,
        check=None,
        suspicion="",
        state=state,
        config=config,
    )


def _find(uow: UnitOfWork, number: str) -> WorkOrder:
    try:
        found = uow.orders.get(UUID(number))
    except ValueError:
        found = next((order for order in uow.orders.list(limit=10_000) if order.number == number.upper()), None)
    if found is None:
        typer.echo(f"no order {number}", err=True)
        raise typer.Exit(1)
    return found


def _responses(uow: UnitOfWork, order: WorkOrder) -> list[Any]:
    return list(uow.answers.responses(order.order_id))


def _checked(message: InboundMessage) -> None:
    try:
        job_response(message)
    except InvalidMessage as error:
        raise typer.BadParameter(error.detail) from error


def _check(text: str) -> dict[str, Any]:
    name, _, outcome = text.partition("=")
    if not name or outcome not in {"found", "not-found"}:
        raise typer.BadParameter(f"{text!r}: expected ID=found or ID=not-found", param_hint="--check")
    return {"checkId": name, "found": outcome == "found"}


def _part(text: str) -> dict[str, Any]:
    number, _, quantity = text.partition("=")
    try:
        return payloads.UsedPart(material_id=number, qty=float(quantity or 1)).to_json_object()
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: expected NUMBER or NUMBER=QUANTITY") from error


def _confirms(order: WorkOrder, cause: str) -> str:
    if not cause:
        return ""
    if order.ranking_hidden:
        return ""
    return "yes" if order.suspects and order.suspects[0].cause_id == cause else "no"


def _brief(order: WorkOrder) -> dict[str, Any]:
    return {
        "number": order.number,
        "id": str(order.order_id),
        "revision": order.revision,
        "state": order.state.value,
        "priority": order.priority,
        "due_at": order.due_at.isoformat(),
        "problem": order.problem,
        "ranking_hidden": order.ranking_hidden,
        "first_suspect": order.suspects[0].cause_id if order.suspects else None,
    }


def _full(order: WorkOrder, analysis: Analysis | None) -> dict[str, Any]:
    facts = _facts(analysis)
    return _brief(order) | {
        "text": order.text,
        "text_source": order.text_source,
        "note": order.note,
        "priority_reason": order.priority_reason,
        "suspects": [
            {
                "cause": one.cause_id,
                "name": one.name,
                "grade": one.grade,
                "for": [facts[e].statement for e in one.speaks_for if e in facts],
                "against": [facts[e].statement for e in one.speaks_against if e in facts],
                "actions": [action.text for action in one.actions],
            }
            for one in order.suspects
        ],
        "checks": [{"id": one.check_id, "text": one.text, "minutes": one.minutes} for one in order.checks],
        "waiting": [{"priority": one.priority, "problem": one.problem} for one in order.gathered],
        "contain": {"parts": list(order.containment.part_ids), "lots": list(order.containment.lot_ids)},
    }


def _facts(analysis: Analysis | None) -> dict[str, Evidence]:
    return {one.evidence_id: one for one in analysis.evidence} if analysis else {}


def _lines(order: WorkOrder, analysis: Analysis | None) -> list[str]:
    facts = _facts(analysis)
    lines = [
        f"{order.number} revision {order.revision}, {order.state.value}, priority {order.priority} "
        f"({order.priority_reason})",
        f"due {order.due_at:%Y-%m-%d %H:%M} UTC; station {order.station_id}; equipment {order.equipment or '-'}",
        order.text if order.text.startswith(order.problem) else f"{order.problem}\n{order.text}",
    ]
    lines += [f"note (unqualified text of a language model): {order.note}"] if order.note else []
    for suspect in order.suspects:
        lines.append(f"suspect {suspect.cause_id}: {suspect.name} ({suspect.grade})")
        lines += [f"    for      {e}: {facts[e].statement}" for e in suspect.speaks_for if e in facts]
        lines += [f"    against  {e}: {facts[e].statement}" for e in suspect.speaks_against if e in facts]
        lines += [f"    do       {action.text}" + " (lock out)" * action.loto for action in suspect.actions]
    if order.collects:
        lines += [f"waits    P{one.priority} {one.problem}; {one.suspect or 'no suspect'}" for one in order.gathered]
        return lines
    if order.ranking_hidden:
        lines += [f"choose   {cause_id}: {name}" for cause_id, name in order.choices]
        lines.append(f"then: edge-agent orders suspect {order.number} --cause ID")
    lines += ["it could also be something that is not listed"] if order.open_set else []
    lines += [
        f"check {place} ({check.minutes:g} min{', lock out' * check.loto}): "
        f"{check.text} [{check.criterion}] {check.check_id}"
        for place, check in enumerate(order.checks, start=1)
    ]
    lines += [f"for people  {one.statement}" for one in facts.values() if one.tool == DESCRIBED]
    held = order.containment
    lots = f", lots {', '.join(held.lot_ids)}" if held.lot_ids else ""
    lines.append(f"hold {len(held.part_ids)} parts since {held.since:%H:%M:%S} UTC{lots}")
    return lines
