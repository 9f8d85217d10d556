"""What holds for every test."""

import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import thread as pools

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command under test configures the logs of the whole process: its successors would find nothing printed."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if not structlog.is_configured():
        return
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    for name, module in list(sys.modules.items()):
        log = getattr(module, "log", None) if name.startswith("edge_agent.") else None
        if hasattr(log, "__dict__"):  # `math.log` has none
            vars(log).pop("bind", None)  # a logger keeps the configuration it was first used with


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    """A thread that is no daemon keeps a process alive when its work is done: the agent's, and that of the tests."""
    before = set(threading.enumerate())
    yield
    left = {one for one in threading.enumerate() if not one.daemon} - before - set(pools._threads_queues)
    for one in left:
        one.join(5)
    assert not (names := [one.name for one in left if one.is_alive()]), f"threads left behind: {', '.join(names)}"
