"""Draws each defect class onto a copper mask, in place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

_SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where to draw: place, unit direction (across, or out of the copper), span to cross and size, in pixels."""

    x: float
    y: float
    dx: float
    dy: float
    span: float
    size: float

    def to(self, along: float, across: float) -> tuple[float, float]:
        """The point at a distance along the direction and sideways of it."""
        return self.x + self.dx * along - self.dy * across, self.y + self.dy * along + self.dx * across


def _fill(copper: Mask, points: Points, value: int) -> None:
    fixed = np.rint(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(copper, [fixed], value, cv2.LINE_AA, _SUBPIXEL_BITS)


def _blob(site: Site, along: float, across: float, center: float, rng: np.random.Generator) -> Points:
    """A ragged ellipse with these full axes, its centre moved along the direction; (N, 2)."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, 14))
    radius = rng.uniform(0.72, 1.05, 14) / 2
    u, v = center + along * radius * np.cos(angles), across * radius * np.sin(angles)
    return np.stack([site.x + site.dx * u - site.dy * v, site.y + site.dy * u + site.dx * v], axis=1)


def _bar(site: Site, reach: float, width: float, lean: float, rng: np.random.Generator) -> Points:
    """A ragged, slightly leaning strip across the site, ``reach`` to both sides; (N, 2)."""
    along = np.linspace(-reach, reach, 5)
    drift = lean * along / max(reach, 1.0) + rng.normal(0, 0.08 * width, 5)
    left = [site.to(a, d - w) for a, d, w in zip(along, drift, width / 2 * rng.uniform(0.75, 1.2, 5), strict=True)]
    right = [site.to(a, d + w) for a, d, w in zip(along, drift, width / 2 * rng.uniform(0.75, 1.2, 5), strict=True)]
    return np.array(left + right[::-1])


def _open(copper: Mask, site: Site, rng: np.random.Generator) -> None:
    """Cut a trace: the size is the length that is missing."""
    width = max(4.0, min(site.size, 24.0) * float(rng.uniform(0.5, 1.0)))
    _fill(copper, _bar(site, site.span / 2 + 3, width, float(rng.normal(0, 0.15 * site.span)), rng), 0)


def _short(copper: Mask, site: Site, rng: np.random.Generator) -> None:
    """Bridge a gap: the size is at most the bridge's width and the gap."""
    width = max(4.0, min(0.45 * site.size, 16.0) * float(rng.uniform(0.6, 1.0)))
    _fill(copper, _bar(site, site.span / 2 + 3, width, float(rng.normal(0, 0.12 * site.span)), rng), 255)


def _mousebite(copper: Mask, site: Site, rng: np.random.Generator) -> None:
    """Nibble the edge: never through the copper."""
    depth = site.size * float(rng.uniform(0.7, 1.0))
    width = site.size * float(rng.uniform(0.6, 1.1))
    _fill(copper, _blob(site, 2 * depth, width, 1.5, rng), 0)


def _spur(copper: Mask, site: Site, rng: np.random.Generator) -> None:
    """Let copper stick out of the edge: never up to the next copper."""
    length = site.size * float(rng.uniform(0.75, 1.0))
    width = max(4.0, site.size * float(rng.uniform(0.3, 0.8)))
    _fill(copper, _blob(site, 2 * length, width, -1.5, rng), 255)


def _spot(copper: Mask, site: Site, value: int, rng: np.random.Generator) -> None:
    turn = float(rng.uniform(0, np.pi))
    turned = Site(x=site.x, y=site.y, dx=float(np.cos(turn)), dy=float(np.sin(turn)), span=0.0, size=site.size)
    _fill(copper, _blob(turned, site.size, site.size * float(rng.uniform(0.45, 1.0)), 0.0, rng), value)


def _spurious_copper(copper: Mask, site: Site, rng: np.random.Generator) -> None:
    """An island of copper on bare laminate."""
    _spot(copper, site, 255, rng)


def _pin_hole(copper: Mask, site: Site, rng: np.random.Generator) -> None:
    """A hole inside copper."""
    _spot(copper, site, 0, rng)


DRAW: Mapping[str, Callable[[Mask, Site, np.random.Generator], None]] = {
    "open": _open,
    "short": _short,
    "mousebite": _mousebite,
    "spur": _spur,
    "spurious_copper": _spurious_copper,
    "pin_hole": _pin_hole,
}
