"""``python -m edge_agent.simulation.line``: the line as a process. SIGTERM and SIGINT stop it in order."""

import argparse
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.simulation.line import plc
from edge_agent.simulation.line.line import Line, Shift, run_id
from edge_agent.simulation.line.photographer import Photographer
from edge_agent.simulation.line.products import PRODUCTS, artwork
from edge_agent.simulation.line.trouble import Trouble
from edge_agent.simulation.process import FAULTS, Plant

BOX_TIMEOUT_S = 120.0


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.simulation.line", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("--topic-root", required=True, help="the box's topic root")
    parser.add_argument("--images", type=Path, required=True, help="folder that the box's camera watches")
    parser.add_argument("--truth", type=Path, required=True, help="file for the hidden cause; for simulators only")
    parser.add_argument("--repairs", type=Path, required=True, help="file in which maintenance reports its work")
    parser.add_argument("--parts", type=int, help="stop after this many; default: until stopped")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault", choices=sorted(FAULTS), help="use only this fault; default: drawn by the seed")
    parser.add_argument("--rate", type=float, default=5.0, help="parts a second at most")
    parser.add_argument("--run", default=None, help="prefix of the part ids; default: made from the time")
    parser.add_argument("--summary", type=Path, help="file for the counts")
    return parser.parse_args(words)


def run(options: argparse.Namespace, stop: threading.Event) -> None:
    """Connect, wait for the box, work the shift."""
    password = options.password_file.read_text().strip() if options.password_file else None
    controller = plc.Plc(
        plc.client("line-plc", username=options.username, password=password), topic_root=options.topic_root
    )
    plant = Plant(tuple(artwork(product) for product in PRODUCTS), options.seed)
    trouble = Trouble(plant, options.truth, options.repairs, lambda: datetime.now(UTC), options.fault)
    controller.connect(options.host, options.port)
    try:
        if not controller.await_box(BOX_TIMEOUT_S, stop):
            if stop.is_set():
                return
            raise Transient(f"no box is online below {options.topic_root} after {BOX_TIMEOUT_S:.0f} s")
        line = Line(plant=plant, plc=controller, photographer=Photographer(options.images), trouble=trouble, stop=stop)
        line.work(Shift(parts=options.parts, rate=options.rate, run=options.run or run_id(), summary=options.summary))
    finally:
        controller.close()


def main() -> int:
    """Entry point."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(arguments(), stop)
    except (ConfigError, Transient, OSError) as error:
        print(f"line: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
