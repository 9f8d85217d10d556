"""What the plant answers: job responses from the MES, verdicts on parts, check results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class PartVerdict(StrEnum):
    """What is later found true of a part."""

    CONFIRMED = "CONFIRMED"
    OVERKILL = "OVERKILL"
    ESCAPE = "ESCAPE"
    UNDECIDED = "UNDECIDED"


class ResponseEvent(StrEnum):
    """What a job response reports."""

    RECEIVED = "received"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    STARTED = "started"
    HELD = "held"
    COMPLETED = "completed"
    ABORTED = "aborted"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActualCause:
    """What the technician found. ``confirms``: does it confirm the first suspect (yes, no, partly)?"""

    cause_id: str | None
    cause_text: str = ""
    confirms: str = ""
    action_ids: tuple[str, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)
    minutes: float | None = None
    by: str = ""
    """A pseudonym or role, never a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """A check that was done: did it find what it looked for?"""

    check_id: str
    found: bool
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResponse:
    """One message of the MES about one order. (source, response_id) makes it idempotent."""

    response_id: str
    source: str
    order_id: UUID
    revision: int
    event: ResponseEvent
    received_at: datetime
    mes_order_id: str = ""
    reason: str = ""
    actual: ActualCause | None = None
    suspicion: str = ""
    """The cause that the person suspects before the ranking is shown."""
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedCase:
    """A closed incident with its confirmed cause: what the learner learns from.

    Attributes:
        tokens: evidence token to +1 (present), -1 (absent); unknown ones are left out.
        weight: trust in the label, 0 to 1 (see the diagnosis design, section 4.9).
        excess: how far the rate's statistic was above its threshold (log units); None: not known.
    """

    incident_id: UUID
    order_id: UUID
    cause_id: str
    code: str
    line_id: str
    tokens: Mapping[str, int]
    weight: float
    confirmed_at: datetime
    first_suspect: str | None
    text: str = ""
    shown_ranking: bool = True
    """Was the ranking in sight before somebody said a cause?"""
    suspicion: str | None = None
    """What was suspected before the ranking was shown."""
    recovered: bool | None = None
    """Did the rate fall after the action? None: not known yet."""
    excess: float | None = None
