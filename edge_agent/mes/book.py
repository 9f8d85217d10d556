"""What the MES remembers: one SQLite file, so that a kill -9 makes it neither forget nor act twice.

The office, the page's requests and the terminal's commands each open the file for themselves; a person's answer is
written here first and said to the box from here.
"""

import json
import sqlite3
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent.mes.letters import confirms, response

SOURCE = "urn:mes:reference"
AGAIN_AFTER_S = 30.0
"""The box has not acknowledged an answer: it is said again after this, doubling, ..."""
TRIES = 8
"""... so often; then a person has to look."""
FIRST_NUMBER = 1001
SUSPECTED = "received"
"""The event that carries a suspicion: it changes no state."""

NEXT: Mapping[str, tuple[str, ...]] = {
    "new": ("accepted", "rejected", "closed"),
    "accepted": ("started", "held", "completed", "closed", "aborted"),
    "started": ("held", "completed", "closed", "aborted"),
    "held": ("started", "completed", "closed", "aborted"),
    "completed": ("closed", "started"),
}
"""What may be answered in which state; in the others nothing more."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (source TEXT, id TEXT, PRIMARY KEY (source, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS boxes (root TEXT PRIMARY KEY, state TEXT, at REAL, open_orders TEXT);
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, mes_id TEXT UNIQUE, root TEXT, rev INTEGER, state TEXT, document TEXT, opened_at REAL,
    changed_at REAL);
CREATE TABLE IF NOT EXISTS answers (
    seq INTEGER PRIMARY KEY, id TEXT UNIQUE, order_id TEXT, event TEXT, topic TEXT, body BLOB, made_at REAL,
    due_at REAL, tries INTEGER DEFAULT 0, said_at REAL, outcome TEXT DEFAULT '', detail TEXT DEFAULT '');
CREATE TABLE IF NOT EXISTS reports (root TEXT, id TEXT, order_id TEXT, document TEXT, at REAL, PRIMARY KEY (root, id));
CREATE TABLE IF NOT EXISTS counts (what TEXT PRIMARY KEY, n INTEGER);
CREATE INDEX IF NOT EXISTS answers_due ON answers (outcome, due_at);
"""


class NotPossible(Exception):
    """An answer that the order's state does not allow, or an order that there is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Something that was said, or is to be said, to a box.

    Attributes:
        outcome: ``applied``, ``ignored`` or ``invalid`` as the box said; empty while it has not.
    """

    seq: int
    answer_id: str
    order_id: str
    event: str
    topic: str
    body: bytes
    made_at: float
    tries: int
    outcome: str
    detail: str

    @property
    def data(self) -> Mapping[str, Any]:
        """The response's own content."""
        found: Mapping[str, Any] = json.loads(self.body)["data"]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order as this MES knows it; ``document`` is the box's newest revision."""

    order_id: str
    mes_id: str
    root: str
    rev: int
    state: str
    document: Mapping[str, Any] = field(default_factory=dict)
    opened_at: float
    changed_at: float

    @property
    def may(self) -> tuple[str, ...]:
        """What may be answered now."""
        return NEXT.get(self.state, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One box; ``unknown`` are orders of its index that we hold no document of."""

    root: str
    state: Mapping[str, Any]
    seen_at: float
    unknown: tuple[str, ...]

    @property
    def online(self) -> bool:
        """By its own word or, after its death, the broker's."""
        return bool(self.state.get("online"))


class Book:
    """Used by one thread; nothing is kept before `commit`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=10)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(_SCHEMA)

    def commit(self) -> None:
        """Keep what was done since the last call."""
        self._db.commit()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- what comes in ----------------------------------------------------------------------------------------------

    def first_time(self, source: str, event_id: str) -> bool:
        """False when this event was seen before."""
        return self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (source, event_id)).rowcount == 1

    def count(self, what: str) -> None:
        """One more of these."""
        self._db.execute("INSERT INTO counts VALUES (?, 1) ON CONFLICT (what) DO UPDATE SET n = n + 1", (what,))

    def note_box(self, root: str, state: Mapping[str, Any]) -> None:
        """What a box, or the broker for it, says of itself."""
        self._db.execute(
            "INSERT INTO boxes VALUES (?, ?, ?, '[]') ON CONFLICT (root) DO UPDATE SET state = excluded.state,"
            " at = excluded.at",
            (root, json.dumps(state), time.time()),
        )

    def note_index(self, root: str, open_orders: Sequence[str]) -> None:
        """The box's own list of orders that are not done."""
        self._db.execute(
            "INSERT INTO boxes VALUES (?, '{}', ?, ?) ON CONFLICT (root) DO UPDATE SET open_orders ="
            " excluded.open_orders",
            (root, time.time(), json.dumps(list(open_orders))),
        )

    def note_report(self, root: str, report: Mapping[str, Any]) -> None:
        """A document by reference."""
        row = (root, str(report["reportId"]), report.get("woId"), json.dumps(report), time.time())
        self._db.execute("INSERT OR REPLACE INTO reports VALUES (?, ?, ?, ?, ?)", row)

    def take_order(self, root: str, document: Mapping[str, Any]) -> str:
        """Open, update or cancel: what was done, or ``known`` for a revision that is not newer."""
        order_id, now = str(document["jobOrderId"]), time.time()
        row = self._db.execute("SELECT rev FROM orders WHERE id = ?", (order_id,)).fetchone()
        if row is None:
            nth = self._db.execute("SELECT COUNT(*) FROM orders").fetchone()[0]
            state = "cancelled" if document["verb"] == "cancel" else "new"
            values = (
                order_id,
                f"PM-{FIRST_NUMBER + nth}",
                root,
                document["rev"],
                state,
                json.dumps(document),
                now,
                now,
            )
            self._db.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            return "opened"
        if int(document["rev"]) <= row["rev"]:
            return "known"
        self._db.execute(
            "UPDATE orders SET rev = ?, document = ?, changed_at = ? WHERE id = ?",
            (document["rev"], json.dumps(document), now, order_id),
        )
        if document["verb"] != "cancel":
            return "updated"
        self._db.execute("UPDATE orders SET state = 'cancelled' WHERE id = ?", (order_id,))
        return "cancelled"

    def heard(self, answer_id: str, outcome: str, detail: str) -> None:
        """The box says what became of an answer."""
        self._db.execute("UPDATE answers SET outcome = ?, detail = ? WHERE id = ?", (outcome, detail, answer_id))

    # --- what goes out ----------------------------------------------------------------------------------------------

    def answer(
        self,
        name: str,
        event: str,
        *,
        reason: str = "",
        actual: Mapping[str, Any] | None = None,
        rev: int | None = None,
        suspicion: str = "",
    ) -> Answer:
        """Write an answer down, to be said at once.

        Args:
            name: the order's id, its number at the box, or ours.
            actual: what was found and done: ``causeCode``, ``causeText``, ``actions``, ``parts``, ``minutes``,
                ``personnel``; what follows from the order is added.
            suspicion: the cause that somebody suspects before they have seen a ranking; with ``received``.
            rev: the revision that the person had before him; None: the newest.

        Raises:
            NotPossible: no such order; an answer that its state does not allow; a closing without a cause.
        """
        order = self.order(name)
        if event == SUSPECTED and not (suspicion and order.may):
            raise NotPossible(
                f"{order.mes_id} is {order.state}: a suspicion needs a cause and an order that is not done"
            )
        if event != SUSPECTED and event not in order.may:
            allowed = ", ".join(order.may) or "nothing more"
            raise NotPossible(f"{order.mes_id} is {order.state}: it can be {allowed}, not {event}")
        if event == "closed" and not (actual or {}).get("causeCode"):
            raise NotPossible("closing needs the cause that was found: one of the list, NONE, or OTHER with words")
        if event == "rejected" and not reason:
            raise NotPossible("a rejection needs a reason")
        document = {**order.document, "rev": order.rev if rev is None else rev}
        answer_id = str(uuid.uuid4())
        body = response(
            SOURCE,
            answer_id,
            document,
            event,
            mes_id=order.mes_id,
            reason=reason,
            actual=None if actual is None else _completed(order.document, actual),
            suspicion=suspicion,
        )
        now = time.time()
        self._db.execute(
            "INSERT INTO answers (id, order_id, event, topic, body, made_at, due_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (answer_id, order.order_id, event, f"{order.root}/in/wo/{order.order_id}/response", body, now, now),
        )
        state = order.state if event == SUSPECTED else event
        self._db.execute("UPDATE orders SET state = ?, changed_at = ? WHERE id = ?", (state, now, order.order_id))
        return self._answers("id = ?", (answer_id,))[0]

    def due(self, now: float) -> list[Answer]:
        """What is to be said now, oldest first; never a later answer to an order before an earlier one was said."""
        return self._answers(
            "outcome = '' AND tries < ? AND due_at <= ? AND NOT EXISTS (SELECT 1 FROM answers b"
            " WHERE b.order_id = a.order_id AND b.seq < a.seq AND b.tries = 0) ORDER BY seq",
            (TRIES, now),
        )

    def said(self, answer: Answer, now: float) -> None:
        """The broker has it; should the box not acknowledge it, it is said again later."""
        again_at = now + AGAIN_AFTER_S * 2.0**answer.tries
        self._db.execute(
            "UPDATE answers SET tries = tries + 1, said_at = ?, due_at = ? WHERE seq = ?", (now, again_at, answer.seq)
        )

    # --- to look at -------------------------------------------------------------------------------------------------

    def order(self, name: str) -> Order:
        """One order by its id, its number at the box, or ours.

        Raises:
            NotPossible: there is none, or a number is used by several boxes.
        """
        found = self._orders(
            "id = ?1 OR mes_id = ?1 COLLATE NOCASE OR json_extract(document, '$.number') = ?1 COLLATE NOCASE", (name,)
        )
        if len(found) > 1:
            raise NotPossible(f"{name} is an order of several boxes: {', '.join(one.mes_id for one in found)}")
        if not found:
            raise NotPossible(f"no order {name}")
        return found[0]

    def orders(self, *, everything: bool = True, limit: int = 200) -> list[Order]:
        """Newest first."""
        states = ", ".join(f"'{state}'" for state in NEXT)
        return self._orders("1" if everything else f"state IN ({states})", (), limit=limit)

    def answers(self, order_id: str) -> list[Answer]:
        """All that was said about an order, oldest first."""
        return self._answers("order_id = ? ORDER BY seq", (order_id,))

    def unheard(self) -> int:
        """How many answers no box has acknowledged."""
        return int(self._db.execute("SELECT COUNT(*) FROM answers WHERE outcome = ''").fetchone()[0])

    def boxes(self) -> list[Box]:
        """By topic root."""
        known = {row["id"] for row in self._db.execute("SELECT id FROM orders")}
        return [
            Box(
                root=row["root"],
                state=json.loads(row["state"]),
                seen_at=row["at"],
                unknown=tuple(one for one in json.loads(row["open_orders"]) if one not in known),
            )
            for row in self._db.execute("SELECT * FROM boxes ORDER BY root")
        ]

    def reports(self, order_id: str | None = None, limit: int = 50) -> list[Mapping[str, Any]]:
        """References to documents, newest first; of one order or all."""
        where = "1" if order_id is None else "order_id = ?2"
        rows = self._db.execute(
            f"SELECT document FROM reports WHERE {where} ORDER BY at DESC LIMIT ?1",  # noqa: S608  no input in it
            (limit,) if order_id is None else (limit, order_id),
        )
        return [json.loads(row["document"]) for row in rows]

    def counts(self) -> dict[str, int]:
        """What came in so far."""
        return {row["what"]: row["n"] for row in self._db.execute("SELECT what, n FROM counts ORDER BY what")}

    def _orders(self, where: str, values: tuple[Any, ...], *, limit: int = -1) -> list[Order]:
        rows = self._db.execute(
            f"SELECT * FROM orders WHERE {where} ORDER BY opened_at DESC LIMIT {int(limit)}",  # noqa: S608  no input in it
            values,
        )
        return [
            Order(
                order_id=row["id"],
                mes_id=row["mes_id"],
                root=row["root"],
                rev=row["rev"],
                state=row["state"],
                document=json.loads(row["document"]),
                opened_at=row["opened_at"],
                changed_at=row["changed_at"],
            )
            for row in rows
        ]

    def _answers(self, where: str, values: tuple[Any, ...]) -> list[Answer]:
        rows = self._db.execute(f"SELECT * FROM answers a WHERE {where}", values)  # noqa: S608  no input in it
        return [
            Answer(
                seq=row["seq"],
                answer_id=row["id"],
                order_id=row["order_id"],
                event=row["event"],
                topic=row["topic"],
                body=row["body"],
                made_at=row["made_at"],
                tries=row["tries"],
                outcome=row["outcome"],
                detail=row["detail"],
            )
            for row in rows
        ]


def _completed(document: Mapping[str, Any], actual: Mapping[str, Any]) -> dict[str, Any]:
    """With what follows from the order: which analysis it answers, and whether its first suspect was right."""
    suspected = [str(each["causeCode"]) for each in document.get("suspects", ())]
    found = str(actual.get("causeCode") or "")
    judged = found and not document.get("rankingHidden")
    right = confirms(document.get("expectedCause"), suspected, found) if judged else ""
    return {"rcaId": document.get("rcaId"), "confirms": right, **actual}


def written(path: Path, name: str, event: str, **what: Any) -> Answer:
    """`Book.answer` in one go, for a page's request or a command."""
    with closing(Book(path)) as book:
        answer = book.answer(name, event, **what)
        book.commit()
        return answer
