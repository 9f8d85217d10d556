"""A box as a process of its own, to be killed: fills its outbox at a rate and relays. For tests/fault/test_link.py."""

import json
import sys
import threading
import time
from pathlib import Path

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.link.inbox import InboxHandlers
from edge_agent.adapters.link.mqtt import MqttLink
from edge_agent.adapters.store.database import Database
from edge_agent.config.plant import MqttSection
from edge_agent.contract import topics
from edge_agent.contract.envelope import Sender
from edge_agent.domain.message import Ack, Lane, OutboundMessage, OutboxState


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    root, total, per_s = settings["root"], settings["total"], settings["per_s"]
    clock = SystemClock()
    store = Database(settings["url"], clock=clock)
    store.migrate()
    sender = Sender(agent="box-1", topic_root=root, uri_base="", software_version="0")
    link = MqttLink(
        MqttSection(host=settings["host"], port=settings["port"], username="agent", receipt_retry_s=1.0),
        agent="box-1",
        topic_root=root,
        store=store,
        clock=clock,
        state_body=lambda online: json.dumps({"online": online}).encode(),
        password=settings["password"],
    )
    handlers = InboxHandlers(store, clock, sender)
    link.subscribe(topics.under(root, topics.RECEIPT), handlers.on_receipt)
    link.start()
    threading.Thread(target=_produce, args=(store, clock, total, per_s), daemon=True).start()
    while True:
        link.relay(0.1)
        with store.reader() as reader:
            counts = reader.outbox.counts()
        if counts[OutboxState.CONFIRMED] >= total:
            break
    link.stop(5.0)


def _produce(store: Database, clock: SystemClock, total: int, per_s: float) -> None:
    """One transaction for each number; a restart goes on where the store says we were."""
    with store.reader() as reader:
        done = reader.facts.get("produced") or 0
    for number in range(done, total):
        event_id = clock.new_id()
        body = json.dumps({"id": str(event_id), "n": number}).encode()
        with store.unit(durable=False) as unit:
            unit.outbox.add(
                OutboundMessage(
                    message_id=event_id,
                    topic=topics.DEFECT,
                    body=body,
                    lane=Lane.FINDINGS,
                    ack=Ack.RECEIPT,
                    created_at=clock.now(),
                )
            )
            unit.facts.set("produced", number + 1)
            unit.commit()
        time.sleep(1 / per_s)


if __name__ == "__main__":
    main()
