"""Steps of the language model, per incident."""

import builtins
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select

from edge_agent.adapters.store.codec import decode, encode, label, to_us
from edge_agent.adapters.store.schema import steps
from edge_agent.adapters.store.session import Session
from edge_agent.domain.step import Step

MOST = 200
"""Kept of one incident: the oldest go first."""
PRUNE_BATCH = 1_000


class SqlSteps:
    """Implements ``ports.Steps``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, step: Step) -> None:
        """Idempotent on step_id."""
        if self._session.first(select(steps.c.seq).where(steps.c.step_id == step.step_id)) is not None:
            return
        row = {
            "seq": self._session.take("steps"),
            "step_id": step.step_id,
            "incident_id": step.incident_id,
            "kind": label(step.kind),
            "at_us": to_us(step.at),
            "document": encode(step),
        }
        self._session.write(steps.insert(), row)
        self._bound(step.incident_id)

    def list(self, incident_id: UUID) -> builtins.list[Step]:
        """Oldest first."""
        query = select(steps.c.document).where(steps.c.incident_id == incident_id).order_by(steps.c.seq)
        return [decode(Step, row["document"]) for row in self._session.rows(query)]

    def prune(self, before: datetime) -> int:
        """Delete older ones, a bounded batch: call again until it returns 0."""
        oldest = select(steps.c.seq).where(steps.c.at_us < to_us(before)).order_by(steps.c.seq).limit(PRUNE_BATCH)
        return self._session.write(steps.delete().where(steps.c.seq.in_(oldest)))

    def _bound(self, incident_id: UUID) -> None:
        own = steps.c.incident_id == incident_id
        count = self._session.first(select(func.count()).select_from(steps).where(own)) or 0
        if count > MOST:
            oldest = select(steps.c.seq).where(own).order_by(steps.c.seq).limit(count - MOST)
            self._session.write(steps.delete().where(steps.c.seq.in_(oldest)))
