"""Answers from the plant: late, twice, out of order, about nothing; and what is learned from them."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.contract import topics
from edge_agent.contract.inbound import identified
from edge_agent.domain.incident import IncidentState
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.verdict import ActualCause, ConfirmedCase, ResponseEvent
from edge_agent.domain.work_order import TERMINAL, OrderState, WorkOrder
from edge_agent.learning.learner import Learner
from edge_agent.learning.reconcile import TARGETS, known_cause, label_weight
from edge_agent.simulation.runs import Disturbance, record
from tests.fakes.clock import START
from tests.fakes.diagnosed_line import SENDER, DiagnosedLine, pcb

COLD = Disturbance(at_part=120, rate=0.4, classes=("short", "spurious_copper"), signals={"etch_temp_c": -5})
EVENTS = [event.value for event in ResponseEvent]


class Plant:
    """Answers orders, and lets the learner hear it."""

    def __init__(self, line: DiagnosedLine) -> None:
        self.line = line
        self.said: list[tuple[str, object]] = []
        self.count = 0

    def learner(self) -> Learner:
        return Learner(
            store=self.line.store,
            clock=self.line.clock,
            catalogue=self.line.catalogue,
            sender=SENDER,
            announce=lambda event, thing: self.said.append((event, thing)),
        )

    def message(self, order_id: UUID, event: str, rev: int, name: str | None, **actual: Any) -> InboundMessage:
        self.count += 1
        body: dict[str, Any] = {
            "responseId": name or f"R{self.count}",
            "jobOrderId": str(order_id),
            "rev": rev,
            "event": event,
        }
        if actual:
            body["actual"] = actual
        topic = topics.under("root", topics.response(order_id))
        raw = InboundMessage(
            source="", message_id="", topic=topic, body=json.dumps(body).encode(), received_at=self.line.clock.now()
        )
        return replace(identified(raw), message_id=f"M{self.count}")

    def say(
        self, order: WorkOrder, event: str, *, rev: int | None = None, name: str | None = None, **actual: Any
    ) -> None:
        message = self.message(order.order_id, event, order.revision if rev is None else rev, name, **actual)
        with self.line.store.unit() as uow:
            uow.inbox.add(message)
            uow.commit()
        self.line.clock.advance(5)
        self.learner().step()

    def acks(self) -> list[dict[str, Any]]:
        with self.line.store.reader() as uow:
            rows = [row for row in uow.outbox.rows(limit=500) if row.message.topic.endswith("/response-ack")]
        return [json.loads(row.message.body)["data"] for row in reversed(rows)]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    line = DiagnosedLine(tmp_path)
    line.happened(COLD, seed=2)
    return Plant(line)


def newest(plant: Plant) -> WorkOrder:
    return plant.line.orders()[0]


def cases(plant: Plant) -> list[ConfirmedCase]:
    with plant.line.store.reader() as uow:
        return uow.answers.cases()


def test_the_usual_way_ends_in_a_confirmed_case_and_a_cleared_order(plant: Plant) -> None:
    order = newest(plant)
    for event in ("received", "accepted", "started", "completed"):
        plant.say(order, event)
    plant.say(order, "closed", causeCode="A15", confirms="yes", actions=["restore-etch-setpoint"], minutes=25)
    assert newest(plant).state is OrderState.CLOSED
    (case,) = cases(plant)
    assert (case.cause_id, case.first_suspect, case.weight) == ("A15", "A15", 0.7)
    assert case.tokens["tel:etch_temp_c-"] == 1
    assert [ack["status"] for ack in plant.acks()] == ["applied"] * 5
    assert plant.acks()[-1]["learnedFrom"] is True
    with plant.line.store.reader() as uow:
        incident = uow.incidents.get(order.incident_id)
        cleared = [row for row in uow.outbox.rows(limit=100) if not row.message.body]
    assert incident is not None
    assert incident.state is IncidentState.CLOSED
    assert [row.message.topic for row in cleared] == [f"out/wo/{order.order_id}/order"]


def test_the_same_response_twice_is_applied_once(plant: Plant) -> None:
    order = newest(plant)
    plant.say(order, "accepted", name="R-1")
    plant.say(order, "accepted", name="R-1")
    assert [ack["status"] for ack in plant.acks()] == ["applied", "ignored"]
    with plant.line.store.reader() as uow:
        assert len(uow.answers.responses(order.order_id)) == 1


def test_an_answer_to_an_order_that_does_not_exist_is_invalid(plant: Plant) -> None:
    ghost = replace(newest(plant), order_id=UUID(int=99))
    plant.say(ghost, "accepted")
    assert plant.acks()[-1] | {"detail": "no such order"} == plant.acks()[-1]
    assert plant.acks()[-1]["status"] == "invalid"


def test_an_answer_to_an_older_revision_counts_and_is_flagged(plant: Plant) -> None:
    order = newest(plant)
    assert order.revision >= 1
    plant.say(order, "accepted", rev=0)
    assert newest(plant).state is OrderState.ACCEPTED
    assert "revision 0" in plant.acks()[-1]["detail"]


def test_a_revision_that_was_never_issued_is_invalid(plant: Plant) -> None:
    order = newest(plant)
    plant.say(order, "accepted", rev=order.revision + 1)
    assert newest(plant).state is OrderState.ISSUED
    assert plant.acks()[-1]["status"] == "invalid"


def test_the_cause_may_come_before_the_close_or_after_it(plant: Plant) -> None:
    order = newest(plant)
    plant.say(order, "completed", causeCode="A14", actions=["regenerate-etchant"])
    assert cases(plant) == []
    plant.say(order, "closed")
    assert [case.cause_id for case in cases(plant)] == ["A14"]
    plant.say(order, "completed", causeCode="A15", actions=["restore-etch-setpoint"])
    assert [case.cause_id for case in cases(plant)] == ["A15"]
    assert newest(plant).state is OrderState.CLOSED


def test_a_rejected_order_is_not_learned_from(plant: Plant) -> None:
    plant.say(newest(plant), "rejected")
    assert newest(plant).state is OrderState.REJECTED
    assert cases(plant) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"responseId": 1}', b"\xff\xfe", b'{"a":' * 50])
def test_garbage_in_the_inbox_is_reported_and_not_repeated(plant: Plant, body: bytes) -> None:
    message = InboundMessage(
        source="s", message_id="m", topic="root/in/wo/x/response", body=body, received_at=plant.line.clock.now()
    )
    with plant.line.store.unit() as uow:
        uow.inbox.add(message)
        uow.commit()
    plant.learner().step()
    with plant.line.store.reader() as uow:
        assert uow.inbox.unprocessed(10) == []
        assert [row.message.topic for row in uow.outbox.rows(limit=1)] == ["out/error"]


def test_other_peoples_messages_are_left_alone(plant: Plant) -> None:
    message = InboundMessage(
        source="s", message_id="m", topic="root/in/cmd/pause", body=b"{}", received_at=plant.line.clock.now()
    )
    with plant.line.store.unit() as uow:
        uow.inbox.add(message)
        uow.commit()
    plant.learner().step()
    with plant.line.store.reader() as uow:
        assert len(uow.inbox.unprocessed(10)) == 1


@given(
    st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 3), st.sampled_from(["a", "b", "c", None])), max_size=10)
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_in_whatever_order(plant: Plant, answers: list[tuple[str, int, str | None]]) -> None:
    """Terminal states never go back, every step was allowed, and each answer gets exactly one acknowledgement."""
    with plant.line.store.unit() as uow:
        order = replace(
            plant.line.orders()[-1], order_id=plant.line.clock.new_id(), revision=1, state=OrderState.ISSUED
        )
        uow.orders.save(order)
        uow.commit()
    before = len(plant.acks())
    states = [OrderState.ISSUED]
    for event, revision, name in answers:
        plant.say(order, event, rev=revision, name=name and f"{order.order_id}{name}")
        with plant.line.store.reader() as uow:
            current = uow.orders.get(order.order_id)
        assert current is not None
        states.append(current.state)
    assert len(plant.acks()) - before == len(answers)
    for earlier, later in pairwise(states):
        assert later is earlier or earlier not in TERMINAL
        assert later is earlier or later in set(TARGETS.values())


@pytest.mark.parametrize(
    ("actual", "cause", "weight"),
    [
        (ActualCause(cause_id="A15", confirms="yes", action_ids=("x",), minutes=20), "A15", 0.7),
        (ActualCause(cause_id="A15", confirms="yes"), "A15", 0.3),
        (ActualCause(cause_id="A15", confirms="yes", action_ids=("x",), minutes=0.5), "A15", 0.3),
        (ActualCause(cause_id="A15", confirms="no"), "A15", 0.5),
        (ActualCause(cause_id="NONE", action_ids=("x",)), "NONE", 0.3),
        (ActualCause(cause_id="Z99", cause_text="static"), "OTHER", 0.5),
        (ActualCause(cause_id=None, cause_text="static"), "OTHER", 0.5),
    ],
)
def test_labels_are_trusted_by_how_they_were_found(actual: ActualCause, cause: str, weight: float) -> None:
    found, _ = known_cause(actual, pcb())
    assert found == cause
    assert label_weight(actual, found or "", prompted=actual.confirms == "yes") == weight


def test_nothing_said_is_nothing_learned() -> None:
    assert known_cause(ActualCause(cause_id=None), pcb())[0] is None


def test_an_unknown_cause_id_is_kept_in_the_text() -> None:
    assert known_cause(ActualCause(cause_id="Z99", cause_text="static"), pcb()) == ("OTHER", "Z99: static")


@pytest.mark.parametrize(
    ("rate_after", "event", "weight"), [(0.002, "recovery.passed", 1.0), (0.4, "recovery.failed", 0.21)]
)
def test_the_recovery_test_judges_the_label(plant: Plant, rate_after: float, event: str, weight: float) -> None:
    order = newest(plant)
    plant.line.clock.advance(60)
    plant.say(order, "closed", causeCode="A15", actions=["restore-etch-setpoint"], minutes=25)
    after = Disturbance(at_part=0, rate=rate_after, classes=("short",))
    run = record(77, parts=80, rate=0.0, start=plant.line.clock.now(), disturbances=[after])
    plant.line.write(run)
    plant.line.clock.set(run.inspections[-1].ended_at)
    plant.learner().step()
    assert event in [name for name, _ in plant.said]
    (case,) = cases(plant)
    assert case.weight == weight
    assert case.recovered is (event == "recovery.passed")


def test_after_a_failed_action_the_next_order_says_that_it_came_back(plant: Plant) -> None:
    first = newest(plant)
    plant.say(first, "closed", causeCode="A15", actions=["restore-etch-setpoint"], minutes=25)
    again = Disturbance(at_part=60, rate=0.5, classes=("short", "spurious_copper"), signals={"etch_temp_c": -5})
    run = record(2, parts=160, rate=0.0, start=plant.line.clock.now(), disturbances=[again])
    moved = tuple(replace(one, inspection_id=UUID(int=one.inspection_id.int + (1 << 100))) for one in run.inspections)
    plant.line.clock.set(run.inspections[-1].ended_at)
    plant.line.write(replace(run, inspections=moved))
    plant.line.respond()
    second = newest(plant)
    assert second.order_id != first.order_id
    assert second.recurrence_of == first.order_id


def test_parts_made_before_the_close_do_not_open_it_again(plant: Plant) -> None:
    order = newest(plant)
    plant.line.clock.set(START.replace(hour=23))
    plant.say(order, "closed", causeCode="A15", actions=["restore-etch-setpoint"])
    late = record(
        3, parts=100, rate=0.0, start=START.replace(hour=22), disturbances=[replace(COLD, at_part=0, rate=0.9)]
    )
    plant.line.write(late)
    plant.line.respond()
    assert [one.order_id for one in plant.line.orders()] == [order.order_id]
