"""Which sensors cannot be trusted? Missing is unknown, never normal."""

import numpy as np

from edge_agent.domain.evidence import Evidence
from edge_agent.domain.plant import Sample
from edge_agent.responding.evidence.window import Window, fact
from edge_agent.responding.words import clock_time

TOOL = "sensor.health@1"
STUCK_READINGS = 8


def find(window: Window) -> list[Evidence]:
    """A fact for each sensor that is silent, bad or stuck since the onset. They have no token: they name no cause."""
    facts: list[Evidence] = []
    for name, series in sorted(window.series.items()):
        if complaint := _complaint(window, series):
            statement = f"sensor {window.signal_label(name)} {complaint}; its evidence is unknown"
            facts.append(
                fact(window, tool=TOOL, token=None, statement=statement, present=True, strength=0.9, n=len(series))
            )
    return facts


def silent_signals(window: Window) -> frozenset[str]:
    """Signals whose readings since the onset prove nothing."""
    return frozenset(name for name, series in window.series.items() if _complaint(window, series))


def _complaint(window: Window, series: tuple[Sample, ...]) -> str | None:
    after = [sample for sample in series if sample.at >= window.onset_at]
    before = [sample for sample in series if sample.at < window.incident.onset_from]
    if not series:
        return "has sent nothing"
    if not after:
        expected = len(before) >= 10 and len(window.after) >= 10
        return f"has sent nothing since {clock_time(series[-1].at)}" if expected else None
    good = [sample.value for sample in after if sample.value is not None]
    if len(good) < 0.5 * len(after):
        return "reports bad readings"
    earlier = [sample.value for sample in before if sample.value is not None]
    if len(good) >= STUCK_READINGS and np.ptp(good) == 0 and len(earlier) >= STUCK_READINGS and np.ptp(earlier) > 0:
        return f"has been stuck at one value since {clock_time(after[0].at)}"
    return None
