"""The demo's processes: each with a log of its own, stopped in order, and reported when it dies."""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from edge_agent.domain.faults import Transient

TAIL_LINES = 15


class ChildDied(Transient):
    """A process of the demo ended by itself, and not well."""


class Child:
    """One process. It gets a session of its own: Ctrl-C reaches the demo, which stops the others in order."""

    def __init__(self, name: str, words: Sequence[str], log_file: Path) -> None:
        """Args: ``words`` are the arguments of the Python that runs the demo."""
        self.name = name
        self.log_file = log_file
        self._words = list(words)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; what it prints goes to its log."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def pid(self) -> int | None:
        """Its process id while it is known."""
        return None if self._process is None else self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs, or was not started."""
        return None if self._process is None else self._process.poll()

    def check(self) -> None:
        """Raises ChildDied when it ended with a failure."""
        code = self.exit_code
        if code not in (None, 0):
            raise ChildDied(self.obituary(code))

    def obituary(self, code: int | None) -> str:
        """What it ended with, and the end of its log."""
        how = f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with {code}"
        return f"the {self.name} {how}; the end of {self.log_file}:\n{self.tail()}"

    def tail(self) -> str:
        """The last lines of its log."""
        try:
            with self.log_file.open(encoding="utf-8", errors="replace") as log:
                return "".join(f"  {line}" for line in deque(log, maxlen=TAIL_LINES)).rstrip("\n")
        except OSError:
            return "  (no log)"

    def stop(self, timeout_s: float) -> int | None:
        """Ask it to stop, wait, then kill what is left of its session; safe to call twice. Its exit code."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)
        return process.returncode
