"""Rendered bare printed circuit boards: layouts, defects drawn by geometry, and the camera that looks at them.

Images are in the manner of binarised board scans: one channel, 640x640, dark copper on bright laminate.
"""

from edge_agent.simulation.boards.imaging import Imaging
from edge_agent.simulation.boards.layout import COPPER, LAMINATE, SIZE_PX, Layout, layout
from edge_agent.simulation.boards.render import CODES, Placement, Rendered, render

__all__ = ["CODES", "COPPER", "LAMINATE", "SIZE_PX", "Imaging", "Layout", "Placement", "Rendered", "layout", "render"]
