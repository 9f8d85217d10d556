"""For the camera trigger: one announced frame at a time."""

from edge_agent.ports import Clock

_FORGET_S = 2.0


class Announcer:
    """Remembers that a frame was announced and not yet fetched.

    An announcement that nobody fetches (its shot was refused before the camera was asked) is forgotten after two
    seconds, so that it cannot silence the camera for ever.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_ns: int | None = None
        self._count = 0

    @property
    def outstanding(self) -> bool:
        """Is an announced frame still waiting to be fetched?"""
        since_ns = self._since_ns
        return since_ns is not None and self._clock.monotonic_ns() - since_ns < _FORGET_S * 1e9

    def announce(self) -> int:
        """A frame is announced; the number of this announcement."""
        self._since_ns = self._clock.monotonic_ns()
        self._count += 1
        return self._count

    def fetched(self) -> None:
        """A frame was fetched, or the camera was closed."""
        self._since_ns = None
