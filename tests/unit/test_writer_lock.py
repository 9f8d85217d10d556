"""The lock that makes writers take turns."""

import threading
import time
from collections.abc import Callable

import pytest

from edge_agent.adapters.store.writer_lock import WriterLock


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_first_come_first_served() -> None:
    lock, served = WriterLock(), []

    def take(number: int) -> None:
        assert lock.acquire(10)
        served.append(number)
        lock.release()

    assert lock.acquire(1)
    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=take, args=(number,)))
        threads[-1].start()
        wait_until(lambda: len(lock._queue) == len(threads))
    lock.release()
    for thread in threads:
        thread.join(10)
    assert served == [0, 1, 2, 3, 4]


def test_who_gave_up_is_not_handed_the_lock() -> None:
    lock, results = WriterLock(), []
    assert lock.acquire(1)
    thread = threading.Thread(target=lambda: results.append(lock.acquire(0.01)))
    thread.start()
    thread.join(10)
    assert results == [False]
    lock.release()
    assert lock.acquire(0)


def test_the_same_thread_again_is_a_mistake_not_a_deadlock() -> None:
    lock = WriterLock()
    assert lock.acquire(1)
    with pytest.raises(RuntimeError, match="same thread"):
        lock.acquire(1)
    lock.release()
    assert lock.acquire(0)


def test_one_at_a_time_under_contention_with_impatient_ones() -> None:
    lock, inside, most, done = WriterLock(), [], [], []

    def work(timeout_s: float) -> None:
        for _ in range(200):
            if lock.acquire(timeout_s):
                inside.append(1)
                most.append(len(inside))
                inside.pop()
                lock.release()
        done.append(1)

    threads = [threading.Thread(target=work, args=(timeout_s,)) for timeout_s in (10, 10, 0.0001, 0.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 4
    assert max(most) == 1
    assert lock.acquire(0)
