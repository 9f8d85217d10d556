"""What the plant tells us besides pictures: telemetry and events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of one process signal.

    Attributes:
        signal: the name under ``telemetry.signals`` in the plant's configuration.
        value: in the signal's configured unit; None is a bad or missing reading (unknown, never normal).
        at: aware UTC, the source's time where it gives one.
    """

    signal: str
    value: float | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What is known about a process signal.

    Attributes:
        lower, upper: control-plan limits in ``unit``; None where the plant set none (we never invent one).
    """

    name: str
    unit: str
    description: str = ""
    lower: float | None = None
    upper: float | None = None
    process_step: str = ""

    @property
    def label(self) -> str:
        """What people call it: its description, else its name without underscores."""
        return self.description.strip() or self.name.replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantEvent:
    """Something that happened on the line: maintenance, lot change, tool change, shift change, stop, start-up."""

    event_id: UUID
    kind: str
    at: datetime
    subject: str = ""
    """What it happened to: an equipment id, a lot, a tool."""
    attributes: Mapping[str, str] = field(default_factory=dict)
