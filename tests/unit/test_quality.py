"""Charts and counts, against published and measured figures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain import quality


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3 (Wilson score)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_equals_the_published_table(successes: int, n: int, low: float, high: float) -> None:
    assert quality.wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_without_observations_knows_nothing() -> None:
    assert quality.wilson(0, 0) == (0.0, 1.0)


def test_yield_and_dpmo() -> None:
    assert quality.first_pass_yield(97, 100) == 0.97
    assert quality.first_pass_yield(0, 0) is None
    assert quality.dpmo(7, 1000, 10) == 700
    assert quality.dpmo(1, 0) is None


def test_pareto_orders_and_accumulates() -> None:
    bars = quality.pareto({"open": 3, "short": 6, "spur": 0, "mousebite": 1})
    assert [bar.code for bar in bars] == ["short", "open", "mousebite"]
    assert bars[-1].cumulative == pytest.approx(1.0)
    assert bars[0].share == pytest.approx(0.6)


# The design's measured table: base rate, threshold, parts between false alarms, parts to find x2, x3, x5, x10.
TABLE = [
    (0.005, 4.05, 22_430, {2: 1451, 3: 583, 5: 249, 10: 118}),
    (0.02, 5.43, 25_548, {2: 534, 3: 192, 5: 86, 10: 37}),
]


@pytest.mark.parametrize(("base", "threshold", "false", "found"), TABLE)
def test_run_lengths_agree_with_the_measured_table(
    base: float, threshold: float, false: float, found: dict[int, float]
) -> None:
    chart = quality.Chart(base_rate=base, raised_rate=2.5 * base, threshold=threshold)
    assert quality.run_length(chart) == pytest.approx(false, rel=0.25)
    assert quality.exact_run_length(chart, base) == pytest.approx(false, rel=0.25)
    for increase, parts in found.items():
        assert quality.exact_run_length(chart, base * increase) == pytest.approx(parts, rel=0.25)


def test_the_chart_itself_has_the_run_length_that_theory_says() -> None:
    chart = quality.design(0.05, 2.5, 2_000)
    random = np.random.default_rng(7)
    lengths = [_run(chart, random.random(40_000) < 0.05) for _ in range(60)]
    assert np.mean(lengths) == pytest.approx(2_000, rel=0.45)


def _run(chart: quality.Chart, parts: np.ndarray) -> int:
    state = quality.ChartState()
    for count, defective in enumerate(parts, start=1):
        state = quality.advance(chart, state, bool(defective))
        if state.value >= chart.threshold:
            return count
    return len(parts)


@given(base=st.floats(1e-4, 0.1), arl=st.floats(1e3, 1e7))
def test_design_meets_its_budget(base: float, arl: float) -> None:
    chart = quality.design(base, 2.5, arl)
    assert quality.run_length(chart) >= arl * 0.999
    assert chart.good_step < 0 < chart.defective_step


@given(st.lists(st.booleans(), max_size=300))
def test_a_chart_stays_within_its_bounds(parts: list[bool]) -> None:
    chart = quality.design(0.02, 2.5, 10_000)
    state = quality.ChartState()
    for part in parts:
        state = quality.advance(chart, state, part)
        assert 0 <= state.value <= chart.threshold + 2
        assert state.defective <= state.parts


def test_onset_interval_holds_the_true_change_most_of_the_time() -> None:
    random = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        parts = np.concatenate([random.random(400) < 0.005, random.random(60) < 0.15])
        onset = quality.locate_onset(parts, 0.005)
        held += onset.first <= 400 <= onset.last
        assert onset.first <= onset.best <= onset.last
    assert held / 200 > 0.8


def test_onset_of_nothing() -> None:
    assert quality.locate_onset([], 0.01).statistic == 0.0
