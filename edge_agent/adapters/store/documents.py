"""Printed documents, and small named values."""

import builtins
import json
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from edge_agent.adapters.store.codec import decode, encode, label, to_us
from edge_agent.adapters.store.schema import documents, facts
from edge_agent.adapters.store.session import Session
from edge_agent.domain.document import Document

_FACT = select(facts.c.value).where(facts.c.key == bindparam("name"))
_SET_FACT = (
    facts.update().where(facts.c.key == bindparam("name")).values(value=bindparam("json"), updated_us=bindparam("at"))
)
_ADD_FACT = facts.insert()


class SqlDocuments:
    """Implements ``ports.Documents``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, document: Document) -> None:
        """Idempotent on document_id."""
        known = select(documents.c.seq).where(documents.c.document_id == document.document_id)
        if self._session.first(known) is not None:
            return
        row = {
            "seq": self._session.take("documents"),
            "document_id": document.document_id,
            "kind": label(document.kind),
            "subject_id": document.subject_id,
            "made_us": to_us(document.made_at),
            "document": encode(document),
        }
        self._session.write(documents.insert(), row)

    def list(
        self, *, kind: str | None = None, subject_id: UUID | None = None, limit: int = 100
    ) -> builtins.list[Document]:
        """Newest (added last) first."""
        query = select(documents.c.document).order_by(documents.c.seq.desc()).limit(limit)
        if kind is not None:
            query = query.where(documents.c.kind == label(kind))
        if subject_id is not None:
            query = query.where(documents.c.subject_id == subject_id)
        return [decode(Document, row["document"]) for row in self._session.rows(query)]


class SqlFacts:
    """Implements ``ports.Facts``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, key: str) -> Any:
        """The value, or None."""
        text = self._session.first(_FACT, {"name": label(key)})
        return None if text is None else json.loads(text)

    def set(self, key: str, value: Any) -> None:
        """Raises TypeError for what JSON cannot say."""
        row = {"name": label(key), "json": json.dumps(value), "at": to_us(self._session.clock.now())}
        if not self._session.write(_SET_FACT, row):
            self._session.write(_ADD_FACT, {"key": row["name"], "value": row["json"], "updated_us": row["at"]})
