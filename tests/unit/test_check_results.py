"""What checks have found: into the ranking by the catalogue's ratios, out to the plant, and kept by later revisions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract import topics
from edge_agent.contract.inbound import InvalidMessage, identified, job_response
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.work_order import WorkOrder
from edge_agent.learning.learner import Learner
from edge_agent.responding.check_results import TOOL, with_results, without_results
from edge_agent.simulation.runs import Disturbance, record
from tests.fakes.clock import START, FakeClock
from tests.fakes.diagnosed_line import SENDER, DiagnosedLine
from tests.fakes.seeded_analyses import seeded, shipped_catalogue

COLD = Disturbance(at_part=120, rate=0.4, classes=("short", "spurious_copper"), signals={"etch_temp_c": -5})
CATALOGUE = shipped_catalogue()


@pytest.fixture
def line(tmp_path: Path) -> DiagnosedLine:
    made = DiagnosedLine(tmp_path)
    made.happened(COLD, seed=2)
    return made


def newest(line: DiagnosedLine) -> WorkOrder:
    return line.orders()[0]


def message(line: DiagnosedLine, **fields: Any) -> InboundMessage:
    order = newest(line)
    body = {"responseId": str(line.clock.new_id()), "jobOrderId": str(order.order_id), "rev": order.revision}
    return identified(
        InboundMessage(
            source="",
            message_id="",
            topic=topics.under("root", topics.response(order.order_id)),
            body=json.dumps({**body, "event": "received", **fields}).encode(),
            received_at=line.clock.now(),
        )
    )


def say(line: DiagnosedLine, *checks: tuple[str, bool], event: str = "received") -> None:
    line.clock.advance(5)
    told = [{"checkId": check_id, "found": found} for check_id, found in checks]
    with line.store.unit() as uow:
        uow.inbox.add(message(line, event=event, checks=told))
        uow.commit()
    Learner(store=line.store, clock=line.clock, catalogue=line.catalogue, sender=SENDER).step()
    line.respond()


def p_of(line: DiagnosedLine, cause_id: str) -> float:
    with line.store.reader() as uow:
        analysis = uow.analyses.latest(newest(line).incident_id)
    assert analysis is not None
    return next((one.p for one in analysis.hypotheses if one.cause_id == cause_id), 0.0)


def test_a_check_that_does_not_find_it_lowers_its_cause_and_is_not_asked_for_again(line: DiagnosedLine) -> None:
    before = newest(line)
    first = before.suspects[0].cause_id
    own = {one.check_id for one in (CATALOGUE.cause(first).checks if CATALOGUE.cause(first) else ())}  # type: ignore[union-attr]
    check = next(one for one in before.checks if one.check_id in own)
    was = p_of(line, first)
    say(line, (check.check_id, False))
    after = newest(line)
    assert p_of(line, first) < was
    assert after.revision == before.revision + 1
    assert check.check_id not in {one.check_id for one in after.checks}
    with line.store.reader() as uow:
        rows = [row.message for row in uow.outbox.rows(limit=100) if row.message.topic.endswith("/order")]
        analysis = uow.analyses.latest(after.incident_id)
    assert max(json.loads(row.body)["data"]["rev"] for row in rows) == after.revision
    assert analysis is not None
    (fact,) = [one for one in analysis.evidence if one.tool == TOOL]
    assert fact.statement.endswith("not found")
    told = next(one for one in after.suspects if one.cause_id == first)
    assert fact.evidence_id in told.speaks_against


def test_the_last_word_about_a_check_counts(line: DiagnosedLine) -> None:
    first, was = newest(line).suspects[0].cause_id, p_of(line, newest(line).suspects[0].cause_id)
    cause = CATALOGUE.cause(first)
    assert cause is not None
    name = cause.checks[0].check_id
    say(line, (name, False))
    say(line, (name, True))
    assert p_of(line, first) > was
    with line.store.reader() as uow:
        analysis = uow.analyses.latest(newest(line).incident_id)
    assert analysis is not None
    assert len([one for one in analysis.evidence if one.tool == TOOL]) == 1


def test_a_later_look_at_the_incident_keeps_the_outcome(line: DiagnosedLine) -> None:
    cause = CATALOGUE.cause(newest(line).suspects[0].cause_id)
    assert cause is not None
    say(line, (cause.checks[0].check_id, True))
    order = newest(line)
    more = record(3, parts=400, rate=0.005, start=START, disturbances=[replace(COLD, at_part=1, rate=0.8)])
    with line.store.reader() as uow:
        last = uow.inspections.latest(1)[0].ended_at
    shifted = [
        replace(
            one,
            shot=replace(one.shot, triggered_at=one.shot.triggered_at + (last - START)),
            ended_at=one.ended_at + (last - START),
            inspection_id=line.clock.new_id(),
        )
        for one in more.inspections
    ]
    line.write(replace(more, inspections=tuple(shifted), samples=(), events=()))
    line.respond()
    assert newest(line).revision > order.revision
    with line.store.reader() as uow:
        analysis = uow.analyses.latest(order.incident_id)
    assert analysis is not None
    assert [one.provenance["check"] for one in analysis.evidence if one.tool == TOOL] == [cause.checks[0].check_id]
    assert cause.checks[0].check_id not in {one.check_id for one in newest(line).checks}


def test_a_check_that_the_catalogue_lacks_changes_nothing(line: DiagnosedLine) -> None:
    first = newest(line).suspects[0].cause_id
    was = p_of(line, first)
    say(line, ("no-such-check", True))
    assert p_of(line, first) == was


def test_checks_of_an_order_that_is_done_are_kept_and_rank_nothing(line: DiagnosedLine) -> None:
    say(line, event="closed")
    before = newest(line)
    say(line, ("no-such-check", True))
    assert (newest(line).revision, newest(line).suspects) == (before.revision, before.suspects)


@pytest.mark.parametrize(
    "checks", [[{"checkId": "a"}], [{"checkId": "a", "found": 1.5}], [{"checkId": "a", "found": True}] * 21]
)
def test_a_check_that_cannot_be_read_is_refused(line: DiagnosedLine, checks: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidMessage, match="checks"):
        job_response(message(line, checks=checks))


@given(seed=st.integers(0, 60), found=st.lists(st.booleans(), min_size=1, max_size=4))
def test_outcomes_keep_the_sum_and_can_be_taken_out_again(seed: int, found: list[bool]) -> None:
    analysis, incident = seeded(CATALOGUE, seed, FakeClock())
    first = analysis.first_suspect
    cause = CATALOGUE.cause(first.cause_id) if first else None
    names = [one.check_id for one in (cause.checks if cause else ())]
    results = dict(zip(names, found, strict=False))
    known = with_results(analysis, incident, results, CATALOGUE)
    assert sum(one.p for one in known.hypotheses) == pytest.approx(sum(one.p for one in analysis.hypotheses), abs=1e-4)
    assert [one.rank for one in known.hypotheses] == list(range(1, len(known.hypotheses) + 1))
    again = without_results(known)
    assert again.evidence == analysis.evidence
    then = {one.cause_id: one.p for one in analysis.hypotheses}
    for one in again.hypotheses:
        assert one.p == pytest.approx(then[one.cause_id], abs=0.002)
