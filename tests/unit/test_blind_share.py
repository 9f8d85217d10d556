"""Orders that hide their ranking until somebody has said what they suspect: what is seen, said, and learned."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge_agent.commands import orders, weights
from edge_agent.contract import topics
from edge_agent.contract.inbound import identified
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.domain.work_order import WorkOrder
from edge_agent.learning.anchoring import LEAST_TRUST, Anchoring, anchoring
from edge_agent.learning.learner import Learner
from edge_agent.responding.order import is_blind
from edge_agent.simulation.runs import Disturbance
from tests.fakes.clock import FakeClock
from tests.fakes.diagnosed_line import SENDER, SETTINGS, DiagnosedLine
from tests.fakes.made import a_case

COLD = Disturbance(at_part=120, rate=0.4, classes=("short", "spurious_copper"), signals={"etch_temp_c": -5})
TELLING = ("suspects", "checks", "expectedCause", "parameters", "text", "note", "equipmentRequirement")


@pytest.fixture
def line(tmp_path: Path) -> DiagnosedLine:
    made = DiagnosedLine(tmp_path, settings=replace(SETTINGS, blind_share=1.0))
    made.happened(COLD, seed=2)
    return made


def order_of(line: DiagnosedLine) -> WorkOrder:
    return line.orders()[0]


def sent(line: DiagnosedLine, end: str) -> list[dict[str, Any]]:
    """Data of the messages on topics that end so, oldest first."""
    with line.store.reader() as uow:
        rows = [row.message for row in uow.outbox.rows(limit=500) if row.message.topic.endswith(end)]
    return [json.loads(one.body)["data"] for one in reversed(rows) if one.body]


def rcas(line: DiagnosedLine) -> list[str]:
    with line.store.reader() as uow:
        return [row.message.topic for row in uow.outbox.rows(limit=500) if "/rca/" in row.message.topic]


def say(line: DiagnosedLine, event: str, suspicion: str = "", actual: dict[str, Any] | None = None) -> None:
    order = order_of(line)
    line.clock.advance(5)
    body = {"responseId": str(line.clock.new_id()), "jobOrderId": str(order.order_id), "rev": order.revision}
    said = {**body, "event": event, "suspicion": suspicion} | ({"actual": actual} if actual else {})
    topic = topics.under("root", topics.response(order.order_id))
    raw = InboundMessage(
        source="", message_id="", topic=topic, body=json.dumps(said).encode(), received_at=line.clock.now()
    )
    with line.store.unit() as uow:
        uow.inbox.add(identified(raw))
        uow.commit()
    Learner(store=line.store, clock=line.clock, catalogue=line.catalogue, sender=SENDER).step()


def as_state(line: DiagnosedLine) -> str:
    """The line's folder as commands find it."""
    name = line.folder / "edge-agent.sqlite3"
    if not name.exists():
        name.symlink_to(line.folder / "agent.db")
    return str(line.folder)


def case_of(line: DiagnosedLine) -> ConfirmedCase:
    with line.store.reader() as uow:
        (case,) = uow.answers.cases()
    return case


@given(st.uuids(), st.floats(0, 1))
def test_who_is_blind_is_settled_by_the_id(order_id: UUID, share: float) -> None:
    assert is_blind(order_id, share) == is_blind(order_id, share)
    assert is_blind(order_id, 1.0)
    assert not is_blind(order_id, 0.0)
    assert is_blind(order_id, min(1.0, share + 0.1)) or not is_blind(order_id, share)


def test_the_share_is_kept() -> None:
    clock = FakeClock()
    blind = sum(is_blind(clock.new_id(), 0.1) for _ in range(5_000))
    assert 420 < blind < 580


def test_nothing_that_goes_out_tells_the_ranking_before_a_suspicion(line: DiagnosedLine) -> None:
    order = order_of(line)
    assert order.suspects
    first, *_ = order.suspects
    told = sent(line, "/order")
    assert told
    for document in told:
        assert document["rankingHidden"] is True
        assert {"causeCode": first.cause_id, "name": first.name} in document["causeChoices"]
        codes = [one["causeCode"] for one in document["causeChoices"]]
        assert codes == sorted(codes)
        text = json.dumps({name: document[name] for name in TELLING if name in document})
        assert first.cause_id not in text
        assert first.name not in text
        assert (document["suspects"], document["checks"]) == ([], [])
    assert rcas(line) == []


def test_a_suspicion_shows_the_ranking(line: DiagnosedLine) -> None:
    before = order_of(line)
    say(line, "received", suspicion="A14")
    after = order_of(line)
    assert after.revision == before.revision + 1
    newest = sent(line, "/order")[-1]
    assert newest["rankingHidden"] is False
    assert newest["expectedCause"] == after.suspects[0].cause_id
    assert "causeChoices" not in newest
    assert len(rcas(line)) == 1


def test_the_first_suspicion_stays(line: DiagnosedLine) -> None:
    say(line, "received", suspicion="A14")
    say(line, "accepted", suspicion="A15")
    say(line, "closed", actual={"causeCode": "A15", "confirms": "yes"})
    case = case_of(line)
    assert (case.suspicion, case.shown_ranking) == ("A14", False)
    assert case.weight == 0.3  # it followed what it was shown after all


@pytest.mark.parametrize(
    ("suspicion", "weight"),
    [("", 0.5), ("A15", 0.5)],
    ids=["closed without seeing it", "suspected before seeing it"],
)
def test_who_names_the_first_suspect_unseen_is_not_lazy(line: DiagnosedLine, suspicion: str, weight: float) -> None:
    if suspicion:
        say(line, "received", suspicion=suspicion)
    say(line, "closed", actual={"causeCode": "A15", "confirms": "yes"})
    case = case_of(line)
    assert case.first_suspect == "A15"
    assert case.shown_ranking is False
    assert case.weight == weight
    assert rcas(line)


def test_a_shown_order_says_so(tmp_path: Path) -> None:
    line = DiagnosedLine(tmp_path)
    line.happened(COLD, seed=2)
    assert sent(line, "/order")[-1]["rankingHidden"] is False
    say(line, "closed", actual={"causeCode": "A15"})  # agreeing is lazy, whether it says "yes" or repeats the code
    case = case_of(line)
    assert (case.shown_ranking, case.suspicion, case.weight) == (True, None, 0.3)


def test_the_box_hides_it_too_and_takes_a_suspicion(line: DiagnosedLine) -> None:
    order, folder = order_of(line), as_state(line)
    run = CliRunner()
    shown = run.invoke(orders.app, ["show", order.number, "--state", folder])
    listed = run.invoke(orders.app, ["list", "--state", folder])
    assert shown.exit_code == listed.exit_code == 0
    assert "edge-agent orders suspect" in shown.output
    assert f"suspect {order.suspects[0].cause_id}" not in shown.output
    assert order.suspects[0].name not in listed.output
    said = run.invoke(orders.app, ["suspect", order.number, "--cause", "A14", "--state", folder])
    assert said.exit_code == 0, said.output
    line.clock.advance(5)
    Learner(store=line.store, clock=line.clock, catalogue=line.catalogue, sender=SENDER).step()
    after = run.invoke(orders.app, ["show", order.number, "--state", folder])
    assert f"suspect {order.suspects[0].cause_id}" in after.output


# --- anchoring ------------------------------------------------------------------------------------------------------


def said(many: int, agree: int, *, shown: bool) -> list[ConfirmedCase]:
    clock = FakeClock(node=1 + shown)
    return [
        a_case(clock, cause_id="A17" if place < agree else "A01", first_suspect="A17", shown_ranking=shown)
        for place in range(many)
    ]


def test_anchoring_is_what_seeing_the_ranking_adds() -> None:
    found = anchoring([*said(100, 90, shown=True), *said(20, 10, shown=False)])
    assert found.gap == pytest.approx(0.4)
    low, high = found.interval
    assert low < 0.4 < high
    assert found.trust_in_yes == pytest.approx((11 / 22) / (91 / 102))


def test_a_suspicion_counts_before_the_cause_that_was_found() -> None:
    clock = FakeClock()
    led = a_case(clock, cause_id="A17", first_suspect="A17", shown_ranking=False, suspicion="A01")
    assert anchoring([led]).blind_agree == 0


def test_newcombes_interval_equals_the_published_one() -> None:
    # Newcombe, Statistics in Medicine 17 (1998) 873, table II, case (a), method 10: 56/70 - 48/80
    found = Anchoring(shown=70, shown_agree=56, blind=80, blind_agree=48)
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)


@given(st.integers(0, 200), st.integers(0, 200), st.floats(0, 1), st.floats(0, 1))
def test_a_bare_yes_is_never_worth_more_than_before(shown: int, blind: int, led: float, own: float) -> None:
    found = Anchoring(shown=shown, shown_agree=int(shown * led), blind=blind, blind_agree=int(blind * own))
    assert LEAST_TRUST <= found.trust_in_yes <= 1.0
    assert found.interval[0] <= (found.gap or 0.0) <= found.interval[1]


def test_lazy_answers_lose_their_weight_when_blind_ones_disagree(tmp_path: Path) -> None:
    line = DiagnosedLine(tmp_path)
    with line.store.unit() as uow:
        for case in [*said(60, 60, shown=True), *said(20, 4, shown=False)]:
            uow.answers.save_case(case)
        uow.commit()
    line.happened(COLD, seed=2)
    say(line, "closed", actual={"causeCode": "A15", "confirms": "yes"})
    with line.store.reader() as uow:
        newest = uow.answers.cases(limit=1)[0]
    assert newest.weight == pytest.approx(0.3 * (5 / 22) / (61 / 62), abs=1e-3)


def test_the_measure_is_told(tmp_path: Path) -> None:
    line = DiagnosedLine(tmp_path)
    with line.store.unit() as uow:
        for case in [*said(30, 27, shown=True), *said(12, 6, shown=False)]:
            uow.answers.save_case(case)
        uow.commit()
    told = CliRunner().invoke(weights.app, ["list", "--state", as_state(line)])
    assert "27 of 30 with the ranking in sight, 6 of 12 before it was shown" in told.output
    assert "anchoring +0.40" in told.output
    data = json.loads(CliRunner().invoke(weights.app, ["list", "--state", as_state(line), "--format", "json"]).stdout)
    assert data["anchoring"]["blind"] == 12
