"""An incident: defects of one class on one line came more often than they should."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class IncidentState(StrEnum):
    """Open until the rate is back or the order is closed."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A run of nonconformances that share line and class family.

    Attributes:
        key: the deduplication key; the same key while open revises, never duplicates.
        onset_from, onset_to: the interval in which the change began.
        class_counts: defects by class since the onset.
        baseline_rate, rate: defects of the class per part before and since.
        statistic: the CUSUM's value (log-likelihood units); ``threshold`` opened it.
        parts, defective_parts: since the onset.
        part_ids: the defective parts (capped), for containment.
    """

    incident_id: UUID
    revision: int
    key: str
    line_id: str
    station_id: str
    code: str
    state: IncidentState
    opened_at: datetime
    updated_at: datetime
    onset_from: datetime
    onset_to: datetime
    class_counts: Mapping[str, int]
    baseline_rate: float
    rate: float
    statistic: float
    threshold: float
    parts: int
    defective_parts: int
    part_ids: tuple[str, ...] = ()
    inspection_ids: tuple[UUID, ...] = ()
    parent_id: UUID | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
