"""Work orders: the current version, and all versions."""

import builtins
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select

from edge_agent.adapters.store.codec import decode, encode, label, to_us
from edge_agent.adapters.store.schema import order_versions, orders
from edge_agent.adapters.store.session import Session
from edge_agent.domain.work_order import WorkOrder


class SqlOrders:
    """Implements ``ports.Orders``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def save(self, order: WorkOrder) -> None:
        """Idempotent on (order_id, revision, state): the same one again replaces what it said.

        A return to an earlier state (started, held, started) is a version of its own. A version of an older revision
        goes into the history only.
        """
        document = encode(order)
        if self._keep(order, document):
            self._make_current(order, document)

    def get(self, order_id: UUID) -> WorkOrder | None:
        """The newest revision."""
        return self._newest(orders.c.order_id == order_id)

    def history(self, order_id: UUID) -> builtins.list[WorkOrder]:
        """All saved versions, oldest first."""
        query = (
            select(order_versions.c.document)
            .where(order_versions.c.order_id == order_id)
            .order_by(order_versions.c.seq)
        )
        return [decode(WorkOrder, row["document"]) for row in self._session.rows(query)]

    def with_key(self, key: str, *, since: datetime | None = None) -> WorkOrder | None:
        """The newest order with this key (updated since then, where given)."""
        later = [] if since is None else [orders.c.updated_us >= to_us(since)]
        return self._newest(orders.c.key == label(key), *later)

    def for_incident(self, incident_id: UUID) -> WorkOrder | None:
        """The newest order of this incident."""
        return self._newest(orders.c.incident_id == incident_id)

    def list(self, *, open_only: bool = False, limit: int = 200) -> builtins.list[WorkOrder]:
        """Newest (first saved last) first."""
        query = select(orders.c.document).order_by(orders.c.seq.desc()).limit(limit)
        if open_only:
            query = query.where(orders.c.terminal.is_(False))
        return [decode(WorkOrder, row["document"]) for row in self._session.rows(query)]

    def next_number(self) -> str:
        """``WO-0001``, ... for this box."""
        return f"WO-{self._session.take('order_number'):04d}"

    def _newest(self, *conditions: ColumnElement[bool]) -> WorkOrder | None:
        query = select(orders.c.document).where(*conditions).order_by(orders.c.seq.desc()).limit(1)
        document = self._session.first(query)
        return None if document is None else decode(WorkOrder, document)

    def _keep(self, order: WorkOrder, document: str) -> bool:
        """Write the version; False when exactly this one is known already."""
        table = order_versions
        versions = self._session.rows(select(table).where(table.c.order_id == order.order_id).order_by(table.c.seq))
        if any(version["document"] == document for version in versions):
            return False
        key = {"order_id": order.order_id, "revision": order.revision, "state": order.state.value}
        if versions and key.items() <= dict(versions[-1]).items():
            same = table.c.seq == versions[-1]["seq"]
            self._session.write(table.update().where(same).values(document=document))
        else:
            seq = self._session.take("order_versions")
            self._session.write(table.insert(), {"seq": seq, "document": document} | key)
        return True

    def _make_current(self, order: WorkOrder, document: str) -> None:
        same = orders.c.order_id == order.order_id
        current = self._session.first(select(orders.c.revision).where(same))
        if current is None:
            first = {"seq": self._session.take("orders"), "order_id": order.order_id}
            self._session.write(orders.insert(), first | _columns(order, document))
        elif order.revision >= current:
            self._session.write(orders.update().where(same).values(_columns(order, document)))


def _columns(order: WorkOrder, document: str) -> dict[str, Any]:
    return {
        "number": label(order.number),
        "revision": order.revision,
        "key": label(order.key),
        "state": order.state.value,
        "terminal": order.is_terminal,
        "priority": order.priority,
        "incident_id": order.incident_id,
        "created_us": to_us(order.created_at),
        "updated_us": to_us(order.updated_at),
        "document": document,
    }
