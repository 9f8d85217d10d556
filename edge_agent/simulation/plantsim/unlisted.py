"""Causes that are in no catalogue: their mechanism is not among its rows."""

from collections.abc import Callable, Mapping

import numpy as np

from edge_agent.simulation.process.equipment import EXPOSURE_UNITS, Equipment, Stray
from edge_agent.simulation.process.physics import PANEL_MM

Influence = Callable[[np.random.Generator], Stray]


def _hard_water(rng: np.random.Generator) -> Stray:
    """Lime from the rinse masks copper, anywhere."""
    return Stray(name="hard_water", rate=float(rng.uniform(0.25, 0.5)), mix={"spurious_copper": 0.6, "spur": 0.4})


def _static_discharge(rng: np.random.Generator) -> Stray:
    """Sparks at the corner where the sheet is lifted."""
    return Stray(
        name="static_discharge",
        rate=float(rng.uniform(0.3, 0.5)),
        mix={"pin_hole": 0.7, "open": 0.3},
        corner_mm=float(rng.uniform(60, 90)),
    )


def _wrong_artwork(rng: np.random.Generator) -> Stray:
    """A revision with a mistake in it: on every phototool, always at the same places."""
    spots = tuple((float(x), float(y)) for x, y in rng.uniform(40, PANEL_MM - 40, (2, 2)))
    code = str(rng.choice(["open", "short"]))
    return Stray(name="wrong_artwork", rate=float(rng.uniform(0.5, 0.9)), mix={code: 1.0}, spots_mm=spots)


def _stray_light(rng: np.random.Generator) -> Stray:
    """Daylight on the way from one exposure unit."""
    unit = str(rng.choice(EXPOSURE_UNITS))
    rate = float(rng.uniform(0.5, 0.8))
    return Stray(name="stray_light", rate=rate, mix={"short": 0.5, "spur": 0.5}, stratum=("expo_unit", unit))


def _oil_in_the_air(rng: np.random.Generator) -> Stray:
    """Compressor oil from the air knives, in bursts."""
    return Stray(
        name="oil_in_the_air",
        rate=float(rng.uniform(1.2, 2.0)),
        mix={"mousebite": 0.6, "pin_hole": 0.4},
        every=int(rng.integers(4, 7)),
    )


UNLISTED: Mapping[str, Influence] = {
    "hard_water": _hard_water,
    "static_discharge": _static_discharge,
    "wrong_artwork": _wrong_artwork,
    "stray_light": _stray_light,
    "oil_in_the_air": _oil_in_the_air,
}
ANNOUNCED: Mapping[str, tuple[str, str]] = {"wrong_artwork": ("recipe_change", "artwork")}


def start(line: Equipment, name: str, rng: np.random.Generator, size: float) -> None:
    """Let an influence begin."""
    one = UNLISTED[name](rng)
    one.rate *= size
    line.strays[name] = one
    if name == "static_discharge":
        line.room.humidifier = float(rng.uniform(0.8, 0.9))


def end(line: Equipment, name: str) -> None:
    """The influence is gone."""
    line.strays.pop(name, None)
    line.room.humidifier = 1.0
