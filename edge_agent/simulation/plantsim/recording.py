"""A scenario made: what the inspection, the instruments and the plant's log say of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import UUID

import numpy as np

from edge_agent.domain.defect import Defect, ModelRef
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection, Quality
from edge_agent.domain.part import Shot
from edge_agent.domain.plant import PlantEvent, Sample
from edge_agent.domain.reason import Reason
from edge_agent.simulation.line.products import PRODUCTS, PX_PER_MM, artwork
from edge_agent.simulation.plantsim import unlisted
from edge_agent.simulation.plantsim.disturbing import Breaking
from edge_agent.simulation.plantsim.scenario import AFTER, SUDDEN, Scenario
from edge_agent.simulation.process.artwork import Artwork
from edge_agent.simulation.process.faults import FAULTS
from edge_agent.simulation.process.panel import Panel
from edge_agent.simulation.process.plant import Plant, Routine
from edge_agent.simulation.process.readings import SIGNALS

START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
TAKT = timedelta(seconds=20)
READ_EVERY = 2
"""Parts between two readings of all instruments."""
STATION = "aoi-1"
MODEL = ModelRef(name="none", version="0", sha256="0" * 64)
SIBLINGS = {
    "open": "mousebite",
    "mousebite": "open",
    "pin_hole": "mousebite",
    "short": "spurious_copper",
    "spurious_copper": "short",
    "spur": "short",
}
CODES = tuple(SIBLINGS)
CHANCE_RATE = 0.03
"""Flaws per part of a cluster that has no cause, until it is noticed. A chart that fires by chance has seen a run that
looks like the rise it is designed for, not like a fault (large deviations); this is such a run, made a little denser
so that it fires within the record."""
CHANCE_AFTER = 450
"""Parts that such a run may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What there is to diagnose."""

    scenario: Scenario
    inspections: tuple[Inspection, ...]
    series: Mapping[str, tuple[Sample, ...]]
    events: tuple[PlantEvent, ...]


@cache
def _artworks() -> tuple[Artwork, ...]:
    return tuple(artwork(product) for product in PRODUCTS)


class Line:
    """The line of one scenario, part by part."""

    def __init__(self, scenario: Scenario, *, after: int = AFTER) -> None:
        self.scenario = scenario
        self.length = scenario.onset + (after if scenario.faults else CHANCE_AFTER)
        self._rng = np.random.default_rng([scenario.seed, scenario.number, 23])
        routine = Routine()
        if scenario.product_change:
            routine = Routine(campaign=scenario.onset)
        elif scenario.number % 2:
            routine = Routine(campaign=10_000)
        self._plant = Plant(_artworks(), scenario.seed * 100_003 + scenario.number, routine=routine)
        self._breaking = self._prepared()
        self.chance = not scenario.faults
        """Chance still makes a cluster; whoever notices it ends it."""
        self._series: dict[str, list[Sample]] = {name: [] for name in SIGNALS}
        self._events: list[PlantEvent] = []
        self._inspections: list[Inspection] = []

    def _prepared(self) -> list[tuple[int, Breaking]]:
        scenario, rng = self.scenario, np.random.default_rng([self.scenario.seed, self.scenario.number, 29])
        found = []
        for place, name in enumerate(one for one in scenario.faults if one in FAULTS):
            on, off = 0, 0
            if scenario.shape in {"pulse", "startup"}:
                on = int(rng.integers(30, 60))
            elif scenario.shape == "intermittent":
                on, off = int(rng.integers(12, 25)), int(rng.integers(8, 20))
            one = Breaking(
                fault=FAULTS[name],
                seed=int(rng.integers(2**31)),
                size=1.0 if name in SUDDEN else scenario.size,
                ramp=int(rng.integers(40, 90)) if scenario.shape == "drift" else 0,
                on=on,
                off=off,
            )
            found.append((scenario.onset + (int(rng.integers(0, 25)) if place else 0), one))
        return found

    def parts(self) -> "list[Inspection]":
        """All inspections so far."""
        return self._inspections

    def recording(self) -> Recording:
        """Everything up to now."""
        return Recording(
            scenario=self.scenario,
            inspections=tuple(self._inspections),
            series={name: tuple(one) for name, one in self._series.items()},
            events=tuple(self._events),
        )

    def next(self, number: int) -> Inspection:
        """Make, read, note and inspect one part."""
        scenario, plant = self.scenario, self._plant
        at = START + number * TAKT
        for begin, one in self._breaking:
            if number >= begin:
                if number == begin and (told := one.fault.announced) and scenario.shape != "startup":
                    plant.announce(*told)
                one.step(plant.line)
        for name in scenario.faults:
            if name in unlisted.UNLISTED:
                self._influence(name, number)
        if number == scenario.onset:
            self._coincidences()
        if any(number == scenario.onset + shift for shift in scenario.maintenance):
            plant.announce("maintenance", str(self._rng.choice(["stripper", "unloader", "etcher", "exposure"])))
        panel = plant.make()
        if number % READ_EVERY == 0:
            self._read(number, at)
        for notice in plant.notices():
            identity = UUID(int=(9 << 112) | len(self._events))
            self._events.append(PlantEvent(event_id=identity, kind=notice.kind, at=at, subject=notice.subject))
        inspection = self._seen(panel, number, at)
        self._inspections.append(inspection)
        return inspection

    def _influence(self, name: str, number: int) -> None:
        if number == self.scenario.onset:
            unlisted.start(
                self._plant.line, name, np.random.default_rng([self.scenario.number, 31]), self.scenario.size
            )
            if told := unlisted.ANNOUNCED.get(name):
                self._plant.announce(*told)
        if self.scenario.shape == "pulse" and number == self.scenario.onset + 50:
            unlisted.end(self._plant.line, name)

    def _coincidences(self) -> None:
        scenario, plant = self.scenario, self._plant
        if scenario.shape == "startup" and scenario.faults:
            plant.announce("startup", "line")
        if scenario.confounded == "lot":
            material = plant.line.material
            free = [i for i, lot in enumerate(material.laminate) if lot not in material.pits_per_panel]
            material.laminate[free[0]] = "L-4999"
            plant.announce("lot_change", "laminate")
        if scenario.confounded == "shift":
            plant.announce("shift_change", "line")

    def _read(self, number: int, at: datetime) -> None:
        scenario = self.scenario
        lying = dict(scenario.lying)
        skewed = at + timedelta(seconds=scenario.skew_s)
        for name, true in self._plant.readings().items():
            if name in scenario.missing:
                continue
            value, series = float(true), self._series[name]
            if lying.get(name) == "stuck" and number >= scenario.onset // 2 and series and series[-1].value is not None:
                value = float(series[-1].value)
            elif lying.get(name) == "biased" and number >= scenario.onset - 15:
                value *= 1.03
            for moving, sigmas, start in scenario.drifting:
                if moving == name and number >= start + scenario.onset - 40:
                    spread = SIGNALS[name].noise * (abs(value) if SIGNALS[name].relative else 1.0)
                    value += sigmas * spread * min(1.0, (number - start - scenario.onset + 41) / 60)
            series.append(Sample(signal=name, value=value, at=skewed))

    def _seen(self, panel: Panel, number: int, at: datetime) -> Inspection:
        rng, scenario = self._rng, self.scenario
        shift = (float(rng.uniform(-3, 3)), float(rng.uniform(-3, 3)))
        bad_image = panel.defocus_px > 1.0 or not 0.8 < panel.illumination < 1.2
        defects = () if bad_image else self._found(panel, number, shift)
        evaluation = Evaluation.NOT_DECIDABLE if bad_image else Evaluation.NOT_OK if defects else Evaluation.OK
        disposition = {Evaluation.OK: Disposition.ACCEPT, Evaluation.NOT_OK: Disposition.REJECT}
        identity = UUID(int=(scenario.seed % 2**20 << 100) | (scenario.number << 64) | number)
        strata = dict(panel.strata)
        if scenario.confounded == "shift":
            strata["shift"] = "A" if number < scenario.onset else "B"
        return Inspection(
            inspection_id=identity,
            shot=Shot(
                shot_id=identity,
                station_id=STATION,
                part_id=f"P{number}",
                product_id=panel.product_id,
                trigger_id=str(number),
                triggered_at=at,
                triggered_ns=0,
                lot_id=f"{panel.lot_id} {scenario.note}".strip(),
                strata=strata,
            ),
            evaluation=evaluation,
            disposition=disposition.get(evaluation, Disposition.HOLD),
            reasons=() if evaluation is Evaluation.OK else (Reason(code="evaluation", text="simulated"),),
            defects=defects,
            score=0.9 if evaluation is Evaluation.NOT_OK else 0.0,
            started_at=at,
            ended_at=at + timedelta(milliseconds=80),
            model=MODEL,
            quality=Quality(
                usable=not bad_image,
                metrics={
                    "focus_ratio": float(rng.normal(1, 0.02) / (1 + panel.defocus_px)),
                    "brightness_p95": float(200 * panel.illumination + rng.normal(0, 1)),
                    "match": float(rng.normal(0.95, 0.005)),
                },
                shift_xy_px=shift,
            ),
        )

    def _found(self, panel: Panel, number: int, shift: tuple[float, float]) -> tuple[Defect, ...]:
        rng, scenario = self._rng, self.scenario
        boxes = []
        for flaw in panel.flaws:
            if rng.random() < scenario.recall:
                code = SIBLINGS[flaw.code] if rng.random() < scenario.confusion else flaw.code
                noise = rng.normal(0, 1.5, 2)
                boxes.append((code, flaw.x_mm * PX_PER_MM + noise[0], flaw.y_mm * PX_PER_MM + noise[1]))
        by_chance = CHANCE_RATE if self.chance and number >= scenario.onset else 0.0
        for _ in range(int(rng.poisson(scenario.false_per_part + by_chance))):
            kinds = CODES if not by_chance else CODES[:3] if scenario.number % 2 else CODES[3:]
            code = str(rng.choice(kinds))
            places = _artworks()[0].places_mm[code] * PX_PER_MM
            x, y = places[int(rng.integers(len(places)))]
            boxes.append((code, float(x), float(y)))
        return tuple(
            Defect(
                defect_id=UUID(int=(number << 16) | place),
                code=code,
                score=0.9,
                xyxy_px=(x + shift[0] - 8, y + shift[1] - 8, x + shift[0] + 8, y + shift[1] + 8),
            )
            for place, (code, x, y) in enumerate(boxes)
        )
