"""A print-and-etch inner-layer line: set-points, actuators, process state, resist and copper physics, defects."""

from edge_agent.simulation.process.artwork import Artwork
from edge_agent.simulation.process.faults import FAULTS, Fault
from edge_agent.simulation.process.panel import Flaw, Panel
from edge_agent.simulation.process.plant import Plant, Routine
from edge_agent.simulation.process.readings import SIGNALS

__all__ = ["FAULTS", "SIGNALS", "Artwork", "Fault", "Flaw", "Panel", "Plant", "Routine"]
