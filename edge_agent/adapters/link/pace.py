"""How fast the outbox may empty itself: a MES that was away for days must not be drowned when it is back."""

import time

BURST_S = 0.25
"""What was not used is kept for so long."""


class Pace:
    """A token bucket. ``per_s`` None: as fast as it goes."""

    def __init__(self, per_s: float | None) -> None:
        self._per_s = per_s
        self._tokens, self._at_s = 0.0, time.monotonic() - BURST_S

    def allowed(self, wanted: int) -> int:
        """How many of ``wanted`` messages may go now."""
        if self._per_s is None:
            return wanted
        now = time.monotonic()
        most = max(1.0, self._per_s * BURST_S)
        self._tokens = min(most, self._tokens + (now - self._at_s) * self._per_s)
        self._at_s = now
        return min(wanted, int(self._tokens))

    def spend(self, count: int) -> None:
        """They went."""
        self._tokens -= count
