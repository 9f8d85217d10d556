"""Instruments: what the control system shows of the line, with noise and slow drift of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edge_agent.simulation.process import physics as ph
from edge_agent.simulation.process.equipment import Equipment


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One instrument.

    Attributes:
        noise: standard deviation of one reading, in ``unit``.
        relative: the noise is a share of the value instead.
        lower, upper: control-plan limits.
    """

    unit: str
    step: str
    noise: float
    lower: float
    upper: float
    relative: bool = False


SIGNALS: Mapping[str, Signal] = {
    "etch_temp_c": Signal(unit="C", step="etching", noise=0.12, lower=48.0, upper=52.0),
    "etch_speed_m_min": Signal(unit="m/min", step="etching", noise=0.008, lower=1.70, upper=1.90),
    "etch_cu_g_l": Signal(unit="g/l", step="etching", noise=0.7, lower=120.0, upper=145.0),
    "etch_orp_mv": Signal(unit="mV", step="etching", noise=1.5, lower=500.0, upper=540.0),
    "etch_acid_n": Signal(unit="N", step="etching", noise=0.02, lower=1.7, upper=2.3),
    "etch_spray_bar": Signal(unit="bar", step="etching", noise=0.015, lower=2.0, upper=2.4),
    "dev_temp_c": Signal(unit="C", step="developing", noise=0.12, lower=28.5, upper=31.5),
    "dev_conc_pct": Signal(unit="%", step="developing", noise=0.008, lower=0.9, upper=1.1),
    "dev_spray_bar": Signal(unit="bar", step="developing", noise=0.015, lower=1.6, upper=2.0),
    "rinse_spray_bar": Signal(unit="bar", step="developing", noise=0.015, lower=1.3, upper=1.7),
    "expo_energy_mj_cm2": Signal(unit="mJ/cm2", step="exposure", noise=0.35, lower=46.0, upper=54.0),
    "expo_vacuum_kpa": Signal(unit="kPa", step="exposure", noise=0.6, lower=80.0, upper=90.0),
    "lam_temp_c": Signal(unit="C", step="lamination", noise=0.4, lower=105.0, upper=115.0),
    "lam_press_bar": Signal(unit="bar", step="lamination", noise=0.02, lower=2.7, upper=3.3),
    "lam_speed_m_min": Signal(unit="m/min", step="lamination", noise=0.008, lower=1.4, upper=1.6),
    "preclean_press_bar": Signal(unit="bar", step="pre-clean", noise=0.02, lower=1.7, upper=2.3),
    "room_particles_m3": Signal(unit="1/m3", step="exposure", noise=0.05, lower=0.0, upper=10_000.0, relative=True),
    "room_rh_pct": Signal(unit="%", step="exposure", noise=0.3, lower=40.0, upper=60.0),
    "filter_dp_kpa": Signal(unit="kPa", step="exposure", noise=0.004, lower=0.30, upper=0.50),
}
"""Signal name to instrument."""


@dataclass(slots=True, kw_only=True)
class Instruments:
    """Reads the line. Each instrument wanders a little of its own accord, as instruments do."""

    seed: int
    _rng: np.random.Generator = field(init=False)
    _wander: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SIGNALS, 0.0))

    def __post_init__(self) -> None:
        """Seed the noise."""
        self._rng = np.random.default_rng([self.seed, 2])

    def read(self, line: Equipment, *, stopped: bool) -> dict[str, float]:
        """All readings, by signal."""
        return {name: self._noisy(name, value) for name, value in true_values(line, stopped=stopped).items()}

    def _noisy(self, name: str, value: float) -> float:
        signal = SIGNALS[name]
        self._wander[name] = 0.97 * self._wander[name] + float(self._rng.normal(0, 0.1))
        spread = signal.noise * (abs(value) if signal.relative else 1.0)
        return round(value + spread * (float(self._rng.normal()) + self._wander[name]), 5)


def true_values(line: Equipment, *, stopped: bool = False) -> dict[str, float]:
    """What ideal instruments would show."""
    etcher, developer, imaging, room = line.etcher, line.developer, line.imaging, line.room
    redox = ph.redox_mv(cupric_g_l=etcher.cupric_g_l, cuprous_g_l=etcher.cuprous_g_l, celsius=etcher.bath.celsius)
    return {
        "etch_temp_c": etcher.bath.celsius + etcher.bath.sensor_error_c,
        "etch_speed_m_min": 0.0 if stopped else etcher.speed_set_m_min * etcher.drive_gain,
        "etch_cu_g_l": etcher.cupric_g_l + etcher.cuprous_g_l,
        "etch_orp_mv": redox,
        "etch_acid_n": etcher.acid_n,
        "etch_spray_bar": etcher.pump_bar,
        "dev_temp_c": developer.bath.celsius + developer.bath.sensor_error_c,
        "dev_conc_pct": developer.carbonate_pct,
        "dev_spray_bar": developer.pump_bar,
        "rinse_spray_bar": developer.rinse_bar,
        "expo_energy_mj_cm2": 50.0 * float(np.mean(list(imaging.lamp.values()))),
        "expo_vacuum_kpa": float(np.mean(list(imaging.vacuum_kpa.values()))),
        "lam_temp_c": imaging.nip_celsius,
        "lam_press_bar": imaging.nip_bar,
        "lam_speed_m_min": imaging.nip_speed_m_min,
        "preclean_press_bar": imaging.preclean_bar,
        "room_particles_m3": room.particles_m3,
        "room_rh_pct": room.rh_pct,
        "filter_dp_kpa": room.filter_dp_kpa,
    }
