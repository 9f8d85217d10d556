"""More incidents than orders: who waits, what is told, who passes, and that nothing is lost."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.store.database import Database
from edge_agent.contract import topics
from edge_agent.contract.inbound import identified
from edge_agent.domain.incident import IncidentState
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.work_order import WorkOrder
from edge_agent.learning.learner import Learner
from edge_agent.responding.order_limit import waiting
from tests.fakes.diagnosed_line import SENDER, SETTINGS, DiagnosedLine, pcb
from tests.fakes.thrown_incidents import ONSET, Throwing

LIMITED = replace(SETTINGS, storm_keys=1_000, orders_per_shift=6)
STORMY = replace(SETTINGS, storm_keys=3, orders_per_shift=100)


def throwing(folder: Path, **settings: Any) -> Throwing:
    return Throwing(line=DiagnosedLine(folder, settings=replace(LIMITED, **settings)))


def collecting(line: DiagnosedLine) -> WorkOrder:
    (order,) = [one for one in line.orders() if one.collects]
    return order


def names(line: DiagnosedLine) -> list[Any]:
    with line.store.reader() as uow:
        return [one.incident_id for one in waiting(uow)]


def audited(store: Database) -> list[str]:
    with store.reader() as uow:
        return [entry.action for entry in uow.audit.rows()]


@pytest.mark.parametrize("limit", [1, 2, 6])
def test_a_shift_gets_no_more_orders_than_its_limit_and_loses_no_incident(tmp_path: Path, limit: int) -> None:
    plant = throwing(tmp_path, orders_per_shift=limit)
    thrown = plant.throw(12)
    orders = plant.line.orders()
    assert len(orders) == limit
    assert sum(one.collects for one in orders) == 1
    own = {one.incident_id for one in orders if not one.collects}
    assert own | set(names(plant.line)) == {one.incident_id for one in thrown}
    with plant.line.store.reader() as uow:
        assert len(uow.incidents.recent(50)) == 12
        assert all(uow.analyses.latest(one.incident_id) for one in thrown)


def test_the_list_is_told_when_it_has_doubled_and_not_with_each_incident(tmp_path: Path) -> None:
    plant = throwing(tmp_path, orders_per_shift=2)
    plant.throw(1 + 17)
    order = collecting(plant.line)
    assert order.revision == 4  # told at 1, 2, 4, 8 and 16
    assert order.attributes["collects"] == "16"
    plant.line.clock.advance(minutes=16)
    plant.throw(1)
    assert collecting(plant.line).attributes["collects"] == "18"


def test_the_collecting_order_names_no_suspect_and_lists_the_most_urgent_first(tmp_path: Path) -> None:
    plant = throwing(tmp_path, orders_per_shift=1)
    plant.throw(3, rate=0.002)
    urgent = plant.throw(1, rate=0.4)
    order = collecting(plant.line)
    assert order.suspects == ()
    assert order.checks == ()
    assert order.gathered[0].incident_id == urgent[0].incident_id
    assert order.priority == order.gathered[0].priority == min(one.priority for one in order.gathered)
    with plant.line.store.reader() as uow:
        body = max(
            (
                json.loads(row.message.body)["data"]
                for row in uow.outbox.rows(limit=200)
                if b'"gathered"' in row.message.body
            ),
            key=lambda data: int(data["rev"]),
        )
    assert body["gathered"][0]["rcaId"] == str(urgent[0].incident_id)
    assert body["gatheredTotal"] == 4
    assert body["suspects"] == []


def test_the_most_severe_pass(tmp_path: Path) -> None:
    severe = replace(pcb(), severity={**pcb().severity, "short": 9})
    plant = Throwing(line=DiagnosedLine(tmp_path, settings=replace(LIMITED, orders_per_shift=2), catalogue=severe))
    plant.throw(5)
    (bad,) = plant.throw(1, code="short", class_counts={"short": 1})
    assert bad.incident_id in {one.incident_id for one in plant.line.orders() if not one.collects}


def test_the_next_shift_releases_the_most_urgent_first(tmp_path: Path) -> None:
    plant = throwing(tmp_path, orders_per_shift=3)
    plant.throw(6, rate=0.002)
    (urgent,) = plant.throw(1, rate=0.4)
    assert len(plant.line.orders()) == 3
    plant.line.clock.advance(hours=9)
    plant.happen([])
    released = [one for one in plant.line.orders() if not one.collects][:3]
    assert released[-1].incident_id == urgent.incident_id
    assert len(released) == 3  # the collecting order still stands, and is of the shift before
    assert len(names(plant.line)) == 2
    assert collecting(plant.line).revision > 2
    assert audited(plant.line.store).count("order.released") == 3
    assert "orders.limited" in audited(plant.line.store)


def test_what_ends_by_itself_leaves_the_list(tmp_path: Path) -> None:
    plant = throwing(tmp_path, orders_per_shift=1)
    first, second = plant.throw(2)
    over = replace(first, state=IncidentState.CLOSED, revision=1)
    plant.happen([replace(plant.finding("end", over), analysis=None, containment=None)])
    plant.line.clock.advance(minutes=16)
    plant.happen([])
    assert names(plant.line) == [second.incident_id]
    plant.happen(
        [replace(plant.finding("end", replace(second, state=IncidentState.CLOSED, revision=1)), analysis=None)]
    )
    plant.line.clock.advance(minutes=16)
    plant.happen([])
    assert collecting(plant.line).problem.startswith("Nothing waits any more")


def test_an_incident_that_gets_worse_moves_up_the_list(tmp_path: Path) -> None:
    plant = throwing(tmp_path, orders_per_shift=1)
    plant.throw(3, rate=0.002)
    last = plant.throw(1, rate=0.002)[0]
    assert names(plant.line)[-1] == last.incident_id
    plant.revised(last, rate=0.4)
    assert names(plant.line)[0] == last.incident_id
    assert len(names(plant.line)) == 4


def test_a_storm_gathers_and_calm_releases(tmp_path: Path) -> None:
    plant = Throwing(line=DiagnosedLine(tmp_path, settings=STORMY))
    plant.throw(8)
    orders = plant.line.orders()
    assert len(orders) == 4
    assert "too many new ones at once" in collecting(plant.line).problem
    plant.line.clock.advance(minutes=16)
    plant.happen([])
    assert names(plant.line) == []
    assert len(plant.line.orders()) == 9


def test_many_incidents_of_one_cause_are_one_order_with_few_revisions_and_all_their_parts(tmp_path: Path) -> None:
    plant = throwing(tmp_path)
    same = {"family": "missing_copper", ONSET: plant.line.clock.now().isoformat()}
    thrown = [plant.throw(1, attributes=same, part_ids=(f"P-{number}",))[0] for number in range(20)]
    (order,) = plant.line.orders()
    assert order.revision == 6  # 1, 2, 3, 4, 8 and 16 more
    assert order.problem.endswith("; and 12 more of the same cause")
    assert order.containment.part_ids == tuple(one.part_ids[0] for one in thrown)


def test_closing_the_collecting_order_ends_what_it_lists_and_teaches_nothing(tmp_path: Path) -> None:
    plant = throwing(tmp_path, orders_per_shift=1)
    thrown = plant.throw(4)
    order = collecting(plant.line)
    answer(plant, order, "closed", {"causeCode": "A01", "actions": ["x"], "minutes": 20})
    with plant.line.store.reader() as uow:
        assert uow.answers.cases() == []
        assert {uow.incidents.get(one.incident_id).state for one in thrown} == {IncidentState.CLOSED}  # type: ignore[union-attr]
    plant.line.clock.advance(seconds=11)
    plant.happen([])
    assert names(plant.line) == []


def test_after_the_collecting_order_is_closed_the_shift_gets_no_other(tmp_path: Path) -> None:
    plant = throwing(tmp_path, orders_per_shift=1)
    plant.throw(2)
    answer(plant, collecting(plant.line), "closed", {"causeCode": "NONE"})
    more = plant.throw(3)
    assert len(plant.line.orders()) == 1
    assert {one.incident_id for one in more} <= set(names(plant.line))
    plant.line.clock.advance(hours=9)
    plant.happen([])
    assert len(plant.line.orders()) == 2


def answer(plant: Throwing, order: WorkOrder, event: str, actual: dict[str, Any]) -> None:
    """As the plant answers, through the learner."""
    body = {"responseId": f"R-{order.number}", "jobOrderId": str(order.order_id), "rev": order.revision, "event": event}
    message = InboundMessage(
        source="",
        message_id="",
        topic=topics.under("root", topics.response(order.order_id)),
        body=json.dumps({**body, "actual": actual}).encode(),
        received_at=plant.line.clock.now() + timedelta(seconds=1),
    )
    with plant.line.store.unit() as uow:
        uow.inbox.add(identified(message))
        uow.commit()
    learner = Learner(store=plant.line.store, clock=plant.line.clock, catalogue=plant.line.catalogue, sender=SENDER)
    while learner.step():
        pass
