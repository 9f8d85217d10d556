"""Did it begin in a step, grow slowly, or come and go?"""

import numpy as np

from edge_agent.domain.counting import shows
from edge_agent.domain.evidence import Evidence
from edge_agent.responding.evidence.window import Floats, Window, fact
from edge_agent.responding.words import clock_time

TOOL = "time.shape@1"
ENOUGH_DEFECTIVE = 6
MIN_VISITS = 10
MARGIN = 2.0
"""Log-likelihood by which a shape must beat the next one to be called (per extra parameter paid with 1)."""

_STATEMENTS = {
    "step": "the rate rose in one step at {at}",
    "drift": "the rate has grown slowly since {at}",
    "pulse": "the rate rose at {at} and fell again",
}


PERIODIC = "tm:periodic"
PERIODS = range(3, 25)
"""Parts between two visits of a cause that comes round."""


def find(window: Window) -> list[Evidence]:
    """``tm:step``, ``tm:drift``, ``tm:pulse`` and ``tm:periodic``."""
    return [*_shape(window), _periodic(window)]


def _periodic(window: Window) -> Evidence:
    """Do defective parts come at a fixed interval? Rayleigh's test at each period, with a price for the choice."""
    bad = np.array([shows(one, window.codes) for one in window.decided_after], dtype=bool)
    at = np.flatnonzero(bad)
    present: bool | None = None
    strength, words = 0.0, f"{len(at)} defective parts are too few to look for an interval"
    if len(at) >= MIN_VISITS and len(at) < 0.5 * len(bad):
        powers = [abs(np.exp(2j * np.pi * at / period).sum()) ** 2 / len(at) for period in PERIODS]
        best = int(np.argmax(powers))
        chance = min(1.0, len(PERIODS) * float(np.exp(-powers[best])))
        present = chance < 0.01
        strength = 1 - chance if present else 0.85
        words = f"defective parts {'' if present else 'do not '}come back every {PERIODS[best]} parts"
    return fact(window, tool=TOOL, token=PERIODIC, statement=words, present=present, strength=strength, n=len(at))


def _shape(window: Window) -> list[Evidence]:
    """``tm:step``, ``tm:drift`` and ``tm:pulse``: at most one is present."""
    bad = np.array([shows(one, window.codes) for one in (*window.decided_before, *window.decided_after)], dtype=float)
    start = len(window.decided_before)
    after = bad[start:]
    if after.sum() < ENOUGH_DEFECTIVE or len(after) < 2 * BINS:
        return [_fact(window, name, None, len(after)) for name in _STATEMENTS]
    base = (
        max(window.incident.baseline_rate, (bad[:start].sum() + 0.5) / (start + 1))
        if start
        else (window.incident.baseline_rate)
    )
    scores = {
        "step": _likelihood(after, np.full(len(after), after.mean())) - 1,
        "drift": _drift(after, base) - 1,
        "pulse": _pulse(after, base) - 2,
    }
    ranked = sorted(scores, key=lambda name: -scores[name])
    clear = scores[ranked[0]] - scores[ranked[1]] >= (MARGIN if ranked[0] != "step" else 0.5)
    return [_fact(window, name, name == ranked[0] if clear else None, len(after)) for name in _STATEMENTS]


BINS = 5


def _likelihood(bad: Floats, rate: Floats) -> float:
    p = np.clip(rate, 1e-4, 1 - 1e-4)
    return float((bad * np.log(p) + (1 - bad) * np.log(1 - p)).sum())


def _drift(bad: Floats, base: float) -> float:
    """Best straight ramp from the base rate."""
    ramp = np.linspace(0, 1, len(bad))
    return max(_likelihood(bad, base + slope * ramp) for slope in np.linspace(0.02, 1.0, 40))


def _pulse(bad: Floats, base: float) -> float:
    """Best high stretch followed by the base rate."""
    ends = np.unique(np.linspace(3, len(bad) - max(3, len(bad) // 5), 20).astype(int))
    return max(
        _likelihood(bad[:end], np.full(end, bad[:end].mean())) + _likelihood(bad[end:], np.full(len(bad) - end, base))
        for end in ends
        if 0 < end < len(bad)
    )


def _fact(window: Window, name: str, present: bool | None, n: int) -> Evidence:
    statement = _STATEMENTS[name].format(at=clock_time(window.onset_at))
    if present is None:
        statement = f"too early to tell whether {statement}"
    elif not present:
        statement = f"not so that {statement}"
    return fact(
        window, tool=TOOL, token=f"tm:{name}", statement=statement, present=present, strength=0.85 if n else 0.0, n=n
    )
