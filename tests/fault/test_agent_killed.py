"""kill -9 and SIGTERM at any moment: every part has one answer, every message arrives, nothing is acted upon twice."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from edge_agent.domain.message import OutboxState
from tests.fault.agent_box import (
    MODEL_OPTIONS,
    PATIENCE_S,
    Box,
    Plc,
    missing,
    need_a_model,
    until,
    watch_the_share,
    write_incidents,
)

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
]

PARTS = 80
KILLED_AFTER_S = 20
"""TimeoutStopSec of the service: the ordered stop takes at most 15 s, and the interpreter has to end as well."""


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
    """No part, order, document or message is waited for any more. Messages last: all the others make some."""
    if box.unanswered:
        return False
    with box.store.reader() as unit:
        printed = {document.subject_id for document in unit.documents.list(kind="work-order", limit=1_000)}
        waiting = unit.inbox.unprocessed(1)
    if waiting or not all(order.is_terminal and order.order_id in printed for order in box.orders):
        return False
    return not any(row.state in (OutboxState.PENDING, OutboxState.SENT) for row in box.outbox)


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


def test_a_kill_in_the_middle_of_a_burst_of_triggers_loses_and_doubles_none(box: Box) -> None:
    """Triggers wait in memory, in the store and with the broker; some are delivered again."""
    burst = 100
    box.broker.start()
    box.configure(station=lambda station: station.update(cycle_ms=50))  # no images: each part is held
    box.start_agent()
    until(lambda: box.agent.events("connected to the broker"), "the agent is connected")
    with Plc(box) as plc:
        for number in range(burst):
            plc.trigger(f"P-{number:03d}", sequence=number + 1)
        until(lambda: box.recorded + box.unanswered >= 5, "the agent has taken some")
        box.agent.kill()
        box.start_agent()
        until(lambda: box.recorded >= burst and not box.unanswered, "every trigger is answered")
    assert Counter(box.part_ids) == Counter(f"P-{number:03d}" for number in range(burst))


def test_kills_of_a_station_that_watches_a_folder_lose_and_double_no_file(box: Box) -> None:
    random, files = Random(7), 30
    box.configure(station=watch_the_share)
    for number in range(files):  # any file is a part; these are held
        (box.places.share / f"P-{number:03d}.png").write_bytes(b"not an image")
    for already in (4, 15):
        box.start_agent()
        until(lambda already=already: box.recorded >= already, f"{already} files are answered")
        time.sleep(random.uniform(0.0, 0.05))  # the moment of the kill, drawn by the seed
        box.agent.kill()
    box.start_agent()
    until(lambda: box.recorded >= files and not box.unanswered, "every file is answered")
    assert Counter(box.part_ids) == Counter(f"P-{number:03d}" for number in range(files))


# --- SIGTERM --------------------------------------------------------------------------------------------------------


def test_a_stop_under_load_answers_what_it_took_and_leaves_the_rest_with_the_broker(box: Box) -> None:
    box.broker.start()
    box.configure()
    box.start_agent()
    box.start_line(40, "--rate", "20")
    until(lambda: box.recorded >= 12, "parts are inspected")
    code, took_s = box.agent.terminate()
    assert (code, box.retained_state()["online"], box.unanswered) == (0, False, 0)
    assert took_s < KILLED_AFTER_S
    box.start_agent()
    assert box.line.popen is not None
    assert box.line.popen.wait(60) == 0, box.line.said
    until(lambda: box.recorded >= 40 and not box.unanswered, "every part is answered")
    assert Counter(box.part_ids) == Counter(f"R-{number:05d}" for number in range(1, 41))


@pytest.fixture
def hanging_server() -> Iterator[socket.socket]:
    """A language model server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_stop_while_a_language_model_server_hangs_still_says_offline(box: Box, hanging_server: socket.socket) -> None:
    url = f"http://127.0.0.1:{hanging_server.getsockname()[1]}/v1"
    box.broker.start()
    box.configure(plant=lambda plant: plant.update(analyst={"kind": "server", "url": url, "model": "m"}))
    write_incidents(box, 1)
    box.start_agent()
    hanging_server.settimeout(PATIENCE_S)
    with hanging_server.accept()[0]:
        check_stop(box)


def test_a_stop_while_a_language_model_writes_cuts_it_short(box: Box) -> None:
    need_a_model()
    box.broker.start()
    box.configure(plant=lambda plant: plant.update(analyst=MODEL_OPTIONS))
    write_incidents(box, 3)
    box.start_agent()
    until(lambda: box.agent.child_pids("language-model"), "the model writes")
    pids = box.agent.children()
    check_stop(box)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "its child processes are gone", 5)


def check_stop(box: Box) -> None:
    """SIGTERM with a part under way: answered, offline, in time."""
    until(lambda: box.agent.events("connected to the broker"), "the agent is connected")
    with Plc(box) as plc:
        for number in range(5):
            plc.trigger(f"P-{number}")
        until(lambda: box.recorded + box.unanswered >= 5, "the agent has taken the triggers")
        code, took_s = box.agent.terminate()
        until(lambda: len(plc.answers) >= 5, "the parts are answered")
    assert code == 0, box.agent.said[-3000:]
    assert took_s < KILLED_AFTER_S
    assert (box.retained_state()["online"], box.unanswered) == (False, 0)
    assert Counter(box.part_ids) == Counter(f"P-{number}" for number in range(5))
