"""What has happened so far, as any plant client can follow it: messages in, a picture and lines to tell out."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

SHOWN_PARTS = 14
_TERMINAL = {"closed", "rejected", "aborted", "cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRow:
    """One inspected part, for the table."""

    part_id: str
    evaluation: str
    disposition: str
    ms: float
    defects: Mapping[str, int]
    reason: str = ""


@dataclass(slots=True, kw_only=True)
class IncidentCard:
    """One incident with its newest analysis."""

    code: str
    revision: int = -1
    parts: int = 0
    defective: int = 0
    evidence: tuple[str, ...] = ()
    suspects: tuple[tuple[str, str, float], ...] = ()
    """Name, grade and probability."""
    text: str = ""
    text_source: str = ""


@dataclass(slots=True, kw_only=True)
class OrderCard:
    """One work order as the plant sees it."""

    number: str
    revision: int = -1
    description: str = ""
    priority: int = 0
    state: str = "issued"
    note: str = ""
    answers: list[str] = field(default_factory=list)
    learned: bool = False
    filed: bool = False
    """Was the sheet with the close-out printed?"""

    @property
    def unfinished(self) -> bool:
        """Is an answer still to come, or the sheet that is filed?"""
        return self.open or (self.state != "cancelled" and not self.filed)

    @property
    def open(self) -> bool:
        """Is an answer still to come?"""
        return self.state not in _TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A line to tell. ``kind`` chooses its colour: part, defect, incident, analysis, order, answer, document, box."""

    kind: str
    text: str


@dataclass(slots=True)
class Story:
    """The picture so far. ``hear`` takes one message and returns what is worth telling.

    Args:
        run: prefix of this run's part ids; other parts belong to an earlier run.
        since: orders and analyses before this are an earlier run's.
    """

    run: str
    since: datetime
    rows: deque[PartRow] = field(default_factory=lambda: deque(maxlen=SHOWN_PARTS))
    evaluations: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    incidents: dict[str, IncidentCard] = field(default_factory=dict)
    orders: dict[str, OrderCard] = field(default_factory=dict)
    documents: list[str] = field(default_factory=list)
    early: dict[str, list[Told]] = field(default_factory=dict)
    """Lines about an order that came before its analysis (orders have the faster lane), by the analysis' id."""
    seen: set[str] = field(default_factory=set)
    repeated: int = 0
    box_online: bool = False

    @property
    def parts(self) -> int:
        """Parts of this run with a result."""
        return len(self.seen)

    def hear(self, topic: str, event: Mapping[str, Any]) -> list[Told]:
        """Take one message; ``topic`` is below the box's root."""
        data = event.get("data", event)
        levels = topic.split("/")
        match levels[:2]:
            case ["out", "state"]:
                return self._state(data)
            case ["out", "result"]:
                return self._result(data)
            case ["out", "rca"]:
                return self._analysis(data) if self._is_new(event) else []
            case ["out", "report"]:
                return self._document(data) if self._is_new(event) else []
            case ["out" | "in", "wo"] if len(levels) == 4:
                return self._order_message(levels[2], levels[3], event)
        return []

    def _order_message(self, order_id: str, what: str, event: Mapping[str, Any]) -> list[Told]:
        data = event.get("data", event)
        if what == "order":
            return self._order(order_id, data) if self._is_new(event) else []
        card = self.orders.get(order_id)
        if card is None:
            return []
        return self._response(card, data) if what == "response" else self._learned(card, data)

    def _is_new(self, event: Mapping[str, Any]) -> bool:
        try:
            return datetime.fromisoformat(str(event.get("time"))) >= self.since
        except ValueError:
            return True

    def _state(self, data: Mapping[str, Any]) -> list[Told]:
        online, self.box_online = self.box_online, bool(data.get("online"))
        if online == self.box_online:
            return []
        return [Told(kind="box", text="the box is online" if self.box_online else "the box is offline")]

    def _result(self, data: Mapping[str, Any]) -> list[Told]:
        part_id = str(data.get("unitId", ""))
        if not part_id.startswith(f"{self.run}-"):
            return []
        if part_id in self.seen:
            self.repeated += 1
            return []
        self.seen.add(part_id)
        counts = {str(code): int(number) for code, number in data.get("defectCounts", {}).items()}
        self.evaluations[str(data["evaluation"])] += 1
        self.defects.update(counts)
        reasons = data.get("reasons") or [{}]
        row = PartRow(
            part_id=part_id,
            evaluation=str(data["evaluation"]),
            disposition=str(data["disposition"]),
            ms=_milliseconds(data),
            defects=counts,
            reason=str(reasons[0].get("text", "")),
        )
        self.rows.append(row)
        return [Told(kind="part" if row.evaluation == "OK" else "defect", text=_row_text(row))]

    def _analysis(self, data: Mapping[str, Any]) -> list[Told]:
        key, revision = str(data["rcaId"]), int(data["rev"])
        known = self.incidents.get(key)
        card = known or IncidentCard(code=str(data["incidentCode"]))
        text, source = str(data.get("narrative") or ""), str(data.get("narrativeSource") or "")
        if known and (revision < card.revision or (revision == card.revision and text == card.text)):
            return []
        self.incidents[key] = card
        told = [] if known else [Told(kind="incident", text=_incident_text(data))]
        suspects = tuple((str(h["text"]), str(h["grade"]), float(h["probability"])) for h in data["hypotheses"][:3])
        evidence = tuple(str(e["statement"]) for e in data["evidence"] if e["polarity"] == "present")
        if suspects != card.suspects:
            told += [Told(kind="analysis", text=f"evidence: {line}") for line in evidence[:4] if not known]
            told += [Told(kind="analysis", text=f"suspects: {_suspects_text(suspects)}")]
        if text and text != card.text:
            told += [Told(kind="analysis", text=f"text ({source}): {text}")]
        card.revision, card.parts, card.defective = revision, int(data["parts"]), int(data["defectiveParts"])
        card.suspects, card.evidence, card.text, card.text_source = suspects, evidence, text, source
        return told + self.early.pop(key, [])

    def _order(self, order_id: str, data: Mapping[str, Any]) -> list[Told]:
        known = self.orders.get(order_id)
        card = known or OrderCard(number=str(data["number"]))
        self.orders[order_id] = card
        revision, state = int(data["rev"]), str(data["state"])
        told = []
        note = str(data.get("note") or "")
        if known is None:
            told.append(
                Told(kind="order", text=f"work order {card.number} (P{data['priority']}): {data['description']}")
            )
        elif revision > card.revision and card.open:
            told.append(Told(kind="order", text=f"work order {card.number} revised to {revision}"))
        if note and note != card.note:
            told.append(Told(kind="analysis", text=f"the language model's note on {card.number}: {note}"))
        if card.open:
            card.state = state
        card.revision, card.note = revision, note
        card.description, card.priority = str(data["description"]), int(data["priority"])
        rca_id = str(data["rcaId"])
        if known is None and rca_id not in self.incidents:
            self.early[rca_id] = told
            return []
        return told

    def _response(self, card: OrderCard, data: Mapping[str, Any]) -> list[Told]:
        event, actual = str(data.get("event", "")), data.get("actual") or {}
        text = f"MES: {card.number} {event}"
        if data.get("reason"):
            text += f" ({data['reason']})"
        if actual:
            cause = actual.get("causeCode") or "no fault found"
            text += f": the cause was {cause} {actual.get('causeText', '')}".rstrip()
            if actual.get("minutes") is not None:
                text += f", {float(actual['minutes']):.0f} min"
        if text in card.answers:
            text += " (sent again)"
        card.answers.append(text)
        if event in _TERMINAL:
            card.state = event
        return [Told(kind="answer", text=text)]

    def _learned(self, card: OrderCard, data: Mapping[str, Any]) -> list[Told]:
        if not data.get("learnedFrom") or card.learned:
            return []
        card.learned = True
        return [Told(kind="answer", text=f"the answer to {card.number} was taken over and learned from")]

    def _document(self, data: Mapping[str, Any]) -> list[Told]:
        title = f"{data['title']} ({int(data['size']) / 1024:.0f} KiB)"
        self.documents.append(title)
        card = self.orders.get(str(data.get("woId")))
        if card is not None and str(data.get("uri", "")).endswith(f"-{card.state}.pdf"):
            card.filed = True
        return [Told(kind="document", text=f"PDF: {title}")]


def _milliseconds(data: Mapping[str, Any]) -> float:
    start, end = datetime.fromisoformat(data["startedAt"]), datetime.fromisoformat(data["endedAt"])
    return (end - start).total_seconds() * 1e3


def _row_text(row: PartRow) -> str:
    found = ", ".join(f"{count} {code}" for code, count in row.defects.items())
    why = f"  {found or row.reason}" if row.evaluation != "OK" else ""
    return f"{row.part_id}  {row.evaluation:<13} {row.disposition:<6} {row.ms:5.0f} ms{why}"


def _incident_text(data: Mapping[str, Any]) -> str:
    return f"incident: {data['incidentCode']} on {data['defectiveParts']} of the last {data['parts']} parts"


def _suspects_text(suspects: tuple[tuple[str, str, float], ...]) -> str:
    return "; ".join(f"{rank}. {name} ({grade})" for rank, (name, grade, _) in enumerate(suspects, 1))
