"""The store's promises, on SQLite and on PostgreSQL."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.adapters.store import inbox, outbox
from edge_agent.adapters.store.codec import decode, encode
from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.domain.analysis import Analysis, Narrative
from edge_agent.domain.document import Document
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.inspection import Evaluation, Inspection
from edge_agent.domain.message import Ack, InboundMessage, Lane, OutboundMessage, OutboxRow, OutboxState
from edge_agent.domain.part import Shot
from edge_agent.domain.plant import PlantEvent, Sample
from edge_agent.domain.verdict import ConfirmedCase, JobResponse
from edge_agent.domain.work_order import OrderState, WorkOrder
from tests.fakes import domain_strategies as draw
from tests.fakes.clock import START, FakeClock
from tests.fakes.made import (
    a_case,
    a_message,
    a_response,
    an_analysis,
    an_inbound,
    an_incident,
    an_inspection,
    an_order,
)
from tests.fakes.postgres import PrivatePostgres, missing

HOUR = timedelta(hours=1)


# --- databases --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database file to copy."""
    folder = tmp_path_factory.mktemp("empty")
    database = Database(sqlite_url(folder), clock=FakeClock())
    database.migrate()
    database.close()
    return folder


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    """A running private server with a migrated, empty database ``empty``."""
    if reason := missing():
        pytest.skip(reason)
    server = PrivatePostgres()
    try:
        server.start()
        server.execute("CREATE DATABASE empty")
        database = Database(server.url("empty"), clock=FakeClock())
        database.migrate()
        database.close()
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        server: PrivatePostgres = request.getfixturevalue("postgres")
        return server.url(server.new_database("empty"))
    empty: Path = request.getfixturevalue("empty_sqlite")
    shutil.copytree(empty, tmp_path, dirs_exist_ok=True)
    return sqlite_url(tmp_path)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(url: str, clock: FakeClock) -> Iterator[Database]:
    database = Database(url, clock=clock, samples_per_signal=100)
    yield database
    database.close()


# --- units of work ----------------------------------------------------------------------------------------------------


def test_what_is_not_committed_is_not_there(store: Database, clock: FakeClock) -> None:
    inspection = an_inspection(clock)
    with store.unit() as unit:
        unit.inspections.add(inspection)
        unit.outbox.add(a_message(clock))
    with pytest.raises(ZeroDivisionError):
        _add_and_fail(store, inspection)
    with store.reader() as reader:
        assert reader.inspections.get(inspection.inspection_id) is None
        assert reader.outbox.rows() == []


def _add_and_fail(store: Database, inspection: Inspection) -> None:
    with store.unit() as unit:
        unit.inspections.add(inspection)
        raise ZeroDivisionError


def test_numbers_of_a_transaction_that_was_rolled_back_are_given_again(store: Database, clock: FakeClock) -> None:
    with store.unit() as unit:
        assert unit.outbox.add(a_message(clock)) == 1
        assert unit.orders.next_number() == "WO-0001"
        unit.rollback()
        assert unit.outbox.add(a_message(clock)) == 1
        unit.commit()
    with store.unit() as unit:
        assert unit.outbox.add(a_message(clock)) == 2
    with store.unit(durable=False) as unit:
        assert unit.outbox.add(a_message(clock)) == 2
        assert unit.orders.next_number() == "WO-0001"


def test_a_unit_may_commit_more_than_once(store: Database, clock: FakeClock) -> None:
    with store.unit() as unit:
        unit.outbox.add(a_message(clock))
        unit.commit()
        unit.outbox.add(a_message(clock))
        unit.commit()
        unit.outbox.add(a_message(clock))
    with store.reader() as reader:
        assert [row.sequence for row in reader.outbox.rows()] == [2, 1]


def test_a_reader_sees_one_snapshot_while_others_write(store: Database, clock: FakeClock) -> None:
    with store.reader() as reader:
        assert reader.facts.get("cursor") is None
        _fact(store, "cursor", 5)
        assert reader.facts.get("cursor") is None
    with store.reader() as reader:
        assert reader.facts.get("cursor") == 5


def test_a_reader_neither_writes_nor_commits(store: Database, clock: FakeClock) -> None:
    with store.reader() as reader:
        with pytest.raises(RuntimeError, match="cannot write"):
            reader.facts.set("a", 1)
        with pytest.raises(RuntimeError, match="nothing to commit"):
            reader.commit()


def test_a_unit_inside_a_unit_is_refused_and_does_not_wait_for_ever(store: Database) -> None:
    with store.unit(), pytest.raises(RuntimeError, match="inside another"), store.unit():
        pass
    with store.unit() as unit:
        unit.facts.set("still", "works")
        unit.commit()


def test_a_unit_outside_its_block_is_refused(store: Database) -> None:
    unit = store.unit()
    with pytest.raises(RuntimeError, match="with block"):
        unit.facts.get("a")


def test_writers_in_many_threads_take_turns(store: Database) -> None:
    clocks = [FakeClock(node=node) for node in range(6)]
    threads = [threading.Thread(target=_write_ten, args=(store, clock)) for clock in clocks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with store.reader() as reader:
        assert sorted(row.sequence for row in reader.outbox.rows(limit=100)) == list(range(1, 61))
        assert [seq for seq, _ in reader.inspections.after(0, 100)] == list(range(1, 61))


def _write_ten(store: Database, clock: FakeClock) -> None:
    for _ in range(10):
        with store.unit(durable=False) as unit:
            unit.inspections.add(an_inspection(clock))
            unit.outbox.add(a_message(clock))
            unit.commit()


# --- inspections ------------------------------------------------------------------------------------------------------


def _add(store: Database, *inspections: Inspection) -> None:
    with store.unit(durable=False) as unit:
        for inspection in inspections:
            unit.inspections.add(inspection)
        unit.commit()


def _fact(store: Database, key: str, value: Any) -> None:
    with store.unit(durable=False) as unit:
        unit.facts.set(key, value)
        unit.commit()


def test_a_shot_owes_an_answer_until_its_inspection_is_recorded(store: Database, clock: FakeClock) -> None:
    first, second = an_inspection(clock), an_inspection(clock)
    with store.unit(durable=False) as unit:
        for _ in range(2):
            unit.inspections.expect(first.shot)
            unit.inspections.expect(second.shot)
        unit.commit()
    with store.unit() as unit:
        unit.inspections.add(first)
        unit.commit()
    with store.reader() as unit:
        assert unit.inspections.unanswered(second.shot.station_id) == [second.shot]
        assert unit.inspections.unanswered("another station") == []


def test_a_trigger_is_taken_once_within_its_time(store: Database, clock: FakeClock) -> None:
    answered, open_ = an_inspection(clock), an_inspection(clock).shot
    open_ = replace(open_, trigger_id="T-open")
    with store.unit(durable=False) as unit:
        assert unit.inspections.expect(answered.shot, once_within=HOUR)
        assert unit.inspections.expect(open_, once_within=HOUR)
        assert unit.inspections.expect(open_, once_within=HOUR), "the same shot again changes nothing"
        unit.inspections.add(answered)
        unit.commit()

    def again(shot: Shot, within: timedelta | None = HOUR, later: timedelta = timedelta(0), **changed: Any) -> bool:
        changed |= {"shot_id": clock.new_id(), "triggered_at": shot.triggered_at + later}
        with store.unit(durable=False) as unit:  # not committed
            return unit.inspections.expect(replace(shot, **changed), once_within=within)

    for shot in (answered.shot, open_):
        assert not again(shot)
        assert not again(shot, later=HOUR - timedelta(seconds=1))
        assert not again(shot, later=-timedelta(minutes=1)), "the clock was stepped back"
        assert again(shot, later=HOUR + timedelta(seconds=1)), "a sender may begin to count anew"
        assert again(shot, within=None)
        assert again(shot, station_id="another")
        assert again(shot, trigger_id="another")


def test_an_inspection_is_added_once(store: Database, clock: FakeClock) -> None:
    inspection = an_inspection(clock, codes=("open", "short"))
    _add(store, inspection, inspection)
    _add(store, inspection)
    with store.reader() as reader:
        assert reader.inspections.after(0, 10) == [(1, inspection)]
        assert reader.inspections.get(inspection.inspection_id) == inspection
        assert reader.inspections.get(UUID(int=1)) is None


def test_a_cursor_follows_in_the_order_of_recording_also_when_the_clock_steps_back(
    store: Database, clock: FakeClock
) -> None:
    first = [an_inspection(clock) for _ in range(3)]
    clock.set(START - timedelta(days=400))
    second = [an_inspection(clock, station_id="aoi-2") for _ in range(3)]
    _add(store, *first)
    _add(store, *second)
    with store.reader() as reader:
        assert reader.inspections.after(0, 4) == list(enumerate(first + second, 1))[:4]
        assert reader.inspections.after(4, 4) == list(enumerate(first + second, 1))[4:]
        assert reader.inspections.after(6, 4) == []
        assert [seq for seq, _ in reader.inspections.after(0, 2, station_id="aoi-2")] == [4, 5]
        assert reader.inspections.latest(2) == second[:0:-1]
        assert reader.inspections.latest(2, station_id="aoi-1") == first[:0:-1]


def test_between_is_half_open_and_in_the_order_of_time(store: Database, clock: FakeClock) -> None:
    at = {hour: an_inspection(clock, ended_at=START + hour * HOUR) for hour in (3, 1, 2)}
    other = an_inspection(clock, station_id="aoi-2", ended_at=START + HOUR)
    _add(store, *at.values(), other)
    with store.reader() as reader:
        between = reader.inspections.between
        assert between(START + HOUR, START + 3 * HOUR) == [at[1], other, at[2]]
        assert between(START, START + 9 * HOUR, station_id="aoi-1") == [at[1], at[2], at[3]]
        assert between(START, START + 9 * HOUR, limit=1) == [at[1]]
        assert between(START, START) == []


def test_counts_by_evaluation_and_by_defect(store: Database, clock: FakeClock) -> None:
    _add(
        store,
        an_inspection(clock, codes=("open", "open", "short")),
        an_inspection(clock),
        an_inspection(clock, ended_at=START + HOUR, codes=("open",)),
        an_inspection(clock, ended_at=START + HOUR, evaluation=Evaluation.NOT_INSPECTED),
    )
    with store.reader() as reader:
        assert dict(reader.inspections.count()) == {"OK": 1, "NOT_OK": 2, "NOT_DECIDABLE": 0, "NOT_INSPECTED": 1}
        assert reader.inspections.count(START, START + HOUR)["NOT_OK"] == 1
        assert reader.inspections.count(START + HOUR)["OK"] == 0
        assert list(reader.inspections.count_defects().items()) == [("open", 3), ("short", 1)]
        assert reader.inspections.count_defects(START + HOUR, START + 2 * HOUR) == {"open": 1}


def test_old_inspections_are_pruned_with_their_defects(store: Database, clock: FakeClock) -> None:
    old, new = an_inspection(clock, codes=("open",)), an_inspection(clock, codes=("short",), ended_at=START + HOUR)
    _add(store, old, new)
    with store.unit() as unit:
        assert unit.inspections.prune(START + HOUR) == 1
        assert unit.inspections.prune(START + HOUR) == 0
        unit.commit()
    _add(store, third := an_inspection(clock))
    with store.reader() as reader:
        assert reader.inspections.after(0, 9) == [(2, new), (3, third)]
        assert reader.inspections.count_defects() == {"short": 1}


# --- plant ------------------------------------------------------------------------------------------------------------


def _sample(second: float, value: float | None = 1.0, signal: str = "temp") -> Sample:
    return Sample(signal=signal, value=value, at=START + timedelta(seconds=second))


def test_samples_are_kept_once_in_order_of_time(store: Database) -> None:
    with store.unit(durable=False) as unit:
        unit.plant.add_samples([_sample(2), _sample(1, None), _sample(1, 5.0), _sample(1, 2.5, "speed")])
        unit.plant.add_samples([_sample(2, 9.0), _sample(3, float("nan"))])
        unit.plant.add_samples([])
        unit.commit()
    with store.reader() as reader:
        assert reader.plant.signals() == ["speed", "temp"]
        assert reader.plant.series("temp", START, START + HOUR) == [_sample(1, None), _sample(2), _sample(3, None)]
        assert reader.plant.series("temp", START, START + timedelta(seconds=2)) == [_sample(1, None)]
        assert reader.plant.series("unknown", START, START + HOUR) == []


def test_a_flooding_signal_loses_its_own_oldest_samples(store: Database) -> None:
    with store.unit(durable=False) as unit:
        unit.plant.add_samples([_sample(0, signal="calm")])
        for start in range(0, 250, 30):
            unit.plant.add_samples([_sample(n) for n in range(start, start + 40)])
        unit.commit()
    with store.reader() as reader:
        kept = reader.plant.series("temp", START, START + HOUR)
        assert 99 <= len(kept) <= 100
        assert kept[-1] == _sample(279)
        assert reader.plant.series("calm", START, START + HOUR) == [_sample(0, signal="calm")]


def test_samples_are_pruned_by_age(store: Database) -> None:
    with store.unit(durable=False) as unit:
        unit.plant.add_samples([_sample(n) for n in range(10)] + [_sample(1, signal="speed")])
        assert unit.plant.prune(START + timedelta(seconds=4)) == 5
        assert unit.plant.prune(START + timedelta(seconds=4)) == 0
        unit.commit()
    with store.reader() as reader:
        assert len(reader.plant.series("temp", START, START + HOUR)) == 6


def test_events_are_kept_once_in_order_of_time(store: Database, clock: FakeClock) -> None:
    late = PlantEvent(event_id=clock.new_id(), kind="lot", at=START + HOUR, subject="LOT-2")
    early = PlantEvent(event_id=clock.new_id(), kind="maintenance", at=START, attributes={"what": "nozzle"})
    with store.unit() as unit:
        for event in (late, early, late, replace(late, kind="other")):
            unit.plant.add_event(event)
        unit.commit()
    with store.reader() as reader:
        assert reader.plant.events(START, START + 2 * HOUR) == [early, late]
        assert reader.plant.events(START, START + 2 * HOUR, kind="lot") == [late]
        assert reader.plant.events(START, START + HOUR) == [early]


# --- incidents, analyses, orders --------------------------------------------------------------------------------------


def test_an_incident_has_a_current_revision_and_a_history(store: Database, clock: FakeClock) -> None:
    first = an_incident(clock)
    second = replace(first, revision=2, parts=120)
    other = an_incident(clock, opened_at=START + HOUR)
    closed = replace(other, revision=2, state=IncidentState.CLOSED)
    with store.unit() as unit:
        for incident in (first, other, second, second, first, closed):
            unit.incidents.save(incident)
        unit.commit()
    with store.reader() as reader:
        assert reader.incidents.get(first.incident_id) == second
        assert reader.incidents.history(first.incident_id) == [first, second]
        assert reader.incidents.open() == [second]
        assert reader.incidents.recent(9) == [closed, second]
        assert reader.incidents.recent(1) == [closed]
        assert reader.incidents.get(UUID(int=1)) is None


def test_an_analysis_is_replaced_within_its_revision_and_kept_over_revisions(store: Database, clock: FakeClock) -> None:
    first = an_analysis(clock)
    told = replace(first, narratives=(Narrative(source="template", text="Nozzle clogged."),))
    second = replace(first, analysis_id=clock.new_id(), revision=2)
    with store.unit() as unit:
        for analysis in (first, second, told):
            unit.analyses.save(analysis)
        unit.commit()
    with store.reader() as reader:
        assert reader.analyses.latest(first.incident_id) == second
        assert reader.analyses.get(first.analysis_id) == told
        assert reader.analyses.get(UUID(int=1)) is None
        assert reader.analyses.latest(UUID(int=1)) is None


def test_orders_have_a_newest_version_and_a_history(store: Database, clock: FakeClock) -> None:
    draft = an_order(clock)
    issued = draft.moved(OrderState.ISSUED, at=START + HOUR)
    accepted = replace(issued.moved(OrderState.ACCEPTED, at=START + 2 * HOUR), mes_order_id="4711")
    with store.unit() as unit:
        for order in (draft, draft, issued, accepted, issued, draft):
            unit.orders.save(order)
        unit.commit()
    with store.reader() as reader:
        assert reader.orders.get(draft.order_id) == accepted
        assert reader.orders.history(draft.order_id) == [draft, issued, accepted]
        assert reader.orders.get(UUID(int=1)) is None


def test_the_same_version_saved_again_with_more_replaces_it(store: Database, clock: FakeClock) -> None:
    issued = an_order(clock, state=OrderState.ISSUED)
    known = replace(issued, mes_order_id="4711")
    with store.unit() as unit:
        unit.orders.save(issued)
        unit.orders.save(known)
        unit.commit()
    with store.reader() as reader:
        assert reader.orders.history(issued.order_id) == [known]
        assert reader.orders.get(issued.order_id) == known


def test_an_order_may_return_to_a_state(store: Database, clock: FakeClock) -> None:
    started = an_order(clock, state=OrderState.STARTED)
    held = started.moved(OrderState.HELD, at=START + HOUR)
    again = held.moved(OrderState.STARTED, at=START + 2 * HOUR)
    with store.unit() as unit:
        for order in (started, held, again):
            unit.orders.save(order)
        unit.commit()
    with store.reader() as reader:
        assert reader.orders.get(started.order_id) == again
        assert reader.orders.history(started.order_id) == [started, held, again]


def test_a_late_save_of_an_older_revision_goes_into_the_history_only(store: Database, clock: FakeClock) -> None:
    first = an_order(clock)
    second = replace(first, revision=2)
    late = replace(first, state=OrderState.ISSUED)
    with store.unit() as unit:
        for order in (first, second, late):
            unit.orders.save(order)
        unit.commit()
    with store.reader() as reader:
        assert reader.orders.get(first.order_id) == second
        assert late in reader.orders.history(first.order_id)


def test_orders_are_found_by_key_incident_and_state(store: Database, clock: FakeClock) -> None:
    old = an_order(clock, key="k1", state=OrderState.CLOSED)
    new = an_order(clock, key="k1", updated_at=START + HOUR, incident_id=old.incident_id)
    other = an_order(clock, key="k2")
    with store.unit() as unit:
        for order in (old, new, other):
            unit.orders.save(order)
        unit.commit()
    with store.reader() as reader:
        orders = reader.orders
        assert orders.with_key("k1") == new
        assert orders.with_key("k1", since=START + HOUR) == new
        assert orders.with_key("k1", since=START + 2 * HOUR) is None
        assert orders.with_key("k3") is None
        assert orders.for_incident(old.incident_id) == new
        assert orders.list() == [other, new, old]
        assert orders.list(open_only=True) == [other, new]
        assert orders.list(limit=1) == [other]


def test_order_numbers_have_no_gap(store: Database) -> None:
    with store.unit() as unit:
        assert [unit.orders.next_number() for _ in range(2)] == ["WO-0001", "WO-0002"]
        unit.commit()
    with store.unit() as unit:
        assert unit.orders.next_number() == "WO-0003"


# --- answers, inbox, documents, facts ---------------------------------------------------------------------------------


def test_a_response_counts_once_for_its_source(store: Database, clock: FakeClock) -> None:
    first = a_response(clock, response_id="1")
    second = a_response(clock, response_id="2", order_id=first.order_id)
    with store.unit() as unit:
        assert unit.answers.add_response(first)
        assert not unit.answers.add_response(replace(first, reason="again"))
        assert unit.answers.add_response(second)
        assert unit.answers.add_response(replace(first, source="urn:other", order_id=clock.new_id()))
        unit.commit()
    with store.reader() as reader:
        assert reader.answers.responses(first.order_id) == [first, second]


def test_one_case_for_each_order_newest_first(store: Database, clock: FakeClock) -> None:
    first, second = a_case(clock), a_case(clock)
    corrected = replace(first, cause_id="A15")
    with store.unit() as unit:
        for case in (first, second, corrected):
            unit.answers.save_case(case)
        unit.commit()
    with store.reader() as reader:
        assert reader.answers.cases() == [corrected, second]
        assert reader.answers.cases(limit=1) == [corrected]


def test_the_inbox_keeps_each_message_once_until_it_is_processed(store: Database, clock: FakeClock) -> None:
    first = an_inbound(clock, message_id="1", body=b"\x00\xff", properties={"seq": "9", "\u00fc": "\u4e2d"})
    second = an_inbound(clock, message_id="2")
    with store.unit() as unit:
        assert unit.inbox.add(first)
        assert not unit.inbox.add(replace(first, body=b"other"))
        assert unit.inbox.add(second)
        assert unit.inbox.add(replace(first, source="urn:other"))
        rows = unit.inbox.unprocessed(2)
        assert [message for _, message in rows] == [first, second]
        unit.inbox.mark_processed(rows[0][0], outcome="accepted")
        unit.commit()
    with store.unit() as unit:
        assert [message.message_id for _, message in unit.inbox.unprocessed(9)] == ["2", "1"]
        assert not unit.inbox.add(first)


def test_processed_messages_are_pruned(store: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "PRUNE_BATCH", 2)
    with store.unit() as unit:
        for number in range(4):
            unit.inbox.add(an_inbound(clock, message_id=str(number)))
        for row, _ in unit.inbox.unprocessed(3):
            unit.inbox.mark_processed(row, outcome="done")
        assert unit.inbox.prune(START) == 0
        assert [unit.inbox.prune(START + HOUR) for _ in range(3)] == [2, 1, 0]
        assert len(unit.inbox.unprocessed(9)) == 1


def test_documents_are_listed_newest_first(store: Database, clock: FakeClock) -> None:
    subject = clock.new_id()
    sheet, shift = (
        Document(
            document_id=clock.new_id(),
            kind=kind,
            title="t",
            path="a.pdf",
            sha256="0",
            size_bytes=1,
            made_at=clock.now(),
            subject_id=about,
        )
        for kind, about in (("work-order", subject), ("shift", None))
    )
    with store.unit() as unit:
        for document in (sheet, shift, sheet):
            unit.documents.add(document)
        unit.commit()
    with store.reader() as reader:
        assert reader.documents.list() == [shift, sheet]
        assert reader.documents.list(limit=1) == [shift]
        assert reader.documents.list(kind="work-order") == [sheet]
        assert reader.documents.list(subject_id=subject) == [sheet]
        assert reader.documents.list(kind="shift", subject_id=subject) == []


@pytest.mark.parametrize("value", [0, "x\0\u00fc", [1, 2.5, None], {"a": {"b": [True]}}, {}, False])
def test_facts_come_back_as_they_were(store: Database, value: Any) -> None:
    _fact(store, "key", "before")
    _fact(store, "key", value)
    with store.reader() as reader:
        assert reader.facts.get("key") == value
        assert reader.facts.get("other") is None


# --- outbox -----------------------------------------------------------------------------------------------------------


def _send(store: Database, *messages: OutboundMessage) -> list[int]:
    with store.unit(durable=False) as unit:
        sequences = [unit.outbox.add(message) for message in messages]
        unit.commit()
    return sequences


def _due(store: Database, now: Any = START, limit: int = 100, **options: Any) -> list[int]:
    with store.reader() as reader:
        return [row.sequence for row in reader.outbox.due(now, limit, **options)]


def _mark(store: Database, *sequences: int, retry_in: timedelta = HOUR) -> None:
    with store.unit(durable=False) as unit:
        unit.outbox.mark_sent(sequences, at=START, retry_at=dict.fromkeys(sequences, START + retry_in))
        unit.commit()


def _row(store: Database, sequence: int) -> OutboxRow:
    with store.reader() as reader:
        return next(row for row in reader.outbox.rows() if row.sequence == sequence)


def test_a_message_gets_one_number(store: Database, clock: FakeClock) -> None:
    first, second = a_message(clock), a_message(clock)
    assert _send(store, first, second, first) == [1, 2, 1]
    assert _send(store, second) == [2]


def test_lower_lanes_go_first_then_the_order_of_writing(store: Database, clock: FakeClock) -> None:
    lanes = [Lane.TELEMETRY, Lane.RESULTS, Lane.ORDERS, Lane.RESULTS, Lane.FINDINGS]
    _send(store, *(a_message(clock, lane=lane) for lane in lanes))
    assert _due(store) == [3, 5, 2, 4, 1]
    assert _due(store, limit=2) == [3, 5]
    assert _due(store, limit=2, exclude=frozenset({3, 2})) == [5, 4]


def test_rows_are_due_also_when_the_clock_was_ahead_while_they_were_written(store: Database, clock: FakeClock) -> None:
    clock.set(START + timedelta(days=2_000))
    _send(store, a_message(clock), a_message(clock, ack=Ack.RECEIPT))
    assert _due(store, START) == [1, 2]
    _mark(store, 2, retry_in=timedelta(days=2_000))
    assert _due(store, START) == [1, 2]


def test_puback_confirms_one_class_and_the_other_waits_for_its_receipt(store: Database, clock: FakeClock) -> None:
    plain, tracked = a_message(clock), a_message(clock, ack=Ack.RECEIPT)
    _send(store, plain, tracked)
    _mark(store, 1, 2)
    assert [_row(store, n).state for n in (1, 2)] == [OutboxState.CONFIRMED, OutboxState.SENT]
    assert _due(store, START) == []
    assert _due(store, START + HOUR) == [2]
    with store.unit() as unit:
        assert unit.outbox.confirm([tracked.message_id, plain.message_id, UUID(int=1)], at=START) == 1
        assert unit.outbox.confirm([tracked.message_id], at=START) == 0
        unit.commit()
    assert _due(store, START + HOUR) == []
    assert dict(store_counts(store)) == {state: 2 * (state is OutboxState.CONFIRMED) for state in OutboxState}


def store_counts(store: Database) -> dict[OutboxState, int]:
    with store.reader() as reader:
        return dict(reader.outbox.counts())


def test_a_receipt_may_overtake_the_puback(store: Database, clock: FakeClock) -> None:
    tracked = a_message(clock, ack=Ack.RECEIPT)
    _send(store, tracked)
    with store.unit() as unit:
        assert unit.outbox.confirm([tracked.message_id], at=START) == 1
        unit.commit()
    _mark(store, 1)
    assert _row(store, 1).state is OutboxState.CONFIRMED


def test_a_row_waits_for_the_puback_of_an_older_one_with_its_key(store: Database, clock: FakeClock) -> None:
    def keyed(key: str, **more: Any) -> OutboundMessage:
        return a_message(clock, order_key=key, ack=Ack.RECEIPT, **more)

    _send(store, keyed("a"), keyed("a"), keyed("b"), keyed(""), keyed(""), keyed("a", lane=Lane.ORDERS))
    assert _due(store) == [1, 3, 4, 5]
    assert _due(store, exclude=frozenset({1})) == [3, 4, 5]
    _mark(store, 1)
    assert _due(store) == [2, 3, 4, 5]
    _mark(store, 2)
    assert _due(store) == [6, 3, 4, 5]


def test_a_retry_is_due_at_its_time_and_holds_back_its_key(store: Database, clock: FakeClock) -> None:
    _send(store, a_message(clock, order_key="a"), a_message(clock, order_key="a"))
    with store.unit() as unit:
        unit.outbox.retry(1, at=START + HOUR, detail="quota")
        unit.commit()
    assert _due(store, START) == []
    assert _due(store, START + HOUR) == [1]
    row = _row(store, 1)
    assert (row.state, row.attempts, row.detail, row.next_attempt_at) == (
        OutboxState.PENDING,
        1,
        "quota",
        START + HOUR,
    )


def test_a_quarantined_row_rests_until_a_person_lets_it_go(store: Database, clock: FakeClock) -> None:
    _send(store, a_message(clock, order_key="a"), a_message(clock, order_key="a"))
    with store.unit() as unit:
        unit.outbox.quarantine(1, detail="not authorized")
        unit.commit()
    assert _due(store, START + HOUR) == []
    with store.unit() as unit:
        unit.outbox.retry(1, at=START, detail="released")
        unit.commit()
    assert _due(store, START) == [1]


def test_a_late_retry_or_quarantine_does_not_reopen_what_is_confirmed(store: Database, clock: FakeClock) -> None:
    _send(store, a_message(clock))
    _mark(store, 1)
    with store.unit() as unit:
        unit.outbox.retry(1, at=START, detail="late")
        unit.outbox.quarantine(1, detail="late")
        unit.commit()
    assert _row(store, 1).state is OutboxState.CONFIRMED


def test_what_is_too_late_is_not_sent_and_frees_its_key(store: Database, clock: FakeClock) -> None:
    _send(store, a_message(clock, expires_at=START + HOUR, order_key="a"), a_message(clock, order_key="a"))
    assert _due(store, START) == [1]
    assert _due(store, START + HOUR) == []
    with store.unit() as unit:
        assert unit.outbox.expire(START) == 0
        assert unit.outbox.expire(START + HOUR) == 1
        assert unit.outbox.expire(START + HOUR) == 0
        unit.commit()
    assert _row(store, 1).state is OutboxState.EXPIRED
    assert _due(store, START + HOUR) == [2]


def test_when_the_mes_returns_everything_without_receipt_is_due(store: Database, clock: FakeClock) -> None:
    _send(store, *(a_message(clock, ack=ack) for ack in (Ack.RECEIPT, Ack.PUBACK, Ack.RECEIPT, Ack.RECEIPT)))
    _mark(store, 1, 2, 3)
    with store.unit() as unit:
        assert unit.outbox.resend_unreceipted(START) == 2
        unit.commit()
    assert _due(store, START) == [1, 3, 4]


def test_what_is_left_of_a_key_can_be_settled(store: Database, clock: FakeClock) -> None:
    _send(store, *(a_message(clock, order_key=key, ack=Ack.RECEIPT) for key in ("a", "b", "a", "a")))
    _mark(store, 1)
    with store.unit() as unit:
        unit.outbox.quarantine(3, detail="x")
        assert unit.outbox.settle("a", at=START) == 3
        assert unit.outbox.settle("a", at=START) == 0
        unit.commit()
    assert [_row(store, n).state for n in (1, 3, 4)] == [OutboxState.CONFIRMED] * 3
    _send(store, a_message(clock, order_key="a"))
    assert _due(store, START) == [2, 5]


def test_the_oldest_pending_row(store: Database, clock: FakeClock) -> None:
    with store.reader() as reader:
        assert reader.outbox.oldest_pending() is None
    _send(store, a_message(clock, lane=Lane.TELEMETRY))
    clock.advance(60)
    _send(store, a_message(clock, lane=Lane.ORDERS))
    with store.reader() as reader:
        assert reader.outbox.oldest_pending() == START
    _mark(store, 1)
    with store.reader() as reader:
        assert reader.outbox.oldest_pending() == START + timedelta(seconds=60)


def test_only_finished_rows_are_pruned_and_numbers_never_come_again(
    store: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PRUNE_BATCH", 2)
    _send(store, *(a_message(clock, ack=ack) for ack in (Ack.PUBACK, Ack.RECEIPT, Ack.PUBACK, Ack.PUBACK, Ack.PUBACK)))
    _mark(store, 1, 2, 4, 5)
    with store.unit() as unit:
        assert unit.outbox.prune(START) == 0
        assert [unit.outbox.prune(START + HOUR) for _ in range(3)] == [2, 1, 0]
        assert [row.sequence for row in unit.outbox.rows()] == [3, 2]
        unit.commit()
    assert _send(store, a_message(clock)) == [6]


def test_the_relay_reads_the_same_rows_in_its_own_form(store: Database, clock: FakeClock) -> None:
    keyed = a_message(clock, order_key="a", lane=Lane.ORDERS, properties={"x": "ä"}, expires_at=START + HOUR)
    _send(store, a_message(clock), keyed, a_message(clock, order_key="a"), a_message(clock, ack=Ack.RECEIPT))
    _mark(store, 4)
    later = START + HOUR
    with store.reader() as reader:
        for now, exclude in ((START, frozenset[int]()), (START, frozenset({1})), (later, frozenset({2}))):
            rows = reader.outbox.due(now, 10, exclude=exclude)
            found = reader.outbox.departures(now, 10, exclude=exclude)
            assert [each.sequence for each in found] == [row.sequence for row in rows]
            assert [each.message_id for each in found] == [str(row.message.message_id) for row in rows]
        (first, *_) = reader.outbox.departures(START, 10)
    assert (first.sequence, first.lane, first.ack, first.attempts) == (2, Lane.ORDERS, Ack.PUBACK, 0)
    assert (first.topic, bytes(first.body), first.retain) == (keyed.topic, keyed.body, keyed.retain)
    assert first.properties == '{"x": "ä"}'
    assert first.expires_us is not None


def test_many_rows_are_marked_at_once_and_no_others(store: Database, clock: FakeClock) -> None:
    """In runs and, when there are too many of them, one by one; both classes mixed."""
    _send(store, *(a_message(clock, ack=Ack.RECEIPT if n % 3 == 0 else Ack.PUBACK) for n in range(60)))
    _mark(store, *range(1, 21))
    _mark(store, *range(21, 61, 2))
    states = {n: _row_of(store, n).state for n in range(1, 61)}
    for number, state in states.items():
        marked = number <= 20 or number % 2 == 1
        expected = OutboxState.SENT if (number - 1) % 3 == 0 else OutboxState.CONFIRMED
        assert state is (expected if marked else OutboxState.PENDING), number


def _row_of(store: Database, sequence: int) -> OutboxRow:
    with store.reader() as reader:
        row = reader.outbox.get(sequence)
    assert row is not None
    return row


def test_each_retry_has_its_own_time(store: Database, clock: FakeClock) -> None:
    _send(store, *(a_message(clock, ack=Ack.RECEIPT) for _ in range(3)))
    with store.unit() as unit:
        unit.outbox.mark_sent([1, 2, 3], at=START, retry_at={1: START + HOUR, 2: START + 2 * HOUR})
        unit.commit()
    assert [_row_of(store, n).next_attempt_at - START for n in (1, 2, 3)] == [HOUR, 2 * HOUR, outbox.UNKNOWN_RETRY]


def test_what_the_lanes_hold(store: Database, clock: FakeClock) -> None:
    _send(store, a_message(clock, body=b"x" * 100))
    clock.advance(60)
    _send(store, a_message(clock, body=b"x" * 50), a_message(clock, lane=Lane.ORDERS, body=b"x"))
    with store.reader() as reader:
        usage = [(each.lane, each.rows, each.size_bytes, each.oldest_at) for each in reader.outbox.usage()]
        assert reader.outbox.finished() == (0, 0)
    minute = START + timedelta(seconds=60)
    assert usage == [(Lane.ORDERS, 1, 1, minute), (Lane.RESULTS, 2, 150, START)]
    _mark(store, 1, 3)
    with store.reader() as reader:
        assert [(each.lane, each.size_bytes) for each in reader.outbox.usage()] == [(Lane.RESULTS, 50)]
        assert reader.outbox.finished() == (2, 101)


def test_what_may_be_given_up(store: Database, clock: FakeClock) -> None:
    _send(store, a_message(clock, expendable=True), a_message(clock), a_message(clock, expendable=True))
    _send(store, *(a_message(clock, lane=Lane.TELEMETRY, topic=topic) for topic in ("a", "b", "a")))
    with store.unit() as unit:
        box = unit.outbox
        assert [row.sequence for row in box.expendable(Lane.RESULTS, 9)] == [1, 3]
        assert [row.sequence for row in box.expendable(Lane.RESULTS, 9, exclude=frozenset({1}))] == [3]
        assert box.expendable(Lane.FINDINGS, 9) == []
        box.slim({3: b"{}"})
        assert [row.sequence for row in box.expendable(Lane.RESULTS, 9)] == [1], "once is enough"
        slim = box.get(3)
        assert slim is not None
        assert (slim.message.body, slim.message.expendable, slim.state) == (b"{}", False, OutboxState.PENDING)
        assert box.outdated(Lane.TELEMETRY, 9) == [4]
        assert box.unsent(Lane.TELEMETRY, 2) == [4, 5]
        assert box.forget([1, 4, 99]) == 2
        unit.commit()
    assert _due(store) == [2, 3, 5, 6]
    with store.reader() as reader:
        assert reader.outbox.get(1) is None


def test_whoever_waits_is_told_of_what_was_written(store: Database, clock: FakeClock) -> None:
    told: list[int] = []
    store.when_outgoing(told.append)
    _send(store, a_message(clock, lane=Lane.TELEMETRY), a_message(clock, lane=Lane.FINDINGS))
    with store.unit() as unit:
        unit.outbox.add(a_message(clock, lane=Lane.ORDERS))
    with store.unit() as unit:
        unit.facts.set("a", 1)
        unit.commit()
    assert told == [Lane.FINDINGS], "not of what was rolled back, nor of anything else"


def test_rows_for_people(store: Database, clock: FakeClock) -> None:
    _send(store, *(a_message(clock) for _ in range(3)))
    _mark(store, 2)
    with store.reader() as reader:
        assert [row.sequence for row in reader.outbox.rows(limit=2)] == [3, 2]
        assert [row.sequence for row in reader.outbox.rows(state=OutboxState.PENDING)] == [3, 1]


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(["", "a", "b"]), st.sampled_from(list(Lane)), st.sampled_from(Ack)),
        st.tuples(st.sampled_from(["sent", "retry", "quarantine", "confirm"]), st.integers(1, 12)),
        st.tuples(st.just("expire")),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_steps)
def test_whatever_happens_the_order_holds(store: Database, steps: list[tuple[Any, ...]]) -> None:
    """Lanes, then numbers; never before an older one of the same key; numbers without gaps; nothing disappears."""
    clock = FakeClock(node=1)
    added: list[OutboundMessage] = []
    with store.unit(durable=False) as unit:
        for step in steps:
            _apply(unit.outbox, step, clock, added)
        rows = {row.sequence: row for row in unit.outbox.rows(limit=1_000)}
        due = unit.outbox.due(clock.now(), 1_000)
        first_two = unit.outbox.due(clock.now(), 2)
        assert sorted(rows) == list(range(1, len(added) + 1))
        assert [rows[n].message for n in sorted(rows)] == added
        assert sum(unit.outbox.counts().values()) == len(added)
        assert [(row.message.lane, row.sequence) for row in due] == sorted((r.message.lane, r.sequence) for r in due)
        assert first_two == due[:2]
        pending = [row for row in due if row.state is OutboxState.PENDING]
        for row in pending:
            older = [rows[n] for n in range(1, row.sequence) if rows[n].message.order_key == row.message.order_key]
            assert not row.message.order_key or all(
                r.state not in (OutboxState.PENDING, OutboxState.QUARANTINED) or n_sent(r) for r in older
            )


def n_sent(row: OutboxRow) -> bool:
    """Quarantined after a PUBACK (an error reported by the MES) holds nothing back."""
    return row.state is OutboxState.QUARANTINED and row.attempts > 1


def _apply(outbox: Any, step: tuple[Any, ...], clock: FakeClock, added: list[OutboundMessage]) -> None:
    now = clock.advance(1)
    match step:
        case ("add", key, lane, ack):
            added.append(a_message(clock, order_key=key, lane=lane, ack=ack))
            assert outbox.add(added[-1]) == len(added)
        case ("sent", sequence):
            outbox.mark_sent([sequence], at=now, retry_at={sequence: now + timedelta(seconds=sequence)})
        case ("retry", sequence):
            outbox.retry(sequence, at=now + timedelta(seconds=sequence), detail="later")
        case ("quarantine", sequence):
            outbox.quarantine(sequence, detail="no")
        case ("confirm", sequence):
            outbox.confirm([message.message_id for message in added[sequence - 1 : sequence]], at=now)
        case ("expire",):
            outbox.expire(now)


# --- every domain type round trip ------------------------------------------------------------------------------------


_STORED = [
    Inspection,
    PlantEvent,
    Incident,
    Analysis,
    WorkOrder,
    JobResponse,
    ConfirmedCase,
    Document,
]


@pytest.mark.parametrize("kind", _STORED, ids=lambda kind: kind.__name__)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_documents_in_json_lose_nothing(kind: type, data: st.DataObject) -> None:
    value = data.draw(draw.of(kind))
    assert decode(kind, encode(value)) == value


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_domain_type_comes_back_equal(store: Database, data: st.DataObject) -> None:
    def some(kind: type) -> Any:
        return data.draw(draw.of(kind))

    inspection, event, incident, analysis = some(Inspection), some(PlantEvent), some(Incident), some(Analysis)
    order, response, case, document = some(WorkOrder), some(JobResponse), some(ConfirmedCase), some(Document)
    with store.unit(durable=False) as unit:
        unit.inspections.add(inspection)
        unit.plant.add_event(event)
        unit.incidents.save(incident)
        unit.analyses.save(analysis)
        unit.orders.save(order)
        unit.answers.add_response(response)
        unit.answers.save_case(case)
        unit.documents.add(document)
        assert unit.inspections.get(inspection.inspection_id) == inspection
        assert unit.plant.events(event.at, event.at + HOUR) == [event]
        assert unit.incidents.get(incident.incident_id) == incident
        assert unit.analyses.get(analysis.analysis_id) == analysis
        assert unit.orders.get(order.order_id) == order
        assert unit.answers.responses(response.order_id) == [response]
        assert unit.answers.cases() == [case]
        assert unit.documents.list() == [document]


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(message=draw.of(OutboundMessage), inbound=draw.of(InboundMessage))
def test_messages_come_back_equal(store: Database, message: OutboundMessage, inbound: InboundMessage) -> None:
    """NUL apart, which MQTT does not allow in its strings and PostgreSQL does not take."""
    message, inbound = _without_nul(message), _without_nul(inbound)
    with store.unit(durable=False) as unit:
        unit.outbox.add(message)
        unit.inbox.add(inbound)
        assert [row.message for row in unit.outbox.rows()] == [message]
        assert [found for _, found in unit.inbox.unprocessed(9)] == [inbound]


def _without_nul(message: Any) -> Any:
    texts = {name: getattr(message, name) for name in message.__slots__ if isinstance(getattr(message, name), str)}
    return replace(message, **{name: text.replace("\0", "") for name, text in texts.items() if type(text) is str})


def test_numbers_that_are_not_numbers_do_not_cost_the_row(store: Database, clock: FakeClock) -> None:
    odd = replace(an_inspection(clock, codes=("open",)), score=float("nan"), timings_ms={"total": float("inf")})
    _add(store, odd)
    with store.reader() as reader:
        back = reader.inspections.get(odd.inspection_id)
        assert back is not None
        assert back.score != back.score
        assert back.timings_ms == {"total": float("inf")}


def test_a_naive_instant_is_refused(store: Database, clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        _add(store, an_inspection(clock, ended_at=START.replace(tzinfo=None)))
