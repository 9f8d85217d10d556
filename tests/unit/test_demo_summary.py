"""The summary holds the agent's work against the hidden truth, and forgives nothing."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.domain.document import Document
from edge_agent.domain.inspection import Disposition
from edge_agent.domain.work_order import OrderState, Suspect, WorkOrder
from edge_agent.simulation.demo import summary
from edge_agent.simulation.demo.summary import Account, judge, spells
from tests.fakes.clock import START, FakeClock
from tests.fakes.made import an_incident, an_inspection, an_order


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def truth(folder: Path, *changes: tuple[float, str | None]) -> Path:
    file = folder / "truth.jsonl"
    lines = [{"at": at(s).isoformat(), "causeId": cause, "fault": cause and f"fault-{cause}"} for s, cause in changes]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def suspects(*causes: str) -> tuple[Suspect, ...]:
    return tuple(
        Suspect(cause_id=cause, name=cause, grade="likely", speaks_for=(), speaks_against=()) for cause in causes
    )


def test_the_truth_is_read_as_spells(tmp_path: Path) -> None:
    found = spells(truth(tmp_path, (0, None), (10, "A15"), (20, None), (30, "A01")))
    assert [(one.cause_id, one.since, one.until) for one in found] == [("A15", at(10), at(20)), ("A01", at(30), None)]
    assert spells(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    ("onset_s", "opened_s", "named", "true_cause", "rank"),
    [
        (11, 15, ("A15", "A14"), "A15", 1),
        (11, 15, ("A14", "A15"), "A15", 2),
        (11, 15, ("A14", "A13"), "A15", None),
        (11, 15, (), "A15", None),
        (18, 25, ("A15",), "A15", 1),
        (25, 28, ("A15",), None, None),
        (1, 5, ("A15",), None, None),
        (18, 35, ("A01",), "A01", 1),
    ],
    ids=["right", "second", "missed", "no suspect", "just ended", "nothing wrong", "before it", "the later one"],
)
def test_an_order_is_judged_by_what_was_at_work(
    tmp_path: Path,
    onset_s: float,
    opened_s: float,
    named: tuple[str, ...],
    true_cause: str | None,
    rank: int | None,
) -> None:
    found = spells(truth(tmp_path, (0, None), (10, "A15"), (20, None), (30, "A01")))
    clock = FakeClock()
    incident = an_incident(clock, onset_from=at(onset_s), opened_at=at(opened_s))
    order = an_order(clock, created_at=at(opened_s), suspects=suspects(*named))
    judged = judge(order, incident, found)
    assert (judged.true_cause, judged.rank, judged.right) == (true_cause, rank, rank == 1)


def test_a_suspect_that_came_with_a_later_revision_is_not_passed_off_as_the_first(tmp_path: Path) -> None:
    found, clock = spells(truth(tmp_path, (10, "A15"))), FakeClock()
    incident = an_incident(clock, onset_from=at(11), opened_at=at(15))
    first = an_order(clock, created_at=at(15), suspects=suspects("A14", "A15"))
    judged = judge(replace(first, revision=2, suspects=suspects("A15")), incident, found, first=first)
    assert judged.right
    assert not judged.right_at_opening


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[Database, FakeClock]]:
    clock = FakeClock()
    database = Database(sqlite_url(tmp_path), clock=clock)
    database.migrate()
    yield database, clock
    database.close()


def fill(store: Database, clock: FakeClock) -> WorkOrder:
    """Two good parts and a bad one of run R1, one of an earlier run; an order that was accepted and closed."""
    incident = an_incident(clock, onset_from=at(11), opened_at=at(15))
    order = an_order(clock, incident_id=incident.incident_id, created_at=at(15), suspects=suspects("A15"))
    with store.unit() as unit:
        for number, run in enumerate(("R1", "R1", "R1", "R0")):
            clock.advance(1)
            one = an_inspection(clock, codes=("open", "open") if number == 2 else ())
            unit.inspections.add(replace(one, shot=replace(one.shot, part_id=f"{run}-{number:05d}")))
        unit.incidents.save(incident)
        for state in (OrderState.ISSUED, OrderState.ACCEPTED, OrderState.CLOSED):
            order = order.moved(state, at=clock.now())
            unit.orders.save(order)
        unit.documents.add(
            Document(
                document_id=clock.new_id(),
                kind="work-order",
                title="WO-0001",
                path="work-order/WO-0001-r0.pdf",
                sha256="0" * 64,
                size_bytes=1,
                made_at=clock.now(),
                subject_id=order.order_id,
            )
        )
        unit.commit()
    return order


def gathered(store: Database, folder: Path, line: dict[str, object], heard: int = 3) -> Account:
    with store.reader() as unit:
        return summary.gather(
            unit,
            run="R1",
            since=START,
            until=at(60),
            documents=folder / "documents",
            truth=truth(folder, (0, None), (10, "A15")),
            line=line,
            heard=heard,
        )


def test_one_run_is_gathered_from_the_store(tmp_path: Path, store: tuple[Database, FakeClock]) -> None:
    fill(*store)
    account = gathered(store[0], tmp_path, {"asked": 3, "answered": 3, "unanswered": 0})
    found = account.as_json()
    keys = {"parts", "first_pass_yield", "defects", "incidents", "orders", "first_suspect_right", "pdfs"}
    assert keys <= found.keys()
    assert (found["parts"], found["first_pass_yield"]) == (3, pytest.approx(2 / 3, abs=1e-4))
    assert found["defects"] == {"open": 2}
    assert found["incidents"] == 1
    assert found["orders"] == {"opened": 1, "accepted": 1, "closed": 1}
    assert (found["first_suspect_right"], found["first_suspect_judged"]) == (1, 1)
    assert found["pdfs"] == [str(tmp_path / "documents" / "work-order" / "WO-0001-r0.pdf")]
    assert found["lost"] == 0
    assert json.loads(json.dumps(found)) == found
    assert sum(one.disposition is Disposition.ACCEPT for one in account.inspections) == 2


@pytest.mark.parametrize(("asked", "heard", "lost"), [(3, 3, 0), (5, 3, 2), (3, 2, 1)])
def test_a_part_without_a_result_is_lost(
    tmp_path: Path, store: tuple[Database, FakeClock], asked: int, heard: int, lost: int
) -> None:
    fill(*store)
    account = gathered(store[0], tmp_path, {"asked": asked, "answered": asked, "unanswered": 0}, heard)
    assert account.lost == lost
    assert any(f"{lost} lost" in line for line in summary.told(account, []))


def test_the_words_say_what_the_figures_say(tmp_path: Path, store: tuple[Database, FakeClock]) -> None:
    fill(*store)
    lines = summary.told(gathered(store[0], tmp_path, {"asked": 3, "unanswered": 1}), ["run it"])
    text = "\n".join(lines)
    assert "66.7%" in text
    assert "was the true cause in 1 of 1 orders" in text
    assert "true cause A15 (fault-A15): right" in text
    assert "1 answered too late and rejected" in text
    assert lines[-1] == "run it"


def test_a_run_without_parts_or_orders_is_told_too(tmp_path: Path, store: tuple[Database, FakeClock]) -> None:
    account = gathered(store[0], tmp_path, {}, heard=0)
    assert account.as_json()["first_pass_yield"] is None
    text = "\n".join(summary.told(account, []))
    assert "no order was opened; hidden faults: fault-A15" in text
    assert "the line gave no account" in text
