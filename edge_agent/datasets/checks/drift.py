"""Do validation and test images come from the same world as those of training?

Two measures, both from tables of practice: the population stability index over training's deciles (above 0.25 "has
changed": Siddiqi, Credit Risk Scorecards, 2006) and the two-sample Kolmogorov-Smirnov test. Images of a group are not
independent, so the test's p is too small: a difference counts only when both agree.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import ks_2samp

from edge_agent.datasets.dataset import Split
from edge_agent.datasets.finding import Example, Finding, Level, found
from edge_agent.datasets.looking import Look
from edge_agent.domain.distributions import decile_edges, histogram, psi

PSI_MOVED, PSI_CHANGED = 0.1, 0.25
MAX_P = 0.001
MIN_VALUES = 30
"""Fewer say nothing about a distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One quantity, one split against training.

    Attributes:
        psi: population stability index, less what chance alone gives for samples of this size.
        p: of the Kolmogorov-Smirnov test; of shares (class mix) it is 0.
    """

    quantity: str
    split: Split
    psi: float
    p: float
    here: float
    train: float


def _images(read: Callable[[Look], float]) -> Callable[[Sequence[Look]], list[float]]:
    return lambda looks: [read(look) for look in looks]


QUANTITIES: Mapping[str, Callable[[Sequence[Look]], list[float]]] = {
    "brightness": _images(lambda look: look.brightness),
    "sharpness": _images(lambda look: look.sharpness),
    "image width": _images(lambda look: float(look.item.size_wh[0])),
    "boxes per image": _images(lambda look: float(len(look.item.boxes))),
    "box size": lambda looks: [box.area_px**0.5 for look in looks for box in look.item.boxes],
}


def check(looks: Sequence[Look]) -> list[Finding]:
    """What differs between the splits."""
    shifts = measure(looks)
    changed = [_example(one) for one in shifts if one.psi > PSI_CHANGED]
    moved = [_example(one) for one in shifts if PSI_MOVED < one.psi <= PSI_CHANGED]
    text = "differ from training's. Figures measured there speak of other images than those that trained."
    return [
        *found(Level.WARNING, "drift.changed", f"Distributions that clearly {text}", changed),
        *found(Level.NOTE, "drift.moved", f"Distributions that somewhat {text}", moved),
    ]


def measure(looks: Sequence[Look]) -> list[Shift]:
    """Every significant shift of validation and test against training, largest first."""
    usable = [look for look in looks if not look.fault]
    by_split = {split: [look for look in usable if look.item.split is split] for split in Split}
    shifts = [
        shift
        for split in (Split.VAL, Split.TEST)
        for shift in [
            *(
                _shift(name, split, read(by_split[split]), read(by_split[Split.TRAIN]))
                for name, read in QUANTITIES.items()
            ),
            _class_mix(split, by_split[split], by_split[Split.TRAIN]),
        ]
        if shift is not None
    ]
    return sorted(shifts, key=lambda one: -one.psi)


def _example(one: Shift) -> Example:
    means = f"mean {one.here:.3g}, in training {one.train:.3g}; " if one.quantity != "class mix" else ""
    return Example(where=f"{one.quantity}, {one.split.value}", what=f"{means}PSI {one.psi:.2f}")


def _shift(quantity: str, split: Split, here: list[float], train: list[float]) -> Shift | None:
    if min(len(here), len(train)) < MIN_VALUES:
        return None
    a, b = np.array(here), np.array(train)
    p = float(ks_2samp(a, b).pvalue)
    edges = decile_edges(b)
    index = psi(histogram(a, edges), histogram(b, edges))
    if p > MAX_P:
        return None
    return Shift(quantity=quantity, split=split, psi=index, p=p, here=float(a.mean()), train=float(b.mean()))


def _class_mix(split: Split, here: Sequence[Look], train: Sequence[Look]) -> Shift | None:
    counted = [[code for look in looks for code in _codes(look)] for looks in (here, train)]
    if min(len(one) for one in counted) < MIN_VALUES:
        return None
    codes = sorted({code for one in counted for code in one})
    a, b = (np.array([one.count(code) for code in codes], float) for one in counted)
    return Shift(quantity="class mix", split=split, psi=psi(a, b), p=0.0, here=0.0, train=0.0)


def _codes(look: Look) -> list[str]:
    return [*look.item.codes, *(box.code for box in look.item.boxes)]
