"""The close-out of an order: what was found, as the plant answered it."""

from collections.abc import Sequence
from typing import Any

from edge_agent.domain.cause import Catalogue
from edge_agent.domain.verdict import ActualCause, JobResponse
from edge_agent.domain.work_order import OrderState, WorkOrder
from edge_agent.ports import UnitOfWork
from edge_agent.responding.documents.letterhead import Letterhead

_ANSWERS_SHOWN = 8
_FILED = frozenset({OrderState.CLOSED, OrderState.ABORTED, OrderState.REJECTED})
_VERBS = {OrderState.CLOSED: "closed", OrderState.ABORTED: "ended without result", OrderState.REJECTED: "rejected"}


def is_filed(order: WorkOrder) -> bool:
    """Is its last sheet one that is filed, with the close-out filled in?"""
    return order.state in _FILED


def close_out(uow: UnitOfWork, order: WorkOrder, catalogue: Catalogue, letterhead: Letterhead) -> dict[str, Any] | None:
    """What was found and done, for paper; None while the order is open: then there is a form to fill in."""
    if not is_filed(order):
        return None
    answers = uow.answers.responses(order.order_id)
    said = next((answer for answer in reversed(answers) if answer.actual is not None), None)
    actual = said.actual if said else None
    return {
        "state": _VERBS[order.state],
        "at": letterhead.date_time(order.updated_at),
        "reason": order.attributes.get(f"{order.state.value}_because", ""),
        "cause": _cause(actual, catalogue) if actual else "",
        "cause_id": (actual.cause_id or "") if actual else "",
        "rank": _rank(order, actual) if actual else "",
        "confirms": actual.confirms if actual else "",
        "remark": actual.cause_text if actual else "",
        "actions": _actions(order, actual) if actual else [],
        "parts": [f"{quantity:g} × {number}" for number, quantity in sorted(actual.parts.items())] if actual else [],
        "minutes": f"{actual.minutes:g}" if actual and actual.minutes is not None else "",
        "by": (actual.by or said.source) if said and actual else "",
        "answered": letterhead.date_time(said.received_at) if said else "",
        "answers": [_answer(answer, letterhead) for answer in _distinct(answers)[-_ANSWERS_SHOWN:]],
    }


def _cause(actual: ActualCause, catalogue: Catalogue) -> str:
    cause = catalogue.cause(actual.cause_id) if actual.cause_id else None
    return cause.name if cause else actual.cause_text or actual.cause_id or "not named"


def _rank(order: WorkOrder, actual: ActualCause) -> str:
    """Where the order had it."""
    suspects = [suspect.cause_id for suspect in order.suspects]
    if actual.cause_id not in suspects:
        return "was not among the suspects"
    return ("was the first suspect", "was the second suspect", "was the third suspect")[
        min(suspects.index(actual.cause_id), 2)
    ]


def _actions(order: WorkOrder, actual: ActualCause) -> list[str]:
    """The actions by their text, where the order had them; else by id."""
    texts = {action.action_id: action.text for suspect in order.suspects for action in suspect.actions}
    return [texts.get(action_id, action_id) for action_id in actual.action_ids]


def _distinct(answers: Sequence[JobResponse]) -> list[JobResponse]:
    """Without what was merely sent again."""
    first: dict[tuple[str, str, str], JobResponse] = {}
    for answer in answers:
        first.setdefault((answer.source, str(answer.event), repr(answer.actual)), answer)
    return list(first.values())


def _answer(answer: JobResponse, letterhead: Letterhead) -> dict[str, str]:
    return {"at": letterhead.time(answer.received_at), "event": str(answer.event), "reason": answer.reason}
