"""The responder with its diagnosis elsewhere: same orders; a diagnosis that fails costs evidence, never an order."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.adapters.store.codec import decode, encode
from edge_agent.adapters.store.database import Database
from edge_agent.config.catalogue import load_priority_table
from edge_agent.domain.faults import Transient
from edge_agent.domain.work_order import WorkOrder
from edge_agent.observability.health import Condition
from edge_agent.responding.diagnostician import Diagnostician
from edge_agent.responding.responder import REST, TRIES, Responder
from edge_agent.responding.working_out import CURSOR, NO_EVIDENCE, WITHOUT_EVIDENCE, Step
from edge_agent.simulation.runs import Disturbance, record
from tests.fakes.clock import START
from tests.fakes.diagnosed_line import SENDER, DiagnosedLine

COLD = Disturbance(at_part=120, rate=0.4, classes=("short", "spurious_copper"), signals={"etch_temp_c": -5})


@pytest.fixture
def line(tmp_path: Path) -> DiagnosedLine:
    line = DiagnosedLine(tmp_path)
    run = record(1, parts=200, rate=0.005, start=START, disturbances=(COLD,))
    line.clock.set(run.inspections[-1].ended_at)
    line.write(run)
    return line


def elsewhere(line: DiagnosedLine) -> Callable[[], Step | None]:
    """What the process does, with a store of its own, and all that goes between the two as text."""
    there = Diagnostician(
        open_store=Database,
        store_url=f"sqlite:///{line.folder / 'agent.db'}",
        clock=lambda: line.clock,
        catalogue=line.catalogue,
        settings=line.settings,
        encode=encode,
    )

    def work_out() -> Step | None:
        text = there.work_out()
        return None if text is None else decode(Step, text)

    return work_out


class Responding:
    """A responder that counts what it was told of its diagnosis."""

    def __init__(self, line: DiagnosedLine, work_out: Callable[[], Step | None]) -> None:
        self.heard: list[Condition] = []
        self.asked = 0
        self._work_out = work_out
        self.responder = Responder(
            store=line.store,
            clock=line.clock,
            catalogue=line.catalogue,
            priority_table=load_priority_table(None),
            settings=line.settings,
            sender=SENDER,
            elsewhere=self.ask,
            on_condition=lambda condition, _: self.heard.append(condition),
        )

    def ask(self) -> Step | None:
        self.asked += 1
        return self._work_out()

    def catch_up(self) -> int:
        """Steps as the supervisor drives them; how many raised Transient."""
        failures = 0
        while True:
            try:
                if not self.responder.step():
                    return failures
            except Transient:
                failures += 1


def broken() -> Step | None:
    raise Transient("it died")


def substance(order: WorkOrder) -> tuple[object, ...]:
    suspects = [(one.cause_id, one.speaks_for, one.speaks_against) for one in order.suspects]
    return order.key, order.revision, order.problem, order.text, suspects, order.containment, order.images


def test_the_orders_are_the_same_as_here(line: DiagnosedLine, tmp_path: Path) -> None:
    other = DiagnosedLine(tmp_path / "here")
    other.happened(COLD)
    Responding(line, elsewhere(line)).catch_up()
    assert [substance(order) for order in line.orders()] == [substance(order) for order in other.orders()] != []


def test_a_failed_diagnosis_is_tried_again_and_nothing_is_written_meanwhile(line: DiagnosedLine) -> None:
    responding = Responding(line, broken)
    with pytest.raises(Transient):
        responding.responder.step()
    with line.store.reader() as uow:
        assert uow.facts.get(CURSOR) is None
    responding._work_out = elsewhere(line)
    assert responding.catch_up() == 0
    (order,) = line.orders()
    assert NO_EVIDENCE not in order.text
    assert responding.heard == [Condition.DEGRADED, Condition.OK]


def test_an_order_goes_out_without_evidence_and_says_so(line: DiagnosedLine) -> None:
    responding = Responding(line, broken)
    assert responding.catch_up() == TRIES - 1
    (order,) = line.orders()
    assert NO_EVIDENCE in order.text
    assert order.containment.part_ids
    with line.store.reader() as uow:
        analysis = uow.analyses.get(order.analysis_id)
    assert analysis is not None
    assert (analysis.decision, analysis.engine["method"]) == ("check", WITHOUT_EVIDENCE)
    assert set(responding.heard) == {Condition.DEGRADED}
    assert responding.asked == TRIES  # it rests


def test_after_its_rest_the_diagnosis_is_asked_again_and_the_order_gets_its_evidence(line: DiagnosedLine) -> None:
    responding = Responding(line, broken)
    responding.catch_up()
    more = record(2, parts=300, rate=0.9, start=line.clock.now(), disturbances=(COLD,))
    line.clock.set(more.inspections[-1].ended_at)
    line.clock.advance(REST.total_seconds() + 1)
    line.write(more)
    responding._work_out = elsewhere(line)
    responding.catch_up()
    assert responding.heard[-1] is Condition.OK
    assert any(order.revision > 0 and NO_EVIDENCE not in order.text for order in line.orders())
