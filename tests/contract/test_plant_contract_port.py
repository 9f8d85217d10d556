"""What the plant contract asks of the store beyond the first loop, on SQLite and on PostgreSQL."""

# ruff: noqa: F811  the fixtures come from the module of the store's own promises

from datetime import timedelta

from edge_agent.adapters.store.database import Database
from edge_agent.domain.inspection import Evaluation
from edge_agent.domain.message import Lane, OutboxState
from tests.contract.test_store_port import clock, empty_sqlite, postgres, store, url  # noqa: F401  fixtures
from tests.fakes.clock import FakeClock
from tests.fakes.made import a_message, an_inbound, an_inspection


def test_a_message_can_be_kept_with_what_became_of_it(store: Database, clock: FakeClock) -> None:
    message = an_inbound(clock, message_id="command:c-1")
    with store.unit() as unit:
        assert unit.inbox.outcome(message.source, message.message_id) is None
        assert unit.inbox.add(message, outcome='{"status": "done"}')
        assert not unit.inbox.add(message, outcome="other")
        assert unit.inbox.unprocessed(9) == []
        unit.commit()
    with store.unit() as unit:
        assert unit.inbox.outcome(message.source, message.message_id) == '{"status": "done"}'
        assert unit.inbox.outcome("urn:other", message.message_id) is None
        assert unit.inbox.prune(clock.now() + timedelta(hours=1)) == 1


def test_a_message_that_waits_has_no_outcome_yet(store: Database, clock: FakeClock) -> None:
    message = an_inbound(clock, message_id="1")
    with store.unit() as unit:
        unit.inbox.add(message)
        assert unit.inbox.outcome(message.source, "1") is None


def test_only_a_quarantined_row_is_given_up(store: Database, clock: FakeClock) -> None:
    with store.unit() as unit:
        waiting, aside = (unit.outbox.add(a_message(clock)) for _ in range(2))
        unit.outbox.quarantine(aside, detail="0x87")
        assert not unit.outbox.drop(waiting, detail="no")
        assert unit.outbox.drop(aside, detail="given up")
        assert not unit.outbox.drop(aside, detail="twice")
        unit.commit()
    with store.reader() as reader:
        row = reader.outbox.get(aside)
        assert row is not None
        assert (row.state, row.detail) == (OutboxState.EXPIRED, "given up")
        assert reader.outbox.get(99) is None


def test_rows_are_counted_by_lane(store: Database, clock: FakeClock) -> None:
    with store.unit() as unit:
        for lane in (Lane.ORDERS, Lane.RESULTS, Lane.RESULTS):
            unit.outbox.add(a_message(clock, lane=lane))
        unit.outbox.quarantine(3, detail="0x95")
        unit.commit()
    with store.reader() as reader:
        assert reader.outbox.counts_by_lane() == {
            (Lane.ORDERS, OutboxState.PENDING): 1,
            (Lane.RESULTS, OutboxState.PENDING): 1,
            (Lane.RESULTS, OutboxState.QUARANTINED): 1,
        }


def test_inspections_are_counted_by_station(store: Database, clock: FakeClock) -> None:
    with store.unit() as unit:
        for station in ("aoi-1", "aoi-1", "aoi-2"):
            unit.inspections.add(an_inspection(clock, station_id=station))
        unit.commit()
    with store.reader() as reader:
        assert reader.inspections.count(station_id="aoi-1")[Evaluation.OK] == 2
        assert reader.inspections.count()[Evaluation.OK] == 3
