"""What the board's artwork offers to each mechanism: fine lines, fine gaps, copper areas, bare laminate."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_agent.simulation.process.physics import Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Artwork:
    """Places on the panel where each defect class can exist.

    Attributes:
        places_mm: defect class to (N, 2) positions, x across the web and y along travel.
    """

    product_id: str
    places_mm: Mapping[str, Floats]

    def struck(
        self, codes: tuple[str, ...], x_mm: float, y_mm: float, reach_mm: float
    ) -> tuple[str, float, float] | None:
        """What a local damage does: the first class (gravest first) that has a place within reach, and that place."""
        for code in codes:
            places = self.places_mm[code]
            distance = np.hypot(places[:, 0] - x_mm, places[:, 1] - y_mm)
            index = int(distance.argmin())
            if distance[index] <= reach_mm:
                return code, float(places[index, 0]), float(places[index, 1])
        return None
