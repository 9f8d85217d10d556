"""A bounded hand-over between two threads with an exact ledger: offered = taken + dropped + refused + left."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Where everything that was offered went."""

    offered: int = 0
    taken: int = 0
    dropped: int = 0
    refused: int = 0
    left: int = 0


class Channel(Generic[T]):
    """A bounded first-in first-out channel.

    Args:
        capacity: items that may wait.
        when_full: ``refuse`` the new item (the caller must answer for it), or ``drop`` the oldest one.
    """

    def __init__(self, capacity: int, *, when_full: Literal["refuse", "drop"] = "refuse") -> None:
        if capacity < 1:
            raise ValueError(f"capacity {capacity}: expected at least 1")
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._when_full = when_full
        self._changed = threading.Condition()
        self._offered = self._taken = self._dropped = self._refused = 0

    def offer(self, item: T) -> bool:
        """Put an item in without waiting; False when it was refused."""
        with self._changed:
            self._offered += 1
            if len(self._items) >= self._capacity:
                if self._when_full == "refuse":
                    self._refused += 1
                    return False
                self._items.popleft()
                self._dropped += 1
            self._items.append(item)
            self._changed.notify_all()
            return True

    def await_empty(self, timeout_s: float) -> bool:
        """Wait until nothing waits any more; False when something still did at the end of the time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._items, timeout_s)

    def take(self, timeout_s: float) -> T | None:
        """The oldest item, or None when none came in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._items), timeout_s):
                return None
            self._taken += 1
            self._changed.notify_all()
            return self._items.popleft()

    def drain(self) -> list[T]:
        """Everything that is left, taken at once."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
            self._taken += len(items)
            return items

    @property
    def ledger(self) -> Ledger:
        """A consistent snapshot."""
        with self._changed:
            return Ledger(
                offered=self._offered,
                taken=self._taken,
                dropped=self._dropped,
                refused=self._refused,
                left=len(self._items),
            )
