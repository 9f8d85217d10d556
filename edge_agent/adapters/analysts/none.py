"""No language model: orders go out on rules."""

from edge_agent.domain.faults import Transient
from edge_agent.ports import WritingTask, Written


class NoAnalyst:
    """Implements ``ports.Analyst`` by declining."""

    @property
    def name(self) -> str:
        return "none"

    def write(self, task: WritingTask, timeout_s: float) -> Written:
        """Always raises Transient."""
        raise Transient("no language model is configured (analyst.kind: none)")

    def close(self) -> None:
        """Nothing to release."""
