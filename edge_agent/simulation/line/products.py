"""The products the line makes: which layout each has, and where on the panel its features lie."""

from collections.abc import Mapping

import numpy as np

from edge_agent.simulation.boards import CODES, SIZE_PX, layout
from edge_agent.simulation.process.artwork import Artwork
from edge_agent.simulation.process.physics import PANEL_MM

PRODUCTS: Mapping[str, str] = {"PCB-A": "line-56", "PCB-B": "line-16"}
"""Product id to layout name; both have their features spread over the whole panel."""
PX_PER_MM = SIZE_PX / PANEL_MM
"""The inspection camera sees the whole panel."""


def artwork(product_id: str) -> Artwork:
    """The artwork of a product in panel millimetres."""
    sites = layout(PRODUCTS[product_id]).sites.by_code
    places = {code: np.asarray(sites[code][:, :2], dtype=np.float64) / PX_PER_MM for code in CODES}
    return Artwork(product_id=product_id, places_mm=places)
