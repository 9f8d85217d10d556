"""Counting quality: yield, DPMO, Pareto, intervals, and the charts that say when a rate has risen.

Rates of rare defects are not normal, so zone rules on p-charts alarm all day; the Bernoulli CUSUM follows each part
as it comes and has a false-alarm rate that can be designed (Reynolds and Stoumbos, Journal of Quality Technology 31,
1999: "A CUSUM chart for monitoring a proportion when inspecting continuously"). Beside it, for rare severe defects, a
chart of the gaps between them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

MILLION = 1_000_000


def first_pass_yield(ok: int, total: int) -> float | None:
    """Share of parts that were OK the first time; None before there is a part."""
    return ok / total if total else None


def dpmo(defects: int, parts: int, opportunities: int = 1) -> float | None:
    """Defects per million opportunities; None before there is a part."""
    return MILLION * defects / (parts * opportunities) if parts and opportunities else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParetoBar:
    """One bar of a Pareto chart. ``cumulative`` is the share of this and all larger bars."""

    code: str
    count: int
    share: float
    cumulative: float


def pareto(counts: Mapping[str, int]) -> tuple[ParetoBar, ...]:
    """Bars by falling count, ties by code; zero counts are left out."""
    total = sum(counts.values())
    bars: list[ParetoBar] = []
    running = 0
    for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count <= 0:
            continue
        running += count
        bars.append(ParetoBar(code=code, count=count, share=count / total, cumulative=running / total))
    return tuple(bars)


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (E. B. Wilson, JASA 22, 1927); (0, 1) for no observations."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


# --- Bernoulli CUSUM ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A Bernoulli CUSUM: weights for a good and a defective part, and the threshold.

    Attributes:
        base_rate: share of defective parts when all is well.
        raised_rate: the rate it is designed to find soonest.
        threshold: log-likelihood units.
    """

    base_rate: float
    raised_rate: float
    threshold: float

    @property
    def good_step(self) -> float:
        """What a good part adds (negative)."""
        return log((1 - self.raised_rate) / (1 - self.base_rate))

    @property
    def defective_step(self) -> float:
        """What a defective part adds (positive)."""
        return log(self.raised_rate / self.base_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartState:
    """Where a chart stands.

    Attributes:
        value: the statistic, 0 to the cap.
        parts, defective: since the statistic was last zero.
    """

    value: float = 0.0
    parts: int = 0
    defective: int = 0


CAP_ABOVE = 2.0


def advance(chart: Chart, state: ChartState, defective: bool) -> ChartState:
    """The state after one more part.

    The value is capped two units above the threshold: a long incident must not need as long again to end.
    """
    step = chart.defective_step if defective else chart.good_step
    value = min(state.value + step, chart.threshold + CAP_ABOVE)
    if value <= 0:
        return ChartState()
    return replace(state, value=value, parts=state.parts + 1, defective=state.defective + defective)


def design(base_rate: float, increase: float, parts_between_false_alarms: float) -> Chart:
    """The chart whose average run length without a change is as wanted.

    The average run length falls strictly with the threshold, so it is found by bisection.
    """
    raised = min(base_rate * increase, (1 + base_rate) / 2)
    low, high = 0.1, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        if run_length(Chart(base_rate=base_rate, raised_rate=raised, threshold=middle)) < parts_between_false_alarms:
            low = middle
        else:
            high = middle
    return Chart(base_rate=base_rate, raised_rate=raised, threshold=high)


def run_length(chart: Chart) -> float:
    """Average parts between false alarms (Reynolds and Stoumbos 1999, corrected diffusion approximation)."""
    p0 = chart.base_rate
    r1 = -chart.good_step
    r2 = chart.defective_step + r1
    corrected = chart.threshold / r2 + _overshoot(p0) * sqrt(p0 * (1 - p0))
    return (exp(corrected * r2) - corrected * r2 - 1) / abs(r2 * p0 - r1)


def _overshoot(p: float) -> float:
    if p < 0.01:
        return (sqrt((1 - p) / p) - sqrt(p / (1 - p))) / 3
    p = min(p, 0.5)
    x = log(p)
    return 0.410 - 0.0842 * x - 0.0391 * x**3 - 0.00376 * x**4 - 0.000008 * x**7


def exact_run_length(chart: Chart, rate: float) -> float:
    """Average parts to a signal at a true ``rate``, from an idle chart, by solving the chart's Markov chain.

    The statistic is put on a lattice (one step down for each good part), exact up to rounding the defective step.
    Costs a dense solve: for designing and testing, not for the line.
    """
    unit = -chart.good_step
    jump = round(chart.defective_step / unit)
    states = max(1, int(np.ceil(chart.threshold / unit - 1e-9)))
    matrix = np.eye(states)
    index = np.arange(states)
    np.add.at(matrix, (index, np.maximum(index - 1, 0)), -(1 - rate))
    alive = index[index + jump < states]
    matrix[alive, alive + jump] -= rate
    return float(np.linalg.solve(matrix, np.ones(states))[0])


# --- gaps between rare defects --------------------------------------------------------------------------------------

GAPS = 4
"""So many of the newest gaps are looked at together."""
CHANCES = 2.5
"""What these looks are worth as chances to be wrong: they overlap (measured, `scripts/bench/bench_trigger`)."""
LEAST_SURE = 0.05
"""A gap chart never signals on what comes by chance more often than this, whatever its budget allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapChart:
    """For defects so rare that a CUSUM would wait for six of them: parts from one to the next (g-chart, Benneyan 2001).

    Attributes:
        base_rate: share of defective parts when all is well.
        alpha: a run of gaps that comes by chance at most this often is a signal.
    """

    base_rate: float
    alpha: float

    def signals(self, gaps: Sequence[int]) -> bool:
        """Are the newest gaps too short? Looks at the last one alone, the last two together, up to `GAPS`.

        Args:
            gaps: parts from each defect to the next, oldest first; at least 1 each.
        """
        newest = gaps[-GAPS:]
        return any(
            chance_of_so_many(count, sum(newest[-count:]), self.base_rate) <= self.alpha
            for count in range(1, len(newest) + 1)
        )


def design_gaps(base_rate: float, parts_between_false_alarms: float) -> GapChart:
    """The gap chart whose average run length without a change is at least as wanted.

    A defect comes every ``1 / base_rate`` parts, and then the newest gaps are looked at in `GAPS` ways.
    """
    alpha = 1 / (base_rate * parts_between_false_alarms * CHANCES)
    return GapChart(base_rate=base_rate, alpha=min(alpha, LEAST_SURE))


def chance_of_so_many(defective: int, parts: int, rate: float) -> float:
    """P(at least so many defective ones among the parts): the tail of the binomial distribution."""
    none = (1 - rate) ** parts
    fewer, term = 0.0, none
    for k in range(defective):
        fewer += term
        term *= (parts - k) / (k + 1) * rate / (1 - rate)
    return max(0.0, 1 - fewer)


# --- when did it begin ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Onset:
    """Where in a sequence of parts the rate changed: the best index and the interval that fits nearly as well."""

    first: int
    best: int
    last: int
    statistic: float


def locate_onset(
    defective: Sequence[bool] | npt.NDArray[np.bool_], base_rate: float, *, tolerance: float = 2.0
) -> Onset:
    """The change point of a Bernoulli sequence by generalised likelihood ratio.

    Each index k is scored by how much better the parts from k on fit their own rate (never lower than the base rate)
    than the base rate. The interval holds all indices within ``tolerance`` log-likelihood units of the best one
    (2 is about 95 %). One index is exact far less often than people think; an interval is honest.
    """
    values = np.asarray(defective, dtype=float)
    if values.size == 0:
        return Onset(first=0, best=0, last=0, statistic=0.0)
    n = np.arange(values.size, 0, -1, dtype=float)
    k = np.cumsum(values[::-1])[::-1]
    rate = np.clip(np.maximum(k / n, base_rate), 1e-9, 1 - 1e-9)
    gain = k * np.log(rate / base_rate) + (n - k) * np.log((1 - rate) / (1 - base_rate))
    best = int(np.argmax(gain))
    near = np.flatnonzero(gain >= gain[best] - tolerance)
    return Onset(first=int(near[0]), best=best, last=int(near[-1]), statistic=float(gain[best]))
