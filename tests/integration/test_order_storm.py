"""A shift with five hundred incidents: what a plant gets, and where the rest is."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.responding.order_limit import waiting
from tests.fakes.diagnosed_line import SETTINGS, DiagnosedLine
from tests.fakes.thrown_incidents import Throwing

pytestmark = pytest.mark.integration

INCIDENTS = 500


@pytest.mark.parametrize("storm_keys", [3, 1_000], ids=["with the storm guard", "the limit alone"])
def test_five_hundred_incidents_in_a_shift_are_six_orders_at_most(tmp_path: Path, storm_keys: int) -> None:
    plant = Throwing(line=DiagnosedLine(tmp_path, settings=replace(SETTINGS, storm_keys=storm_keys)))
    thrown = set()
    for number in range(INCIDENTS):
        rate = (0.002, 0.01, 0.04, 0.4)[number % 4]
        thrown |= {one.incident_id for one in plant.throw(1, rate=rate)}
        plant.line.clock.advance(seconds=8 * 3600 // INCIDENTS - 1)
    orders = plant.line.orders()
    assert 2 <= len(orders) <= 6
    own = {one.incident_id for one in orders if not one.collects}
    with plant.line.store.reader() as uow:
        waits = {one.incident_id for one in waiting(uow)}
        sent = [row.message for row in uow.outbox.rows(limit=10_000) if row.message.topic.endswith("/order")]
        assert len(uow.incidents.recent(2 * INCIDENTS)) == INCIDENTS
        assert uow.audit.verify().fault == ""
    assert own | waits == thrown
    assert len(sent) < 60  # an order is told again when its list has doubled, or after a quarter of an hour
    listed = max((json.loads(one.body)["data"] for one in sent), key=lambda data: int(data.get("gatheredTotal", 0)))
    assert listed["gatheredTotal"] > INCIDENTS * 0.9
    assert [one["priority"] for one in listed["gathered"]] == sorted(one["priority"] for one in listed["gathered"])
