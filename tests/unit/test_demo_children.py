"""Processes of the demo are stopped in order, and say how they ended."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.simulation.demo.children import Child, ChildDied


def until(true: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def child(tmp_path: Path, code: str) -> Child:
    made = Child("tester", ["-c", code], tmp_path / "tester.log")
    made.start()
    return made


def test_a_failure_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    it = child(tmp_path, "print('\\n'.join(f'line {n}' for n in range(99))); raise SystemExit(3)")
    until(lambda: it.exit_code is not None)
    with pytest.raises(ChildDied, match=r"tester ended with 3(.|\n)*line 98") as raised:
        it.check()
    assert "line 2\n" not in str(raised.value)


def test_a_killed_one_is_named_by_its_signal(tmp_path: Path) -> None:
    it = child(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    until(lambda: it.exit_code is not None)
    with pytest.raises(ChildDied, match="killed by SIGKILL"):
        it.check()


def test_a_good_end_is_no_failure(tmp_path: Path) -> None:
    it = child(tmp_path, "pass")
    until(lambda: it.exit_code is not None)
    it.check()
    assert it.stop(1) == 0


def test_one_that_runs_is_asked_to_stop(tmp_path: Path) -> None:
    it = child(tmp_path, "import time; print('up'); time.sleep(60)")
    until(lambda: "up" in it.tail())
    it.check()
    assert it.stop(10) == -signal.SIGTERM
    assert it.stop(10) == -signal.SIGTERM


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)"
    it = child(tmp_path, code)
    until(lambda: "up" in it.tail())
    assert it.stop(0.2) == -signal.SIGKILL


def test_it_was_never_started(tmp_path: Path) -> None:
    it = Child("tester", [], tmp_path / "none.log")
    it.check()
    assert it.stop(1) is None
    assert "no log" in it.tail()
