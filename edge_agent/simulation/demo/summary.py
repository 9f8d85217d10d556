"""What came of it: counts from the agent's own store, compared with the hidden truth. Nothing here is estimated."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_agent.domain.incident import Incident
from edge_agent.domain.inspection import Disposition, Inspection
from edge_agent.domain.work_order import OrderState, WorkOrder
from edge_agent.ports import UnitOfWork

_ACCEPTED = {OrderState.ACCEPTED, OrderState.STARTED, OrderState.HELD, OrderState.COMPLETED, OrderState.CLOSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A time in which one hidden cause was at work; ``until`` None: to the end."""

    cause_id: str
    fault: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One work order against the truth.

    Attributes:
        true_cause: None when nothing was wrong.
        rank: place of the true cause among the order's suspects, from 1; None: not among them.
    """

    number: str
    code: str
    first_suspect: str | None
    true_cause: str | None
    fault: str | None
    rank: int | None
    state: str
    right_at_opening: bool = False
    """Was it already in the order's first revision? Later ones rest on more parts."""

    @property
    def right(self) -> bool:
        """Was the first suspect the true cause?"""
        return self.rank == 1


def spells(truth: Path) -> list[Spell]:
    """The truth file as spells, oldest first."""
    if not truth.exists():
        return []
    lines = [json.loads(line) for line in truth.read_text(encoding="utf-8").splitlines() if line]
    ends = [datetime.fromisoformat(line["at"]) for line in lines[1:]] + [None]
    return [
        Spell(cause_id=line["causeId"], fault=line["fault"], since=datetime.fromisoformat(line["at"]), until=end)
        for line, end in zip(lines, ends, strict=True)
        if line["causeId"]
    ]


def judge(
    order: WorkOrder, incident: Incident | None, found: Sequence[Spell], *, first: WorkOrder | None = None
) -> Judged:
    """Compare an order with what was at work between its incident's onset and its opening (the latest such spell).

    Args:
        order: its newest revision.
        first: its first revision.
    """
    since = incident.onset_from if incident else order.created_at
    fitting = [
        spell for spell in found if spell.since <= order.created_at and (spell.until is None or spell.until >= since)
    ]
    spell = fitting[-1] if fitting else None
    suspects = [suspect.cause_id for suspect in order.suspects]
    truth = spell.cause_id if spell else None
    return Judged(
        number=order.number,
        code=incident.code if incident else "",
        first_suspect=_named_first(order),
        true_cause=truth,
        fault=spell.fault if spell else None,
        rank=suspects.index(truth) + 1 if truth in suspects else None,
        state=order.state.value,
        right_at_opening=truth is not None and _named_first(first or order) == truth,
    )


def _named_first(order: WorkOrder) -> str | None:
    return order.suspects[0].cause_id if order.suspects else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The summary. ``as_json`` has the keys that programs rely on."""

    inspections: Sequence[Inspection]
    incidents: Sequence[Incident]
    orders: Sequence[WorkOrder]
    accepted: int
    judged: Sequence[Judged]
    faults: Sequence[Spell]
    documents: Sequence[Path]
    line: Mapping[str, Any]
    heard: int
    seconds: float

    @property
    def parts(self) -> int:
        """Parts with a stored inspection."""
        return len({inspection.shot.part_id for inspection in self.inspections})

    @property
    def first_pass_yield(self) -> float | None:
        """Share of the parts that were accepted at once; None without parts."""
        accepted = sum(one.disposition is Disposition.ACCEPT for one in self.inspections)
        return accepted / len(self.inspections) if self.inspections else None

    @property
    def defects(self) -> dict[str, int]:
        """Defects on the parts that were not accepted, by class."""
        bad = (one for one in self.inspections if one.disposition is not Disposition.ACCEPT)
        return dict(Counter(defect.code for one in bad for defect in one.defects).most_common())

    @property
    def closed(self) -> int:
        """Orders that were closed."""
        return sum(order.state is OrderState.CLOSED for order in self.orders)

    @property
    def right(self) -> int:
        """Orders whose first suspect was the true cause."""
        return sum(one.right for one in self.judged)

    @property
    def lost(self) -> int:
        """Parts that were triggered and have no stored inspection, or whose result the plant did not hear."""
        asked = int(self.line.get("asked", self.parts))
        return max(0, asked - self.parts, asked - self.heard)

    def as_json(self) -> dict[str, Any]:
        """The summary for programs."""
        share = self.first_pass_yield
        return {
            "parts": self.parts,
            "first_pass_yield": None if share is None else round(share, 4),
            "defects": self.defects,
            "incidents": len(self.incidents),
            "orders": {"opened": len(self.orders), "accepted": self.accepted, "closed": self.closed},
            "first_suspect_right": self.right,
            "pdfs": [str(path) for path in self.documents],
            "first_suspect_judged": len(self.judged),
            "first_suspect_right_at_opening": sum(one.right_at_opening for one in self.judged),
            "faults": [spell.fault for spell in self.faults],
            "judged": [
                {
                    "order": one.number,
                    "class": one.code,
                    "first_suspect": one.first_suspect,
                    "true_cause": one.true_cause,
                    "rank": one.rank,
                    "state": one.state,
                }
                for one in self.judged
            ],
            "evaluations": dict(Counter(one.evaluation.value for one in self.inspections)),
            "triggered": self.line.get("asked"),
            "answered": self.line.get("answered"),
            "unanswered": self.line.get("unanswered"),
            "results_heard": self.heard,
            "lost": self.lost,
            "seconds": round(self.seconds, 1),
        }


def gather(
    unit: UnitOfWork,
    *,
    run: str,
    since: datetime,
    until: datetime,
    documents: Path,
    truth: Path,
    line: Mapping[str, Any],
    heard: int,
) -> Account:
    """Read one run out of the agent's store.

    Args:
        run: prefix of the run's part ids.
        documents: the agent's document folder.
        line: the line's own account of what it asked and was answered.
        heard: results that the plant heard.
    """
    found = spells(truth)
    orders = [order for order in unit.orders.list(limit=10_000) if order.created_at >= since][::-1]
    inspections = [one for one in unit.inspections.between(since, until) if one.shot.part_id.startswith(f"{run}-")]
    incidents = [incident for incident in unit.incidents.recent(10_000) if incident.opened_at >= since]
    histories = [unit.orders.history(order.order_id) for order in orders]
    printed = [document for document in unit.documents.list(limit=10_000) if document.made_at >= since][::-1]
    return Account(
        inspections=inspections,
        incidents=incidents,
        orders=orders,
        accepted=sum(any(version.state in _ACCEPTED for version in history) for history in histories),
        judged=[
            judge(order, unit.incidents.get(order.incident_id), found, first=history[0])
            for order, history in zip(orders, histories, strict=True)
        ],
        faults=found,
        documents=list(dict.fromkeys(documents / document.path for document in printed)),
        line=line,
        heard=heard,
        seconds=(until - since).total_seconds(),
    )


def told(account: Account, own_camera: Sequence[str]) -> list[str]:
    """The summary for people."""
    share = account.first_pass_yield
    lines = [
        "",
        f"Parts inspected     {account.parts} in {account.seconds:.0f} s",
        f"First pass yield    {'-' if share is None else f'{share:.1%}'}",
        f"Defects by class    {_listed(account.defects)}",
        f"Incidents           {len(account.incidents)}",
        f"Work orders         {len(account.orders)} opened, {account.accepted} accepted, {account.closed} closed",
        f"First suspect       {_verdict(account)}",
        *(f"                    {_judged_text(one)}" for one in account.judged),
        f"Nothing lost        {_balance(account)}",
    ]
    lines += [f"{'PDF' if not at else '':<19} {path}" for at, path in enumerate(account.documents)]
    return [*lines, "", *own_camera]


def _verdict(account: Account) -> str:
    if not account.judged:
        faults = ", ".join(spell.fault for spell in account.faults)
        return f"no order was opened; hidden faults: {faults or 'none'}"
    early = sum(one.right_at_opening for one in account.judged)
    at_once = "" if early == account.right else f" (in {early} already when the order went out)"
    return f"was the true cause in {account.right} of {len(account.judged)} orders{at_once}"


def _judged_text(one: Judged) -> str:
    truth = f"true cause {one.true_cause} ({one.fault})" if one.true_cause else "nothing was wrong"
    place = "right" if one.right else f"it was suspect {one.rank}" if one.rank else "it was not among the suspects"
    note = f": {place}" if one.true_cause else ""
    return f"{one.number} {one.code}: first suspect {one.first_suspect or 'none'}, {truth}{note}"


def _balance(account: Account) -> str:
    asked = account.line.get("asked")
    if asked is None:
        return "the line gave no account"
    text = f"{asked} parts triggered, {account.parts} inspections stored, {account.heard} results received"
    late = account.line.get("unanswered") or 0
    return f"{text}{f', {late} answered too late and rejected' if late else ''}: {account.lost} lost"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {code}" for code, number in counts.items()) or "none"
