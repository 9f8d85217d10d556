"""Who changed what, and when: entries chained by their hashes, so that a change of the past shows."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

GENESIS = "0" * 64
"""The hash before the first entry."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that was done.

    Attributes:
        seq: 1, 2, 3, ... without gaps.
        actor: who: a role or pseudonym, a program, never a person's name.
        action: what, e.g. ``configuration.loaded``.
        subject: to what, e.g. ``recipe:board-a/3``.
        before, after: sha256 of the subject's content, where it has one; empty otherwise.
        detail: a sentence for people.
        previous_hash: the hash of the entry before this one; `GENESIS` in the first.
        hash: see `entry_hash`.
    """

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: str = ""
    after: str = ""
    detail: str = ""
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheck:
    """What became of following the chain.

    Attributes:
        entries: how many were right.
        head: the hash of the last one that was right. Kept elsewhere (the log, ``out/state``, paper), it also shows
            when the newest entries were cut off or the whole chain was made anew.
        fault: what is wrong, and where; empty when nothing is.
    """

    entries: int
    head: str
    fault: str = ""


def entry_hash(
    *,
    seq: int,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    before: str,
    after: str,
    detail: str,
    previous_hash: str,
) -> str:
    """sha256 over a JSON array of the fields in this order, without blanks, in UTF-8; the instant in microseconds.

    So that others can follow the chain in an export with a few lines of any language.
    """
    at_us = (at - _EPOCH) // timedelta(microseconds=1)
    content = [previous_hash, seq, at_us, actor, action, subject, before, after, detail]
    return hashlib.sha256(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def hash_of(entry: AuditEntry) -> str:
    """The hash that an entry's fields ask for."""
    return entry_hash(
        seq=entry.seq,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
        before=entry.before,
        after=entry.after,
        detail=entry.detail,
        previous_hash=entry.previous_hash,
    )


@dataclass(slots=True, kw_only=True)
class ChainWalk:
    """Follows the chain, entry by entry, up to the first fault."""

    entries: int = 0
    head: str = GENESIS
    fault: str = ""
    _seq: int = field(default=0, repr=False)

    def take(self, entries: Iterable[AuditEntry]) -> bool:
        """The next entries, oldest first; False once something was wrong."""
        for entry in entries:
            self.fault = self.fault or self._wrong_with(entry)
            if self.fault:
                return False
            self.entries, self._seq, self.head = self.entries + 1, entry.seq, entry.hash
        return True

    def result(self) -> AuditCheck:
        """What was found so far."""
        return AuditCheck(entries=self.entries, head=self.head, fault=self.fault)

    def _wrong_with(self, entry: AuditEntry) -> str:
        if entry.seq != self._seq + 1:
            return f"entry {self._seq + 1} is missing: after {self._seq} comes {entry.seq}"
        if entry.previous_hash != self.head:
            return f"entry {entry.seq} does not follow from the one before it"
        if entry.hash != hash_of(entry):
            return f"entry {entry.seq} was changed after it was written: its content has another hash"
        return ""


__all__ = ["GENESIS", "AuditCheck", "AuditEntry", "ChainWalk", "entry_hash", "hash_of"]
