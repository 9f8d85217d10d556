"""Shadow looks on SQLite and on PostgreSQL: once each, by station and models, bounded by age."""

# ruff: noqa: F811  the fixtures come from the module of the store's own promises

from dataclasses import replace
from datetime import timedelta

from edge_agent.adapters.store.database import Database
from edge_agent.domain.inspection import Evaluation
from edge_agent.domain.shadow import ShadowLook
from tests.contract.test_store_port import clock, empty_sqlite, postgres, store, url  # noqa: F401  fixtures
from tests.fakes.clock import FakeClock
from tests.fakes.made import SHADOW, a_shadow_look

OK, NOT_OK = Evaluation.OK, Evaluation.NOT_OK
NEXT = replace(SHADOW, version="4")


def add(store: Database, *looks: ShadowLook) -> None:
    with store.unit() as unit:
        for look in looks:
            unit.shadow_looks.add(look)
        unit.commit()


def test_looks_come_back_as_they_were_newest_first_and_once(store: Database, clock: FakeClock) -> None:
    made = [a_shadow_look(clock, live=OK, shadow=NOT_OK) for _ in range(3)]
    add(store, *made, a_shadow_look(clock, station_id="aoi-2"))
    add(store, made[0])
    with store.reader() as reader:
        assert reader.shadow_looks.list("aoi-1", shadow=SHADOW) == made[::-1]
        assert reader.shadow_looks.list("aoi-1", shadow=SHADOW, limit=1) == made[2:]
        assert reader.shadow_looks.list("aoi-1", shadow=SHADOW, live=NEXT) == []
        assert reader.shadow_looks.list("aoi-1", shadow=NEXT) == []


def test_they_are_counted_by_what_both_said(store: Database, clock: FakeClock) -> None:
    add(store, *(a_shadow_look(clock, live=OK, shadow=OK) for _ in range(3)))
    add(store, a_shadow_look(clock, live=NOT_OK, shadow=OK), a_shadow_look(clock, station_id="aoi-2"))
    with store.reader() as reader:
        assert reader.shadow_looks.count("aoi-1", shadow=SHADOW) == {(OK, OK): 3, (NOT_OK, OK): 1}
        assert reader.shadow_looks.count("aoi-1", shadow=NEXT) == {}


def test_old_looks_go(store: Database, clock: FakeClock) -> None:
    old = a_shadow_look(clock, at=clock.now() - timedelta(days=400))
    new = a_shadow_look(clock)
    add(store, old, new)
    with store.unit() as unit:
        assert unit.shadow_looks.prune(clock.now() - timedelta(days=365)) == 1
        assert unit.shadow_looks.prune(clock.now() - timedelta(days=365)) == 0
        unit.commit()
    with store.reader() as reader:
        assert reader.shadow_looks.list("aoi-1", shadow=SHADOW) == [new]
