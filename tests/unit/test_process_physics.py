"""Invariants of the line's equations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.simulation.process import physics as ph

celsius = st.floats(20, 70)
step = st.floats(0.1, 10)
positions = np.linspace(0, ph.PANEL_MM, 33)
clean = np.ones(10)


def rate(**changed: float) -> float:
    nominal = {"celsius": 50.0, "cupric_g_l": 133.0, "cuprous_g_l": 2.0, "acid_n": 2.0}
    return ph.etch_rate_ratio(**{**nominal, **changed})


def break_point(**changed: float) -> float:
    nominal = {"celsius": 30.0, "carbonate_pct": 1.0, "loading": 0.3, "speed_m_min": 1.8}
    return float(ph.clearing(**{**nominal, **changed}, spray=np.ones(1))[0])


def grip(celsius: float, bar: float, speed: float) -> float:
    return float(ph.conformation(celsius=celsius, pressure_bar=np.array([bar]), speed_m_min=speed)[0])


def test_the_nominal_line_is_as_designed() -> None:
    assert rate() == pytest.approx(1.0)
    dwell = ph.ETCH_CHAMBER_M / 1.8
    excess = ph.over_etch(rate_ratio=1.0, spray=np.ones(3), dwell_min=dwell, foil_ratio=1.0)
    assert excess == pytest.approx(0.15)
    assert ph.polymerised(50.0) == pytest.approx(1.0)
    assert grip(110.0, 3.0, 1.5) == pytest.approx(1.0)
    assert break_point() == pytest.approx(0.5, rel=0.01)


@given(celsius, step)
def test_a_hotter_bath_etches_faster(base: float, more: float) -> None:
    assert rate(celsius=base + more) > rate(celsius=base)


@given(st.floats(0.1, 30), st.floats(0.1, 10))
def test_cuprous_ions_slow_the_etch_and_lower_the_redox_potential(base: float, more: float) -> None:
    assert rate(cuprous_g_l=base + more) < rate(cuprous_g_l=base)
    few = ph.redox_mv(cupric_g_l=133, cuprous_g_l=base, celsius=50)
    many = ph.redox_mv(cupric_g_l=133, cuprous_g_l=base + more, celsius=50)
    assert many < few


@given(st.floats(0.5, 3), st.floats(0.05, 1))
def test_a_longer_dwell_removes_more(dwell: float, more: float) -> None:
    def excess(minutes: float) -> float:
        return float(ph.over_etch(rate_ratio=1.0, spray=np.ones(1), dwell_min=minutes, foil_ratio=1.0)[0])

    assert excess(dwell + more) > excess(dwell)


@given(st.floats(-0.3, 0.6), st.floats(0.005, 0.2))
def test_more_etching_bridges_fewer_gaps_and_eats_more_lines(excess: float, more: float) -> None:
    less, greater = np.array([excess]), np.array([excess + more])
    assert ph.bridged_gap(greater) <= ph.bridged_gap(less)
    assert ph.eaten_line(greater, tolerance=0.35) >= ph.eaten_line(less, tolerance=0.35)


@given(st.integers(0, 9), st.floats(0, 0.9))
def test_a_clogged_nozzle_weakens_the_spray_most_below_itself(nozzle: int, opening: float) -> None:
    clogged = clean.copy()
    clogged[nozzle] = opening
    before = ph.spray_field(positions, opening=clean, pressure_bar=2.2, nominal_bar=2.2)
    after = ph.spray_field(positions, opening=clogged, pressure_bar=2.2, nominal_bar=2.2)
    assert np.all(after <= before + 1e-12)
    assert abs(positions[(before - after).argmax()] - ph.NOZZLE_X_MM[nozzle]) <= 16.0


@given(st.floats(5, 90), st.floats(1, 30))
def test_more_light_hardens_the_resist(dose: float, more: float) -> None:
    assert ph.polymerised(dose + more) > ph.polymerised(dose)


@given(st.floats(80, 120), st.floats(0.5, 5), st.floats(0.5, 3))
def test_heat_and_pressure_press_the_resist_on_and_haste_does_not(nip: float, bar: float, speed: float) -> None:
    assert grip(nip + 5, bar, speed) > grip(nip, bar, speed)
    assert grip(nip, bar + 0.3, speed) > grip(nip, bar, speed)
    assert grip(nip, bar, speed + 0.3) < grip(nip, bar, speed)


def test_a_soft_nip_is_softest_in_the_middle() -> None:
    pressure = ph.roll_pressure(positions, mean_bar=1.6)
    assert abs(positions[pressure.argmin()] - ph.PANEL_MM / 2) < 10
    assert np.ptp(ph.roll_pressure(positions, mean_bar=3.0)) < np.ptp(pressure)


@given(st.floats(0.2, 1.5), st.floats(0.05, 0.5))
def test_a_strong_warm_fresh_developer_clears_sooner(carbonate: float, more: float) -> None:
    assert break_point(carbonate_pct=carbonate + more) < break_point(carbonate_pct=carbonate)
    assert break_point(celsius=30 + 10 * more) < break_point()
    assert break_point(loading=0.3 + more) > break_point()


@given(st.floats(0, 90), st.floats(1, 10))
def test_more_vacuum_closes_the_contact_gap(vacuum: float, more: float) -> None:
    assert ph.contact_gap_um(vacuum + more) < ph.contact_gap_um(vacuum)


@given(st.floats(0.2, 1.5), st.floats(0.01, 0.3))
def test_better_adhesion_lifts_fewer_edges(adhesion: float, more: float) -> None:
    assert ph.lifted_edge(np.array([adhesion + more])) <= ph.lifted_edge(np.array([adhesion]))
