"""The line in motion: repeatable by seed; each fault does what its physics says, and the right repair ends it."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from edge_agent.simulation.boards import CODES
from edge_agent.simulation.process import FAULTS, SIGNALS, Artwork, Panel, Plant
from edge_agent.simulation.process.defects import MAX_FLAWS
from edge_agent.simulation.process.physics import PANEL_MM, ROLL_CIRCUMFERENCE_MM


def artwork(product_id: str = "P") -> Artwork:
    rng = np.random.default_rng(5)
    places = {code: rng.uniform(15, PANEL_MM - 15, (400, 2)) for code in CODES}
    return Artwork(product_id=product_id, places_mm=places)


ARTWORK = artwork()


def plant(seed: int = 3) -> Plant:
    return Plant((ARTWORK,), seed)


def made(line: Plant, count: int) -> list[Panel]:
    return [line.make() for _ in range(count)]


def faulty(name: str, *, seed: int = 3, parts: int = 80) -> list[Panel]:
    line = plant(seed)
    made(line, 20)
    line.start_fault(FAULTS[name])
    return made(line, parts)


def flaws(panels: list[Panel]) -> Iterator[tuple[Panel, str, float, float, str]]:
    for panel in panels:
        for flaw in panel.flaws:
            yield panel, flaw.code, flaw.x_mm, flaw.y_mm, flaw.mechanism


def test_the_same_seed_makes_the_same_line() -> None:
    first, second = plant(9), plant(9)
    assert [line.readings() for line in (first,)] == [line.readings() for line in (second,)]
    for line in (first, second):
        made(line, 15)
        line.start_fault(FAULTS["etch_nozzle_clogged"])
    assert made(first, 30) == made(second, 30)
    assert first.readings() == second.readings()
    assert made(plant(9), 40) != made(plant(10), 40)


def test_a_healthy_line_makes_about_one_defective_panel_in_a_hundred() -> None:
    panels = [panel for seed in range(3) for panel in made(plant(seed), 400)]
    defective = sum(bool(panel.flaws) for panel in panels) / len(panels)
    assert 0.003 < defective < 0.02


def test_a_healthy_line_stays_within_its_control_plan() -> None:
    line = plant()
    for _ in range(300):
        line.make()
        readings = line.readings()
        assert readings.keys() == SIGNALS.keys()
    outside = [name for name, value in readings.items() if not SIGNALS[name].lower <= value <= SIGNALS[name].upper]
    assert outside == []


INTENDED = {
    "phototool_dirt": ("phototool_dirt", {"open", "pin_hole", "mousebite"}),
    "phototool_scratch": ("phototool_scratch", {"short", "spurious_copper", "spur"}),
    "dust_burst": ("dust", {"pin_hole", "open", "mousebite"}),
    "lamination_roll_nick": ("roll_nick", {"open", "mousebite"}),
    "lamination_pressure": ("lift_off", {"mousebite", "open", "pin_hole"}),
    "lamination_cold": ("lift_off", {"mousebite", "open", "pin_hole"}),
    "preclean_weak": ("lift_off", {"mousebite", "open", "pin_hole"}),
    "exposure_lamp_ageing": ("lift_off", {"mousebite", "open", "pin_hole"}),
    "vacuum_leak": ("off_contact", {"short", "spur"}),
    "developer_exhausted": ("scum", {"spurious_copper", "short", "spur"}),
    "developer_nozzle_clogged": ("scum", {"spurious_copper", "short", "spur"}),
    "etchant_loaded": ("under_etch", {"spurious_copper", "short", "spur"}),
    "conveyor_fast": ("under_etch", {"spurious_copper", "short", "spur"}),
    "etch_bath_cold": ("under_etch", {"spurious_copper", "short", "spur"}),
    "conveyor_slow": ("over_etch", {"mousebite", "open"}),
    "line_stop": ("over_etch", {"mousebite", "open"}),
    "etch_nozzle_clogged": ("under_etch", {"spurious_copper", "short", "spur"}),
    "etch_puddling": ("under_etch", {"spurious_copper", "short", "spur"}),
    "filter_bypass": ("sludge", {"spurious_copper", "short"}),
    "handling_scratch": ("scratch", {"open", "mousebite"}),
    "laminate_lot": ("foil_pit", {"pin_hole", "mousebite"}),
    "resist_lot": ("lift_off", {"mousebite", "open", "pin_hole"}),
}


@pytest.mark.parametrize("name", sorted(INTENDED))
def test_each_fault_raises_what_its_mechanism_makes(name: str) -> None:
    mechanism, classes = INTENDED[name]
    panels = faulty(name)
    by_mechanism = Counter(kind for *_, kind in flaws(panels))
    assert sum(bool(panel.flaws) for panel in panels) >= 10
    assert by_mechanism[mechanism] >= 0.8 * sum(by_mechanism.values())
    assert {code for _, code, _, _, kind in flaws(panels) if kind == mechanism} <= classes
    assert all(len(panel.flaws) <= MAX_FLAWS for panel in panels)


def test_every_fault_is_covered() -> None:
    assert set(INTENDED) | {"aoi_lamp"} == set(FAULTS)


def test_the_inspection_lamp_harms_the_picture_and_not_the_panel() -> None:
    panels = faulty("aoi_lamp")
    assert panels[-1].illumination < 0.8
    assert panels[-1].defocus_px > 1
    assert sum(bool(panel.flaws) for panel in panels) < 6


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_the_right_repair_ends_a_fault_and_a_wrong_one_does_not(name: str) -> None:
    line = plant()
    made(line, 20)
    line.start_fault(FAULTS[name])
    made(line, 50)
    line.notices()
    wrong = "A01" if FAULTS[name].cause_id != "A01" else "A02"
    assert not line.repair(wrong)
    assert line.fault is FAULTS[name]
    assert line.repair(FAULTS[name].cause_id)
    assert line.fault is None
    assert FAULTS[name].repaired in [(notice.kind, notice.subject) for notice in line.notices()]
    made(line, 30)
    after = made(line, 150)
    assert sum(bool(panel.flaws) for panel in after) <= 8
    assert after[-1].illumination == 1.0


def test_phototool_dirt_repeats_at_its_places_on_one_phototool() -> None:
    found = [(panel, x, y) for panel, _, x, y, kind in flaws(faulty("phototool_dirt")) if kind == "phototool_dirt"]
    assert len({panel.strata["phototool"] for panel, _, _ in found}) == 1
    assert len({(round(x), round(y)) for _, x, y in found}) <= 3


def test_a_roll_nick_repeats_with_the_roll() -> None:
    panels = faulty("lamination_roll_nick", parts=150)
    found = [(panel.number, x, y) for panel, _, x, y, kind in flaws(panels) if kind == "roll_nick"]
    assert np.ptp([x for _, x, _ in found]) < 40
    pairs = [b[2] - a[2] for a, b in pairwise(found) if a[0] == b[0]]
    assert pairs
    assert np.median(np.abs(pairs)) == pytest.approx(ROLL_CIRCUMFERENCE_MM, abs=20)


def test_a_clogged_nozzle_makes_a_streak_on_one_side() -> None:
    found = [(panel, x) for panel, _, x, _, kind in flaws(faulty("etch_nozzle_clogged")) if kind == "under_etch"]
    assert len({panel.strata["side"] for panel, _ in found}) == 1
    assert np.std([x for _, x in found]) < 30


def test_a_leaking_frame_fails_at_the_edge() -> None:
    found = [(panel, x, y) for panel, _, x, y, kind in flaws(faulty("vacuum_leak")) if kind == "off_contact"]
    by_frame = Counter(panel.strata["frame"] for panel, _, _ in found)
    assert max(by_frame.values()) > 0.9 * len(found)
    edge = [max(abs(2 * x / PANEL_MM - 1), abs(2 * y / PANEL_MM - 1)) for _, x, y in found]
    assert np.median(edge) > 0.8


def test_a_soft_nip_fails_in_the_middle() -> None:
    xs = [x for _, _, x, _, kind in flaws(faulty("lamination_pressure")) if kind == "lift_off"]
    assert np.mean(np.abs(np.array(xs) - PANEL_MM / 2) < 80) > 0.75


@pytest.mark.parametrize(
    ("name", "signal", "sign"),
    [
        ("etch_bath_cold", "etch_temp_c", -1),
        ("conveyor_fast", "etch_speed_m_min", 1),
        ("conveyor_slow", "etch_speed_m_min", -1),
        ("etchant_loaded", "etch_cu_g_l", 1),
        ("etchant_loaded", "etch_orp_mv", -1),
        ("developer_exhausted", "dev_conc_pct", -1),
        ("exposure_lamp_ageing", "expo_energy_mj_cm2", -1),
        ("vacuum_leak", "expo_vacuum_kpa", -1),
        ("lamination_cold", "lam_temp_c", -1),
        ("lamination_pressure", "lam_press_bar", -1),
        ("preclean_weak", "preclean_press_bar", -1),
        ("dust_burst", "room_particles_m3", 1),
        ("etch_nozzle_clogged", "etch_spray_bar", 1),
    ],
)
def test_telemetry_moves_with_the_fault(name: str, signal: str, sign: int) -> None:
    line = plant()
    made(line, 40)
    before = np.median([line.readings()[signal] for _ in range(9)])
    line.start_fault(FAULTS[name])
    made(line, 40)
    after = np.median([line.readings()[signal] for _ in range(9)])
    noise = SIGNALS[signal].noise * (before if SIGNALS[signal].relative else 1)
    assert sign * (after - before) > 5 * noise
