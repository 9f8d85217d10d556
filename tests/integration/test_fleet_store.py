"""The fleet's database, with a real PostgreSQL."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url

from edge_agent.collecting.fleet_store import DeadLetter, FleetStore, Recorded, Unfit
from edge_agent.collecting.overview import Overview
from edge_agent.collecting.reading import Event, Reading, read
from edge_agent.contract import outbound, payloads
from edge_agent.contract.envelope import Sender, with_sequence
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.message import OutboundMessage
from edge_agent.domain.work_order import OrderState
from edge_agent.web.fleet_app import build_fleet_app
from tests.fakes.clock import FakeClock
from tests.fakes.made import an_inspection, an_order
from tests.fakes.postgres import PrivatePostgres, missing

pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(missing()), reason=missing())]

CLOCK = FakeClock()


@pytest.fixture(scope="module")
def server() -> Iterator[PrivatePostgres]:
    cluster = PrivatePostgres()
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def store(server: PrivatePostgres) -> Iterator[FleetStore]:
    made = FleetStore(make_url(server.url(server.new_database())))
    made.migrate()
    yield made
    made.close()


def sender(box: str) -> Sender:
    root = f"acme/north/smt/l1/aoi/_inspect/v1/{box}"
    return Sender(agent=box, topic_root=root, uri_base=f"http://{box}", software_version="1")


def an_event(message: OutboundMessage, sequence: int, box: str = "box-1") -> Event:
    one = read(f"{sender(box).topic_root}/{message.topic}", with_sequence(message.body, sequence), largest=100_000)
    assert isinstance(one, Event)
    return one


def results(numbers: Sequence[int], box: str = "box-1", codes: tuple[str, ...] = ()) -> list[Event]:
    made = [outbound.result(an_inspection(CLOCK, codes=codes), sender=sender(box), clock=CLOCK) for _ in numbers]
    return [an_event(message, number, box) for message, number in zip(made, numbers, strict=True)]


def test_a_batch_is_stored_once_however_often_it_comes(store: FleetStore) -> None:
    batch = results([1, 2, 3])
    assert store.record("w", [*batch, batch[0]]) == Recorded(new=3, duplicates=1)
    assert store.record("w", batch) == Recorded(duplicates=3)
    assert store.rows("SELECT count(*) AS n FROM event") == [{"n": 3}]
    assert store.rows("SELECT duplicates FROM box_state") == [{"duplicates": 4}]


def test_gaps_open_close_and_can_be_accepted(store: FleetStore) -> None:
    store.record("w", results([1, 2, 6, 9]))
    found = [(gap.first, gap.last, gap.missing) for gap in store.gaps(older_than_s=-1)]
    assert found == [(3, 5, 3), (7, 8, 2)]
    assert store.gaps(older_than_s=3_600) == []  # they may still come
    assert store.record("w", results([4])).out_of_order == 1
    assert [(gap.first, gap.last) for gap in store.gaps(older_than_s=-1)] == [(3, 3), (5, 5), (7, 8)]
    assert store.accept_gaps("box-1") == 4
    assert store.gaps(older_than_s=-1) == []
    store.record("w", results([12]))
    assert [gap.missing for gap in store.gaps(older_than_s=-1, box="box-1")] == [2]


def test_what_never_came_at_all_is_a_gap_from_one_on(store: FleetStore) -> None:
    store.record("w", results([4]))
    assert [(gap.first, gap.last) for gap in store.gaps(older_than_s=-1)] == [(1, 3)]


def test_a_count_of_results_fills_their_numbers(store: FleetStore) -> None:
    store.record("w", results([1, 6]))
    now = CLOCK.now()
    data = payloads.ResultCount(
        station_id="aoi-1",
        product_id="layer-a",
        disposition="ACCEPT",
        start=now,
        end=now + timedelta(minutes=1),
        count=4,
        sequences=[[2, 5]],
    )
    count = outbound.result_count(data, sender=sender("box-1"), clock=CLOCK)
    store.record("w", [an_event(count, 7)])
    assert store.gaps(older_than_s=-1) == []
    assert [int(row["parts"]) for row in store.rows("SELECT parts FROM yield_daily")] == [6]


def test_a_box_that_begins_again_at_one_is_seen(store: FleetStore) -> None:
    store.record("w", results([1, 2, 3]))
    assert store.record("w", results([1, 2])).repeated == 2


def test_yield_pareto_and_orders_by_site_line_and_day(store: FleetStore) -> None:
    bad = an_inspection(CLOCK, codes=("open", "open", "short"))
    defects = outbound.defects(bad, sender=sender("box-1"), clock=CLOCK)
    order = an_order(CLOCK)
    first = outbound.work_order(order, None, "create", sender=sender("box-1"), clock=CLOCK)
    closed = replace(order, state=OrderState.CLOSED, revision=order.revision + 1)
    second = outbound.work_order(closed, None, "update", sender=sender("box-1"), clock=CLOCK)
    batch = [
        *results([1, 2, 3]),
        an_event(outbound.result(bad, sender=sender("box-1"), clock=CLOCK), 4),
        *(an_event(message, 5 + number) for number, message in enumerate(defects)),
        an_event(second, 8),
        an_event(first, 7),
    ]
    store.record("w", batch)
    (yields,) = store.rows("SELECT site, line, box, parts, good, bad, yield FROM yield_daily")
    assert yields == {"site": "north", "line": "l1", "box": "box-1", "parts": 4, "good": 3, "bad": 1} | {
        "yield": yields["yield"]
    }
    assert float(yields["yield"]) == 0.75
    pareto = store.rows("SELECT defect_class, parts, defects FROM pareto_daily ORDER BY defects DESC")
    assert [tuple(row.values()) for row in pareto] == [("open", 1, 2), ("short", 1, 1)]
    assert [row["state"] for row in store.rows("SELECT state FROM work_order")] == ["closed"]
    assert store.rows("SELECT orders, open, closed FROM orders_daily") == [{"orders": 1, "open": 0, "closed": 1}]


def test_the_page_shows_lines_defects_orders_and_what_is_missing(store: FleetStore) -> None:
    clock = FakeClock(datetime.now(UTC))
    bad = an_inspection(clock, codes=("open",))
    box = sender("box-1")
    order = outbound.work_order(an_order(clock), None, "create", sender=box, clock=clock)
    found = [outbound.result(bad, sender=box, clock=clock), *outbound.defects(bad, sender=box, clock=clock), order]
    store.record("w", [*(an_event(one, 3 + number) for number, one in enumerate(found))])
    overview = Overview(store, gap_after_s=0)
    pages = TestClient(build_fleet_app(overview.look, "db/fleet"))
    shown = pages.get("/", params={"days": 2})
    assert shown.status_code == 200
    assert "No open order" not in shown.text
    assert "0.00 %" in shown.text  # one part, and it is bad
    assert "2 messages are missing" in shown.text
    assert pages.get("/live").status_code == 200


def test_a_page_without_a_database_says_so() -> None:
    def away(_days: int) -> dict[str, Any]:
        raise Transient("db: connection refused")

    shown = TestClient(build_fleet_app(away, "db/fleet")).get("/")
    assert shown.status_code == 503
    assert "connection refused" in shown.text


def test_a_value_the_database_cannot_hold_is_told_apart_from_a_database_that_is_away(store: FleetStore) -> None:
    (one,) = results([1])
    with pytest.raises(Unfit):
        store.record("w", [replace(one, data='{"text":"\\u0000"}')])
    assert store.rows("SELECT count(*) AS n FROM event") == [{"n": 0}]


def test_dead_letters_are_counted_and_bounded(store: FleetStore) -> None:
    letter = DeadLetter(topic="t", body=b"x" * 9_000, reason="not-json", detail="no\0")
    store.record("w", [], [], [letter])
    store.record("w", [], [], [letter])
    (row,) = store.rows("SELECT times, size_bytes, length(excerpt) AS kept FROM dead_letter")
    assert row == {"times": 2, "size_bytes": 9_000, "kept": 4_096}


def test_readings_and_what_is_old(store: FleetStore) -> None:
    (event,) = results([1])
    reading = Reading(box=event.box, name="yield", time_ms=1_000_000_000_000, value=0.9)
    store.record("w", [event], [reading, reading])
    assert store.rows("SELECT value FROM reading") == [{"value": 0.9}]
    store.record("w", [replace(event, id=CLOCK.new_id(), time=event.time - timedelta(days=40_000))])
    while store.delete_older(20_000):
        pass
    assert store.rows("SELECT count(*) AS n FROM event") == [{"n": 1}]


def test_a_database_without_our_tables_is_refused(server: PrivatePostgres) -> None:
    empty = FleetStore(make_url(server.url(server.new_database())))
    with pytest.raises(ConfigError, match="--provision"):
        empty.check()
    assert empty.migrate() is False  # no TimescaleDB here
    empty.check()
    assert empty.migrate() is False  # a second time changes nothing
    empty.close()
