"""The loop of the reference MES: letters in, on disk, acknowledged, receipted; answers out until a box heard them."""

import json
import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge_agent.mes.book import SOURCE, Answer, Book
from edge_agent.mes.letters import RECEIPTED, addressed, opened, receipt
from edge_agent.mes.wire import TOPICS, Letter, Wire

FOLLOWED = (*TOPICS, "out/state", "out/wo-index", "out/error")
"""Subscribed to below each box."""

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "wo": ("jobOrderId", "number", "rev", "verb", "description"),
    "report": ("reportId", "uri"),
}
"""Without these a document is of no use; it is refused, not guessed at."""

Tell = Callable[..., None]
"""Told a constant sentence and fields for each thing that happens."""


class Office:
    """Serves until its caller stops calling `step`.

    Args:
        accepts: accept each new order at once, so that nobody has to.
    """

    def __init__(self, *, wire: Wire, book: Book, tell: Tell, accepts: bool = False) -> None:
        self._wire, self._book, self._tell, self._accepts = wire, book, tell, accepts
        self._flying: dict[int, tuple[Answer, Any]] = {}

    def step(self, wait_s: float) -> int:
        """Handle what came in, say what is due; how many letters there were."""
        letters = self._wire.letters(wait_s)
        if letters:
            receipts = self._handle(letters)
            self._book.commit()
            self._wire.acknowledge(letters)
            for (root, status), ids in receipts.items():
                self._wire.send(f"{root}/in/receipt", receipt(SOURCE, ids, status))
        self._say(time.time())
        return len(letters)

    def _handle(self, letters: Sequence[Letter]) -> dict[tuple[str, str], list[str]]:
        """Handle each; ids to confirm, by box and status."""
        receipts: dict[tuple[str, str], list[str]] = defaultdict(list)
        for letter in letters:
            root, rest = addressed(letter.topic)
            event = opened(letter.body)
            if event is None:
                if letter.body:
                    self._tell("not a CloudEvent, ignored", topic=letter.topic)
                continue
            if rest.split("/")[0] not in RECEIPTED or rest.endswith("/response-ack"):
                self._note(root, rest, event["data"])
                continue
            receipts[root, self._receive(root, rest.split("/")[0], event)].append(event["id"])
        return receipts

    def _receive(self, root: str, kind: str, event: Mapping[str, Any]) -> str:
        """The receipt's status."""
        lacking = [name for name in _NEEDED.get(kind, ()) if name not in event["data"]]
        if lacking:
            self._tell("refused: incomplete", kind=kind, event=event["id"], lacks=", ".join(lacking))
            return "rejected"
        if not self._book.first_time(event["source"], event["id"]):
            return "duplicate"
        self._take(root, kind, event["data"])
        return "received"

    def _note(self, root: str, rest: str, data: Mapping[str, Any]) -> None:
        """What needs no receipt: only the newest counts."""
        match rest.split("/"):
            case ["state"]:
                self._book.note_box(root, data)
                self._tell("box says", box=root, online=data.get("online"), mode=data.get("mode"))
            case ["wo-index"]:
                self._book.note_index(root, [str(each["jobOrderId"]) for each in data.get("orders", ())])
            case ["wo", _, "response-ack"]:
                status, detail = str(data.get("status", "")), str(data.get("detail") or "")
                self._book.heard(str(data.get("responseId")), status, detail)
                self._tell("answer heard", order=data.get("jobOrderId"), status=status, detail=detail)
            case ["error"]:
                self._book.count("errors of boxes")
                self._tell("box reports an error", box=root, detail=data.get("detail"))
            case _:
                self._book.count(rest.split("/")[0])

    def _take(self, root: str, kind: str, data: Mapping[str, Any]) -> None:
        self._book.count(kind)
        if kind == "report":
            self._book.note_report(root, data)
            self._tell("document", title=data.get("title"), uri=data.get("uri"))
        elif kind == "wo":
            done = self._book.take_order(root, data)
            self._tell(f"order {done}", order=data["number"], rev=data["rev"], problem=data["description"])
            if done == "opened" and self._accepts and data["verb"] != "cancel":
                self._book.answer(str(data["jobOrderId"]), "accepted")

    def _say(self, now: float) -> None:
        self._settle(now)
        if not self._wire.up.is_set():
            self._flying.clear()  # said again on the next connection; the box knows an answer by its id
            return
        for answer in self._book.due(now):
            if answer.seq not in self._flying:
                self._flying[answer.seq] = (answer, self._wire.send(answer.topic, answer.body))

    def _settle(self, now: float) -> None:
        """Book what the broker has taken."""
        for seq, (answer, sent) in list(self._flying.items()):
            if sent.is_published():
                self._book.said(answer, now)
                self._book.commit()
                del self._flying[seq]
                self._tell("answered", order=answer.order_id, event=answer.event)


def tls_context(ca_file: str, cert_file: str | None, key_file: str | None) -> ssl.SSLContext:
    """What the wire needs for TLS.

    Raises:
        OSError: a file that cannot be read, or is no certificate.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca_file)
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file)
    return context


def as_line(what: str, fields: Mapping[str, Any]) -> str:
    """One line for a terminal."""
    shown = "  ".join(f"{name} {value}" for name, value in fields.items() if value not in (None, ""))
    return f"{time.strftime('%H:%M:%S')}  {what:24s} {shown}".rstrip()


def as_json(what: str, fields: Mapping[str, Any]) -> str:
    """One line for a program."""
    return json.dumps({"at": time.time(), "event": what, **fields})
