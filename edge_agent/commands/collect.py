"""``edge-agent collect``: bring what many boxes send into one PostgreSQL database."""

import json
import signal
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.adapters.clock import SystemClock
from edge_agent.collecting import figures, sessions
from edge_agent.collecting.fleet_store import FleetStore
from edge_agent.collecting.settings import CollectFile, broker_password, database_url, load
from edge_agent.collecting.worker import Worker, run
from edge_agent.observability import logs
from edge_agent.runtime.systemd import Notifier

app = typer.Typer(invoke_without_command=True)

Config = Annotated[Path, typer.Option("--config", help="The collector's file.")]
Format = Annotated[str, typer.Option("--format", help="text or json.")]
DEFAULT_CONFIG = Path("collect.yaml")


@app.callback()
def serve(
    context: typer.Context,
    config: Config = DEFAULT_CONFIG,
    worker: Annotated[str, typer.Option(help="This worker's name; no two workers have the same.")] = "1",
    provision: Annotated[bool, typer.Option("--provision", help="Make the tables and the sessions, and end.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=1_000, help="With --provision: how many workers.")] = 1,
    metrics: Annotated[str, typer.Option(help="Serve Prometheus metrics at HOST:PORT, or none.")] = "none",
    log_style: Annotated[str, typer.Option(help="auto, console or json.")] = "auto",
) -> None:
    """Collect what boxes send: a worker takes its share from the broker and writes it to PostgreSQL.

    Provision once, before boxes send, then run as many workers as you like, on as many machines. A worker has no
    state: kill it, start it again under its name, and it goes on.

    Example: edge-agent collect --config collect.yaml --provision --workers 3

    Example: edge-agent collect --config collect.yaml --worker 2 --metrics 127.0.0.1:9108

    Example: edge-agent collect gaps --config collect.yaml

    Exit codes: 0 done, 1 failed (the message says what), 78 the file, the database or the access rules must change.
    """
    if context.invoked_subcommand is not None:
        return
    logs.configure(level="info", style=logs.as_format(log_style))
    settings = load(config)
    store = FleetStore(database_url(settings))
    try:
        if provision:
            _provision(settings, store, workers)
        else:
            _serve(settings, store, worker, metrics)
    finally:
        store.close()


def _provision(settings: CollectFile, store: FleetStore, workers: int) -> None:
    hyper = store.migrate()
    typer.echo(f"tables are ready in {store.place}" + (" (TimescaleDB hypertables)" if hyper else ""))
    for number in range(1, workers + 1):
        kept = sessions.provision(settings, str(number), broker_password(settings))
        typer.echo(f"worker {number}: session {'was there' if kept else 'made'}, {settings.subscription}")


def _serve(settings: CollectFile, store: FleetStore, name: str, metrics: str) -> None:
    store.check()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if metrics != "none":
        _serve_metrics(metrics)
    made = Worker(settings, name=name, store=store, clock=SystemClock(), password=broker_password(settings))
    Notifier().send("READY=1")
    run(made, stop)


def _serve_metrics(address: str) -> None:
    from prometheus_client import start_http_server

    host, port = _address(address, "--metrics")
    start_http_server(port, addr=host, registry=figures.REGISTRY)


def _address(text: str, option: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise typer.BadParameter(f"{text!r}: expected HOST:PORT", param_hint=option)
    return host.strip("[]"), int(port)


@app.command()
def gaps(
    config: Config = DEFAULT_CONFIG,
    box: Annotated[str | None, typer.Option(help="Only this box.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those too that are younger than gap_after_s.")] = False,
    accept: Annotated[bool, typer.Option(help="With --box: tell no more of what is missing now.")] = False,
    form: Format = "text",
) -> None:
    """List the numbers of boxes that are missing. Exit code 1: there are some.

    Example: edge-agent collect gaps --box box-17 --accept
    """
    settings = load(config)
    store = FleetStore(database_url(settings))
    store.check()
    if accept:
        if box is None:
            raise typer.BadParameter("name the box with --box", param_hint="--accept")
        typer.echo(f"{box}: {store.accept_gaps(box)} missing messages are accepted")
        return
    found = store.gaps(older_than_s=0 if everything else settings.gap_after_s, box=box)
    if form == "json":
        typer.echo(json.dumps([gap._asdict() for gap in found], indent=2, default=str))
    else:
        for gap in found:
            since = f"since {gap.since:%Y-%m-%d %H:%M:%S %Z}" if gap.since else ""
            typer.echo(f"{gap.site}/{gap.line}/{gap.box}: {gap.first} to {gap.last} ({gap.missing} missing) {since}")
        if not found:
            typer.echo("no gaps")
    raise typer.Exit(1 if found else 0)


@app.command()
def dead(config: Config = DEFAULT_CONFIG, form: Format = "text") -> None:
    """List messages that could not be stored, newest first.

    Example: edge-agent collect dead
    """
    settings = load(config)
    store = FleetStore(database_url(settings))
    store.check()
    rows: list[dict[str, Any]] = store.rows(
        "SELECT topic, reason, detail, size_bytes, times, last_at FROM dead_letter ORDER BY last_at DESC LIMIT 100"
    )
    if form == "json":
        typer.echo(json.dumps(rows, indent=2, default=str))
        return
    for row in rows:
        typer.echo(f"{row['last_at']:%Y-%m-%d %H:%M:%S} {row['topic']}: {row['reason']}, {row['detail']}")
    if not rows:
        typer.echo("no dead letters")


@app.command()
def page(
    config: Config = DEFAULT_CONFIG,
    listen: Annotated[
        str, typer.Option(help="Address of the page, HOST:PORT (port 0: a free one).")
    ] = "127.0.0.1:8092",
) -> None:
    """Serve the fleet's page: yield by line, defects, open orders, boxes and what is missing. It only reads.

    Example: edge-agent collect page --config collect.yaml --listen 0.0.0.0:8092
    """
    from edge_agent.collecting.overview import Overview
    from edge_agent.web.fleet_app import build_fleet_app
    from edge_agent.web.server import WebServer

    logs.configure(level="warning", style=logs.as_format("auto"))
    settings = load(config)
    store = FleetStore(database_url(settings))
    store.check()
    host, port = _address(listen, "--listen")
    overview = Overview(store, gap_after_s=settings.gap_after_s)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = WebServer(build_fleet_app(overview.look, store.place.rpartition("@")[2].partition("?")[0]), host, port)
    server.setup()
    typer.echo(f"page: {server.url}")
    try:
        while not stop.is_set():
            server.step()
    finally:
        server.teardown()
        store.close()


@app.command("remove-session")
def remove_session(
    worker: Annotated[str, typer.Argument(help="The name of a worker that does not come back.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """End the session of a worker that is not needed any more. Run it until it is idle before: what waits is lost.

    Example: edge-agent collect remove-session 3
    """
    settings = load(config)
    sessions.remove(settings, worker, broker_password(settings))
    typer.echo(f"worker {worker}: its session has ended")
