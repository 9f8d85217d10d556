"""What the responder needs to know of the plant, out of its configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from edge_agent.config import Configuration
from edge_agent.domain.plant import Signal

DEFAULT_SIZE_PX = (640.0, 640.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the responder.

    Attributes:
        stations: ids of the stations it follows.
        size_wh_px: station to the extent of its part, in golden-image pixels.
        baseline_rate: defect class to its normal share of defective parts, until measured.
        increase: the rise the charts are designed for.
        false_alarms_per_1000: budget of the whole family of charts.
        orders_per_shift: orders at most in a shift; what is above it waits in one collecting order.
        sentence_model: folder of the model that finds similar cases.
        blind_share: share of orders that hide the ranking until somebody has said what they suspect.
        shift_ends, timezone: local times (``HH:MM``) at which shifts end, and where.
        revise_after: an order is revised at most this often in line time.
        history_parts: how many parts before the onset evidence compares with.
        measure_background: learn how often tokens fire on this line when nothing is wrong.
    """

    line_id: str
    stations: tuple[str, ...]
    signals: Mapping[str, Signal] = field(default_factory=dict)
    size_wh_px: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    baseline_rate: Mapping[str, float] = field(default_factory=dict)
    default_rate: float = 0.005
    increase: float = 2.5
    false_alarms_per_1000: float = 0.05
    min_defective: int = 3
    close_after_good_factor: float = 3.0
    storm_keys: int = 3
    storm_window: timedelta = timedelta(minutes=15)
    orders_per_shift: int = 6
    blind_share: float = 0.1
    sentence_model: Path | None = None
    shift_ends: tuple[str, ...] = ("06:00", "14:00", "22:00")
    timezone: str = "UTC"
    revise_after: timedelta = timedelta(seconds=5)
    history_parts: int = 300
    recurrence_within: timedelta = timedelta(hours=24)
    measure_background: bool = True

    def rate_of(self, code: str) -> float:
        """The configured normal rate of a class."""
        return self.baseline_rate.get(code, self.default_rate)


def settings_of(configuration: Configuration) -> Settings:
    """The responder's settings, from the configuration files."""
    plant = configuration.plant
    trigger = plant.diagnosis.trigger
    sizes: dict[str, tuple[float, float]] = {}
    for station in configuration.stations:
        for recipe in station.recipes.values():
            if recipe.image.size_wh:
                sizes[station.config.id] = (float(recipe.image.size_wh[0]), float(recipe.image.size_wh[1]))
    return Settings(
        line_id=plant.plant.line,
        stations=tuple(station.config.id for station in configuration.stations),
        signals={
            name: Signal(
                name=name,
                unit=section.unit,
                description=section.description,
                lower=section.lower,
                upper=section.upper,
                process_step=section.process_step,
            )
            for name, section in plant.telemetry.signals.items()
        },
        size_wh_px=sizes,
        baseline_rate=dict(trigger.baseline_rate),
        default_rate=trigger.default_rate,
        increase=trigger.increase,
        false_alarms_per_1000=trigger.false_alarms_per_1000,
        min_defective=trigger.min_defective,
        close_after_good_factor=trigger.close_after_good_factor,
        storm_keys=plant.diagnosis.storm_keys,
        sentence_model=_sentence_model(configuration),
        blind_share=plant.diagnosis.blind_share,
        orders_per_shift=plant.diagnosis.orders_per_shift,
        shift_ends=tuple(plant.reports.shift_ends),
        timezone=plant.reports.timezone,
    )


def _sentence_model(configuration: Configuration) -> Path | None:
    folder = configuration.plant.diagnosis.sentence_model
    return configuration.resolve(folder) if folder else None
