"""The line in motion: panels pass, baths age, controllers act, things break and are repaired."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edge_agent.simulation.process import physics as ph
from edge_agent.simulation.process.artwork import Artwork
from edge_agent.simulation.process.defects import Pass, flaws_of
from edge_agent.simulation.process.equipment import (
    EXPOSURE_UNITS,
    FRAMES,
    LAMINATORS,
    PHOTOTOOLS,
    RACKS,
    SIDES,
    Bath,
    Equipment,
)
from edge_agent.simulation.process.faults import Fault
from edge_agent.simulation.process.panel import Notice, Panel
from edge_agent.simulation.process.readings import Instruments

TAKT_S = 20.0
"""Process seconds from panel to panel."""
_PITCH_MM = ph.PANEL_MM + 25.0
_COPPER_G_L_PER_PANEL = 0.62
"""What one panel adds to the sump."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routine:
    """The line's ordinary life, in panels.

    Attributes:
        lot: panels per production lot; laminate stacks are refilled every ``stack``.
        campaign: panels until the next product.
        chores: chance per panel of an entry in the log that changes nothing.
    """

    lot: int = 40
    stack: int = 90
    campaign: int = 160
    shift: int = 220
    chores: float = 0.03


_CHORES = (
    ("maintenance", "stripper"),
    ("maintenance", "unloader"),
    ("maintenance", "conveyor-3"),
    ("cleaning", "etcher-cover"),
    ("cleaning", "phototool"),
    ("cleaning", "loader"),
    ("filter_change", "rinse"),
    ("tool_change", "tacky-roller"),
    ("lot_change", "resist"),
    ("line_stop", "loader"),
)


@dataclass(slots=True)
class Plant:
    """A simulated line. ``make`` moves it on by one panel; the same seed and the same calls make the same line."""

    artworks: tuple[Artwork, ...]
    seed: int
    routine: Routine = field(default_factory=Routine)
    line: Equipment = field(default_factory=Equipment)
    number: int = 0
    fault: Fault | None = None
    _rng: np.random.Generator = field(init=False)
    _instruments: Instruments = field(init=False)
    _notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=64))
    _late_dwell: deque[float] = field(default_factory=deque)
    _stopped: bool = False
    _phase_mm: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LAMINATORS, 0.0))
    _ambient: float = 0.0

    def __post_init__(self) -> None:
        """Seed the line."""
        self._rng = np.random.default_rng([self.seed, 1])
        self._instruments = Instruments(seed=self.seed)
        self._notices.append(Notice(kind="startup", subject="line"))

    @property
    def product(self) -> Artwork:
        """The artwork of the product that runs now."""
        return self.artworks[(self.number // self.routine.campaign) % len(self.artworks)]

    def start_fault(self, fault: Fault) -> None:
        """Break something. The line does not say so."""
        fault.break_(self.line, self._rng)
        self.fault = fault
        if fault.announced:
            self._notices.append(Notice(kind=fault.announced[0], subject=fault.announced[1]))

    def announce(self, kind: str, subject: str) -> None:
        """Write an entry into the plant's log."""
        self._notices.append(Notice(kind=kind, subject=subject))

    def repair(self, cause_id: str) -> bool:
        """Somebody did the work for a cause. Only the right work ends the fault; any work is in the log."""
        fault = self.fault
        if fault is None or fault.cause_id != cause_id:
            self._notices.append(Notice(kind="maintenance", subject=_SUBJECTS.get(cause_id, "line")))
            return False
        fault.repair(self.line, self._rng)
        self.fault = None
        self._late_dwell.clear()
        self._notices.append(Notice(kind=fault.repaired[0], subject=fault.repaired[1]))
        return True

    def make(self) -> Panel:
        """Move on by one takt and let one panel out."""
        self._live()
        self.number += 1
        route = self._route()
        panel = Pass(
            line=self.line,
            artwork=self.product,
            route=route,
            extra_dwell_min=self._late_dwell.popleft() if self._late_dwell else 0.0,
            foil_ratio=float(self._rng.normal(1.0, 0.006)),
            roll_phase_mm=self._phase_mm[route["laminator"]],
            rng=self._rng,
        )
        self._phase_mm[route["laminator"]] += _PITCH_MM
        return Panel(
            number=self.number,
            product_id=self.product.product_id,
            lot_id=f"LOT-{self.seed % 1000:03d}-{1 + self.number // self.routine.lot}",
            strata=route,
            flaws=flaws_of(panel),
            illumination=self.line.inspection.illumination,
            defocus_px=self.line.inspection.defocus_px,
            noise_seed=int(self._rng.integers(2**31)),
        )

    def readings(self) -> Mapping[str, float]:
        """What the instruments show now, by signal."""
        return self._instruments.read(self.line, stopped=self._stopped)

    def notices(self) -> list[Notice]:
        """Log entries since the last call."""
        found = list(self._notices)
        self._notices.clear()
        return found

    def _route(self) -> dict[str, str]:
        rng, material = self._rng, self.line.material
        laminator = LAMINATORS[int(rng.integers(len(LAMINATORS)))]
        return {
            "phototool": PHOTOTOOLS[int(rng.integers(len(PHOTOTOOLS)))],
            "frame": FRAMES[int(rng.integers(len(FRAMES)))],
            "laminator": laminator,
            "expo_unit": EXPOSURE_UNITS[int(rng.integers(len(EXPOSURE_UNITS)))],
            "side": SIDES[int(rng.integers(len(SIDES)))],
            "laminate_lot": material.laminate[int(rng.integers(len(material.laminate)))],
            "resist_lot": material.resist[laminator],
            "rack": RACKS[int(rng.integers(len(RACKS)))],
            "shift": "ABC"[(self.number // self.routine.shift) % 3],
        }

    def _live(self) -> None:
        """One takt of the line's life."""
        self._ambient += 0.02 * (-self._ambient) + float(self._rng.normal(0, 0.03))
        self.line.room.ambient_c = 22.0 + self._ambient
        self._heat()
        self._load_etchant()
        self._load_developer()
        self._wear()
        self._belt()
        self._air()
        self._log()

    def _heat(self) -> None:
        etcher, developer, imaging = self.line.etcher, self.line.developer, self.line.imaging
        for bath, tau_s in ((etcher.bath, 240.0), (developer.bath, 240.0)):
            _settle(bath, self.line.room.ambient_c, tau_s, float(self._rng.normal(0, 0.02)))
        reach = self.line.room.ambient_c + imaging.nip_heat * (imaging.nip_set_c - self.line.room.ambient_c)
        imaging.nip_celsius += (reach - imaging.nip_celsius) * TAKT_S / 200.0 + float(self._rng.normal(0, 0.05))

    def _load_etchant(self) -> None:
        """Copper goes in with every panel; bleed, oxidiser and acid bring the bath back to its set-points.

        Each dissolved copper atom turns one cupric ion into two cuprous ones; air alone re-oxidises slowly.
        """
        etcher, working = self.line.etcher, self.line.etcher.regeneration
        etcher.cuprous_g_l += 2 * _COPPER_G_L_PER_PANEL
        oxidised = (0.348 * working + 0.035) * etcher.cuprous_g_l
        etcher.cuprous_g_l -= oxidised
        etcher.cupric_g_l += oxidised - _COPPER_G_L_PER_PANEL
        etcher.cupric_g_l -= working * min(0.35 * max(etcher.cupric_g_l - 131.2, 0.0), 4.0)
        etcher.acid_n += working * 0.5 * (2.0 - etcher.acid_n) - 0.012 * (1.0 - working)

    def _load_developer(self) -> None:
        """Every panel leaves resist in the developer and takes carbonate with it."""
        developer = self.line.developer
        developer.loading += 0.010 + developer.dosing * 0.3 * (0.3 - 0.0333 - developer.loading)
        aim = developer.dosing_gain
        developer.carbonate_pct += developer.dosing * 0.3 * (aim - developer.carbonate_pct)
        developer.carbonate_pct *= 1.0 - 0.016 * (1.0 - developer.dosing)

    def _wear(self) -> None:
        imaging, inspection = self.line.imaging, self.line.inspection
        for unit in imaging.lamp:
            imaging.lamp[unit] = max(0.45, imaging.lamp[unit] * (1.0 - imaging.lamp_wear_per_panel))
        inspection.illumination = max(0.3, inspection.illumination * (1.0 - inspection.illumination_loss_per_panel))

    def _belt(self) -> None:
        """A jam stops the belt; the interlock shuts the sprays a few seconds later. Panels in the chamber get both."""
        self._stopped = self._rng.random() < self.line.etcher.jams_per_panel
        if self._stopped:
            seconds = float(self._rng.uniform(11.0, 16.0))
            self._late_dwell = deque(seconds / 60 * share for share in (1.0, 1.0, 1.0, 0.8))
            self._notices.append(Notice(kind="line_stop", subject="etcher", attributes={"seconds": f"{seconds:.0f}"}))

    def _air(self) -> None:
        room = self.line.room
        room.particles_m3 = 3_500.0 * room.dust_source * float(self._rng.lognormal(0, 0.08))
        room.rh_pct += 0.05 * (50.0 * room.humidifier - room.rh_pct) + float(self._rng.normal(0, 0.12))
        room.filter_dp_kpa += 0.00004

    def _log(self) -> None:
        """Ordinary entries of the plant's log: lots, shifts, products, chores."""
        number, material = self.number, self.line.material
        if number and number % self.routine.stack == 0:
            free = [i for i, lot in enumerate(material.laminate) if lot not in material.pits_per_panel]
            if free:
                stack = free[int(self._rng.integers(len(free)))]
                material.laminate[stack] = f"L-{int(self._rng.integers(4500, 4999))}"
                self._notices.append(Notice(kind="lot_change", subject="laminate"))
        if number and number % self.routine.shift == 0:
            self._notices.append(Notice(kind="shift_change", subject="line"))
        if number and number % self.routine.campaign == 0:
            self._notices.append(Notice(kind="recipe_change", subject=self.product.product_id))
        if self._rng.random() < self.routine.chores:
            kind, subject = _CHORES[int(self._rng.integers(len(_CHORES)))]
            self._notices.append(Notice(kind=kind, subject=subject))


def _settle(bath: Bath, ambient_c: float, tau_s: float, disturbance: float) -> None:
    """First-order bath under its controller: what heat is left decides where between ambient and set-point it ends."""
    reach = ambient_c + bath.heat * (bath.set_c - bath.sensor_error_c - ambient_c)
    bath.celsius += (reach - bath.celsius) * TAKT_S / tau_s + disturbance


_SUBJECTS: Mapping[str, str] = {
    "A01": "phototool",
    "A02": "phototool",
    "A03": "yellow-room",
    "A04": "laminator",
    "A05": "laminator",
    "A06": "laminator",
    "A07": "pre-clean",
    "A08": "exposure",
    "A10": "exposure",
    "A11": "developer",
    "A13": "developer",
    "A14": "etcher",
    "A15": "etcher",
    "A16": "etcher",
    "A17": "etcher",
    "A18": "etcher",
    "A19": "etcher",
    "A20": "rack",
    "A21": "laminate",
    "A22": "resist",
    "MEAS": "aoi",
}
