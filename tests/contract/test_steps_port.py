"""Steps on SQLite and on PostgreSQL: in order, once each, bounded per incident and by age."""

# ruff: noqa: F811  the fixtures come from the module of the store's own promises

from datetime import timedelta
from uuid import UUID

import pytest

from edge_agent.adapters.store import steps as stored
from edge_agent.adapters.store.database import Database
from edge_agent.domain.step import Step, StepKind
from tests.contract.test_store_port import clock, empty_sqlite, postgres, store, url  # noqa: F401  fixtures
from tests.fakes.clock import FakeClock

INCIDENT, OTHER_INCIDENT = UUID(int=1), UUID(int=2)


def a_step(clock: FakeClock, incident_id: UUID = INCIDENT, **fields: object) -> Step:
    plain: dict[str, object] = {
        "step_id": clock.new_id(),
        "incident_id": incident_id,
        "analysis_id": UUID(int=3),
        "kind": StepKind.NOTE,
        "at": clock.now(),
        "prompt": "E1 \N{BULLET} seen",
        "answer": '{"a": "\\u0000"}',
        "rules": ("V1.json",),
        "detail": {"order": "0,1,2"},
    }
    return Step(**(plain | fields))  # type: ignore[arg-type]


def add(store: Database, *steps: Step) -> None:
    with store.unit() as unit:
        for step in steps:
            unit.steps.add(step)
        unit.commit()


def listed(store: Database, incident_id: UUID = INCIDENT) -> list[Step]:
    with store.reader() as reader:
        return reader.steps.list(incident_id)


def test_steps_come_back_as_they_were_in_order_and_once(store: Database, clock: FakeClock) -> None:
    made = [a_step(clock, turn=turn) for turn in range(3)]
    add(store, *made, a_step(clock, OTHER_INCIDENT))
    add(store, made[0])
    assert listed(store) == made


def test_an_incident_keeps_its_newest_steps(store: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MOST", 3)
    made = [a_step(clock, turn=turn) for turn in range(5)]
    add(store, a_step(clock, OTHER_INCIDENT), *made)
    assert [step.turn for step in listed(store)] == [2, 3, 4]
    assert len(listed(store, OTHER_INCIDENT)) == 1


def test_old_steps_go(store: Database, clock: FakeClock) -> None:
    old = a_step(clock, at=clock.now() - timedelta(days=400))
    new = a_step(clock)
    add(store, old, new)
    with store.unit() as unit:
        assert unit.steps.prune(clock.now() - timedelta(days=365)) == 1
        assert unit.steps.prune(clock.now() - timedelta(days=365)) == 0
        unit.commit()
    assert listed(store) == [new]
