"""A clock that stands still until a test moves it."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)


class FakeClock:
    """Implements ``ports.Clock``: settable, and with the same ids in every run.

    ``now`` and ``monotonic_ns`` advance together by `advance`; `set` moves the wall clock alone (as NTP or a person
    does, also backwards). Ids are UUIDv7 whose random part is a counter.
    """

    def __init__(self, start: datetime = START, *, node: int = 0) -> None:
        """``node`` keeps the ids of two clocks apart."""
        self._lock = threading.Lock()
        self._now = start.astimezone(UTC)
        self._monotonic_ns = 1_000_000_000
        self._node = node
        self._last_ms = 0
        self._count = 0

    def now(self) -> datetime:
        """Wall clock, aware UTC."""
        with self._lock:
            return self._now

    def monotonic_ns(self) -> int:
        """Moves with `advance` only."""
        with self._lock:
            return self._monotonic_ns

    def advance(self, seconds: float = 0.0, **more: float) -> datetime:
        """Let time pass: ``advance(0.2)``, ``advance(minutes=5)``; the new wall time."""
        step = timedelta(seconds=seconds, **more)
        if step < timedelta(0):
            raise ValueError("time passes forwards; use set() to step the wall clock back")
        with self._lock:
            self._now += step
            self._monotonic_ns += step // timedelta(microseconds=1) * 1_000
            return self._now

    def set(self, now: datetime) -> None:
        """Set the wall clock, also backwards; the monotonic clock does not notice."""
        with self._lock:
            self._now = now.astimezone(UTC)

    def new_id(self) -> UUID:
        """The next UUIDv7: never smaller than the one before, also after the clock was set back."""
        with self._lock:
            self._last_ms = max(self._last_ms, int(self._now.timestamp() * 1_000))
            self._count += 1
            low_62 = (self._node << 40) | (self._count & ((1 << 40) - 1))
            counter_12 = (self._count >> 40) & 0xFFF
            return UUID(int=(self._last_ms << 80) | (0x7 << 76) | (counter_12 << 64) | (0b10 << 62) | low_62)
