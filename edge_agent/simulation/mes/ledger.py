"""What the MES remembers: one SQLite file, so that a kill -9 makes it neither forget nor act twice."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AGAIN_AFTER_S = 30.0
"""The box has not acknowledged an answer: it is said again, doubling, ..."""
DOUBLINGS = 4
"""... so often, and then at that interval for as long as it takes: a box may be away for days."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (source TEXT, id TEXT, PRIMARY KEY (source, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, nth INTEGER, rev INTEGER, root TEXT, key TEXT, state TEXT, mes_id TEXT, document TEXT);
CREATE TABLE IF NOT EXISTS answers (
    seq INTEGER PRIMARY KEY, id TEXT, order_id TEXT, event TEXT, due_at REAL, topic TEXT, body BLOB, copies INTEGER,
    repairs TEXT, tries INTEGER DEFAULT 0, heard INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS counts (what TEXT PRIMARY KEY, n INTEGER);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Something to tell the box at a time (seconds since 1970).

    Attributes:
        answer_id: the response's own id; the box acknowledges it.
        repairs: the cause that is removed by this step.
        tries: how often it was said.
    """

    answer_id: str
    order_id: str
    event: str
    due_at: float
    topic: str
    body: bytes
    copies: int = 1
    repairs: str = ""
    tries: int = 0
    seq: int = 0


class Ledger:
    """Used by one thread. Nothing is kept before `commit`."""

    def __init__(self, path: Path, *, again_after_s: float = AGAIN_AFTER_S) -> None:
        self._again_after_s = again_after_s
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(_SCHEMA)

    def commit(self) -> None:
        """Keep what was done since the last call."""
        self._db.commit()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def first_time(self, source: str, event_id: str) -> bool:
        """False when this event was seen before."""
        done = self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (source, event_id))
        return done.rowcount == 1

    def count(self, what: str, n: int = 1) -> None:
        """Count something for the summary."""
        self._db.execute(
            "INSERT INTO counts VALUES (?, ?) ON CONFLICT (what) DO UPDATE SET n = n + excluded.n", (what, n)
        )

    def counts(self) -> dict[str, int]:
        """All counts."""
        return dict(self._db.execute("SELECT what, n FROM counts ORDER BY what"))

    def revision(self, order_id: str) -> int | None:
        """The newest revision known of an order; None: a new one."""
        row = self._db.execute("SELECT rev FROM orders WHERE id = ?", (order_id,)).fetchone()
        return None if row is None else int(row[0])

    def open_with_key(self, key: str) -> str | None:
        """Our number of an open order with this deduplication key."""
        row = self._db.execute("SELECT mes_id FROM orders WHERE key = ? AND state = 'open'", (key,)).fetchone()
        return None if row is None else str(row[0])

    def add_order(self, document: Mapping[str, Any], *, root: str, key: str) -> tuple[int, str]:
        """Keep a new order; how many came before it, and our own number for it."""
        nth = int(self._db.execute("SELECT COUNT(*) FROM orders").fetchone()[0])
        mes_id = f"PM-{1001 + nth}"
        self._db.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, 'open', ?, ?)",
            (document["jobOrderId"], nth, document["rev"], root, key, mes_id, json.dumps(document)),
        )
        return nth, mes_id

    def update_order(self, document: Mapping[str, Any]) -> None:
        """Keep a newer revision."""
        self._db.execute(
            "UPDATE orders SET rev = ?, document = ? WHERE id = ?",
            (document["rev"], json.dumps(document), document["jobOrderId"]),
        )

    def close_order(self, order_id: str) -> None:
        """Nothing more is done with it."""
        self._db.execute("UPDATE orders SET state = 'closed' WHERE id = ?", (order_id,))

    def drop_answers(self, order_id: str) -> None:
        """Forget what was still to be said about an order."""
        self._db.execute("DELETE FROM answers WHERE order_id = ? AND tries = 0", (order_id,))

    def plan(self, answers: Iterable[Answer]) -> None:
        """Keep what is to be said later."""
        self._db.executemany(
            "INSERT INTO answers (id, order_id, event, due_at, topic, body, copies, repairs)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(a.answer_id, a.order_id, a.event, a.due_at, a.topic, a.body, a.copies, a.repairs) for a in answers],
        )

    def due(self, now: float) -> list[Answer]:
        """What is to be said now, oldest first; nothing of an order that comes after an unsaid thing of it."""
        return self._answers(
            "heard = 0 AND due_at <= ? AND NOT EXISTS (SELECT 1 FROM answers b"
            " WHERE b.order_id = a.order_id AND b.seq < a.seq AND b.tries = 0) ORDER BY due_at, seq",
            (now,),
        )

    def _answers(self, where: str, values: tuple[Any, ...]) -> list[Answer]:
        names = ("answer_id", "order_id", "event", "due_at", "topic", "body", "copies", "repairs", "tries", "seq")
        columns = "id, order_id, event, due_at, topic, body, copies, repairs, tries, seq"
        rows = self._db.execute(f"SELECT {columns} FROM answers a WHERE {where}", values)  # noqa: S608  no input in it
        return [Answer(**dict(zip(names, row, strict=True))) for row in rows]

    def waiting(self) -> int:
        """How many things are still to be said."""
        return int(self._db.execute("SELECT COUNT(*) FROM answers WHERE tries = 0").fetchone()[0])

    def said(self, answer: Answer, now: float) -> bool:
        """The broker has it; should the box not acknowledge it, it is said again later. True: for the first time."""
        first = bool(self._db.execute("SELECT tries FROM answers WHERE seq = ?", (answer.seq,)).fetchone() == (0,))
        again_at = now + self._again_after_s * 2.0 ** min(answer.tries, DOUBLINGS)
        self._db.execute("UPDATE answers SET tries = tries + 1, due_at = ? WHERE seq = ?", (again_at, answer.seq))
        return first

    def heard(self, answer_id: str) -> list[Answer]:
        """The box has acknowledged it; those that nobody had marked as said (we were killed just then)."""
        self._db.execute("UPDATE answers SET heard = 1 WHERE id = ?", (answer_id,))
        return self._answers("id = ? AND tries = 0", (answer_id,))
