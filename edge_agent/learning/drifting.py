"""One station's own constancy: each figure of its last parts against a reference, per product.

A figure has drifted when chance does not explain the difference and the difference is large, at two checks in a row;
it is back when it is well within the reference at four. Nothing here changes a limit or a model.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.domain.counting import is_decided
from edge_agent.domain.distributions import decile_edges, energy, histogram, independent, kolmogorov_smirnov, psi
from edge_agent.domain.drift import (
    ALL_SCORES,
    APPEARANCE,
    GOOD_SCORES,
    IMAGE,
    Drift,
    Watched,
    as_record,
    from_record,
)
from edge_agent.domain.inspection import Evaluation, Inspection

CHANGED, BACK = 0.25, 0.1
"""Population stability index of a change, and below which it is over."""
APART, TOGETHER = 0.12, 0.06
"""The same for the distance between images' features (`distributions.energy`)."""
BACK_P = 0.01
LEAST_SHARE, LEAST_SPREAD = 0.005, 1.5
"""A figure of the gate must change by this share of itself, or in spread by this factor: a lamp that is constant to a
tenth of a grey level may wander by two."""
RAISE_AFTER, CLEAR_AFTER = 2, 4
"""Checks in a row."""
CHECKS_PER_WINDOW = 4
QUANTITIES = 12
"""Among how many the budget of false alarms is divided."""
MOST_PRODUCTS = 16
"""Of a station; the one that was not made for longest is forgotten."""
MOST_OVER = 50
"""Drifts that are over and are kept."""

Entry = tuple[float, ...]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings:
    """How a station is watched.

    Attributes:
        reference_parts: parts of a product that make its reference.
        window_parts: last parts that are compared with it.
        embed_every: parts of which one image is looked at by the feature network.
        false_alarms_per_1000: the budget of all figures of the station together, per 1000 parts.
    """

    reference_parts: int = 500
    window_parts: int = 100
    embed_every: int = 5
    false_alarms_per_1000: float = 0.02

    @property
    def step_parts(self) -> int:
        """Parts between two checks."""
        return max(1, self.window_parts // CHECKS_PER_WINDOW)

    @property
    def alpha(self) -> float:
        """The chance that one check of one figure may have."""
        return self.false_alarms_per_1000 * self.step_parts / 1000 / QUANTITIES

    def scaled(self, quantity: str) -> tuple[int, int, int]:
        """Entries of reference, window, and between checks: images are looked at more seldom."""
        every = self.embed_every if quantity == APPEARANCE else 1
        return (
            max(40, self.reference_parts // every),
            max(12, self.window_parts // every),
            max(3, self.step_parts // every),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The last parts against the reference."""

    usual: float
    now: float
    size: float
    p: float
    parts: int
    changed: bool
    back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A complete reference, made ready once for many comparisons.

    Attributes:
        values: all of them; for images (n, C), scaled.
        worth: how many independent values they are worth.
        edges, counts: deciles and what lies between them.
        scale: of images, each feature's spread.
    """

    values: Floats
    worth: float = 0.0
    edges: Floats = field(default_factory=lambda: np.zeros(0))
    counts: Floats = field(default_factory=lambda: np.zeros(0))
    scale: Floats = field(default_factory=lambda: np.ones(1))


@dataclass(slots=True, kw_only=True)
class Series:
    """One figure of one product. An entry is what one part gave.

    Attributes:
        made_with: recipe and model, where the figure depends on them; another one begins a new reference.
    """

    made_with: str = ""
    reference: list[Entry] = field(default_factory=list)
    current: deque[Entry] = field(default_factory=deque)
    fresh: int = 0
    suspected: int = 0
    calm: int = 0
    first_seen: datetime | None = None
    last: Comparison | None = None
    known: Prepared | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A drift that was raised, or (``until`` is set) is over."""

    drift: Drift


class StationDrift:
    """All figures of one station."""

    def __init__(self, settings: DriftSettings) -> None:
        self._settings = settings
        self._products: OrderedDict[str, dict[str, Series]] = OrderedDict()
        self._lasting: dict[tuple[str, str], Drift] = {}
        self._over: deque[Drift] = deque(maxlen=MOST_OVER)
        self.reference_grew = False
        """Since it was last stored."""

    # --- what comes in ----------------------------------------------------------------------------------------------

    def follow(self, inspection: Inspection, *, in_trouble: bool = False) -> list[Change]:
        """Take one part in.

        Args:
            in_trouble: an incident is open: what the model sees is another thing now because parts are, so scores of
                all candidates are not compared.
        """
        if inspection.evaluation is Evaluation.NOT_INSPECTED:
            return []
        product, at = inspection.shot.product_id, inspection.ended_at
        changes: list[Change] = []
        for quantity, entry, made_with in figures(inspection):
            if in_trouble and quantity == ALL_SCORES:
                continue
            changes += self._take(product, quantity, entry, at, made_with)
        return changes

    def refill(self, inspections: Sequence[Inspection]) -> None:
        """The last parts before a start, oldest first: what is compared is there again at once, without a check."""
        for inspection in inspections:
            known = self._products.get(inspection.shot.product_id, {})
            for quantity, entry, made_with in figures(inspection):
                series = known.get(quantity)
                full, window, _ = self._settings.scaled(quantity)
                if series is not None and series.made_with == made_with and len(series.reference) >= full:
                    series.current.append(entry)
                    if len(series.current) > window:
                        series.current.popleft()

    def look(self, product: str, features: Sequence[float], at: datetime) -> list[Change]:
        """Take in what the feature network made of one image of a product."""
        return self._take(product, APPEARANCE, tuple(float(one) for one in features), at, "")

    def accept(self, at: datetime) -> list[Change]:
        """What is now is the reference from now on: a person has looked."""
        changes = [self._end(key, at) for key in list(self._lasting)]
        self._products.clear()
        self.reference_grew = True
        return changes

    def _take(self, product: str, quantity: str, entry: Entry, at: datetime, made_with: str) -> list[Change]:
        key = product, quantity
        series = self._series(product, quantity)
        ended: list[Change] = []
        if series.made_with != made_with:
            ended = [self._end(key, at)] if key in self._lasting else []
            series = self._products[product][quantity] = Series(made_with=made_with)
        full, window, step = self._settings.scaled(quantity)
        if len(series.reference) < full:
            series.reference.append(entry)
            self.reference_grew = True
            return ended
        series.current.append(entry)
        if len(series.current) > window:
            series.current.popleft()
        series.fresh += 1
        if len(series.current) < window or series.fresh < step:
            return ended
        series.fresh = 0
        return ended + self._check(key, series, at)

    def _series(self, product: str, quantity: str) -> Series:
        known = self._products.setdefault(product, {})
        self._products.move_to_end(product)
        while len(self._products) > MOST_PRODUCTS:
            forgotten, _ = self._products.popitem(last=False)
            self._lasting = {key: one for key, one in self._lasting.items() if key[0] != forgotten}
        return known.setdefault(quantity, Series())

    # --- what comes out ---------------------------------------------------------------------------------------------

    def _check(self, key: tuple[str, str], series: Series, at: datetime) -> list[Change]:
        series.known = series.known or prepared(key[1], series.reference)
        found = series.last = compare(key[1], series.known, series.current, self._settings.alpha)
        if found is None:
            return []
        series.suspected = series.suspected + 1 if found.changed else 0
        series.calm = series.calm + 1 if found.back else 0
        series.first_seen = (series.first_seen or at) if found.changed else None
        known = self._lasting.get(key)
        if known is not None:
            self._lasting[key] = _told(known, found)
            return [self._end(key, at)] if series.calm >= CLEAR_AFTER else []
        if series.suspected < RAISE_AFTER:
            return []
        since = series.first_seen or at
        raised = Drift(product_id=key[0], quantity=key[1], since=since, usual=0.0, now=0.0, size=0.0, p=1.0, parts=0)
        self._lasting[key] = _told(raised, found)
        return [Change(drift=self._lasting[key])]

    def _end(self, key: tuple[str, str], at: datetime) -> Change:
        over = replace(self._lasting.pop(key), until=at)
        self._over.append(over)
        return Change(drift=over)

    @property
    def watched(self) -> Watched:
        """What others are told."""
        complete = {
            quantity
            for known in self._products.values()
            for quantity, one in known.items()
            if len(one.reference) >= self._settings.scaled(quantity)[0]
        }
        return Watched(quantities=frozenset(complete), drifts=(*self._over, *self._lasting.values()))

    def comparisons(self) -> Iterator[tuple[str, str, Comparison]]:
        """Product, quantity and the last comparison of each figure that has one."""
        for product, known in self._products.items():
            for quantity, one in known.items():
                if one.last is not None:
                    yield product, quantity, one.last

    # --- as JSON ----------------------------------------------------------------------------------------------------

    def record(self) -> dict[str, Any]:
        """Everything but references and the last parts."""
        return {
            "quantities": sorted(self.watched.quantities),
            "drifts": [as_record(one) for one in self.watched.drifts],
            "figures": [
                {"product": product, "quantity": quantity, "usual": one.usual, "now": one.now, "size": one.size}
                for product, quantity, one in self.comparisons()
            ],
        }

    def references(self) -> dict[str, Any]:
        """Product to figure to its reference."""
        return {
            product: {
                quantity: {"made_with": one.made_with, "entries": [_short(entry) for entry in one.reference]}
                for quantity, one in known.items()
            }
            for product, known in self._products.items()
        }

    def restore(self, record: Mapping[str, Any] | None, references: Mapping[str, Any] | None) -> None:
        """Go on from what was stored; the last parts are gathered anew."""
        for product, known in (references or {}).items():
            self._products[product] = {
                quantity: Series(made_with=one["made_with"], reference=[tuple(entry) for entry in one["entries"]])
                for quantity, one in known.items()
            }
        for drift in (from_record(one) for one in (record or {}).get("drifts", ())):
            if drift.until is not None:
                self._over.append(drift)
            elif drift.quantity in self._products.get(drift.product_id, {}):
                self._lasting[(drift.product_id, drift.quantity)] = drift


def figures(inspection: Inspection) -> Iterator[tuple[str, Entry, str]]:
    """Quantity, values and what they were made with, of one part."""
    metrics = inspection.quality.metrics if inspection.quality else {}
    for name, value in metrics.items():
        if np.isfinite(value):
            yield f"{IMAGE}{name}", (float(value),), ""
    if not is_decided(inspection):
        return
    made_with = _made_with(inspection)
    scores = tuple(defect.score for defect in inspection.defects)
    yield ALL_SCORES, scores, made_with
    if inspection.evaluation is Evaluation.OK:
        yield GOOD_SCORES, (max((inspection.score, *scores)),), made_with


def _made_with(inspection: Inspection) -> str:
    recipe, model = inspection.recipe, inspection.model
    return f"{recipe.sha256[:12] if recipe else '-'} {model.sha256[:12] if model else '-'}"


def prepared(quantity: str, reference: Sequence[Entry]) -> Prepared:
    """The reference of a figure."""
    if quantity == APPEARANCE:
        cloud = np.array(reference, dtype=np.float64)
        scale = np.maximum(cloud.std(axis=0), 0.1 * np.median(cloud.std(axis=0)) + 1e-9)
        return Prepared(values=cloud / scale, scale=scale)
    values = _values(reference)
    edges = decile_edges(values) if len(values) else np.zeros(0)
    return Prepared(values=values, worth=_worth(reference, len(values)), edges=edges, counts=histogram(values, edges))


def compare(quantity: str, known: Prepared, current: Sequence[Entry], alpha: float) -> Comparison | None:
    """The last parts against the reference; None where there is too little to compare."""
    if quantity == APPEARANCE:
        return _compare_clouds(known, np.array(current, dtype=np.float64), alpha)
    there, here = known.values, _values(current)
    if min(len(there), len(here)) < 30:
        return None
    _, p = kolmogorov_smirnov(there, here, (known.worth, _worth(current, len(here))))
    size = psi(histogram(here, known.edges), known.counts)
    large = not quantity.startswith(IMAGE) or _large(there, here)
    return Comparison(
        usual=float(there.mean()),
        now=float(here.mean()),
        size=size,
        p=p,
        parts=len(current),
        changed=p < alpha and size > CHANGED and large,
        back=(p > BACK_P and size < BACK) or not large,
    )


def _compare_clouds(known: Prepared, here: Floats, alpha: float) -> Comparison:
    size, p = energy(here / known.scale, known.values, least=APART)
    return Comparison(
        usual=0.0,
        now=size,
        size=size,
        p=p,
        parts=len(here),
        changed=p < alpha and size > APART,
        back=size < TOGETHER,
    )


def _values(entries: Sequence[Entry]) -> Floats:
    return np.array([value for entry in entries for value in entry], dtype=np.float64)


def _worth(entries: Sequence[Entry], values: int) -> float:
    """Values of one part are alike, and so may parts be that follow each other."""
    means = np.array([sum(entry) / len(entry) for entry in entries if entry], dtype=np.float64)
    return max(2.0, min(independent(means), float(values)))


def _large(there: Floats, here: Floats) -> bool:
    moved = abs(here.mean() - there.mean()) >= LEAST_SHARE * max(abs(there.mean()), 1e-9)
    spreads = sorted((float(there.std()) + 1e-12, float(here.std()) + 1e-12))
    return bool(moved or spreads[1] / spreads[0] >= LEAST_SPREAD)


def _told(drift: Drift, found: Comparison) -> Drift:
    return replace(drift, usual=found.usual, now=found.now, size=found.size, p=found.p, parts=found.parts)


def _short(entry: Entry) -> list[float]:
    return [float(f"{value:.5g}") for value in entry]
