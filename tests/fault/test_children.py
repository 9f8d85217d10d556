"""Real child processes in real trouble: every trouble ends in Transient, in time, and the next call works."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.runtime.child_main import HEADER, MARK
from edge_agent.runtime.children import Child, ChildDied, ChildFault

pytestmark = pytest.mark.fault

TARGET = "tests.fakes.child_targets:Obliging"
LONG_S = 30.0


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child(TARGET, {"greeting": "good day"}, name="test-child")
    yield child
    child.close()


def gone(pid: int) -> bool:
    """Ended; a zombie that nobody reaps here has ended too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "condition did not come true in time"
        time.sleep(0.02)


def greet(child: Child) -> int:
    return int(child.call("greet", {"who": "again"}, LONG_S)["pid"])


def test_it_starts_with_the_first_call_and_keeps_its_state(child: Child) -> None:
    assert child.pid is None
    first = child.call("greet", {"who": "you"}, LONG_S)
    second = child.call("greet", {"who": "you"}, LONG_S)
    assert first == {"text": "good day you", "calls": 1, "pid": child.pid}
    assert (second["calls"], second["pid"]) == (2, first["pid"])


def test_garbage_of_a_call_goes_and_what_was_imported_is_not_searched_for_it(child: Child) -> None:
    said = [child.call("knots", {}, LONG_S) for _ in range(6)]
    assert [one["left"] for one in said] == [0] * 6
    assert said[0]["frozen"] == 0 < said[1]["frozen"]


@pytest.mark.parametrize(("start_s", "answers"), [(LONG_S, True), (0.0, False)])
def test_a_start_has_time_of_its_own(start_s: float, answers: bool) -> None:
    child = Child("tests.fakes.child_targets:slow_to_build", {"seconds": 2.0}, name="slow", start_s=start_s)
    if answers:
        assert child.call("greet", {"who": "you"}, 1.5)["calls"] == 1
        with pytest.raises(Transient, match="deadline"):  # the start's time is not the next call's
            child.call("hang", {}, 0.2)
    else:
        with pytest.raises(Transient, match="deadline"):
            child.call("greet", {"who": "you"}, 1.5)
    child.close()


def test_large_payloads_go_through(child: Child) -> None:
    assert child.call("measure", {"blob": bytes(3_000_000)}, LONG_S) == 3_000_000


def test_it_is_nicer_than_its_parent() -> None:
    child = Child(TARGET, {}, name="nice", nice=3)
    assert child.call("niceness", {}, LONG_S) == min(19, os.nice(0) + 3)
    child.close()


def test_a_hang_ends_on_the_deadline_and_the_next_call_gets_a_new_child(child: Child) -> None:
    hung = greet(child)
    with pytest.raises(Transient, match="deadline"):
        child.call("hang", {}, 0.5)
    assert gone(hung)
    assert greet(child) != hung


def test_a_crash_is_reported_with_its_signal_and_last_words(child: Child) -> None:
    with pytest.raises(ChildDied, match=r"signal SIGSEGV; it printed: .*about to touch address zero") as end:
        child.call("crash", {}, LONG_S)
    assert end.value.crashed
    assert greet(child) > 0


def test_an_exit_is_reported_with_its_status(child: Child) -> None:
    with pytest.raises(ChildDied, match="exit status 7") as end:
        child.call("leave", {"status": 7}, LONG_S)
    assert not end.value.crashed


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\x00garbage on the wire" * 10, id="no mark"),
        pytest.param(HEADER.pack(MARK, 0xFFFFFFFF), id="absurd length"),
        pytest.param(HEADER.pack(MARK, 5) + b"{1:2}", id="not JSON"),
        pytest.param(HEADER.pack(MARK, 4) + b"\xff\xfe\xfd\xfc", id="not UTF-8"),
        pytest.param(HEADER.pack(MARK, 3) + b"[1]", id="not an object"),
    ],
)
def test_garbage_on_the_pipe_ends_the_child(child: Child, garbage: bytes) -> None:
    greet(child)
    with pytest.raises(Transient, match="broken answer"):
        child.call("scribble", {"garbage": garbage}, LONG_S)
    assert greet(child) > 0


def test_what_it_prints_never_reaches_the_protocol(child: Child) -> None:
    assert child.call("chatter", {"lines": 2_000}, LONG_S) == "done"


def test_memory_growth_during_a_call_ends_the_child() -> None:
    child = Child(TARGET, {}, name="hungry", max_rss_mb=120)
    with pytest.raises(Transient, match=r"grew to \d+ MB \(limit 120 MB\)"):
        child.call("grow", {"mb": 300, "linger": True}, LONG_S)
    assert greet(child) > 0
    child.close()


def test_a_child_that_came_back_too_big_is_replaced_and_its_answer_kept() -> None:
    child = Child(TARGET, {}, name="fat", max_rss_mb=120)
    fat = greet(child)
    with suppress(Transient):  # noticed while it still grew: as good
        assert child.call("grow", {"mb": 115, "linger": False}, LONG_S) == 115
    assert greet(child) != fat
    child.close()


def test_grandchildren_go_with_it(child: Child) -> None:
    grandchild = child.call("brood", {}, LONG_S)
    with pytest.raises(Transient):
        child.call("hang", {}, 0.3)
    wait_until(lambda: gone(grandchild))


def test_it_dies_with_a_killed_parent(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-m", "tests.fakes.child_parent", str(said)]) as parent:
        wait_until(lambda: said.exists() and said.read_text().endswith("\n"))
        pid = int(said.read_text())
        assert not gone(pid)
        os.kill(parent.pid, signal.SIGKILL)
        wait_until(lambda: gone(pid))


def test_it_outlives_the_thread_that_called_first(child: Child) -> None:
    pids: list[int] = []
    thread = threading.Thread(target=lambda: pids.append(greet(child)))
    thread.start()
    thread.join(LONG_S)
    assert greet(child) == pids[0]


def test_repeated_failures_rest_longer_and_longer_until_a_success() -> None:
    clock = [0]
    child = Child(TARGET, {}, name="weak", monotonic_ns=lambda: clock[0])

    def crash() -> None:
        with pytest.raises(Transient, match="died"):
            child.call("leave", {"status": 1}, LONG_S)

    crash()
    crash()  # the first failure may start again at once
    with pytest.raises(Transient, match=r"failed 2 times in a row, next start in 0\.5 s"):
        greet(child)
    clock[0] += 600_000_000
    crash()
    with pytest.raises(Transient, match=r"failed 3 times in a row, next start in 1\.0 s"):
        greet(child)
    clock[0] += 1_100_000_000
    assert greet(child) > 0
    crash()
    assert greet(child) > 0
    child.close()


def test_errors_of_the_code_inside_cross_by_kind_and_leave_it_alive(child: Child) -> None:
    pid = greet(child)
    for kind, error in (("config", ConfigError), ("transient", Transient), ("bug", ChildFault)):
        with pytest.raises(error, match=f"stumbled: {kind}"):
            child.call("stumble", {"kind": kind}, LONG_S)
    with pytest.raises(ChildFault, match="not JSON serializable"):
        child.call("unspeakable", {}, LONG_S)
    assert greet(child) == pid


def test_a_factory_that_refuses_says_so() -> None:
    child = Child("tests.fakes.child_targets:unbuildable", {}, name="unbuildable")
    with pytest.raises(ConfigError, match=r"no such model: /nowhere\.gguf"):
        child.call("greet", {"who": "you"}, LONG_S)
    child.close()


def test_close_ends_a_call_in_progress(child: Child) -> None:
    greet(child)
    ends: list[BaseException] = []

    def hang() -> None:
        try:
            child.call("hang", {}, LONG_S)
        except Transient as end:
            ends.append(end)

    thread = threading.Thread(target=hang)
    thread.start()
    wait_until(lambda: child._turn.locked())
    child.close()
    thread.join(LONG_S)
    assert len(ends) == 1
    with pytest.raises(Transient, match="closed"):
        greet(child)


def test_a_second_caller_waits_its_turn_and_no_longer(child: Child) -> None:
    greet(child)

    def hang() -> None:
        with suppress(Transient):
            child.call("hang", {}, 5)

    thread = threading.Thread(target=hang)
    thread.start()
    wait_until(lambda: child._turn.locked())
    with pytest.raises(Transient, match="busy"):
        child.call("greet", {"who": "me"}, 0.1)
    child.close()
    thread.join(LONG_S)
