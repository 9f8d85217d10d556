"""Objects that run inside child processes in tests, each good at one kind of trouble."""

import ctypes
import gc
import os
import sys
import time
import weakref
from pathlib import Path
from typing import Any

from edge_agent.domain.faults import ConfigError, Transient


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


class Obliging:
    """Does what it is asked, well or badly."""

    def __init__(self, greeting: str = "hello") -> None:
        self._greeting = greeting
        self._calls = 0
        self._hoard: list[bytes] = []
        self._knots: weakref.WeakSet[Knot] = weakref.WeakSet()

    def greet(self, who: str) -> dict[str, Any]:
        self._calls += 1
        return {"text": f"{self._greeting} {who}", "calls": self._calls, "pid": os.getpid()}

    def knots(self) -> dict[str, int]:
        """Leaves garbage that only a collection finds; tells of earlier such garbage, and of what is not looked at."""
        before = len(self._knots)
        self._knots.add(Knot())
        return {"left": before, "frozen": gc.get_freeze_count()}

    def measure(self, blob: bytes) -> int:
        return len(blob)

    def niceness(self) -> int:
        return os.nice(0)

    def hang(self) -> None:
        time.sleep(3_600)

    def crash(self) -> None:
        print("about to touch address zero", file=sys.stderr, flush=True)
        ctypes.string_at(0)

    def leave(self, status: int) -> None:
        os._exit(status)

    def scribble(self, garbage: bytes) -> None:
        """Writes to every pipe it holds, as memory corruption might."""
        for name in os.listdir("/proc/self/fd"):
            target = Path(f"/proc/self/fd/{name}")
            if int(name) > 2 and target.exists() and "pipe:" in os.readlink(target):
                try:
                    os.write(int(name), garbage)
                except OSError:
                    continue
        time.sleep(3_600)

    def chatter(self, lines: int) -> str:
        for number in range(lines):
            print(f"line {number} " + "x" * 1_000)
        sys.stdout.flush()
        return "done"

    def grow(self, mb: int, linger: bool) -> int:
        for _ in range(mb):
            self._hoard.append(b"\1" * 1_000_000)
        if linger:
            time.sleep(3_600)
        return len(self._hoard)

    def brood(self) -> int:
        """A grandchild that does not want to go."""
        pid = os.fork()
        if pid == 0:
            time.sleep(3_600)
            os._exit(0)
        return pid

    def stumble(self, kind: str) -> None:
        raise {"config": ConfigError, "transient": Transient, "bug": KeyError}[kind](f"stumbled: {kind}")

    def unspeakable(self) -> object:
        return object()


def unbuildable() -> None:
    raise ConfigError("no such model: /nowhere.gguf")


def slow_to_build(seconds: float) -> Obliging:
    time.sleep(seconds)
    return Obliging()
