"""A ranking that knows what the simulator does: the ceiling of these evidence tools.

It is the same softmax, fitted on very many simulated incidents of other seeds with their true labels (two labels where
two causes were at work), with nothing held back. `scripts/measure_oracle.py` makes its file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from edge_agent.domain.cause import Catalogue
from edge_agent.domain.inference import Weights, backgrounds, from_record
from edge_agent.responding.analyse import Knowledge
from edge_agent.simulation.plantsim import methods
from edge_agent.simulation.plantsim.scoring import LISTED, Judged, share
from edge_agent.simulation.plantsim.witness import Case

FILE = "oracle_{domain}.json"
SUPPORTS, DECIDES, DECISIVE_P = 2.0, 5.0, 0.4
"""Times as often as normal that a fault must show a token for it to support, and to decide; and how often at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """What many simulated incidents taught.

    Attributes:
        shown: fault to token to (times present, times looked for).
    """

    incidents: int
    seeds: tuple[int, ...]
    weights: Weights
    background: Mapping[str, float]
    shown: Mapping[str, Mapping[str, tuple[int, int]]]

    def judge(self, cases: Sequence[Case], catalogue: Catalogue) -> list[Judged]:
        """The cases as it ranks them."""
        background = {**backgrounds(catalogue), **self.background}
        known = Knowledge(catalogue=catalogue, background=background, weights=self.weights)
        return methods.hybrid(cases, known)

    def evidence(self, judged: Sequence[Judged], known: Knowledge) -> dict[str, object]:
        """How well citations rest on what the fault really does."""
        cited: list[bool] = []
        decisive_found: list[bool] = []
        grounded: list[bool] = []
        for one in judged:
            if one.kind not in LISTED:
                continue
            ratios = {token: self._ratio(one.fault, token, known.background) for token in one.cited}
            cited += [ratio >= SUPPORTS for ratio, _ in ratios.values()]
            decisive = any(ratio >= DECIDES and often >= DECISIVE_P for ratio, often in ratios.values())
            false = any(ratio < 1.0 for ratio, _ in ratios.values())
            decisive_found.append(decisive)
            grounded.append(one.suspects[0] in one.truth and decisive and not false)
        return {
            "citation_precision": share(cited),
            "decisive_evidence_cited": share(decisive_found),
            "grounded_correct": share(grounded),
        }

    def _ratio(self, fault: str, token: str, background: Mapping[str, float]) -> tuple[float, float]:
        """How many times as often as normal the fault shows the token, and how often."""
        seen = [self.shown.get(name, {}).get(token, (0, 0)) for name in fault.split("+")]
        rates = [(present + 0.2) / (looked + 1) for present, looked in seen]
        often = max(rates)
        return often / max(background.get(token, 0.1), 0.01), often


def load(domain: str) -> Oracle | None:
    """The oracle of a domain, if one was made."""
    file = resources.files("edge_agent.simulation.plantsim") / FILE.format(domain=domain)
    if not file.is_file():
        return None
    return from_file(json.loads(file.read_text("utf-8")))


def from_file(record: Mapping[str, Any]) -> Oracle:
    """The reverse of `as_file`."""
    return Oracle(
        incidents=int(record["incidents"]),
        seeds=tuple(record["seeds"]),
        weights=from_record(record["weights"]),
        background=dict(record["background"]),
        shown={
            fault: {token: (int(pair[0]), int(pair[1])) for token, pair in row.items()}
            for fault, row in record["shown"].items()
        },
    )
