"""Rendered surfaces with and without flaws: many families of texture, for teaching from good images only."""

from edge_agent.simulation.surfaces.flaws import FLAWS
from edge_agent.simulation.surfaces.render import Surface, photographed, render
from edge_agent.simulation.surfaces.textures import GREY, REPORT, TUNE, Texture

__all__ = ["FLAWS", "GREY", "REPORT", "TUNE", "Surface", "Texture", "photographed", "render"]
