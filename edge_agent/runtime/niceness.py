"""The calling thread takes the processor only when nobody else wants it."""

import os
import threading
from contextlib import suppress

STEPS = 10


def be_nice(steps: int = STEPS) -> None:
    """Lower this thread's own priority (Linux gives each thread one); elsewhere nothing happens."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), steps)
