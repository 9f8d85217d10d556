"""Layouts: the copper of a board without any defect, made from a name."""

import functools
import hashlib
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.simulation.boards.routing import route
from edge_agent.simulation.boards.sites import Sites, find_sites

SIZE_PX = 640
PX_PER_MM = 48.0
COPPER = 20
"""Grey level of copper in the golden image."""
LAMINATE = 230
"""Grey level of bare laminate in the golden image."""

_MIN_SITES = 12
_ATTEMPTS = 40

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=False, kw_only=True, eq=False)
class Layout:
    """The copper of one board side.

    Attributes:
        name: what it was made from; the same name gives the same copper, on every machine.
        copper: (640, 640) uint8, 255 is copper, 0 laminate; anti-aliased edges between.
        px_per_mm: image scale.
    """

    name: str
    copper: Mask
    px_per_mm: float = PX_PER_MM

    @cached_property
    def sites(self) -> Sites:
        """Where each defect class is physically possible."""
        return find_sites(self.copper)

    def golden(self) -> Mask:
        """The defect-free image: (640, 640) uint8, copper dark, laminate bright; a fresh array."""
        return grey(self.copper)


def grey(copper: Mask) -> Mask:
    """Grey levels of a copper mask: (H, W) uint8 to (H, W) uint8."""
    table = np.rint(np.linspace(LAMINATE, COPPER, 256)).astype(np.uint8)
    image: Mask = cv2.LUT(copper, table)
    return image


@functools.lru_cache(maxsize=64)
def layout(name: str) -> Layout:
    """The layout of this name, cached. Every defect class is possible on it somewhere."""
    for attempt in range(_ATTEMPTS):
        digest = hashlib.sha256(f"{name}#{attempt}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        made = Layout(name=name, copper=route(rng, SIZE_PX))
        if made.sites.fewest() >= _MIN_SITES:
            return made
    raise RuntimeError(f"no usable layout for {name!r} in {_ATTEMPTS} attempts")
