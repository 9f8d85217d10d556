"""A second look: what a shadow model would have said of a part that the live model has answered for."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from edge_agent.domain.defect import ModelRef
from edge_agent.domain.inspection import Evaluation
from edge_agent.domain.reason import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowLook:
    """One part, seen by both. Nothing on the line rests on it.

    Attributes:
        inspection_id: the inspection that was answered; one shadow look at most.
        at: when that inspection ended.
        live_ms: trigger to answer of that inspection.
        live_inference_ms: what its detector took of that.
        evaluation: the whole inspection's, had the shadow stood in the live model's place; NOT_INSPECTED where it
            failed.
        inference_ms: the shadow's own time; it yields to everything else, so it may have waited for the processor.
        processor_ms: processor time of the same look: what it would take where it need not yield.
    """

    inspection_id: UUID
    station_id: str
    at: datetime
    live: ModelRef
    live_evaluation: Evaluation
    live_ms: float
    live_inference_ms: float
    shadow: ModelRef
    evaluation: Evaluation
    score: float
    reasons: tuple[Reason, ...] = ()
    inference_ms: float
    processor_ms: float

    @property
    def agrees(self) -> bool:
        """Do both say the same?"""
        return self.evaluation is self.live_evaluation

    @property
    def projected_ms(self) -> float:
        """Trigger to answer, had the shadow stood in the live model's place."""
        return self.live_ms - self.live_inference_ms + self.processor_ms
