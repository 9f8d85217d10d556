"""``edge-agent mes``: a small reference MES, to try the contract with and to read how little it takes."""

import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.domain.faults import ConfigError
from edge_agent.mes.book import SUSPECTED, Book, NotPossible, Order, written
from edge_agent.mes.office import FOLLOWED, Office, as_json, as_line, tls_context
from edge_agent.mes.wire import Wire
from edge_agent.observability import logs
from edge_agent.web.mes_app import build_mes_app
from edge_agent.web.server import WebServer

app = typer.Typer(invoke_without_command=True)

STEP_S = 0.1
ANY_BOX = "+/+/+/+/+/_inspect/v1/+"
SAID_AFTER_S = 3.0
"""How long a broker may take to let us in before it is said."""

State = Annotated[Path, typer.Option("--state", help="Folder of what it remembers.")]
Format = Annotated[str, typer.Option("--format", help="text or json.")]
Name = Annotated[str, typer.Argument(help="PM-1001, the box's WO-0001, or the order's id.")]
DEFAULT_STATE = Path("mes-state")


@app.callback()
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The broker.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Its port; usually 8883 with TLS.")] = 1883,
    username: Annotated[str | None, typer.Option(help="User at the broker.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File with its password.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Certificate of the plant's CA: speak TLS.")] = None,
    cert_file: Annotated[Path | None, typer.Option(help="Own certificate.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    client_id: Annotated[str, typer.Option(help="MQTT client id; one MES, one id.")] = "reference-mes",
    root: Annotated[str, typer.Option(help="Topic root of the boxes, + where any will do.")] = ANY_BOX,
    page: Annotated[str, typer.Option(help="Address of the page, HOST:PORT (port 0: a free one), or none.")] = (
        "127.0.0.1:8090"
    ),
    accept: Annotated[bool, typer.Option(help="Accept each new order by itself.")] = False,
    state: State = DEFAULT_STATE,
    form: Format = "text",
) -> None:
    """Receive work orders from boxes, show them, and send answers and receipts back.

    Without a subcommand it connects and serves until Ctrl-C: a line for each thing that happens, and a page to answer
    orders on. Beside it (or without it: they are sent at the next start), list, show and answer work on the same
    state folder. With a root that names enterprise and site it also says on their _mes/v1/state that it is there,
    and boxes then send again what has no receipt.

    Example: edge-agent mes --host 192.168.0.10 --username mes --password-file pw --root acme/north/+/+/+/_inspect/v1/+

    Example: edge-agent mes close PM-1001 --cause A17 --minutes 35 --by maintenance

    Exit codes: 0 done, 1 failed (the message says what), 78 a file or address that cannot be used.
    """
    if context.invoked_subcommand is not None:
        return
    logs.configure(level="warning", style=logs.as_format("auto"))
    try:
        tls = None if ca_file is None else tls_context(str(ca_file), _text(cert_file), _text(key_file))
        password = None if password_file is None else password_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"mes: {error}") from error
    wire = Wire(
        client_id=client_id,
        root_filter=root.rstrip("/"),
        username=username,
        password=password,
        consumer=client_id,
        topics=FOLLOWED,
        tls=tls,
    )
    book_file = state / "mes.sqlite"
    shown = as_json if form == "json" else as_line

    def tell(what: str, **fields: Any) -> None:
        typer.echo(shown(what, fields))

    pages = _pages(page, book_file, wire, f"{host}:{port}")
    if pages is not None:
        pages.setup()
        tell("page", url=pages.url)
    if wire.state_topic is None:
        tell("says nothing of itself", why="the root leaves enterprise or site open: give both to be announced")
    try:
        _serve(wire, host, port, Book(book_file), tell, accept)
    finally:
        if pages is not None:
            pages.teardown()


def _pages(address: str, book_file: Path, wire: Wire, broker: str) -> WebServer | None:
    if address == "none":
        return None
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise typer.BadParameter(f"{address!r}: expected HOST:PORT or none", param_hint="--page")
    return WebServer(build_mes_app(book_file, wire.up.is_set, broker), host.strip("[]"), int(port))


def _serve(wire: Wire, host: str, port: int, book: Book, tell: Any, accept: bool) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    office = Office(wire=wire, book=book, tell=tell, accepts=accept)
    try:
        socket.getaddrinfo(host, port)
    except OSError as error:
        raise ConfigError(f"mes: --host {host}: {error}") from error
    wire.start(host, port)
    watch = _Watch(wire, f"{host}:{port}", tell)
    try:
        while not stop.is_set():
            office.step(STEP_S)
            watch.look(STEP_S)
    finally:
        wire.stop()
        book.commit()
        book.close()


class _Watch:
    """Says once when the broker is there, and once when it is not."""

    def __init__(self, wire: Wire, broker: str, tell: Any) -> None:
        self._wire, self._broker, self._tell = wire, broker, tell
        self._said: bool | None = None
        self._away_s = 0.0

    def look(self, passed_s: float) -> None:
        """After each step."""
        up = self._wire.up.is_set()
        self._away_s = 0.0 if up else self._away_s + passed_s
        if up and self._said is not True:
            self._said = True
            self._tell("connected", broker=self._broker)
        elif not up and self._said is not False and self._away_s > SAID_AFTER_S:
            self._said = False
            self._tell("not connected", broker=self._broker, why=self._wire.refused or "waiting for it")


@app.command("list")
def list_orders(
    everything: Annotated[bool, typer.Option("--all", help="Ended ones too.")] = False,
    state: State = DEFAULT_STATE,
    form: Format = "text",
) -> None:
    """List orders, newest first.

    Example: edge-agent mes list --all
    """
    book = _open(state)
    orders = book.orders(everything=everything)
    book.close()
    if form == "json":
        typer.echo(json.dumps([_brief(order) for order in orders], indent=2))
        return
    for order in orders:
        document = order.document
        typer.echo(
            f"{order.mes_id}  {order.state:9s}  P{document.get('priority', '?')}  {document['number']} "
            f"rev {order.rev} of {order.root.rpartition('/')[2]}"
        )
        typer.echo(f"    {document['description']}")
    if not orders:
        typer.echo("no orders" if everything else "no open orders (--all shows the ended ones)")


@app.command()
def show(name: Name, state: State = DEFAULT_STATE, form: Format = "text") -> None:
    """Show one order: suspects, checks, what to set aside, what was said about it.

    Example: edge-agent mes show PM-1001
    """
    book = _open(state)
    try:
        order = book.order(name)
    except NotPossible as error:
        raise typer.BadParameter(str(error)) from error
    answers = book.answers(order.order_id)
    book.close()
    if form == "json":
        said = [{"event": one.event, "outcome": one.outcome, **one.data} for one in answers]
        typer.echo(json.dumps(_brief(order) | {"document": order.document, "answers": said}, indent=2))
        return
    for line in _lines(order):
        typer.echo(line)
    for one in answers:
        heard = f"{one.outcome} by the box {one.detail}".strip() if one.outcome else "not heard yet"
        typer.echo(f"said: {one.event}, {heard}")


@app.command()
def answer(
    name: Name,
    event: Annotated[str, typer.Argument(help="accepted, rejected, started, held, completed, closed or aborted.")],
    reason: Annotated[str, typer.Option(help="Why; a rejection needs it.")] = "",
    state: State = DEFAULT_STATE,
) -> None:
    """Say what became of an order.

    Example: edge-agent mes answer PM-1001 rejected --reason "no maintenance window this shift"
    """
    _write(state, name, event, reason=reason)


@app.command()
def suspect(
    name: Name,
    cause: Annotated[str, typer.Option(help="The cause that is suspected: its code, NONE or OTHER.")],
    state: State = DEFAULT_STATE,
) -> None:
    """Say what you suspect before you see a ranking; an order that hides its ranking shows it then.

    Example: edge-agent mes suspect PM-1001 --cause A17
    """
    _write(state, name, SUSPECTED, suspicion=cause)


@app.command()
def close(
    name: Name,
    cause: Annotated[str, typer.Option(help="The cause that was found: its code, NONE or OTHER.")],
    text: Annotated[str, typer.Option(help="What was found, in words.")] = "",
    action: Annotated[list[str] | None, typer.Option(help="Action done (its id); may be repeated.")] = None,
    part: Annotated[list[str] | None, typer.Option(help="Part used, NUMBER or NUMBER=QUANTITY.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Minutes it took.")] = None,
    by: Annotated[str, typer.Option(help="Role or pseudonym, never a name.")] = "",
    state: State = DEFAULT_STATE,
) -> None:
    """Close an order with the cause that was found.

    Example: edge-agent mes close PM-1001 --cause A17 --action clean-etch-nozzles --minutes 35 --by maintenance
    """
    actual: dict[str, Any] = {
        "causeCode": cause,
        "causeText": text,
        "actions": action or [],
        "parts": [_part(one) for one in part or []],
        "personnel": by,
    }
    if minutes is not None:
        actual["minutes"] = minutes
    _write(state, name, "closed", actual=actual)


def _write(state: Path, name: str, event: str, **what: Any) -> None:
    _open(state).close()
    try:
        made = written(state / "mes.sqlite", name, event, **what)
    except NotPossible as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{name}: {made.event} is written down; a running `edge-agent mes` sends it at once")


def _open(state: Path) -> Book:
    if not (state / "mes.sqlite").exists():
        raise ConfigError(f"mes: no mes.sqlite in {state}: run `edge-agent mes` first, or name its folder with --state")
    if not os.access(state, os.W_OK):
        raise ConfigError(f"mes: {state} cannot be written to")
    return Book(state / "mes.sqlite")


def _part(text: str) -> dict[str, Any]:
    number, _, quantity = text.partition("=")
    try:
        return {"materialId": number, "qty": float(quantity or 1)}
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: expected NUMBER or NUMBER=QUANTITY") from error


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _brief(order: Order) -> dict[str, Any]:
    return {
        "mes_id": order.mes_id,
        "id": order.order_id,
        "box": order.root,
        "number": order.document["number"],
        "rev": order.rev,
        "state": order.state,
        "priority": order.document.get("priority"),
        "problem": order.document["description"],
        "may": list(order.may),
    }


def _lines(order: Order) -> list[str]:
    document = order.document
    lines = [
        f"{order.mes_id}, {order.state}: {document['number']} rev {order.rev} of {order.root}",
        str(document.get("text") or document["description"]),
    ]
    for one in document.get("gathered") or ():
        lines.append(f"waits P{one['priority']}: {one['description']}; {one.get('suspect') or 'no suspect'}")
    if document.get("rankingHidden"):
        lines += [f"choose {one['causeCode']}: {one['name']}" for one in document.get("causeChoices") or ()]
        lines.append(f"say first what you suspect: edge-agent mes suspect {order.mes_id} --cause CODE")
    for suspect in document.get("suspects", ()):
        lines.append(f"suspect {suspect['causeCode']}: {suspect['name']} ({suspect['grade']})")
        lines += [f"    do     {action['id']}: {action['text']}" for action in suspect["actions"]]
    lines += ["it could also be something that is not listed"] if document.get("openSet") else []
    lines += [f"check: {check['text']} ({check['minutes']:g} min)" for check in document.get("checks", ())]
    held = document.get("containment")
    lines += [f"set aside: {held['unitsTotal']} parts, lots {', '.join(held['lotIds']) or '-'}"] if held else []
    return lines
