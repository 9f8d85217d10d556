"""The audit log: rows that are only ever added, each holding the hash of the one before it."""

from typing import Any

from sqlalchemy import RowMapping, bindparam, select

from edge_agent.adapters.store.codec import from_us, label, to_us
from edge_agent.adapters.store.schema import audit, counters
from edge_agent.adapters.store.session import Session
from edge_agent.domain.audit import GENESIS, AuditCheck, AuditEntry, ChainWalk, entry_hash

PAGE = 1_000
_COUNTER = "audit"

_LAST_HASH = select(audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
_GIVEN = select(counters.c.value).where(counters.c.name == _COUNTER)
_AFTER = select(audit).where(audit.c.seq > bindparam("after")).order_by(audit.c.seq).limit(bindparam("most"))
_LATEST = select(audit).order_by(audit.c.seq.desc()).limit(bindparam("most"))
_LATEST_OF = _LATEST.where(audit.c.subject == bindparam("of_subject"))


class SqlAudit:
    """Implements ``ports.Audit``. The database itself refuses to change or delete a row (see the migration)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(
        self, *, actor: str, action: str, subject: str, before: str = "", after: str = "", detail: str = ""
    ) -> AuditEntry:
        """Write an entry down in this transaction, with the time of now."""
        previous = self._session.first(_LAST_HASH) or GENESIS
        content: dict[str, Any] = {
            "seq": self._session.take(_COUNTER),
            "at": from_us(to_us(self._session.clock.now())),
            "actor": label(actor),
            "action": label(action),
            "subject": label(subject),
            "before": label(before),
            "after": label(after),
            "detail": label(detail),
            "previous_hash": previous,
        }
        entry = AuditEntry(**content, hash=entry_hash(**content))
        self._session.write(audit.insert(), _columns(entry))
        return entry

    def verify(self) -> AuditCheck:
        """Follow the whole chain from the first entry, and count."""
        walk = ChainWalk()
        while page := self.rows(after=walk.entries, limit=PAGE):
            if not walk.take(page):
                return walk.result()
        given = self._session.first(_GIVEN) or 0
        if walk.entries != given:
            walk.fault = f"entry {walk.entries + 1} is missing: {given} were written"
        return walk.result()

    def rows(self, *, after: int = 0, limit: int = PAGE) -> list[AuditEntry]:
        """Entries with a larger seq, oldest first."""
        return [_entry(row) for row in self._session.rows(_AFTER, {"after": after, "most": limit})]

    def latest(self, limit: int = 1, *, subject: str | None = None) -> list[AuditEntry]:
        """Newest first; only those about ``subject`` where it is given."""
        if subject is None:
            return [_entry(row) for row in self._session.rows(_LATEST, {"most": limit})]
        return [_entry(row) for row in self._session.rows(_LATEST_OF, {"most": limit, "of_subject": label(subject)})]


def _columns(entry: AuditEntry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at_us": to_us(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "before": entry.before,
        "after": entry.after,
        "detail": entry.detail,
        "previous_hash": entry.previous_hash,
        "hash": entry.hash,
    }


def _entry(row: RowMapping) -> AuditEntry:
    content = {name: row[name] for name in row if name != "at_us"}
    return AuditEntry(at=from_us(row["at_us"]), **content)
