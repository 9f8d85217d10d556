"""Hidden faults: each breaks something in the equipment, and a repair makes it whole again.

``cause_id`` names what a technician would write into the plant's system. It goes to the truth file, which only the
simulators read; the physics does not know it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edge_agent.simulation.process import equipment as eq
from edge_agent.simulation.process.physics import PANEL_MM, ROLL_CIRCUMFERENCE_MM

Change = Callable[[eq.Equipment, np.random.Generator], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One hidden fault.

    Attributes:
        break_: what happens at the onset.
        repair: what the right work restores.
        repaired: kind and subject of the event that the plant's log shows after the repair.
        announced: kind and subject of an event at the onset, where there is one; the log does not say that it matters.
    """

    name: str
    cause_id: str
    cause_text: str
    break_: Change
    repair: Change
    repaired: tuple[str, str]
    announced: tuple[str, str] | None = None


def _spots(rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    places = rng.uniform(50, PANEL_MM - 50, (3, 2))
    return tuple((float(x), float(y)) for x, y in places)


def _dirty_phototool(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.opaque_spots[str(rng.choice(eq.PHOTOTOOLS))] = _spots(rng)


def _clean_phototools(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.opaque_spots.clear()


def _scratch_phototool(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.clear_scratches[str(rng.choice(eq.PHOTOTOOLS))] = _spots(rng)


def _replace_phototools(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.clear_scratches.clear()


def _dust(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.room.dust_source = float(rng.uniform(150, 200))
    line.room.filter_dp_kpa *= 0.62


def _clean_room(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.room.dust_source = 1.0
    line.room.filter_dp_kpa = 0.40


def _nick_roll(line: eq.Equipment, rng: np.random.Generator) -> None:
    where = float(rng.uniform(40, PANEL_MM - 40)), float(rng.uniform(0, ROLL_CIRCUMFERENCE_MM))
    line.imaging.roll_nick_mm[str(rng.choice(eq.LAMINATORS))] = where


def _change_roll(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.roll_nick_mm.clear()


def _soften_nip(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.nip_bar = float(rng.uniform(1.55, 1.7))


def _restore_nip(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.nip_bar = 3.0


def _cool_nip(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.nip_heat = float(rng.uniform(0.78, 0.82))


def _reheat_nip(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.nip_heat = 1.0
    line.imaging.nip_celsius = line.imaging.nip_set_c


def _wear_brush(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.preclean_bar = float(rng.uniform(1.15, 1.3))
    line.imaging.brush = 0.9


def _change_brush(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.preclean_bar = 2.0
    line.imaging.brush = 1.0


def _age_lamps(line: eq.Equipment, rng: np.random.Generator) -> None:
    for unit in line.imaging.lamp:
        line.imaging.lamp[unit] = 0.86
    line.imaging.lamp_wear_per_panel = float(rng.uniform(0.009, 0.012))


def _change_lamps(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.lamp_wear_per_panel = 0.0
    for unit in line.imaging.lamp:
        line.imaging.lamp[unit] = 1.0


def _leak(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.vacuum_kpa[str(rng.choice(eq.FRAMES))] = float(rng.uniform(26, 32))


def _seal(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.imaging.vacuum_kpa.update(dict.fromkeys(eq.FRAMES, 85.0))


def _starve_developer(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.developer.dosing = float(rng.uniform(0.0, 0.05))
    line.developer.carbonate_pct = 0.86


def _remake_developer(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.developer.dosing = 1.0
    line.developer.carbonate_pct, line.developer.loading = 1.0, 0.3


def _clog_developer(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.developer.opening[int(rng.integers(2, 8))] = float(rng.uniform(0.05, 0.12))
    line.developer.pump_bar = 2.0
    line.developer.rinse_bar = 1.2


def _clean_developer(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.developer.opening[:] = 1.0
    line.developer.pump_bar, line.developer.rinse_bar = 1.8, 1.5


def _load_etchant(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.etcher.regeneration = float(rng.uniform(0.30, 0.36))


def _remake_etchant(line: eq.Equipment, rng: np.random.Generator) -> None:
    etcher = line.etcher
    etcher.regeneration = 1.0
    etcher.cupric_g_l, etcher.cuprous_g_l, etcher.acid_n = 133.0, 2.0, 2.0


def _speed_up(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.etcher.drive_gain = float(rng.uniform(1.065, 1.085))


def _slow_down(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.etcher.drive_gain = float(rng.uniform(0.905, 0.92))


def _recalibrate_drive(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.etcher.drive_gain = 1.0


def _cool_etchant(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.etcher.bath.heat = float(rng.uniform(0.905, 0.925))


def _repair_heater(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.etcher.bath.heat = 1.0
    line.etcher.bath.celsius = line.etcher.bath.set_c


def _jam(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.etcher.jams_per_panel = 0.11


def _unjam(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.etcher.jams_per_panel = 0.0


def _clog_etcher(line: eq.Equipment, rng: np.random.Generator) -> None:
    side = str(rng.choice(eq.SIDES))
    line.etcher.opening[side][int(rng.integers(2, 8))] = float(rng.uniform(0.3, 0.45))
    line.etcher.pump_bar = 2.38


def _clean_etcher(line: eq.Equipment, rng: np.random.Generator) -> None:
    for opening in line.etcher.opening.values():
        opening[:] = 1.0
    line.etcher.pump_bar = 2.2


def _still_arms(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.etcher.oscillation = 0.0


def _swing_arms(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.etcher.oscillation = 1.0


def _leak_filter(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.etcher.filter_leak = float(rng.uniform(0.5, 0.8))


def _seat_filter(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.etcher.filter_leak = 0.0


def _burr(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.material.burr[str(rng.choice(eq.RACKS))] = 0.9


def _smooth_racks(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.material.burr.clear()


def _pitted_lot(line: eq.Equipment, rng: np.random.Generator) -> None:
    stack = int(rng.integers(len(line.material.laminate)))
    line.material.laminate[stack] = f"L-{int(rng.integers(5100, 5999))}"
    line.material.pits_per_panel = {line.material.laminate[stack]: 1.5}


def _quarantine_lot(line: eq.Equipment, rng: np.random.Generator) -> None:
    stacks, bad = line.material.laminate, line.material.pits_per_panel
    line.material.laminate = [f"L-{int(rng.integers(6100, 6999))}" if lot in bad else lot for lot in stacks]
    line.material.pits_per_panel = {}


def _old_resist(line: eq.Equipment, rng: np.random.Generator) -> None:
    laminator = str(rng.choice(eq.LAMINATORS))
    line.material.resist[laminator] = f"DF-{int(rng.integers(100, 199))}"
    line.imaging.resist_age[laminator] = 0.85


def _fresh_resist(line: eq.Equipment, rng: np.random.Generator) -> None:
    for laminator, age in line.imaging.resist_age.items():
        if age > 0:
            line.material.resist[laminator] = f"DF-{int(rng.integers(400, 499))}"
            line.imaging.resist_age[laminator] = 0.0


def _dim_inspection(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.inspection.illumination_loss_per_panel = 0.006
    line.inspection.defocus_px = 1.6


def _clean_optics(line: eq.Equipment, rng: np.random.Generator) -> None:
    line.inspection.illumination_loss_per_panel = 0.0
    line.inspection.illumination, line.inspection.defocus_px = 1.0, 0.0


_TABLE = (
    Fault(
        name="phototool_dirt",
        cause_id="A01",
        cause_text="particle stuck on a phototool",
        break_=_dirty_phototool,
        repair=_clean_phototools,
        repaired=("cleaning", "phototool"),
    ),
    Fault(
        name="phototool_scratch",
        cause_id="A02",
        cause_text="emulsion of a phototool is scratched",
        break_=_scratch_phototool,
        repair=_replace_phototools,
        repaired=("tool_change", "phototool"),
    ),
    Fault(
        name="dust_burst",
        cause_id="A03",
        cause_text="torn clean-room filter, dust between lamination and exposure",
        break_=_dust,
        repair=_clean_room,
        repaired=("filter_change", "yellow-room"),
        announced=("filter_change", "yellow-room"),
    ),
    Fault(
        name="lamination_roll_nick",
        cause_id="A04",
        cause_text="nick in a lamination roll",
        break_=_nick_roll,
        repair=_change_roll,
        repaired=("tool_change", "laminator"),
    ),
    Fault(
        name="lamination_pressure",
        cause_id="A05",
        cause_text="lamination pressure low, rolls bow",
        break_=_soften_nip,
        repair=_restore_nip,
        repaired=("maintenance", "laminator"),
    ),
    Fault(
        name="lamination_cold",
        cause_id="A06",
        cause_text="heating cartridge of the laminator failed",
        break_=_cool_nip,
        repair=_reheat_nip,
        repaired=("maintenance", "laminator"),
    ),
    Fault(
        name="preclean_weak",
        cause_id="A07",
        cause_text="pre-clean brushes worn, low pressure",
        break_=_wear_brush,
        repair=_change_brush,
        repaired=("maintenance", "pre-clean"),
    ),
    Fault(
        name="exposure_lamp_ageing",
        cause_id="A08",
        cause_text="exposure lamps at the end of life",
        break_=_age_lamps,
        repair=_change_lamps,
        repaired=("tool_change", "exposure"),
    ),
    Fault(
        name="vacuum_leak",
        cause_id="A10",
        cause_text="leaking gasket of an exposure frame",
        break_=_leak,
        repair=_seal,
        repaired=("maintenance", "exposure"),
    ),
    Fault(
        name="developer_exhausted",
        cause_id="A11",
        cause_text="developer dosing pump failed, bath exhausted",
        break_=_starve_developer,
        repair=_remake_developer,
        repaired=("maintenance", "developer"),
    ),
    Fault(
        name="developer_nozzle_clogged",
        cause_id="A13",
        cause_text="developer nozzle clogged",
        break_=_clog_developer,
        repair=_clean_developer,
        repaired=("cleaning", "developer"),
    ),
    Fault(
        name="etchant_loaded",
        cause_id="A14",
        cause_text="regeneration of the etchant failed",
        break_=_load_etchant,
        repair=_remake_etchant,
        repaired=("maintenance", "etcher"),
    ),
    Fault(
        name="conveyor_fast",
        cause_id="A15",
        cause_text="etcher conveyor runs fast after a drive fault",
        break_=_speed_up,
        repair=_recalibrate_drive,
        repaired=("maintenance", "etcher"),
    ),
    Fault(
        name="etch_bath_cold",
        cause_id="A15",
        cause_text="etcher heater failed, bath cold",
        break_=_cool_etchant,
        repair=_repair_heater,
        repaired=("maintenance", "etcher"),
    ),
    Fault(
        name="conveyor_slow",
        cause_id="A16",
        cause_text="etcher conveyor runs slow",
        break_=_slow_down,
        repair=_recalibrate_drive,
        repaired=("maintenance", "etcher"),
    ),
    Fault(
        name="line_stop",
        cause_id="A16",
        cause_text="panels over-etched in stops of the etcher conveyor",
        break_=_jam,
        repair=_unjam,
        repaired=("maintenance", "etcher"),
    ),
    Fault(
        name="etch_nozzle_clogged",
        cause_id="A17",
        cause_text="etcher nozzle clogged",
        break_=_clog_etcher,
        repair=_clean_etcher,
        repaired=("cleaning", "etcher"),
    ),
    Fault(
        name="etch_puddling",
        cause_id="A18",
        cause_text="oscillation drive of the etcher stands still",
        break_=_still_arms,
        repair=_swing_arms,
        repaired=("maintenance", "etcher"),
    ),
    Fault(
        name="filter_bypass",
        cause_id="A19",
        cause_text="etcher filter not seated, sludge passes",
        break_=_leak_filter,
        repair=_seat_filter,
        repaired=("filter_change", "etcher"),
        announced=("filter_change", "etcher"),
    ),
    Fault(
        name="handling_scratch",
        cause_id="A20",
        cause_text="burr on a rack scratches the panels",
        break_=_burr,
        repair=_smooth_racks,
        repaired=("maintenance", "rack"),
    ),
    Fault(
        name="laminate_lot",
        cause_id="A21",
        cause_text="pitted copper foil in a laminate lot",
        break_=_pitted_lot,
        repair=_quarantine_lot,
        repaired=("lot_change", "laminate"),
        announced=("lot_change", "laminate"),
    ),
    Fault(
        name="resist_lot",
        cause_id="A22",
        cause_text="aged resist roll",
        break_=_old_resist,
        repair=_fresh_resist,
        repaired=("lot_change", "resist"),
        announced=("lot_change", "resist"),
    ),
    Fault(
        name="aoi_lamp",
        cause_id="MEAS",
        cause_text="inspection lamp ageing, lens out of focus",
        break_=_dim_inspection,
        repair=_clean_optics,
        repaired=("cleaning", "aoi"),
    ),
)

FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _TABLE}
"""All faults by name."""
