"""The diagnosis in a real process that is killed at its work: each incident has one order, and nothing is lost."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.bootstrap.own_process import DiagnosisProcess, FittingProcess
from edge_agent.config.catalogue import load_priority_table
from edge_agent.domain.faults import Transient
from edge_agent.domain.inference import backgrounds
from edge_agent.learning.refit import refit
from edge_agent.responding.responder import Responder
from edge_agent.responding.working_out import CURSOR, NO_EVIDENCE
from edge_agent.simulation.runs import Disturbance, record
from tests.fakes.clock import START
from tests.fakes.diagnosed_line import SENDER, DiagnosedLine
from tests.fakes.made import a_case

pytestmark = pytest.mark.fault

COLD = Disturbance(at_part=120, rate=0.4, classes=("short", "spurious_copper"), signals={"etch_temp_c": -5})
PARTS = 300


@pytest.fixture
def line(tmp_path: Path) -> DiagnosedLine:
    line = DiagnosedLine(tmp_path)
    run = record(1, parts=PARTS, rate=0.005, start=START, disturbances=(COLD,))
    line.clock.set(run.inspections[-1].ended_at)
    line.write(run)
    return line


@pytest.fixture
def process(line: DiagnosedLine) -> Iterator[DiagnosisProcess]:
    process = DiagnosisProcess(
        store_url=f"sqlite:///{line.folder / 'agent.db'}", catalogue=line.catalogue, settings=line.settings
    )
    yield process
    process.close()


@pytest.fixture
def responder(line: DiagnosedLine, process: DiagnosisProcess) -> Responder:
    return Responder(
        store=line.store,
        clock=line.clock,
        catalogue=line.catalogue,
        priority_table=load_priority_table(None),
        settings=line.settings,
        sender=SENDER,
        elsewhere=process.work_out,
        announce=lambda event, thing: line.said.append((event, thing)),
    )


def worked_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "condition did not come true in time"
        time.sleep(0.005)


def kill_at_work(pid: int) -> threading.Thread:
    """Kill a process as soon as it has used the processor again."""
    before = worked_s(pid)

    def watch() -> None:
        wait_until(lambda: worked_s(pid) > before)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_killed_at_its_work_it_starts_again_and_each_incident_has_one_order(
    line: DiagnosedLine, process: DiagnosisProcess, responder: Responder
) -> None:
    responder.step()  # calm parts: now it runs
    failures, worked = 0, True
    while worked:
        assert process.pid is not None
        killer = kill_at_work(process.pid)
        try:
            worked = responder.step()
        except Transient:
            failures += 1
        killer.join()
        worked = responder.step() or worked
        if failures == 2:
            break
    while responder.step():
        pass
    assert failures > 0
    with line.store.reader() as uow:
        assert uow.facts.get(CURSOR) == PARTS
        (incident,) = uow.incidents.recent(10)
        revisions = [one.revision for one in uow.incidents.history(incident.incident_id)]
        (order,) = uow.orders.list()
    assert revisions == list(range(len(revisions)))
    assert NO_EVIDENCE not in order.text
    assert line.events().count("order.issued") == 1


def test_closed_under_way_it_says_so_at_once(process: DiagnosisProcess) -> None:
    process.work_out()
    pid = process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    closer = threading.Timer(0.2, process.close)
    closer.start()
    with pytest.raises(Transient):
        process.work_out()
    closer.join()


def test_its_libraries_use_one_thread(process: DiagnosisProcess) -> None:
    process.work_out()
    names = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    assert b"OMP_NUM_THREADS=1" in names
    assert len(list(Path(f"/proc/{process.pid}/task").iterdir())) == 1


def test_a_fit_elsewhere_is_the_fit_here_and_leaves_no_process(line: DiagnosedLine) -> None:
    cases = [
        a_case(line.clock, tokens={"sp:streak": 1, "class:open": 1}, cause_id="A20", first_suspect="A17")
        for _ in range(6)
    ]
    asked = (cases, line.catalogue, backgrounds(line.catalogue))
    fitting = FittingProcess()
    there, here = fitting.refit(*asked, version="w"), refit(*asked, version="w")
    assert fitting.pid is None
    assert (there.cases, there.top, there.activate) == (here.cases, here.top, here.activate)
    assert there.loss == pytest.approx(here.loss, rel=1e-3)  # other threads, other rounding
    assert there.weights.matrix.keys() == here.weights.matrix.keys()


def test_a_fit_with_a_bug_is_put_off(line: DiagnosedLine) -> None:
    with pytest.raises(Transient):
        FittingProcess().refit("these are no cases")
