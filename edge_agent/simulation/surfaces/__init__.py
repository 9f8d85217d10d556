"""Rendered surfaces with and without flaws, for teaching from good images only.

Two sets that share no drawing code: textures with `FLAWS` (`render`), and `MATERIALS` with `DAMAGES` (`shot`).
"""

from edge_agent.simulation.surfaces.flaws import FLAWS
from edge_agent.simulation.surfaces.materials import MATERIALS
from edge_agent.simulation.surfaces.pieces import DAMAGES, Piece, shot
from edge_agent.simulation.surfaces.render import Surface, photographed, render
from edge_agent.simulation.surfaces.textures import GREY, LATER_TUNE, TUNE, Texture
from edge_agent.simulation.surfaces.visibility import HIDDEN, PLAIN, visibility

TEXTURES = TUNE | LATER_TUNE
"""All textures by name."""

__all__ = [
    "DAMAGES",
    "FLAWS",
    "GREY",
    "HIDDEN",
    "LATER_TUNE",
    "MATERIALS",
    "PLAIN",
    "TEXTURES",
    "TUNE",
    "Piece",
    "Surface",
    "Texture",
    "photographed",
    "render",
    "shot",
    "visibility",
]
