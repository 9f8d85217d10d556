"""Which signals go up and down with the defects, and how long before? Support only: it names no cause by itself."""

import numpy as np

from edge_agent.domain.counting import shows
from edge_agent.domain.evidence import Evidence
from edge_agent.responding.evidence.window import Floats, Window, fact, made_at
from edge_agent.responding.words import number

TOOL = "telemetry.corr@1"
BLOCK, LAGS = 10, (0, 1, 2, 3)
"""Parts per block, and by how many blocks a signal may be ahead."""
MIN_BLOCKS, STRONG, SHOWN = 8, 0.8, 2


def find(window: Window) -> list[Evidence]:
    """The signals whose block means go most with the share of defective parts; none when none does."""
    parts = (*window.decided_before[-150:], *window.decided_after)
    blocks = len(parts) // BLOCK
    if blocks < MIN_BLOCKS:
        return []
    parts = parts[-blocks * BLOCK :]
    bad = np.array([shows(one, window.codes) for one in parts], dtype=float).reshape(blocks, BLOCK).mean(axis=1)
    edges = np.array([made_at(one).timestamp() for one in parts[::BLOCK]] + [made_at(parts[-1]).timestamp() + 1e-3])
    found = [(*best, name) for name in sorted(window.series) if (best := _best(window, name, bad, edges))]
    found.sort(key=lambda one: -abs(one[0]))
    return [_told(window, *one) for one in found[:SHOWN]]


def _best(window: Window, name: str, bad: Floats, edges: Floats) -> tuple[float, int] | None:
    """The strongest correlation and its lag in blocks, if it is strong."""
    readings = [(one.at.timestamp(), one.value) for one in window.series[name] if one.value is not None]
    if len(readings) < MIN_BLOCKS:
        return None
    at, values = np.array(readings).T
    places = np.searchsorted(edges, at, side="right") - 1
    inside = (places >= 0) & (places < len(bad))
    counts = np.bincount(places[inside], minlength=len(bad))
    if (counts == 0).any():
        return None
    means = np.bincount(places[inside], weights=values[inside], minlength=len(bad)) / counts
    strengths = [(_correlation(means[: len(bad) - lag], bad[lag:]), lag) for lag in LAGS]
    best = max(strengths, key=lambda one: abs(one[0]))
    return best if abs(best[0]) >= STRONG else None


def _correlation(left: Floats, right: Floats) -> float:
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])


def _told(window: Window, r: float, lag: int, name: str) -> Evidence:
    ahead = f", {lag * BLOCK} parts ahead" if lag else ""
    words = f"{name.replace('_', ' ')} goes {'with' if r > 0 else 'against'} the defects (r {number(r)}{ahead})"
    return fact(window, tool=TOOL, token=None, statement=words, present=True, strength=min(0.9, abs(r)), n=0, value=r)
