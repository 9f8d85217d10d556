"""The whole loop with its rows in PostgreSQL, whose server is stopped hard and comes back while parts run."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import postgres
from tests.fault.agent_box import Box, missing, until
from tests.fault.test_agent_killed import check_messages, check_orders, is_settled

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
    pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing() or "-"),
]

PARTS = 80


@pytest.fixture
def server() -> Iterator[postgres.PrivatePostgres]:
    made = postgres.PrivatePostgres()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def box(tmp_path: Path, server: postgres.PrivatePostgres) -> Iterator[Box]:
    made = Box(tmp_path)
    made.url = server.url(server.new_database())
    yield made
    made.end()


def test_the_loop_closes_although_the_database_goes_and_comes(box: Box, server: postgres.PrivatePostgres) -> None:
    box.broker.start()
    box.configure(plant=lambda plant: plant.update(store={"url": box.url}, mqtt=plant["mqtt"] | {"receipt_retry_s": 2}))
    box.start_agent()
    box.start_mes()
    box.start_line(PARTS, "--seed", "1", "--fault", "conveyor_fast", "--rate", "10")
    until(lambda: box.recorded >= 15, "parts are inspected")
    server.halt()
    until(lambda: box.agent.events("condition changed")[-1]["condition"] == "down", "the agent misses its database")
    server.resume()
    assert box.line.popen is not None
    assert box.line.popen.wait(120) == 0, box.line.said
    until(lambda: is_settled(box), "every message is delivered and every order is answered")
    assert Counter(box.part_ids) == Counter(f"R-{number:05d}" for number in range(1, PARTS + 1))
    check_messages(box)
    check_orders(box)
    assert box.agent.running
    assert "Traceback" not in box.agent.said
