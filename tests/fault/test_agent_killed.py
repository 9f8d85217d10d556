"""kill -9 and SIGTERM at any moment: every part has one answer, every message arrives, nothing is acted upon twice."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from edge_agent.domain.message import OutboxState
from tests.fault.agent_box import Box, missing, until

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
]

PARTS = 80


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize("seed", [11])
def test_agent_broker_and_mes_are_killed_and_nothing_is_lost_or_doubled(box: Box, seed: int) -> None:
    random = Random(seed)
    victims = ["agent", "agent", "broker", "mes"]
    random.shuffle(victims)
    moments = sorted(random.sample(range(6, PARTS - 10), len(victims)))
    box.broker.start()
    box.configure(plant=lambda plant: plant["mqtt"].update(receipt_retry_s=2))
    box.start_agent()
    box.start_mes()
    box.start_line(PARTS, "--seed", "1", "--fault", "conveyor_fast", "--rate", "10")
    for victim, parts in zip(victims, moments, strict=True):
        until(lambda parts=parts: box.recorded >= parts, f"{parts} parts are inspected")
        time.sleep(random.uniform(0.0, 0.3))  # the moment of the kill, drawn by the seed
        kill_and_restart(box, victim)
    assert box.line.popen is not None
    assert box.line.popen.wait(120) == 0, box.line.said
    until(lambda: is_settled(box), "every message is delivered and every order is answered")
    check_parts(box)
    check_messages(box)
    check_orders(box)


def kill_and_restart(box: Box, victim: str) -> None:
    match victim:
        case "agent":
            box.agent.kill()
            box.start_agent()
        case "mes":
            box.mes.kill()
            box.mes.start()
        case "broker":
            box.broker.kill()
            box.broker.start()


def is_settled(box: Box) -> bool:
    """No part, message, order or document is waited for any more."""
    if box.unanswered or any(row.state in (OutboxState.PENDING, OutboxState.SENT) for row in box.outbox):
        return False
    with box.store.reader() as unit:
        printed = {document.subject_id for document in unit.documents.list(kind="work-order", limit=1_000)}
        waiting = unit.inbox.unprocessed(1)
    orders = box.orders
    return not waiting and all(order.is_terminal and order.order_id in printed for order in orders)


def check_parts(box: Box) -> None:
    """Every part that the line triggered has exactly one inspection."""
    asked = box.line_account["asked"]
    assert asked == PARTS
    assert Counter(box.part_ids) == Counter(f"R-{number:05d}" for number in range(1, asked + 1))
    assert len({inspection.shot.trigger_id for inspection in box.inspections}) == asked


def check_messages(box: Box) -> None:
    """Everything is delivered; one result for each part; no gap in the box's own numbers."""
    rows = box.outbox
    assert Counter(row.state for row in rows) == {OutboxState.CONFIRMED: len(rows)}
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    assert sum(row.message.topic == "out/result" for row in rows) == PARTS


def check_orders(box: Box) -> None:
    """The MES acted once on each revision of each order; each order has its sheet."""
    orders = box.orders
    assert orders, "the line's fault must have led to an order"
    sent = {str(row.message.message_id) for row in box.outbox if row.message.topic.startswith("out/wo/")}
    receipted = {row[0] for row in box.mes_rows("SELECT id FROM seen")}
    wanted = {str(row.message.message_id) for row in box.outbox if row.message.ack == "receipt"}
    counts = dict(box.mes_rows("SELECT what, n FROM counts"))
    assert receipted == wanted
    assert counts["wo"] == len(sent & wanted)
    assert counts["orders opened"] == len(box.mes_rows("SELECT id FROM orders")) == len(orders)
    with box.store.reader() as unit:
        for order in orders:
            (document, *_) = unit.documents.list(kind="work-order", subject_id=order.order_id)
            assert (box.places.state / "documents" / document.path).read_bytes().startswith(b"%PDF")
            closed = [each for each in unit.answers.responses(order.order_id) if each.event == "closed"]
            assert len(closed) == 1
