"""A work order: one job for the plant, with its state machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from edge_agent.domain.cause import Action, Check
from edge_agent.domain.inspection import ImageRef


class OrderState(StrEnum):
    """States after OPC 10031-4 (ISA-95 job control); see docs/topics.md for the mapping."""

    DRAFT = "draft"
    ISSUED = "issued"
    ACCEPTED = "accepted"
    STARTED = "started"
    HELD = "held"
    COMPLETED = "completed"
    CLOSED = "closed"
    REJECTED = "rejected"
    ABORTED = "aborted"
    CANCELLED = "cancelled"


TERMINAL = frozenset({OrderState.CLOSED, OrderState.REJECTED, OrderState.ABORTED, OrderState.CANCELLED})

_NEXT: Mapping[OrderState, frozenset[OrderState]] = {
    OrderState.DRAFT: frozenset({OrderState.ISSUED, OrderState.CANCELLED}),
    OrderState.ISSUED: frozenset(
        {
            OrderState.ACCEPTED,
            OrderState.REJECTED,
            OrderState.STARTED,
            OrderState.COMPLETED,
            OrderState.CLOSED,
            OrderState.ABORTED,
            OrderState.CANCELLED,
        }
    ),
    OrderState.ACCEPTED: frozenset(
        {
            OrderState.STARTED,
            OrderState.HELD,
            OrderState.COMPLETED,
            OrderState.CLOSED,
            OrderState.REJECTED,
            OrderState.ABORTED,
            OrderState.CANCELLED,
        }
    ),
    OrderState.STARTED: frozenset({OrderState.HELD, OrderState.COMPLETED, OrderState.CLOSED, OrderState.ABORTED}),
    OrderState.HELD: frozenset({OrderState.STARTED, OrderState.COMPLETED, OrderState.CLOSED, OrderState.ABORTED}),
    OrderState.COMPLETED: frozenset({OrderState.CLOSED, OrderState.STARTED}),
}


SAY_FIRST = "Say first what you suspect; then the suspects and checks are shown."


def may_become(state: OrderState, following: OrderState) -> bool:
    """Is the transition allowed? Terminal states never go back; forward jumps are (a plant may skip a step)."""
    return following in _NEXT.get(state, frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A suspected cause as the technician reads it; ids refer to the analysis' evidence."""

    cause_id: str
    name: str
    grade: str
    speaks_for: tuple[str, ...]
    speaks_against: tuple[str, ...]
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Containment:
    """What to set aside until the cause is known."""

    part_ids: tuple[str, ...]
    lot_ids: tuple[str, ...]
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """An incident above the limit of orders, as the collecting order lists it.

    Attributes:
        priority: 1 (now) to 4 (log), what its own order would have.
        suspect: name and grade of its first suspect; empty where the numbers name none.
    """

    incident_id: UUID
    priority: int
    problem: str
    station_id: str
    opened_at: datetime
    suspect: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """One job for the plant. A change makes a new revision with the same ``order_id``.

    Attributes:
        number: short, for people, e.g. ``WO-0007``.
        key: deduplication key (line, process step or station, class family, place).
        priority: 1 (now) to 4 (log).
        priority_reason: severity, occurrence, detection and what the table said.
        problem: one sentence; numbers from code only.
        text: the summary that stands in the order; ``note`` is an unqualified LLM's text shown beside it, marked.
        checks: in the order that saves most minutes.
        gathered: the incidents of a collecting order, most urgent first; empty for an order of one incident.
        ranking_hidden: nobody is shown the ranking before somebody has said what they suspect; see `shown`.
        choices: of a blind order, causes to choose from in an order that suggests nothing: id and name.
    """

    order_id: UUID
    number: str
    revision: int
    key: str
    state: OrderState
    incident_id: UUID
    analysis_id: UUID
    created_at: datetime
    updated_at: datetime
    due_at: datetime
    priority: int
    priority_reason: str
    line_id: str
    station_id: str
    equipment: str
    problem: str
    text: str
    suspects: tuple[Suspect, ...]
    open_set: bool
    """Could it also be something that is not listed?"""
    checks: tuple[Check, ...]
    containment: Containment
    images: tuple[ImageRef, ...] = ()
    inspection_ids: tuple[UUID, ...] = ()
    note: str = ""
    text_source: str = "template"
    mes_order_id: str = ""
    recurrence_of: UUID | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    gathered: tuple[Gathered, ...] = ()
    ranking_hidden: bool = False
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def blind(self) -> bool:
        """Was the ranking hidden at first? Then the first suspicion, or the cause that was named, is a person's own."""
        return bool(self.choices)

    def shown(self) -> "WorkOrder":
        """The order as people may see it: without everything that tells the ranking, while that is hidden."""
        if not self.ranking_hidden:
            return self
        return replace(
            self,
            text=f"{self.problem}. {SAY_FIRST}",
            text_source="template",
            note="",
            equipment="",
            suspects=(),
            checks=(),
            open_set=True,
        )

    def moved(self, state: OrderState, *, at: datetime) -> "WorkOrder":
        """The order in its next state.

        Raises:
            ValueError: the transition is not allowed.
        """
        if not may_become(self.state, state):
            raise ValueError(f"order {self.number}: {self.state} cannot become {state}")
        return replace(self, state=state, updated_at=at)

    @property
    def collects(self) -> bool:
        """Is it the list of what is above the limit of orders? It names no suspect, and its answer teaches nothing."""
        return "collects" in self.attributes

    @property
    def is_terminal(self) -> bool:
        """Nothing more will happen to it."""
        return self.state in TERMINAL
