"""The state of the line's machines: what the control system sets, and how well each machine still does it.

Everything here is changed by wear, by faults and by repairs; the physics reads it. Nothing here knows a defect class.
"""

from dataclasses import dataclass, field

import numpy as np

from edge_agent.simulation.process.physics import Floats

PHOTOTOOLS = ("PT-1", "PT-2", "PT-3")
FRAMES = ("F-1", "F-2")
LAMINATORS = ("LAM-1", "LAM-2")
EXPOSURE_UNITS = ("EXP-1", "EXP-2")
SIDES = ("top", "bottom")
RACKS = ("R-1", "R-2", "R-3", "R-4")


def clean_nozzles() -> Floats:
    """Ten nozzles, all open."""
    return np.ones(10, dtype=np.float64)


@dataclass(slots=True, kw_only=True)
class Bath:
    """A temperature-controlled bath.

    Attributes:
        heat: share of the heater and cooler that works; 0 drifts to ambient.
        set_c: the controller's set-point; ``sensor_error_c`` is added to what the controller and the plant see.
    """

    celsius: float
    set_c: float
    heat: float = 1.0
    sensor_error_c: float = 0.0


@dataclass(slots=True, kw_only=True)
class Etcher:
    """Cupric chloride spray etcher."""

    bath: Bath = field(default_factory=lambda: Bath(celsius=50.0, set_c=50.0))
    cupric_g_l: float = 133.0
    cuprous_g_l: float = 2.0
    acid_n: float = 2.0
    regeneration: float = 1.0
    """Share of bleed, oxidiser and acid dosing that works."""
    speed_set_m_min: float = 1.8
    drive_gain: float = 1.0
    """True belt speed over the demanded one."""
    stopped_s: float = 0.0
    """Seconds the belt still stands."""
    pump_bar: float = 2.2
    opening: dict[str, Floats] = field(default_factory=lambda: {side: clean_nozzles() for side in SIDES})
    oscillation: float = 1.0
    """Sweep of the spray arms; 0 lets liquid stand in the middle of the top side."""
    jams_per_panel: float = 0.0
    filter_leak: float = 0.0
    """Share of the flow that passes the filter unfiltered."""


@dataclass(slots=True, kw_only=True)
class Developer:
    """Carbonate developer and rinse."""

    bath: Bath = field(default_factory=lambda: Bath(celsius=30.0, set_c=30.0))
    carbonate_pct: float = 1.0
    loading: float = 0.3
    dosing: float = 1.0
    """Share of feed and bleed that works."""
    dosing_gain: float = 1.0
    """What the dosing controller aims for, over the recipe's concentration."""
    pump_bar: float = 1.8
    opening: Floats = field(default_factory=clean_nozzles)
    rinse_bar: float = 1.5


@dataclass(slots=True, kw_only=True)
class Imaging:
    """Pre-clean, lamination and exposure."""

    preclean_bar: float = 2.0
    brush: float = 1.0
    """Condition of the brushes, 1 is new."""
    nip_celsius: float = 110.0
    nip_set_c: float = 110.0
    nip_heat: float = 1.0
    nip_bar: float = 3.0
    nip_speed_m_min: float = 1.5
    roll_nick_mm: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Laminator to (x across the web, phase on the circumference) of a damage on its roll."""
    lamp: dict[str, float] = field(default_factory=lambda: dict.fromkeys(EXPOSURE_UNITS, 1.0))
    """Lamp output over nominal by exposure unit."""
    lamp_wear_per_panel: float = 0.0
    vacuum_kpa: dict[str, float] = field(default_factory=lambda: dict.fromkeys(FRAMES, 85.0))
    opaque_spots: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    """Phototool to positions (mm) of dirt that keeps light from the resist."""
    clear_scratches: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    """Phototool to positions (mm) where the emulsion is gone and light passes."""
    resist_age: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LAMINATORS, 0.0))
    """Laminator to the age of the roll on it: 0 fresh, 1 at the end of its shelf life."""


@dataclass(slots=True, kw_only=True)
class Room:
    """The yellow room."""

    particles_m3: float = 3_500.0
    filter_dp_kpa: float = 0.40
    dust_source: float = 1.0
    """Particle load over normal."""
    rh_pct: float = 50.0
    ambient_c: float = 22.0
    humidifier: float = 1.0


@dataclass(slots=True, kw_only=True)
class Material:
    """Laminate on the three feed stacks, resist on the rolls, racks in between."""

    laminate: list[str] = field(default_factory=lambda: ["L-4401", "L-4402", "L-4403"])
    pits_per_panel: dict[str, float] = field(default_factory=dict)
    """Laminate lot to expected pits per panel."""
    resist: dict[str, str] = field(default_factory=lambda: dict(zip(LAMINATORS, ("DF-310", "DF-311"), strict=True)))
    burr: dict[str, float] = field(default_factory=dict)
    """Rack to the chance that it scratches the panel it carries."""


@dataclass(slots=True, kw_only=True)
class Inspection:
    """The inspection station's own optics."""

    illumination: float = 1.0
    illumination_loss_per_panel: float = 0.0
    defocus_px: float = 0.0


@dataclass(slots=True, kw_only=True)
class Stray:
    """An influence that belongs to none of the machines: on the water, the air, the artwork, the people.

    Attributes:
        rate: flaws per panel that it meets.
        mix: defect class to share.
        stratum: only panels with this (name, level) meet it.
        corner_mm: within this distance of a corner; 0: anywhere.
        spots_mm: always at these places.
        every: only every so many panels; 1: all.
    """

    name: str
    rate: float
    mix: dict[str, float]
    stratum: tuple[str, str] | None = None
    corner_mm: float = 0.0
    spots_mm: tuple[tuple[float, float], ...] = ()
    every: int = 1


@dataclass(slots=True, kw_only=True)
class Equipment:
    """The whole line."""

    etcher: Etcher = field(default_factory=Etcher)
    developer: Developer = field(default_factory=Developer)
    imaging: Imaging = field(default_factory=Imaging)
    room: Room = field(default_factory=Room)
    material: Material = field(default_factory=Material)
    inspection: Inspection = field(default_factory=Inspection)
    strays: dict[str, Stray] = field(default_factory=dict)
