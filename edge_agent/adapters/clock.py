"""The system's clock, and ids made from it."""

import os
import threading
import time
from datetime import UTC, datetime
from uuid import UUID


class SystemClock:
    """Implements ``ports.Clock``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._counter = 0

    def now(self) -> datetime:
        """Wall clock, aware UTC."""
        return datetime.now(UTC)

    def monotonic_ns(self) -> int:
        """For durations; never goes back."""
        return time.monotonic_ns()

    def new_id(self) -> UUID:
        """A UUIDv7 (RFC 9562, method 1: a 12-bit counter within the millisecond).

        A clock that is stepped back does not make ids go back: the last millisecond is kept until time catches up.
        """
        with self._lock:
            now_ms = time.time_ns() // 1_000_000
            if now_ms > self._last_ms:
                self._last_ms, self._counter = now_ms, 0
            elif self._counter < 0xFFF:
                self._counter += 1
            else:
                self._last_ms, self._counter = self._last_ms + 1, 0
            stamp, counter = self._last_ms, self._counter
        random_62 = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
        return UUID(int=(stamp << 80) | (0x7 << 76) | (counter << 64) | (0b10 << 62) | random_62)
