"""``python -m edge_agent.simulation.mes``: MES and technician as a process. SIGTERM and SIGINT stop it in order."""

import argparse
import json
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.mes.wire import Wire
from edge_agent.simulation.mes.desk import Desk
from edge_agent.simulation.mes.ledger import AGAIN_AFTER_S, Ledger
from edge_agent.simulation.mes.technician import Habits, Technician
from edge_agent.simulation.mes.truth import Repairs, Truth

STEP_S = 0.05


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.simulation.mes", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--client-id", default="mes")
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("--topic-root-filter", required=True, help="e.g. acme/north/smt/l1/c1/_inspect/v1/+")
    parser.add_argument("--state", type=Path, required=True, help="SQLite file: what the MES remembers")
    parser.add_argument("--truth", type=Path, required=True, help="what is really broken, by the line's simulator")
    parser.add_argument("--repairs", type=Path, help="file that tells the line's simulator what was repaired")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=120.0, help="simulated minutes in a real minute")
    parser.add_argument("--again-s", type=float, default=AGAIN_AFTER_S, help="when an unheard answer is said again")
    parser.add_argument("--ideal", action="store_true", help="nobody refuses, asks, errs, or comes late")
    parser.add_argument("--summary", type=Path, help="file for the counts, written at the end")
    return parser.parse_args(words)


def log(what: str, **fields: object) -> None:
    """One JSON line."""
    print(json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "mes": what, **fields}), flush=True)


def work(options: argparse.Namespace, stop: threading.Event) -> None:
    """Serve until told to stop."""
    password = options.password_file.read_text().strip() if options.password_file else None
    wire = Wire(
        client_id=options.client_id,
        root_filter=options.topic_root_filter,
        username=options.username,
        password=password,
        consumer="simulated-mes",
    )
    ledger = Ledger(options.state, again_after_s=options.again_s)
    habits = Habits(rejects=0, asks=0, late=0, twice=0, wrong=0) if options.ideal else Habits()
    desk = Desk(
        wire=wire,
        ledger=ledger,
        technician=Technician(options.seed, habits),
        truth=Truth(options.truth),
        repairs=Repairs(options.repairs),
        speed=options.speed,
        log=log,
    )
    wire.start(options.host, options.port)
    try:
        while not stop.is_set():
            desk.step(STEP_S)
    finally:
        wire.stop()
        if options.summary is not None:
            options.summary.write_text(json.dumps({**ledger.counts(), "waiting": ledger.waiting()}, indent=1) + "\n")
        ledger.close()


def main() -> None:
    """Entry point."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    work(arguments(), stop)


if __name__ == "__main__":
    main()
