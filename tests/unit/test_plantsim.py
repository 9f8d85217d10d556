"""Scenarios follow from their seed, faults act in shares, and figures say what they are called."""

from copy import deepcopy

import numpy as np
import pytest

from edge_agent.simulation.plantsim.disturbing import Breaking, blend
from edge_agent.simulation.plantsim.scenario import draw
from edge_agent.simulation.plantsim.scoring import (
    Judged,
    accuracy_at,
    area,
    brier,
    calibration_error,
    mean_reciprocal_rank,
    risk_coverage_area,
    share,
)
from edge_agent.simulation.plantsim.spoil import spoiled
from edge_agent.simulation.process.equipment import Equipment
from edge_agent.simulation.process.faults import FAULTS
from tests.fakes.diagnosed_line import pcb


def judged(truth: str, kind: str = "one", **p: float) -> Judged:
    return Judged(truth=frozenset({truth}), kind=kind, fault="f", p=p)


def test_a_scenario_follows_from_its_seed() -> None:
    assert draw(5, 3) == draw(5, 3)
    assert draw(5, 3) != draw(6, 3)
    kinds = {draw(5, number).kind for number in range(60)}
    assert kinds == {"one", "two", "none", "other"}


def test_half_a_fault_moves_half_as_far() -> None:
    line, fault = Equipment(), FAULTS["conveyor_fast"]
    before, after = deepcopy(line), deepcopy(line)
    fault.break_(after, np.random.default_rng(1))
    blend(line, before, after, 0.5)
    assert line.etcher.drive_gain == pytest.approx((before.etcher.drive_gain + after.etcher.drive_gain) / 2)


def test_a_drift_arrives_where_the_step_does() -> None:
    slow, fast = Equipment(), Equipment()
    drift = Breaking(fault=FAULTS["lamination_pressure"], seed=3, ramp=20)
    Breaking(fault=FAULTS["lamination_pressure"], seed=3).step(fast)
    for _ in range(40):
        drift.step(slow)
    assert slow.imaging.nip_bar == pytest.approx(fast.imaging.nip_bar)


def test_a_pulse_ends_and_an_intermittent_fault_comes_back() -> None:
    pulse, coming = Equipment(), Equipment()
    once = Breaking(fault=FAULTS["conveyor_fast"], seed=3, on=5)
    again = Breaking(fault=FAULTS["conveyor_fast"], seed=3, on=5, off=5)
    seen = []
    for _ in range(12):
        once.step(pulse)
        again.step(coming)
        seen.append((pulse.etcher.drive_gain > 1.01, coming.etcher.drive_gain > 1.01))
    assert seen[0] == (True, True)
    assert seen[7] == (False, False)
    assert seen[11] == (False, True)


def test_what_no_number_says_is_there_at_once() -> None:
    line = Equipment()
    Breaking(fault=FAULTS["phototool_dirt"], seed=3, size=0.5).step(line)
    assert line.imaging.opaque_spots


def test_a_spoiled_catalogue_differs_in_so_many_rows() -> None:
    catalogue = pcb()
    wrong, changes = spoiled(catalogue, 0.15, seed=2)
    differing = [a.cause_id for a, b in zip(catalogue.causes, wrong.causes, strict=True) if a != b]
    assert len(changes) == 3
    assert [text.partition(":")[0] for text in changes] == differing


def test_figures() -> None:
    sure = [judged("A", A=0.9, B=0.1)] * 9 + [judged("B", A=0.9, B=0.1)]
    assert calibration_error(sure) == pytest.approx(0.0, abs=1e-9) or calibration_error(sure) <= 0.2
    assert brier([judged("A", A=1.0)]) == 0.0
    assert brier([judged("A", B=1.0)]) == 2.0
    assert mean_reciprocal_rank([judged("B", A=0.6, B=0.4)]) == 0.5
    mixed = [judged("A", A=0.9, B=0.1), judged("B", A=0.6, B=0.4)]
    assert accuracy_at(mixed, 0.5) == 1.0
    assert risk_coverage_area(mixed) == pytest.approx(0.25)
    assert area(np.array([0.9, 0.8]), np.array([0.1, 0.8])) == pytest.approx(0.875)
    assert share([True, False])["value"] == 0.5


def test_two_causes_count_half_each() -> None:
    one = Judged(truth=frozenset({"A", "B"}), kind="two", fault="f+g", p={"A": 0.5, "B": 0.5})
    assert brier([one]) == 0.0
