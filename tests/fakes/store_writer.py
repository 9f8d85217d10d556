"""A process to be killed: writes inspections with their messages, and says what it has committed.

``python -m tests.fakes.store_writer URL durable|fast [NUMBER]`` prints an id after each commit, or the fault that
stopped it.
"""

import json
import sys
from itertools import count

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.store.database import Database
from edge_agent.domain.faults import ConfigError, Transient
from tests.fakes.made import a_message, an_inspection


def main(url: str, mode: str, number: int) -> None:
    """Write until killed, stopped by a fault, or done."""
    clock = SystemClock()
    store = Database(url, clock=clock)
    store.migrate()
    for done in count():
        if done == number:
            return
        inspection = an_inspection(clock, codes=("open", "short"))
        body = json.dumps({"inspection": str(inspection.inspection_id), "padding": "x" * 600}).encode()
        try:
            with store.unit(durable=mode == "durable") as unit:
                unit.inspections.add(inspection)
                unit.outbox.add(a_message(clock, body=body))
                unit.commit()
        except (Transient, ConfigError) as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            return
        print(inspection.inspection_id, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else -1)
