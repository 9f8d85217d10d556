"""Charts and picture overlays: numbers in, SVG text out. The same bytes serve the web page and the PDF.

Every shape carries a class and a presentation attribute. A printer that knows no CSS variables uses the attribute; the
web page's style sheet overrides it by class, for the light and the dark theme. Nothing is told by colour alone.
"""

from edge_agent.domain.svg.control import ChartPoint, control_chart
from edge_agent.domain.svg.defect_map import Mark, defect_map
from edge_agent.domain.svg.evidence import EvidenceBar, evidence_bars
from edge_agent.domain.svg.histogram import Limit, histogram
from edge_agent.domain.svg.pareto import pareto
from edge_agent.domain.svg.photo import PhotoBox, photo
from edge_agent.domain.svg.sparkline import sparkline

__all__ = [
    "ChartPoint",
    "EvidenceBar",
    "Limit",
    "Mark",
    "PhotoBox",
    "control_chart",
    "defect_map",
    "evidence_bars",
    "histogram",
    "pareto",
    "photo",
    "sparkline",
]
