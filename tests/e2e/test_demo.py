"""``edge-agent demo`` as a user runs it, with the real broker: its summary, its end, and its bad days."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="mosquitto is not installed"
    ),
]


class Demo:
    """One run of the demo; what it says is in ``said``."""

    def __init__(self, state: Path, *words: str) -> None:
        self.summary_file = state.parent / f"{state.name}.json"
        self._log = state.parent / f"{state.name}.log"
        command = [sys.executable, "-m", "edge_agent.cli", "demo", "--plain", "--state", str(state)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--json", str(self.summary_file), *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def until(self, true: Callable[[], bool], timeout_s: float = 120.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not true():
            assert self.process.poll() is None, f"ended early:\n{self.said}"
            assert time.monotonic() < deadline, f"did not happen in time:\n{self.said}"
            time.sleep(0.1)

    def end(self, timeout_s: float = 300.0) -> int:
        return self.process.wait(timeout_s)

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.summary_file.read_text())
        return found


def children(parent: int) -> dict[int, str]:
    """Processes whose parent is this one: pid to command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if int(status[1]) == parent and status[0] != "Z":
            found[int(folder.name)] = words
    return found


def gone(pids: dict[int, str]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    running: list[Demo] = []

    def run(*words: str, state: str = "state") -> Demo:
        running.append(Demo(tmp_path / state, *words))
        return running[-1]

    yield run
    for demo in running:
        if demo.process.poll() is None:
            demo.process.terminate()
            demo.process.wait(60)


def test_the_loop_closes_and_the_summary_is_true(start: Callable[..., Demo]) -> None:
    demo = start("--parts", "110", "--seed", "1", "--fault", "conveyor_fast", "--rate", "8")
    assert demo.end() == 0, demo.said
    summary = demo.summary
    assert summary["parts"] == summary["triggered"] == summary["results_heard"] == 110
    assert (summary["lost"], summary["unanswered"]) == (0, 0)
    assert 0.3 < summary["first_pass_yield"] < 0.99
    assert set(summary["defects"]) >= {"short"}
    assert summary["incidents"] >= 1
    assert summary["orders"]["opened"] >= 1
    assert summary["orders"]["accepted"] >= 1
    assert summary["orders"]["closed"] >= 1
    assert 0 <= summary["first_suspect_right"] <= summary["first_suspect_judged"]
    assert summary["faults"][0] == "conveyor_fast"
    assert summary["judged"][0]["true_cause"] == "A15"
    assert summary["pdfs"]
    assert all(Path(pdf).read_bytes().startswith(b"%PDF") for pdf in summary["pdfs"])
    loop = ("incident:", "suspects:", "work order WO-", "MES: WO-", "PDF", "0 lost")
    for word in ("operator page: http", *loop, "edge-agent run --config"):
        assert word in demo.said

    again = start("--parts", "20", "--seed", "2", "--rate", "8")
    assert again.end() == 0, again.said
    assert again.summary["parts"] == 20
    assert again.summary["lost"] == 0


def test_ctrl_c_stops_everything_and_still_sums_up(start: Callable[..., Demo]) -> None:
    demo = start("--forever", "--rate", "8")
    demo.until(lambda: "[5/-]" in demo.said)
    processes = children(demo.process.pid)
    assert len(processes) == 4
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.end(90) == 0, demo.said
    assert gone(processes)
    assert demo.summary["parts"] >= 5
    assert demo.summary["lost"] == 0


def test_a_dead_agent_is_reported_with_its_log_and_nothing_is_left_running(start: Callable[..., Demo]) -> None:
    demo = start("--forever", "--rate", "8")
    demo.until(lambda: "[5/-]" in demo.said)
    processes = children(demo.process.pid)
    agent = next(pid for pid, words in processes.items() if "edge_agent.cli run" in words)
    os.kill(agent, signal.SIGKILL)
    assert demo.end(90) == 1
    assert "the agent was killed by SIGKILL" in demo.said
    assert "part inspected" in demo.said
    assert gone(processes)


def test_an_unknown_fault_is_wrong_usage(start: Callable[..., Demo]) -> None:
    demo = start("--fault", "gremlins")
    assert demo.end(60) == 2
    assert "conveyor_fast" in demo.said
