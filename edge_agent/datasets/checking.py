"""All checks of a data set, in one go."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_agent.datasets import disk
from edge_agent.datasets.checks import balance, boxes, disagreement, drift, fields, leaks
from edge_agent.datasets.dataset import Dataset, Split
from edge_agent.datasets.files import Decode
from edge_agent.datasets.finding import Finding, Level
from edge_agent.datasets.looking import look_at
from edge_agent.datasets.making import Progress

_ORDER = list(Level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A data set and what was found in it, errors first."""

    folder: Path
    dataset: Dataset
    findings: tuple[Finding, ...]
    by_class: Mapping[str, Counter[Split]]

    def count(self, level: Level) -> int:
        """Findings of a level."""
        return sum(one.level is level for one in self.findings)


def check(folder: Path, decode: Decode, progress: Progress) -> Checked:
    """Read everything once, and judge it.

    Raises:
        ConfigError: there is no data set.
    """
    loaded = disk.read(folder)
    dataset = loaded.dataset
    looks = look_at(loaded, decode, progress)
    findings = [
        *fields.check(loaded, looks),
        *leaks.check(dataset, looks),
        *boxes.check(dataset.items),
        *balance.check(dataset),
        *disagreement.check(looks),
        *drift.check(looks),
    ]
    findings.sort(key=lambda one: _ORDER.index(one.level))
    return Checked(folder=folder, dataset=dataset, findings=tuple(findings), by_class=balance.by_class(dataset))
