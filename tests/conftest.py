"""What holds for every test."""

import logging
import sys
from collections.abc import Iterator

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
