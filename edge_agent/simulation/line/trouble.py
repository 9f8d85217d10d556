"""When which fault is at work. The truth goes into a file that only simulators read; repairs come from another one."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from edge_agent.simulation.process import FAULTS, Fault, Plant


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """When faults come, in panels.

    Attributes:
        first: range of the first onset.
        pause: range between a repair and the next onset.
        patience: nobody found it: after this many panels a routine service does.
    """

    first: tuple[int, int] = (40, 50)
    pause: tuple[int, int] = (70, 90)
    patience: int = 400


@dataclass(slots=True, kw_only=True)
class Episode:
    """One fault from its onset to its end."""

    fault: Fault
    from_part: int
    to_part: int | None = None
    ended_by: str = ""
    """Order id, or ``routine service``."""


@dataclass(slots=True)
class Trouble:
    """Starts and ends faults on the plant.

    Args:
        only: name of the one fault that is used; None draws from all by seed, none twice before all were used.
        truth: file of JSON lines ``{"at", "causeId", "causeText", "fault", "fromPart"}``; ``causeId`` null: none now.
        repairs: file of JSON lines ``{"orderId", "causeId", "at"}``, written by the maintenance people.
    """

    plant: Plant
    truth: Path
    repairs: Path
    now: Callable[[], datetime]
    only: str | None = None
    rhythm: Rhythm = field(default_factory=Rhythm)
    episodes: list[Episode] = field(default_factory=list)
    _rng: np.random.Generator = field(init=False)
    _queue: list[str] = field(default_factory=list)
    _due: int = 0
    _read: int = 0

    def __post_init__(self) -> None:
        """Draw the first onset; forget what an earlier run left."""
        self._rng = np.random.default_rng([self.plant.seed, 3])
        self._due = int(self._rng.integers(*self.rhythm.first, endpoint=True))
        self.truth.parent.mkdir(parents=True, exist_ok=True)
        self.truth.write_text("")
        self._read = self.repairs.stat().st_size if self.repairs.exists() else 0
        self._tell()

    @property
    def running(self) -> Episode | None:
        """The episode that is at work now."""
        return self.episodes[-1] if self.episodes and self.episodes[-1].to_part is None else None

    def before_panel(self) -> None:
        """Called before each panel: book repairs, then start or end what is due."""
        for order_id, cause_id in self._new_repairs():
            if self.plant.repair(cause_id):
                self._ended(order_id)
        episode, number = self.running, self.plant.number
        if episode is None and number >= self._due:
            self._begin()
        elif episode is not None and number >= episode.from_part + self.rhythm.patience:
            self.plant.repair(episode.fault.cause_id)
            self._ended("routine service")

    def _begin(self) -> None:
        fault = FAULTS[self._draw()]
        self.plant.start_fault(fault)
        self.episodes.append(Episode(fault=fault, from_part=self.plant.number + 1))
        self._tell()

    def _ended(self, by: str) -> None:
        episode = self.running
        if episode is not None:
            episode.to_part, episode.ended_by = self.plant.number, by
        self._due = self.plant.number + int(self._rng.integers(*self.rhythm.pause, endpoint=True))
        self._tell()

    def _draw(self) -> str:
        if self.only is not None:
            return self.only
        if not self._queue:
            self._queue = [str(name) for name in self._rng.permutation(sorted(FAULTS))]
        return self._queue.pop()

    def _tell(self) -> None:
        fault = self.plant.fault
        line = {
            "at": self.now().isoformat(),
            "causeId": fault.cause_id if fault else None,
            "causeText": fault.cause_text if fault else "",
            "fault": fault.name if fault else None,
            "fromPart": self.plant.number + 1,
        }
        with self.truth.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _new_repairs(self) -> Iterator[tuple[str, str]]:
        """Complete lines that were added since the last call."""
        if not self.repairs.exists() or self.repairs.stat().st_size == self._read:
            return
        with self.repairs.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            entry = json.loads(line)
            yield str(entry["orderId"]), str(entry["causeId"])
