"""Figures of a diagnosis against the truth, each with its interval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt

from edge_agent.domain.cause import NONE, OTHER
from edge_agent.domain.quality import wilson

Floats = npt.NDArray[np.float64]
BINS = 10
RESAMPLES = 200
LISTED = frozenset({"one", "two"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One prediction beside its truth.

    Attributes:
        kind: one, two, none or other.
        p: cause (NONE and OTHER too) to probability.
        unknown: the open-set score.
        convicts: it names a cause to act on.
        cited: tokens that speak for the first suspect.
    """

    truth: frozenset[str]
    kind: str
    fault: str
    p: Mapping[str, float]
    unknown: float = 0.0
    convicts: bool = False
    cited: tuple[str, ...] = ()
    minutes: float | None = None

    @property
    def order(self) -> list[str]:
        """All hypotheses, most probable first."""
        return sorted(self.p, key=lambda cause: -self.p[cause])

    @property
    def suspects(self) -> list[str]:
        """The causes as an order lists them: without NONE and OTHER."""
        return [cause for cause in self.order if cause not in {NONE, OTHER}]

    @property
    def right(self) -> bool:
        """Is the most probable hypothesis true?"""
        return self.order[0] in self.truth

    @property
    def top(self) -> float:
        """How probable it says that is."""
        return max(self.p.values())


def share(hits: Sequence[bool]) -> dict[str, float | int]:
    """A share with Wilson's 95 % interval."""
    low, high = wilson(sum(hits), len(hits))
    rounded = round(sum(hits) / len(hits), 4) if hits else 0.0
    return {"value": rounded, "low": round(low, 4), "high": round(high, 4), "n": len(hits)}


def interval(judged: Sequence[Judged], figure: Callable[[Sequence[Judged]], float]) -> dict[str, float | int]:
    """A figure with a bootstrap 95 % interval."""
    if not judged:
        return {"value": 0.0, "low": 0.0, "high": 1.0, "n": 0}
    random = np.random.default_rng(11)
    values = [figure([judged[i] for i in random.integers(len(judged), size=len(judged))]) for _ in range(RESAMPLES)]
    low, high = np.quantile(values, [0.025, 0.975])
    return {
        "value": round(figure(judged), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "n": len(judged),
    }


def figures(judged: Sequence[Judged]) -> dict[str, object]:
    """All figures of one method on one pack."""
    listed = [one for one in judged if one.kind in LISTED]
    chance = [one for one in judged if one.kind == "none"]
    foreign = [one for one in judged if one.kind == "other"]
    two = [one for one in judged if one.kind == "two"]
    return {
        "top1": share([one.right for one in listed]),
        "top3": share([not one.truth.isdisjoint(one.order[:3]) for one in listed]),
        "first_suspect": share([one.suspects[0] in one.truth for one in listed]),
        "suspect_in_3": share([not one.truth.isdisjoint(one.suspects[:3]) for one in listed]),
        "mrr": interval(listed, mean_reciprocal_rank),
        "two_causes_recall_at_3": interval(two, set_recall),
        "ece": interval(judged, calibration_error),
        "ece_by_chance": round(calibration_by_chance(judged), 4),
        "brier": interval(judged, brier),
        "log_loss": interval(judged, log_loss),
        "accuracy_at_80": interval(listed, lambda some: accuracy_at(some, 0.8)),
        "aurc": interval(listed, risk_coverage_area),
        "convicts_without_cause": share([one.convicts for one in chance]),
        "unknown_auroc": _auroc(foreign, listed),
        "unknown_fpr_at_95": _false_positives(foreign, listed),
    }


def mean_reciprocal_rank(judged: Sequence[Judged]) -> float:
    """Mean of one over the rank of the first true cause."""
    ranks = [min(one.order.index(cause) + 1 for cause in one.truth if cause in one.p) for one in judged]
    return float(np.mean([1 / rank for rank in ranks])) if ranks else 0.0


def set_recall(judged: Sequence[Judged]) -> float:
    """Share of an incident's causes that are among the first three."""
    return float(np.mean([len(one.truth & set(one.order[:3])) / len(one.truth) for one in judged])) if judged else 0.0


def calibration_error(judged: Sequence[Judged]) -> float:
    """Expected calibration error of the first hypothesis over ten bins of equal mass."""
    if not judged:
        return 0.0
    top = np.array([one.top for one in judged])
    right = np.array([one.right for one in judged], dtype=float)
    bins = np.array_split(np.argsort(top, kind="stable"), min(BINS, len(judged)))
    return float(sum(len(rows) * abs(top[rows].mean() - right[rows].mean()) for rows in bins) / len(judged))


def calibration_by_chance(judged: Sequence[Judged]) -> float:
    """The calibration error that as many perfectly calibrated predictions would show: ten bins of few are noise."""
    if not judged:
        return 0.0
    random = np.random.default_rng(13)
    top = np.sort(np.array([one.top for one in judged]))
    bins = np.array_split(np.arange(len(top)), min(BINS, len(top)))
    draws = [random.random(len(top)) < top for _ in range(RESAMPLES)]
    errors = [sum(abs(top[rows].sum() - draw[rows].sum()) for rows in bins) / len(top) for draw in draws]
    return float(np.mean(errors))


def brier(judged: Sequence[Judged]) -> float:
    """Multi-class Brier score; an incident with two causes counts half for each."""
    return float(np.mean([_squared(one) for one in judged])) if judged else 0.0


def _squared(one: Judged) -> float:
    goal = {cause: 1 / len(one.truth) for cause in one.truth}
    return sum((one.p.get(cause, 0.0) - goal.get(cause, 0.0)) ** 2 for cause in one.p.keys() | goal.keys())


def log_loss(judged: Sequence[Judged]) -> float:
    """Mean of minus the log of what was given to the truth."""
    return float(np.mean([-log(max(1e-6, sum(one.p.get(c, 0.0) for c in one.truth))) for one in judged]))


def accuracy_at(judged: Sequence[Judged], coverage: float) -> float:
    """Accuracy on the most confident share."""
    kept = sorted(judged, key=lambda one: -one.top)[: max(1, round(coverage * len(judged)))]
    return float(np.mean([one.right for one in kept])) if kept else 0.0


def risk_coverage_area(judged: Sequence[Judged]) -> float:
    """Area under the risk-coverage curve: the mean error over all coverages."""
    wrong = np.array([not one.right for one in sorted(judged, key=lambda one: -one.top)], dtype=float)
    return float((np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean()) if len(wrong) else 0.0


def _auroc(foreign: Sequence[Judged], listed: Sequence[Judged]) -> dict[str, float | int]:
    if not foreign or not listed:
        return {"value": 0.0, "low": 0.0, "high": 1.0, "n": 0}
    high, low = np.array([one.unknown for one in foreign]), np.array([one.unknown for one in listed])
    random = np.random.default_rng(12)
    values = [area(random.choice(high, len(high)), random.choice(low, len(low))) for _ in range(RESAMPLES)]
    bounds = np.quantile(values, [0.025, 0.975])
    return {
        "value": round(area(high, low), 4),
        "low": round(float(bounds[0]), 4),
        "high": round(float(bounds[1]), 4),
        "n": len(foreign),
    }


def area(high: Floats, low: Floats) -> float:
    """P(a score of ``high`` is above one of ``low``), ties half."""
    return float(((high[:, None] > low[None, :]) + 0.5 * (high[:, None] == low[None, :])).mean())


def _false_positives(foreign: Sequence[Judged], listed: Sequence[Judged]) -> float:
    """Share of listed causes called unknown at the threshold that finds 95 % of the unknown ones."""
    if not foreign or not listed:
        return 1.0
    least = float(np.quantile([one.unknown for one in foreign], 0.05))
    return round(float(np.mean([one.unknown >= least for one in listed])), 4)
