"""One in so many, handed over without waiting: for work that may look at some things and must not hold up any."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Sampler(Generic[T]):
    """Holds at most one item. A thing that is offered while it is full is passed by.

    Args:
        every: take one of so many that are offered; 0 takes none.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._offered = 0
        self._held: T | None = None
        self._lock = threading.Lock()

    def offer(self, item: T) -> bool:
        """Take it if its turn has come and there is room; never waits."""
        if self._every < 1:
            return False
        with self._lock:
            due = self._offered >= self._every - 1 and self._held is None
            self._offered = 0 if due else self._offered + 1
            if due:
                self._held = item
            return due

    def take(self) -> T | None:
        """What is held, once."""
        with self._lock:
            item, self._held = self._held, None
            return item
