"""The planner's desk: orders in, answers out, receipts for everything that must not be lost."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from edge_agent.mes.letters import RECEIPTED, addressed, opened, receipt, response
from edge_agent.mes.wire import Letter, Wire
from edge_agent.simulation.mes.ledger import Answer, Ledger
from edge_agent.simulation.mes.technician import Step, Technician
from edge_agent.simulation.mes.truth import Fault, Repairs, Truth

SOURCE = "urn:mes:simulated"

Log = Callable[..., None]


class Desk:
    """Handles letters and says what is due.

    Args:
        speed: simulated minutes in a real minute.
    """

    def __init__(
        self,
        *,
        wire: Wire,
        ledger: Ledger,
        technician: Technician,
        truth: Truth,
        repairs: Repairs,
        speed: float,
        log: Log,
    ) -> None:
        self._wire, self._ledger, self._technician = wire, ledger, technician
        self._truth, self._repairs, self._speed, self._log = truth, repairs, speed, log
        self._flying: dict[int, tuple[Answer, list[Any]]] = {}

    def step(self, wait_s: float) -> int:
        """Handle what came in, say what is due; how many letters there were."""
        letters = self._wire.letters(wait_s)
        if letters:
            receipts = self._handle(letters)
            self._ledger.commit()
            self._wire.acknowledge(letters)
            self._send_receipts(receipts)
        self._say(datetime.now(UTC))
        return len(letters)

    # --- in ---------------------------------------------------------------------------------------------------------

    def _handle(self, letters: Sequence[Letter]) -> dict[tuple[str, str], list[str]]:
        """Handle each; ids to confirm, by box and status."""
        receipts: dict[tuple[str, str], list[str]] = defaultdict(list)
        for letter in letters:
            root, rest = addressed(letter.topic)
            kind = rest.split("/")[0]
            event = opened(letter.body)
            if event is None:
                if letter.body:
                    self._log("unreadable", topic=letter.topic)
                continue
            if kind not in RECEIPTED or rest.endswith("/response-ack"):
                self._note(kind, rest, event)
                continue
            fresh = self._ledger.first_time(event["source"], event["id"])
            if fresh:
                self._take(kind, root, event)
            else:
                self._ledger.count("redelivered")
            receipts[root, "received" if fresh else "duplicate"].append(event["id"])
        return receipts

    def _note(self, kind: str, rest: str, event: Mapping[str, Any]) -> None:
        """Something that needs no receipt."""
        if rest.endswith("/response-ack"):
            for answer in self._ledger.heard(event["data"]["responseId"]):
                self._has_been_said(answer)
            self._ledger.count("response-ack")
            self._log("answer acknowledged", order=event["data"]["jobOrderId"], status=event["data"]["status"])
            return
        self._ledger.count(kind)

    def _take(self, kind: str, root: str, event: Mapping[str, Any]) -> None:
        self._ledger.count(kind)
        if kind == "wo":
            self._take_order(root, event["data"])
        else:
            self._log(f"{kind} received", subject=event.get("subject"))

    def _take_order(self, root: str, order: Mapping[str, Any]) -> None:
        order_id, known = order["jobOrderId"], self._ledger.revision(order["jobOrderId"])
        if order["verb"] == "cancel":
            self._ledger.drop_answers(order_id)
            self._ledger.close_order(order_id)
            self._log("order cancelled", order=order["number"])
        elif known is None:
            self._open(root, order)
        elif order["rev"] > known:
            self._ledger.update_order(order)
            self._log("order updated", order=order["number"], rev=order["rev"])

    def _open(self, root: str, order: Mapping[str, Any]) -> None:
        key = next((each["value"] for each in order.get("parameters", ()) if each["id"] == "key"), order["jobOrderId"])
        twin = self._ledger.open_with_key(key)
        nth, mes_id = self._ledger.add_order(order, root=root, key=key)
        if twin is not None:
            steps = [Step(event="rejected", after_min=1.0, reason=f"duplicate of {twin}")]
            fault = None
        else:
            fault = self._truth.behind(datetime.fromisoformat(order["startTime"]))
            steps = self._technician.plan(order, nth, fault)
        self._ledger.plan(self._answers(root, order, mes_id, steps, fault))
        self._ledger.count("orders opened")
        self._log("order opened", order=order["number"], mes=mes_id, suspects=len(order.get("suspects", ())))

    def _answers(
        self, root: str, order: Mapping[str, Any], mes_id: str, steps: Sequence[Step], fault: Fault | None
    ) -> list[Answer]:
        now = datetime.now(UTC).timestamp()
        order_id = order["jobOrderId"]
        return [
            Answer(
                answer_id=_response_id(order, step),
                order_id=order_id,
                event=step.event,
                due_at=now + step.after_min * 60 / self._speed,
                topic=f"{root}/in/wo/{order_id}/response",
                body=_response(order, mes_id, step),
                copies=step.copies,
                repairs=fault.cause_id if step.repairs and fault else "",
            )
            for step in steps
        ]

    # --- out --------------------------------------------------------------------------------------------------------

    def _send_receipts(self, receipts: Mapping[tuple[str, str], Sequence[str]]) -> None:
        for (root, status), ids in receipts.items():
            self._wire.send(f"{root}/in/receipt", receipt(SOURCE, ids, status))

    def _say(self, now: datetime) -> None:
        self._settle()
        if not self._wire.up.is_set():
            return
        for answer in self._ledger.due(now.timestamp()):
            if answer.seq not in self._flying:
                sent = [self._wire.send(answer.topic, answer.body) for _ in range(answer.copies)]
                self._flying[answer.seq] = (answer, sent)

    def _settle(self) -> None:
        """Close what the broker has taken."""
        for seq, (answer, sent) in list(self._flying.items()):
            if not all(info.is_published() for info in sent):
                continue
            self._has_been_said(answer)
            self._ledger.commit()
            del self._flying[seq]

    def _has_been_said(self, answer: Answer) -> None:
        """The broker or the box itself says so, whichever comes first."""
        now = datetime.now(UTC)
        if self._ledger.said(answer, now.timestamp()):
            self._done(answer, now)

    def _done(self, answer: Answer, now: datetime) -> None:
        """Said for the first time: what it says has now happened."""
        if answer.repairs and (fault := self._truth.now()) is not None and fault.cause_id == answer.repairs:
            self._repairs.done(answer.order_id, answer.repairs, now)
        if answer.event in ("rejected", "closed"):
            self._ledger.close_order(answer.order_id)
        self._ledger.count(f"orders {answer.event}")
        self._log("answered", order=answer.order_id, event=answer.event, copies=answer.copies)


def _response_id(order: Mapping[str, Any], step: Step) -> str:
    return str(uuid.uuid5(uuid.UUID(order["jobOrderId"]), f"{order['rev']}/{step.event}"))


def _response(order: Mapping[str, Any], mes_id: str, step: Step) -> bytes:
    return response(
        SOURCE,
        _response_id(order, step),
        order,
        step.event,
        mes_id=mes_id,
        reason=step.reason,
        actual=step.actual,
        suspicion=step.suspicion,
    )
