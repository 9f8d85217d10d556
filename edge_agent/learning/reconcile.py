"""The plant's answers, applied to orders: late, twice, out of order, or about something unknown.

Rules: an answer is applied once; the state machine decides, and a terminal state never goes back; an answer that
changes nothing is acknowledged as ignored, with the reason; the cause that was found is learned from, even when it
comes after the order was closed.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender
from edge_agent.contract.order_index import announce_index
from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import NONE, OTHER, Catalogue
from edge_agent.domain.evidence import Polarity
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.verdict import ActualCause, ConfirmedCase, JobResponse, ResponseEvent
from edge_agent.domain.work_order import OrderState, WorkOrder, may_become
from edge_agent.learning.anchoring import anchoring
from edge_agent.ports import Clock, UnitOfWork

TARGETS = {
    ResponseEvent.ACCEPTED: OrderState.ACCEPTED,
    ResponseEvent.REJECTED: OrderState.REJECTED,
    ResponseEvent.STARTED: OrderState.STARTED,
    ResponseEvent.HELD: OrderState.HELD,
    ResponseEvent.COMPLETED: OrderState.COMPLETED,
    ResponseEvent.ABORTED: OrderState.ABORTED,
    ResponseEvent.CLOSED: OrderState.CLOSED,
}
"""What a response makes of an order; ``received`` only says that it arrived."""

SUSPICION = "suspicion"
"""Attribute of a blind order: what somebody suspected before they saw the ranking."""
CHECKED, LIKELY, LAZY, NO_FAULT = 0.7, 0.5, 0.3, 0.3
"""How far a label is trusted before the recovery test (docs/diagnosis.md)."""
MIN_MINUTES = 2.0
TO_RANK, MOST_TO_RANK = "responding:to-rank", 200
"""Fact: orders with check results that the ranking has not seen yet."""
ANCHORING_CASES = 500
"""So many of the newest cases say how much people follow a ranking that they see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one response.

    Attributes:
        status: ``applied``, ``ignored`` or ``invalid``.
        order: the order after it, where it changed.
        case: what was learned, if anything.
        revealed: the analysis whose ranking is shown from now on.
    """

    status: outbound.AckStatus
    detail: str = ""
    order: WorkOrder | None = None
    case: ConfirmedCase | None = None
    revealed: Analysis | None = None


def reconcile(uow: UnitOfWork, response: JobResponse, catalogue: Catalogue, *, sender: Sender, clock: Clock) -> Outcome:
    """Apply one response in the transaction of ``uow``: order, incident, confirmed case, acknowledgement, index."""
    outcome = _apply(uow, response, catalogue, clock.now())
    learned = outcome.case is not None
    uow.outbox.add(
        outbound.response_ack(
            response, outcome.status, sender=sender, clock=clock, learned_from=learned, detail=outcome.detail
        )
    )
    if outcome.order is not None:
        if outcome.revealed is not None:
            _show(uow, outcome.order, outcome.revealed, sender=sender, clock=clock)
        if outcome.order.is_terminal:
            # A repeated order (its receipt was lost) must not come after the clearing and be retained for ever.
            uow.outbox.settle(str(outcome.order.order_id), at=clock.now())
            uow.outbox.add(outbound.work_order_cleared(outcome.order, clock=clock))
        announce_index(uow, sender=sender, clock=clock)
    return outcome


def _show(uow: UnitOfWork, order: WorkOrder, analysis: Analysis, *, sender: Sender, clock: Clock) -> None:
    """Tell what was hidden: the order in full while it is open, and in any case the analyses."""
    if not order.is_terminal:
        uow.outbox.add(outbound.work_order(order, analysis, "update", sender=sender, clock=clock))
    joined = [one for one in uow.incidents.open() if one.parent_id == order.incident_id]
    for incident in [uow.incidents.get(order.incident_id), *joined]:
        latest = uow.analyses.latest(incident.incident_id) if incident else None
        if incident is not None and latest is not None:
            uow.outbox.add(outbound.rca(latest, incident, order, sender=sender, clock=clock))


def _apply(uow: UnitOfWork, response: JobResponse, catalogue: Catalogue, now: datetime) -> Outcome:
    order = uow.orders.get(response.order_id)
    if order is None:
        return Outcome(status="invalid", detail="no such order")
    if response.revision > order.revision:
        return Outcome(status="invalid", detail=f"revision {response.revision} of {order.number} was never issued")
    if not uow.answers.add_response(response):
        return Outcome(status="ignored", detail="this response was applied before")
    flag = f"answers revision {response.revision} of {order.revision}" if response.revision < order.revision else ""
    moved, why_not = _moved(order, response, now)
    revealed = _revealed(moved or order, response, now)
    moved = revealed or moved
    if moved is not None:
        uow.orders.save(moved)
        if moved.state is OrderState.CLOSED:
            close_incidents(uow, moved, now)
    case = _learned(uow, moved or order, response, catalogue, now)
    if response.checks and not (moved or order).is_terminal:
        waiting: list[str] = uow.facts.get(TO_RANK) or []
        uow.facts.set(TO_RANK, [*waiting, str(order.order_id)][-MOST_TO_RANK:])
    elif moved is None and case is None:
        return Outcome(status="ignored", detail=why_not)
    detail = "; ".join(text for text in (flag, why_not) if text)
    shown = uow.analyses.latest(order.incident_id) if revealed else None
    return Outcome(status="applied", detail=detail, order=moved, case=case, revealed=shown)


def _revealed(order: WorkOrder, response: JobResponse, now: datetime) -> WorkOrder | None:
    """The order with its ranking in sight, once somebody said what they suspect, or it is done; None: as it was."""
    if not order.ranking_hidden or not (response.suspicion or order.is_terminal):
        return None
    said = {SUSPICION: response.suspicion} if response.suspicion else {}
    return replace(
        order,
        revision=order.revision + 1,
        updated_at=now,
        ranking_hidden=False,
        attributes={**order.attributes, **said},
    )


def _moved(order: WorkOrder, response: JobResponse, now: datetime) -> tuple[WorkOrder | None, str]:
    """The order in its new state, or why it stays as it is."""
    named = response.mes_order_id if response.mes_order_id and not order.mes_order_id else order.mes_order_id
    target = TARGETS.get(response.event)
    if target is None:
        return replace(order, mes_order_id=named, updated_at=now), ""
    if target is order.state:
        return None, f"{order.number} is {order.state.value} already"
    if not may_become(order.state, target):
        return None, f"{order.number} is {order.state.value} and cannot become {target.value}"
    moved = replace(order.moved(target, at=now), mes_order_id=named)
    if response.reason:
        moved = replace(moved, attributes={**moved.attributes, f"{target.value}_because": response.reason[:200]})
    return moved, ""


def close_incidents(uow: UnitOfWork, order: WorkOrder, now: datetime) -> None:
    """The order's incident is over, and those that were joined to it; of a collecting order, all that it lists."""
    if order.collects:
        over = [uow.incidents.get(one.incident_id) for one in order.gathered]
    else:
        joined = [one for one in uow.incidents.open() if one.parent_id == order.incident_id]
        over = [uow.incidents.get(order.incident_id), *joined]
    for incident in over:
        if incident is not None and incident.state is IncidentState.OPEN:
            uow.incidents.save(_closed(incident, now, f"order {order.number} was closed"))


def _closed(incident: Incident, now: datetime, why: str) -> Incident:
    return replace(
        incident,
        state=IncidentState.CLOSED,
        revision=incident.revision + 1,
        updated_at=now,
        attributes={**incident.attributes, "closed_because": why},
    )


def _learned(
    uow: UnitOfWork, order: WorkOrder, response: JobResponse, catalogue: Catalogue, now: datetime
) -> ConfirmedCase | None:
    """The confirmed case, once the order is closed and somebody said what it was.

    One answer for many incidents says of none what it was.
    """
    if order.state is not OrderState.CLOSED or order.collects:
        return None
    actual = response.actual or _last_said(uow, order)
    analysis = uow.analyses.latest(order.incident_id)
    incident = uow.incidents.get(order.incident_id)
    if actual is None or analysis is None or incident is None:
        return None
    cause_id, text = known_cause(actual, catalogue)
    if cause_id is None:
        return None
    case = ConfirmedCase(
        incident_id=order.incident_id,
        order_id=order.order_id,
        cause_id=cause_id,
        code=incident.code,
        line_id=order.line_id,
        tokens=signs(analysis),
        weight=label_weight(actual, cause_id, prompted=prompted(actual, cause_id, order), trust=trust_in_yes(uow)),
        confirmed_at=now,
        first_suspect=order.suspects[0].cause_id if order.suspects else None,
        text=text,
        shown_ranking=not order.blind,
        suspicion=order.attributes.get(SUSPICION),
        excess=incident.statistic - incident.threshold,
    )
    uow.answers.save_case(case)
    return case


def _last_said(uow: UnitOfWork, order: WorkOrder) -> ActualCause | None:
    said = [one.actual for one in uow.answers.responses(order.order_id) if one.actual is not None]
    return said[-1] if said else None


def known_cause(actual: ActualCause, catalogue: Catalogue) -> tuple[str | None, str]:
    """The catalogue's id for what was found, and the text that goes with it.

    An id the catalogue does not have is OTHER, with the id kept in the text; nothing said at all is None.
    """
    if actual.cause_id is None:
        return (OTHER, actual.cause_text) if actual.cause_text.strip() else (None, "")
    if actual.cause_id in {NONE, OTHER} or catalogue.cause(actual.cause_id):
        return actual.cause_id, actual.cause_text
    return OTHER, f"{actual.cause_id}: {actual.cause_text}".strip(": ")


def signs(analysis: Analysis) -> dict[str, int]:
    """Token to +1 (found) or -1 (looked for and not there); unknown ones are left out."""
    found: dict[str, int] = {}
    for one in analysis.evidence:
        if one.token is None or one.polarity is Polarity.UNKNOWN:
            continue
        found[one.token] = max(found.get(one.token, -1), 1 if one.polarity is Polarity.PRESENT else -1)
    return found


def prompted(actual: ActualCause, cause_id: str, order: WorkOrder) -> bool:
    """Does the answer repeat what the order said first? A person who named it before they saw it repeats nothing."""
    if order.blind and order.attributes.get(SUSPICION, cause_id) == cause_id:
        return False
    first = order.suspects[0].cause_id if order.suspects else None
    return actual.confirms == "yes" or cause_id == first


def trust_in_yes(uow: UnitOfWork) -> float:
    """What a bare yes to a shown ranking is worth here, by what people say who have not seen it."""
    return anchoring(uow.answers.cases(limit=ANCHORING_CASES)).trust_in_yes


def label_weight(actual: ActualCause, cause_id: str, *, prompted: bool, trust: float = 1.0) -> float:
    """How far to trust what was said. Agreeing costs nothing, so agreeing without any work done is trusted least.

    Args:
        prompted: it repeats the first suspect that was shown.
        trust: factor for a bare yes, see `trust_in_yes`.
    """
    if cause_id == NONE:
        return NO_FAULT
    worked = bool(actual.action_ids or actual.parts) and (actual.minutes is None or actual.minutes >= MIN_MINUTES)
    if worked:
        return CHECKED
    return round(LAZY * trust, 3) if prompted else LIKELY
