"""A fault that begins slowly, comes and goes, or is half as bad: shares of what breaking it changes."""

from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from edge_agent.simulation.process.equipment import Equipment
from edge_agent.simulation.process.faults import Fault


def blend(line: Any, before: Any, after: Any, share: float) -> Any:
    """``line`` moved by ``share`` of the way from ``before`` to ``after``; what is no number changes at once.

    Relative: what the line did of its own accord since then stays. Nothing that was not negative becomes so.
    """
    if is_dataclass(line) and not isinstance(line, type):
        for one in fields(line):
            moved = blend(getattr(line, one.name), getattr(before, one.name), getattr(after, one.name), share)
            setattr(line, one.name, moved)
        return line
    if isinstance(after, dict) and isinstance(before, dict):
        return {
            key: blend(line[key], before[key], value, share) if key in before and key in line else value
            for key, value in after.items()
        }
    if isinstance(after, np.ndarray):
        return np.maximum(line + share * (after - before), 0.0)
    if isinstance(after, float | int) and not isinstance(after, bool) and isinstance(before, float | int):
        moved = line + share * (after - before)
        return max(moved, 0.0) if line >= 0 and before >= 0 and after >= 0 else moved
    return after if after != before else line


@dataclass(slots=True)
class Breaking:
    """A fault at work on a line.

    Attributes:
        size: how bad, 1 is the fault as it is described.
        ramp: parts until it is as bad as that; 0 at once.
        on, off: parts it is there and gone again; ``off`` 0 stays.
    """

    fault: Fault
    seed: int
    size: float = 1.0
    ramp: int = 0
    on: int = 0
    off: int = 0
    _age: int = 0
    _there: bool = False
    _ends: tuple[Equipment, Equipment] | None = field(default=None)

    def step(self, line: Equipment) -> None:
        """One more part."""
        period = self.on + self.off if self.off else self._age + self.on + 1
        if self.on and self._there and self._age % period == self.on:
            self.fault.repair(line, np.random.default_rng(self.seed))
            self._there = False
        elif not self._there and (self._age == 0 or (self.off and self._age % period == 0)):
            self._begin(line)
        elif self._there and self.ramp and self._age < self.ramp and self._ends:
            blend(line, *self._ends, self.size / self.ramp)
        self._age += 1

    def _begin(self, line: Equipment) -> None:
        before, after = deepcopy(line), deepcopy(line)
        self.fault.break_(after, np.random.default_rng(self.seed))
        self._ends = before, after
        self._there = True
        blend(line, before, after, self.size / max(self.ramp, 1))
