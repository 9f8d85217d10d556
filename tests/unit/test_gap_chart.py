"""Gaps between rare severe defects: the arithmetic, the budget, and what the responder makes of a signal."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edge_agent.domain import quality
from edge_agent.responding.charts import StationCharts
from edge_agent.simulation.chart_runs import ChartRun, parts_to_signal
from edge_agent.simulation.runs import CLASSES, Disturbance
from tests.fakes.clock import FakeClock
from tests.fakes.diagnosed_line import SETTINGS, DiagnosedLine, pcb
from tests.fakes.made import an_inspection

RARELY = replace(SETTINGS, baseline_rate={**dict.fromkeys(CLASSES, 0.003), "open": 0.0002})


@given(defective=st.integers(1, 4), parts=st.integers(1, 50_000), rate=st.floats(1e-6, 0.01))
def test_the_chance_is_the_tail_of_the_binomial_distribution(defective: int, parts: int, rate: float) -> None:
    found = quality.chance_of_so_many(defective, parts, rate)
    assert found == pytest.approx(stats.binom.sf(defective - 1, parts, rate), rel=1e-4, abs=1e-9)


@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=8), st.floats(1e-5, 0.001))
def test_shorter_gaps_never_take_a_signal_back(gaps: list[int], rate: float) -> None:
    chart = quality.design_gaps(rate, 240_000)
    if chart.signals(gaps):
        assert chart.signals([max(1, gap // 2) for gap in gaps])


@pytest.mark.parametrize("rate", [0.0005, 0.0001])
def test_the_gap_chart_keeps_its_budget(rate: float) -> None:
    random = np.random.default_rng(5)
    chart = quality.design_gaps(rate, 60_000)
    lengths = [parts_to_signal(ChartRun(gap_chart=chart), rate, random) for _ in range(400)]
    assert np.mean(lengths) + 2 * np.std(lengths) / 20 > 60_000


def test_a_jump_is_seen_sooner_than_by_the_cusum() -> None:
    random = np.random.default_rng(5)
    cusum, gaps = quality.design(0.0005, 2.5, 240_000), quality.design_gaps(0.0005, 240_000)

    def mean(run: ChartRun) -> float:
        return float(np.mean([parts_to_signal(replace(run, gaps=[]), 0.015, random) for _ in range(200)]))

    assert mean(ChartRun(cusum=cusum, gap_chart=gaps)) < 0.8 * mean(ChartRun(cusum=cusum))


def test_drawing_defect_by_defect_is_the_same_as_part_by_part() -> None:
    clock = FakeClock()
    charts = StationCharts(station_id="aoi-1", settings=replace(RARELY, stations=("aoi-1",)), catalogue=pcb())
    run = ChartRun(cusum=charts.chart_of("open"), gap_chart=charts.gap_chart_of("open"))
    for gap in (40, 320, 110, 95, 60, 41):
        alarms = []
        for part in range(1, gap + 1):
            alarms = charts.follow(an_inspection(clock, codes=("open",) if part == gap else ()))
        assert run.defect(gap) == any(alarm.code == "open" for alarm in alarms)
        assert run.value == pytest.approx(charts.streams["open"].value)
        assert run.gaps == charts.streams["open"].gaps


@pytest.mark.parametrize(("between", "opened"), [(8, 1), (400, 0)])
def test_two_rare_severe_defects_close_together_open_an_incident(tmp_path: Path, between: int, opened: int) -> None:
    line = DiagnosedLine(tmp_path, settings=RARELY)
    spots = [Disturbance(at_part=at, until_part=at + 1, rate=1.0, classes=("open",)) for at in (30, 30 + between)]
    line.happened(*spots, rate=0.0, parts=60 + between)
    with line.store.reader() as uow:
        incidents = uow.incidents.recent(5)
    assert len(incidents) == opened
    assert all(one.defective_parts == 2 for one in incidents)


def test_only_rare_and_severe_classes_have_a_gap_chart() -> None:
    rare = replace(SETTINGS, baseline_rate=dict.fromkeys(CLASSES, 0.0002))
    severity = pcb().severity
    charts = StationCharts(station_id="aoi-1", settings=rare, catalogue=pcb())
    assert charts.gap_codes == {code for code in CLASSES if 7 <= severity[code] < 9}
    assert not StationCharts(station_id="aoi-1", settings=SETTINGS, catalogue=pcb()).gap_codes


def test_a_gap_chart_takes_its_share_of_the_budget() -> None:
    one = replace(RARELY, baseline_rate={**RARELY.baseline_rate, "open": 0.0011})
    common, rare = (StationCharts(station_id="aoi-1", settings=each, catalogue=pcb()) for each in (one, RARELY))
    assert rare.chart_of("spur").threshold > common.chart_of("spur").threshold
