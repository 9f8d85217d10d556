"""Which process signals changed with the defects?

Process signals wander: neighbouring readings are alike, so a test that takes them as independent alarms all day.
Block means are compared instead, with the blocks before the onset as the measure of how much they wander, and a
change must also be large against the signal's own spread.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from edge_agent.domain.evidence import Evidence
from edge_agent.domain.plant import Sample
from edge_agent.responding.evidence.chance import false_discovery, robust_sd, student_two_sided
from edge_agent.responding.evidence.window import Floats, Window, fact
from edge_agent.responding.words import clock_time, number

TOOL = "telemetry.change@1"
SIGNIFICANT = 0.02
MIN_SIGMA = 1.5
"""Changes below this many robust standard deviations of single readings are left alone."""
MIN_BEFORE, MIN_AFTER = 15, 4
TREND_BLOCKS, TREND_AGREEMENT, SOME_AGREEMENT = 8, 0.85, 0.2
"""Of pairs of blocks before the onset, the share that agrees on a direction: a trend; perhaps a trend."""
LEAD_PARTS = 10
"""A cause acts upstream: readings up to this many parts before the onset are on neither side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How one signal moved. ``p`` None: too few readings to say."""

    signal: str
    before: float = 0.0
    after: float = 0.0
    sigma: float = 0.0
    p: float | None = None
    n: int = 0

    @property
    def sigmas(self) -> float:
        """The change in units of the signal's own spread."""
        return (self.after - self.before) / self.sigma if self.sigma else 0.0


def find(window: Window) -> list[Evidence]:
    """``tel:signal+`` and ``tel:signal-`` for every signal that some cause expects or that changed."""
    names = sorted(set(window.series) | {_signal(token) for token in window.expected if token.startswith("tel:")})
    changes = [_change(window, name) for name in names]
    tested = [one for one in changes if one.p is not None]
    adjusted = dict(zip((one.signal for one in tested), false_discovery([one.p or 0.0 for one in tested]), strict=True))
    facts: list[Evidence] = []
    for change in changes:
        facts.extend(_told(window, change, adjusted.get(change.signal)))
    return facts


def _signal(token: str) -> str:
    return token[4:-1]


def _change(window: Window, name: str) -> Change:
    series = window.series.get(name, ())
    lead = LEAD_PARTS * window.takt if len(window.before) > 3 * LEAD_PARTS else timedelta(0)
    before = _values(series, last=(window.incident.onset_from - lead).timestamp())
    after = _values(series, first=window.onset_at.timestamp())
    if len(before) < MIN_BEFORE or len(after) < MIN_AFTER:
        return Change(signal=name, n=len(after))
    slope, agreement = _slope(before)
    if abs(agreement) < SOME_AGREEMENT:
        return _moved(name, before, after, 0.0)
    # Under way already, clearly or perhaps: then a change must be one against where it was heading, too.
    heading = _moved(name, before, after, slope)
    if abs(agreement) >= TREND_AGREEMENT:
        return heading
    level = _moved(name, before, after, 0.0)
    if level.sigmas * heading.sigmas < 0:
        return replace(level, p=1.0)
    return max(level, heading, key=lambda one: (one.p or 0.0, -abs(one.sigmas)))


def _moved(name: str, before: Floats, after: Floats, slope: float) -> Change:
    """The change beyond a straight line that the signal was on (slope per reading)."""
    level_before = float(np.mean(before))
    middle = (len(before) - 1) / 2
    after = after - slope * (np.arange(len(before), len(before) + len(after)) - middle)
    before = before - slope * (np.arange(len(before)) - middle)
    spread = max(robust_sd(before), 0.3 * float(np.std(before)), 1e-3 * abs(float(np.mean(before))), 1e-9)
    blocks = np.array([block.mean() for block in np.array_split(before, max(4, min(12, len(before) // 5)))])
    wander = max(float(np.std(blocks, ddof=1)), spread / np.sqrt(max(len(before) / len(blocks), 1)))
    late = after[len(after) // 2 :]
    candidates = [_compare(after, blocks, wander, len(before) / len(blocks))]
    if len(late) >= MIN_AFTER:
        candidates.append(_compare(late, blocks, wander, len(before) / len(blocks)))
    p, level = min(candidates)
    return Change(
        signal=name,
        before=level_before,
        after=level_before + level - float(np.mean(before)),
        sigma=spread,
        p=min(1.0, p * len(candidates)),
        n=len(before) + len(after),
    )


def _slope(before: Floats) -> tuple[float, float]:
    """Slope per reading of what a signal is under way to, and how far pairs of blocks agree on its sign (-1 to 1).

    A bath that fills up and a filter that loads move all day; that is no change. Theil's slope of block means;
    Kendall's test.
    """
    blocks = np.array([block.mean() for block in np.array_split(before, TREND_BLOCKS)])
    first, second = np.triu_indices(TREND_BLOCKS, 1)
    agreement = float(np.sign(blocks[second] - blocks[first]).sum()) / len(first)
    slope = float(np.median((blocks[second] - blocks[first]) / (second - first))) / (len(before) / TREND_BLOCKS)
    return slope, agreement


def _values(series: tuple[Sample, ...], *, first: float = -np.inf, last: float = np.inf) -> Floats:
    return np.array(
        [s.value for s in series if s.value is not None and first <= s.at.timestamp() < last], dtype=np.float64
    )


def _compare(after: Floats, blocks: Floats, wander: float, block_length: float) -> tuple[float, float]:
    """p value, and the level after. As many blocks as the readings are worth."""
    count = max(1.0, len(after) / block_length)
    t = (after.mean() - blocks.mean()) / (wander * np.sqrt(1 / len(blocks) + 1 / count))
    return student_two_sided(float(t), len(blocks) - 1), float(after.mean())


def _told(window: Window, change: Change, p: float | None) -> list[Evidence]:
    known = window.signals.get(change.signal)
    unit = known.unit if known else ""
    name = window.signal_label(change.signal)
    facts = []
    for sign in "+-":
        token = f"tel:{change.signal}{sign}"
        if p is None:
            words = f"too few readings of {name} to say whether it changed"
            facts.append(fact(window, tool=TOOL, token=token, statement=words, present=None, strength=0.0, n=change.n))
            continue
        moved = p < SIGNIFICANT and abs(change.sigmas) >= MIN_SIGMA
        present = moved and (change.sigmas > 0) == (sign == "+")
        if not present and token not in window.expected:
            continue
        facts.append(
            fact(
                window,
                tool=TOOL,
                token=token,
                statement=_words(name, unit, change, window) if moved else _steady(name, unit, change),
                present=present,
                strength=1 - p if present else 0.9,
                n=change.n,
                value=change.after,
                unit=unit,
                baseline=change.before,
                sigma=change.sigmas,
                provenance={"signal": change.signal},
            )
        )
    return facts


def _words(name: str, unit: str, change: Change, window: Window) -> str:
    verb = "rose" if change.sigmas > 0 else "fell"
    figures = f"{number(change.before)} -> {number(change.after)} {unit}".strip()
    return f"{name} {verb} {figures} around {clock_time(window.onset_at)}"


def _steady(name: str, unit: str, change: Change) -> str:
    return f"{name} stayed at {number(change.before)} {unit}".strip()
