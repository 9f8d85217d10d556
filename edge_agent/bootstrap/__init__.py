"""The one composition root: configuration -> parts -> workers. Only this package knows both ports and adapters."""

from edge_agent.bootstrap.note_start import note_start
from edge_agent.bootstrap.parts import Parts, Stations, build
from edge_agent.bootstrap.table import jobs, table

__all__ = ["Parts", "Stations", "build", "jobs", "note_start", "table"]
