"""The supervisor with real threads and quick workers."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.ports import WorkerSpec
from edge_agent.runtime import supervisor as supervisor_module
from edge_agent.runtime.supervisor import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, RESTARTS_ALLOWED, Supervisor


class Scripted:
    """A worker whose steps are given; it records its life in a shared list."""

    def __init__(self, name: str, life: list[str], step: Callable[[], bool]) -> None:
        self.name = name
        self.life = life
        self.do = step

    def setup(self) -> None:
        self.life.append(f"{self.name} setup")

    def step(self) -> bool:
        return self.do()

    def teardown(self) -> None:
        self.life.append(f"{self.name} teardown")


def spec(name: str, life: list[str], step: Callable[[], bool], *, order: int = 50, needed: bool = False) -> WorkerSpec:
    return WorkerSpec(
        name=name,
        build=lambda: Scripted(name, life, step),
        max_silence=timedelta(seconds=30),
        stop_order=order,
        needed_for_ready=needed,
    )


def idle() -> bool:
    threading.Event().wait(0.01)
    return False


def run_until(supervisor: Supervisor, done: threading.Event) -> int:
    def stop() -> None:
        done.wait(20)
        supervisor.request_stop()

    threading.Thread(target=stop, daemon=True).start()
    return supervisor.run()


def test_workers_stop_in_order() -> None:
    life: list[str] = []
    done = threading.Event()
    specs = [spec("link", life, idle, order=90), spec("trigger", life, idle, order=10), spec("inspect", life, idle)]
    done.set()
    assert run_until(Supervisor(specs), done) == EXIT_OK
    assert [line for line in life if "teardown" in line] == [
        "trigger teardown",
        "inspect teardown",
        "link teardown",
    ]


def test_a_transient_is_tried_again_without_a_restart() -> None:
    life: list[str] = []
    done = threading.Event()
    left = iter([Transient("away"), Transient("away")])

    def step() -> bool:
        error = next(left, None)
        if error:
            raise error
        done.set()
        return idle()

    assert run_until(Supervisor([spec("a", life, step)]), done) == EXIT_OK
    assert life == ["a setup", "a teardown"]


def test_a_bug_restarts_with_a_new_object() -> None:
    life: list[str] = []
    done = threading.Event()
    left = iter([KeyError("bug")])

    def step() -> bool:
        error = next(left, None)
        if error:
            raise error
        done.set()
        return idle()

    assert run_until(Supervisor([spec("a", life, step)]), done) == EXIT_OK
    assert life == ["a setup", "a teardown", "a setup", "a teardown"]


@pytest.mark.slow
def test_too_many_restarts_end_the_process() -> None:
    life: list[str] = []

    def step() -> bool:
        raise KeyError("bug")

    assert Supervisor([spec("a", life, step)]).run() == EXIT_FAILED
    assert life.count("a setup") == RESTARTS_ALLOWED + 1


def test_a_configuration_error_is_final() -> None:
    life: list[str] = []

    def step() -> bool:
        raise ConfigError("wrong")

    assert Supervisor([spec("a", life, step)]).run() == EXIT_CONFIG
    assert life == ["a setup", "a teardown"]


def test_ready_waits_for_those_who_are_needed() -> None:
    gate = threading.Event()
    done = threading.Event()

    class Slow(Scripted):
        def setup(self) -> None:
            gate.wait(20)

    slow = WorkerSpec(
        name="slow",
        build=lambda: Slow("slow", [], idle),
        max_silence=timedelta(seconds=30),
        needed_for_ready=True,
    )
    supervisor = Supervisor([slow, spec("other", [], idle)])
    seen: list[bool] = []

    def watch() -> None:
        seen.append(supervisor.is_ready)
        gate.set()
        while not supervisor.is_ready:
            idle()
        done.set()

    threading.Thread(target=watch, daemon=True).start()
    assert run_until(supervisor, done) == EXIT_OK
    assert seen == [False]


def test_a_long_step_is_cut_short_at_stop() -> None:
    begun, cut = threading.Event(), threading.Event()

    def step() -> bool:
        begun.set()
        assert cut.wait(20)
        raise Transient("the child was killed")

    worker = WorkerSpec(
        name="writer",
        build=lambda: Scripted("writer", [], step),
        max_silence=timedelta(seconds=60),
        interrupt=cut.set,
    )
    assert run_until(Supervisor([worker]), begun) == EXIT_OK
    assert cut.is_set()


def test_a_worker_that_hangs_at_stop_leaves_the_last_one_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "STOP_BUDGET_S", 5.0)
    monkeypatch.setattr(supervisor_module, "LAST_WORDS_S", 4.9)
    life: list[str] = []
    done, never = threading.Event(), threading.Event()

    def hang() -> bool:
        done.set()
        return never.wait(20)

    specs = [spec("write", life, hang), spec("link", life, idle, order=90)]
    assert run_until(Supervisor(specs), done) == EXIT_OK
    assert "link teardown" in life
    assert "write teardown" not in life
    never.set()
