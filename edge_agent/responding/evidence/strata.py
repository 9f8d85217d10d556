"""Is one tool, lot, frame or rack worse than the others made at the same time?

A step in time makes everything that changed with time look guilty. So levels are compared within blocks of time
(Mantel and Haenszel, JNCI 22, 1959); a stratum that only differs between blocks is marked as confounded with time,
unless the rate went back to normal when the level did.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_agent.domain.counting import shows
from edge_agent.domain.evidence import Evidence
from edge_agent.domain.inspection import Inspection
from edge_agent.responding.evidence.chance import false_discovery, normal_tail, poisson_at_least
from edge_agent.responding.evidence.window import Floats, Window, fact
from edge_agent.responding.words import clean, share

TOOL = "strata.contrast@1"
SIGNIFICANT = 0.02
BLOCKS = 4
MIN_PARTS = 8
NEAR_PARTS = 6
"""A level that is mixed up with time must begin this close to the onset to count at all."""
ALIKE = 0.9
"""Two levels on this share of the same parts cannot be told apart."""
Mask = npt.NDArray[np.bool_]
ALIASES = {"etch_side": "side"}
"""Stratum names of the plant that mean the same token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contrast:
    attribute: str
    level: str
    parts: int
    defective: int
    other_parts: int
    other_defective: int
    p: float
    confounded: bool
    members: frozenset[int] = frozenset()
    """Which parts (by place in the window) have the level."""
    new: bool = False
    """The level began with the trouble."""


def find(window: Window) -> list[Evidence]:
    """One ``strat:`` token per attribute on the parts, and for each expected one that is on none of them."""
    attributes = sorted({name for one in window.decided_after for name in levels_of(one)})
    contrasts = [contrast for name in attributes if (contrast := _contrast(window, name))]
    adjusted = false_discovery([contrast.p for contrast in contrasts])
    guilty = [one for one, p in zip(contrasts, adjusted, strict=True) if _is_guilty(one, p)]
    facts = [_told(window, one, p, _twins(one, guilty)) for one, p in zip(contrasts, adjusted, strict=True)]
    told = {one.token for one in facts}
    missing = sorted(token for token in window.expected if token.startswith("strat:") and token not in told)
    return facts + [_unknown(window, token) for token in missing]


def levels_of(inspection: Inspection) -> dict[str, str]:
    """The strata of a part by token name; the production lot is one of them."""
    strata = {ALIASES.get(name, name): value for name, value in inspection.shot.strata.items()}
    if inspection.shot.lot_id:
        strata.setdefault("lot", inspection.shot.lot_id)
    return strata


def _contrast(window: Window, attribute: str) -> _Contrast | None:
    """The worst level against the rest; None when there is only one level or too little to compare."""
    parts = [one for one in (*window.decided_before, *window.decided_after) if attribute in levels_of(one)]
    since = len([one for one in window.decided_after if attribute in levels_of(one)])
    if since < MIN_PARTS:
        return None
    levels = np.array([levels_of(one)[attribute] for one in parts])
    bad = np.array([shows(one, window.codes) for one in parts], dtype=float)
    now = np.zeros(len(parts), dtype=bool)
    now[len(parts) - since :] = True
    names = sorted(set(levels))
    if len(names) < 2:
        return None
    tested = [_level(window, attribute, name, levels, bad, now) for name in names if (levels[now] == name).any()]
    best = min(tested, key=lambda one: (one.p, one.level))
    return _Contrast(
        attribute=attribute,
        level=best.level,
        parts=best.parts,
        defective=best.defective,
        other_parts=best.other_parts,
        other_defective=best.other_defective,
        p=min(1.0, best.p * len(tested)),
        confounded=best.confounded,
        members=frozenset(np.flatnonzero(now & (levels == best.level)).tolist()),
        new=_begins_at_onset(levels == best.level, now),
    )


def _level(
    window: Window,
    attribute: str,
    level: str,
    levels: Mask,
    bad: Floats,
    now: Mask,
) -> _Contrast:
    mine = levels == level
    within = _within_blocks(mine[now].astype(float), bad[now])
    confounded = within is None
    if within is None:
        confounded = not _returned(mine, bad)
        near = not confounded or _begins_at_onset(mine, now)
        within = _between(window, mine, bad) if near else 1.0
    side = now if not confounded and within is not None and (now & ~mine).any() else np.ones_like(now)
    return _Contrast(
        attribute=attribute,
        level=level,
        parts=int((mine & side).sum()),
        defective=int(bad[mine & side].sum()),
        other_parts=int((~mine & side).sum()),
        other_defective=int(bad[~mine & side].sum()),
        p=within,
        confounded=confounded,
    )


def _within_blocks(mine: Floats, bad: Floats) -> float | None:
    """One-sided p of the level being worse within blocks of time; None when no block holds both."""
    excess = variance = 0.0
    for rows in np.array_split(np.arange(len(mine)), BLOCKS):
        n, k, m = len(rows), bad[rows].sum(), mine[rows].sum()
        if n < 2 or m in {0, n}:
            continue
        excess += bad[rows][mine[rows] > 0].sum() - k * m / n
        variance += k * (n - k) * m * (n - m) / (n * n * (n - 1))
    informative = sum(1 for rows in np.array_split(np.arange(len(mine)), BLOCKS) if 0 < mine[rows].sum() < len(rows))
    if informative < BLOCKS / 2:
        return None
    return normal_tail((excess - 0.5) / np.sqrt(variance)) if variance > 0 else 1.0


def _between(window: Window, mine: Mask, bad: Floats) -> float:
    """p of the level's count given the rate of all others, when they were not made at the same time."""
    others = bad[~mine]
    base = max(window.incident.baseline_rate, (others.sum() + 0.5) / (len(others) + 1))
    return poisson_at_least(int(bad[mine].sum()), float(base * mine.sum()))


def _begins_at_onset(mine: Mask, now: Mask) -> bool:
    """Did the level begin with the trouble? One that was there long before, or came later, did not start it."""
    onset = int(np.argmax(now))
    return abs(int(np.argmax(mine)) - onset) <= NEAR_PARTS


def _returned(mine: Mask, bad: Floats) -> bool:
    """Did the rate go back to normal after the level was gone?"""
    last = int(np.flatnonzero(mine)[-1])
    later = bad[last + 1 :]
    if len(later) < MIN_PARTS:
        return False
    rate = bad[mine].mean()
    return bool(later.mean() < 0.3 * rate)


def _is_guilty(contrast: _Contrast, p: float) -> bool:
    mine = contrast.defective / max(contrast.parts, 1)
    return p < SIGNIFICANT and mine > 1.5 * contrast.other_defective / max(contrast.other_parts, 1)


def _twins(contrast: _Contrast, guilty: Sequence[_Contrast]) -> tuple[str, ...]:
    """Other attributes whose guilty level is on the same parts: nothing here tells them apart.

    Except that a level which began with the trouble (a new lot) is suspect before one that was always there.
    """
    return tuple(
        f"strat:{other.attribute}"
        for other in guilty
        if other is not contrast
        and not (contrast.new and not other.new)
        and len(other.members & contrast.members) >= ALIKE * len(other.members | contrast.members)
    )


def _told(window: Window, contrast: _Contrast, p: float, twins: tuple[str, ...]) -> Evidence:
    mine = contrast.defective / max(contrast.parts, 1)
    others = contrast.other_defective / max(contrast.other_parts, 1)
    present = _is_guilty(contrast, p)
    name = contrast.attribute.replace("_", " ")
    figures = (
        f"{name} {clean(contrast.level, 40)}: {contrast.defective} of {contrast.parts} parts defective "
        f"({share(mine)}), on the others {contrast.other_defective} of {contrast.other_parts} ({share(others)})"
    )
    if present and contrast.confounded:
        figures += "; it changed together with time, so it may be a coincidence"
    if present and twins:
        names = ", ".join(twin.partition(":")[2].replace("_", " ") for twin in twins)
        figures += f"; the same parts share the {names}"
    return fact(
        window,
        tool=TOOL,
        token=f"strat:{contrast.attribute}",
        statement=figures if present else f"no {name} is worse than the others: {figures}",
        present=present,
        strength=1 - p if present else 0.85,
        n=contrast.parts + contrast.other_parts,
        value=mine,
        unit="share",
        baseline=others,
        scope={contrast.attribute: clean(contrast.level, 40)},
        confounded_with=(*(("time",) if contrast.confounded else ()), *(twins if present else ())),
    )


def _unknown(window: Window, token: str) -> Evidence:
    name = token.partition(":")[2].replace("_", " ")
    statement = f"the parts do not tell enough about the {name}"
    return fact(window, tool=TOOL, token=token, statement=statement, present=None, strength=0.0, n=0)


def strata_levels(parts: Sequence[Inspection], attribute: str) -> set[str]:
    """The levels of one attribute among some parts."""
    return {levels[attribute] for one in parts if attribute in (levels := levels_of(one))}
