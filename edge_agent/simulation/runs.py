"""Seeded records of a line, without pictures: parts with defects, process signals, events.

For measuring how often evidence tools fire when nothing is wrong (`scripts/measure_background.py`) and for trying the
responder without cameras. There is no physics here (`simulation.process` has it): what a disturbance does is said by
the caller, in the terms of a plant's record, and nothing of it comes from the catalogue of causes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np

from edge_agent.domain.defect import Defect, ModelRef
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection, Quality
from edge_agent.domain.part import Shot
from edge_agent.domain.plant import PlantEvent, Sample
from edge_agent.domain.reason import Reason

SIZE_PX = 640
CLASSES = ("open", "short", "mousebite", "spur", "spurious_copper", "pin_hole")
SIGNALS: Mapping[str, tuple[float, float]] = {
    "etch_temp_c": (50.0, 0.4),
    "etch_speed_m_min": (2.0, 0.02),
    "etch_cu_g_l": (140.0, 2.0),
    "etch_orp_mv": (550.0, 5.0),
    "etch_acid_n": (2.0, 0.04),
    "etch_spray_bar": (2.2, 0.04),
    "dev_temp_c": (30.0, 0.3),
    "dev_conc_pct": (1.0, 0.02),
    "dev_spray_bar": (1.8, 0.04),
    "rinse_spray_bar": (1.5, 0.04),
    "expo_energy_mj_cm2": (45.0, 0.6),
    "expo_vacuum_kpa": (80.0, 0.8),
    "lam_temp_c": (110.0, 0.8),
    "lam_press_bar": (3.5, 0.05),
    "lam_speed_m_min": (1.5, 0.02),
    "preclean_press_bar": (1.6, 0.04),
    "room_particles_m3": (3000.0, 250.0),
    "room_rh_pct": (52.0, 1.0),
    "filter_dp_kpa": (20.0, 0.6),
}
"""Name to (usual value, spread)."""
STRATA: Mapping[str, tuple[str, ...]] = {
    "phototool": ("PT-1", "PT-2", "PT-3"),
    "frame": ("F-1", "F-2"),
    "laminator": ("LAM-1", "LAM-2"),
    "expo_unit": ("EX-1", "EX-2"),
    "side": ("top", "bottom"),
    "rack": ("R-1", "R-2", "R-3", "R-4"),
}
SLOW_STRATA: Mapping[str, int] = {"laminate_lot": 45, "resist_lot": 70, "shift": 90}
"""Strata that change with time only: name to parts per level."""
EVENTS: Mapping[str, int] = {
    "maintenance": 150,
    "lot_change": 45,
    "tool_change": 120,
    "shift_change": 90,
    "cleaning": 100,
    "filter_change": 300,
    "line_stop": 120,
    "startup": 300,
}
"""Kind to mean parts between two of them, for no reason."""
MODEL = ModelRef(name="none", version="0", sha256="0" * 64)

Place = Callable[[np.random.Generator], tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What a record shows from ``at_part`` on.

    Attributes:
        rate: share of defective parts of the afflicted ones.
        until_part: None goes on to the end.
        place: where its defects are; None anywhere.
        stratum: only parts with this level are afflicted.
        signals: signal to its shift, in spreads; ``drift_parts`` reaches it slowly.
        event: kind and subject of an event five parts earlier.
        metrics: quality metric to its factor.
    """

    at_part: int
    rate: float
    classes: tuple[str, ...] = CLASSES
    until_part: int | None = None
    per_part: int = 1
    place: Place | None = None
    stratum: tuple[str, str] | None = None
    signals: Mapping[str, float] = field(default_factory=dict)
    drift_parts: int = 0
    event: tuple[str, str] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The record of one run."""

    inspections: tuple[Inspection, ...]
    samples: tuple[Sample, ...]
    events: tuple[PlantEvent, ...]


def record(
    seed: int,
    *,
    parts: int = 200,
    rate: float = 0.01,
    start: datetime,
    takt_s: float = 9.0,
    station_id: str = "aoi-1",
    disturbances: Sequence[Disturbance] = (),
    signals: Sequence[str] = tuple(SIGNALS),
) -> Run:
    """A run of ``parts`` parts; the same seed gives the same run.

    Signals are autoregressive (correlation 0.9 from part to part), as process signals are.
    """
    random = np.random.default_rng(seed)
    times = [start + timedelta(seconds=takt_s * number) for number in range(parts)]
    sites = random.uniform(20, SIZE_PX - 20, (300, 2))
    phases = {name: int(random.integers(length)) for name, length in SLOW_STRATA.items()}
    inspections = tuple(
        _inspection(random, seed, number, at, rate, station_id, sites, phases, disturbances)
        for number, at in enumerate(times)
    )
    samples = tuple(sample for name in signals for sample in _series(random, name, times, disturbances))
    return Run(inspections=inspections, samples=samples, events=_events(random, seed, times, disturbances))


def _inspection(
    random: np.random.Generator,
    seed: int,
    number: int,
    at: datetime,
    rate: float,
    station_id: str,
    sites: np.ndarray,
    phases: Mapping[str, int],
    disturbances: Sequence[Disturbance],
) -> Inspection:
    strata = {name: str(random.choice(levels)) for name, levels in STRATA.items()}
    strata |= {name: f"{name}-{(number + phases[name]) // length}" for name, length in SLOW_STRATA.items()}
    found: list[tuple[str, float, float]] = []
    if random.random() < rate:
        x, y = sites[random.integers(len(sites))]
        found.append((str(random.choice(CLASSES)), float(x), float(y)))
    metrics = {
        "focus_ratio": float(random.normal(1.0, 0.03)),
        "brightness_p95": float(random.normal(200, 2)),
        "match": float(random.normal(0.95, 0.005)),
        "shift_px": float(abs(random.normal(0, 1.5))),
    }
    for one in disturbances:
        if not one.at_part <= number < (one.until_part or number + 1):
            continue
        metrics |= {name: metrics[name] * factor for name, factor in one.metrics.items()}
        if one.stratum and strata.get(one.stratum[0]) != one.stratum[1]:
            continue
        if random.random() < one.rate:
            found.extend(_placed(random, one, sites) for _ in range(one.per_part))
    return _judged(random, seed, number, at, station_id, strata, found, metrics)


def _placed(random: np.random.Generator, one: Disturbance, sites: np.ndarray) -> tuple[str, float, float]:
    x, y = one.place(random) if one.place else sites[random.integers(len(sites))]
    return str(random.choice(one.classes)), float(x), float(y)


def _judged(
    random: np.random.Generator,
    seed: int,
    number: int,
    at: datetime,
    station_id: str,
    strata: Mapping[str, str],
    found: Sequence[tuple[str, float, float]],
    metrics: Mapping[str, float],
) -> Inspection:
    shift = (float(random.normal(0, 2)), float(random.normal(0, 2)))
    defects = tuple(
        Defect(
            defect_id=UUID(int=(seed << 64) | (number << 16) | place),
            code=code,
            score=0.9,
            xyxy_px=(x + shift[0] - 8, y + shift[1] - 8, x + shift[0] + 8, y + shift[1] + 8),
        )
        for place, (code, x, y) in enumerate(found)
    )
    inspection_id = UUID(int=(7 << 112) | (seed << 64) | number)
    return Inspection(
        inspection_id=inspection_id,
        shot=Shot(
            shot_id=inspection_id,
            station_id=station_id,
            part_id=f"P{seed}-{number:05d}",
            product_id="A",
            trigger_id=str(number),
            triggered_at=at,
            triggered_ns=0,
            lot_id=f"LOT-{number // 60}",
            sequence=number,
            strata=strata,
        ),
        evaluation=Evaluation.NOT_OK if defects else Evaluation.OK,
        disposition=Disposition.REJECT if defects else Disposition.ACCEPT,
        reasons=(Reason(code="defect.limit", text="too many"),) if defects else (),
        defects=defects,
        score=0.9 if defects else 0.0,
        started_at=at,
        ended_at=at + timedelta(milliseconds=80),
        model=MODEL,
        quality=Quality(usable=True, metrics=dict(metrics), shift_xy_px=shift),
    )


def _series(
    random: np.random.Generator, name: str, times: Sequence[datetime], disturbances: Sequence[Disturbance]
) -> list[Sample]:
    usual, spread = SIGNALS[name]
    noise = random.normal(0, 1, len(times))
    level = float(noise[0])
    samples: list[Sample] = []
    for number, at in enumerate(times):
        level = 0.9 * level + np.sqrt(1 - 0.81) * float(noise[number])
        shift = sum(_ramp(one, number) * one.signals.get(name, 0.0) for one in disturbances)
        samples.append(Sample(signal=name, value=usual + spread * (level + shift), at=at))
    return samples


def _ramp(one: Disturbance, number: int) -> float:
    if not one.at_part <= number < (one.until_part or number + 1):
        return 0.0
    return min(1.0, (number - one.at_part + 1) / one.drift_parts) if one.drift_parts else 1.0


def _events(
    random: np.random.Generator, seed: int, times: Sequence[datetime], disturbances: Sequence[Disturbance]
) -> tuple[PlantEvent, ...]:
    found: list[PlantEvent] = []
    for number, at in enumerate(times):
        kinds = [(kind, "") for kind, mean in EVENTS.items() if random.random() < 1 / mean]
        kinds += [one.event for one in disturbances if one.event and number == max(0, one.at_part - 5)]
        for kind, subject in kinds:
            identity = UUID(int=(9 << 112) | (seed << 64) | len(found))
            found.append(PlantEvent(event_id=identity, kind=kind, at=at, subject=subject))
    return tuple(found)
