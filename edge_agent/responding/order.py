"""The work order of an incident: made once, revised when something material changed, never doubled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender
from edge_agent.contract.order_index import announce_index
from edge_agent.domain.analysis import Analysis, Narrative
from edge_agent.domain.cause import NONE, OTHER, Catalogue
from edge_agent.domain.evidence import Polarity
from edge_agent.domain.incident import Incident
from edge_agent.domain.inspection import Evaluation, ImageRef, Inspection
from edge_agent.domain.work_order import Containment, OrderState, Suspect, WorkOrder
from edge_agent.ports import Clock, UnitOfWork
from edge_agent.responding.check_order import check_order
from edge_agent.responding.evidence.window import made_at
from edge_agent.responding.priority import Priority
from edge_agent.responding.rank import speaks
from edge_agent.responding.text import problem

MAX_SUSPECTS, LEAST_P = 3, 0.03
PHOTOS = 3
MAX_CONTAINED = 500
OPEN_SET_SCORE = 0.3
ALSO, JOINED = "also", "joined"
"""Attributes of an order that other incidents were joined to: the problems of the first few, and how many there are."""
MOST_ALSO = 4
COLLECTS = "collects"
"""Attribute of a collecting order (`WorkOrder.collects`): how many incidents wait."""
REVISABLE = frozenset({OrderState.ISSUED, OrderState.ACCEPTED, OrderState.STARTED, OrderState.HELD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that an order is made from."""

    incident: Incident
    analysis: Analysis
    priority: Priority
    catalogue: Catalogue
    containment: Containment
    photos: tuple[ImageRef, ...] = ()


def order_key(case: Case) -> str:
    """The deduplication key: line, process step of the first suspect (or the station), class family, place."""
    first = case.analysis.first_suspect
    cause = case.catalogue.cause(first.cause_id) if first else None
    step = cause.process_step if cause else case.incident.station_id
    return f"{case.incident.line_id}/{step}/{case.incident.attributes['family']}/{_place(case.analysis)}"


def _place(analysis: Analysis) -> str:
    """The stratum that the first suspect rests on, or ``-``."""
    first = analysis.first_suspect
    cited = {term.evidence_id for term in first.terms if term.delta > 0} if first else set()
    hot = [
        one
        for one in analysis.evidence
        if one.evidence_id in cited and (one.token or "").startswith("strat:") and one.polarity is Polarity.PRESENT
    ]
    if not hot or hot[0].token is None:
        return "-"
    name = hot[0].token.partition(":")[2]
    return f"{name}={hot[0].scope.get(name, '')}".replace("/", "_")


def new_order(
    case: Case, *, order_id: UUID, number: str, at: datetime, recurrence_of: UUID | None = None, key: str | None = None
) -> WorkOrder:
    """Revision 0, issued."""
    first = case.analysis.first_suspect
    cause = case.catalogue.cause(first.cause_id) if first else None
    return _filled(
        WorkOrder(
            order_id=order_id,
            number=number,
            revision=0,
            key=key or order_key(case),
            state=OrderState.ISSUED,
            incident_id=case.incident.incident_id,
            analysis_id=case.analysis.analysis_id,
            created_at=at,
            updated_at=at,
            due_at=at + case.priority.due,
            priority=case.priority.level,
            priority_reason=case.priority.reason,
            line_id=case.incident.line_id,
            station_id=case.incident.station_id,
            equipment=cause.equipment if cause else "",
            problem="",
            text="",
            suspects=(),
            open_set=True,
            checks=(),
            containment=Containment(part_ids=(), lot_ids=(), since=case.incident.onset_from),
            recurrence_of=recurrence_of,
        ),
        case,
    )


def is_blind(order_id: UUID, share: float) -> bool:
    """Does this order hide its ranking at first? Decided by a hash of its id: the same at every look, and by nobody."""
    return int.from_bytes(sha256(order_id.bytes).digest()[:8]) < share * 2**64


def blinded(order: WorkOrder, case: Case) -> WorkOrder:
    """The order with its ranking hidden, and the causes of its defect classes to choose from, by id."""
    codes = set(case.incident.class_counts) | {case.incident.code}
    able = [cause for cause in case.catalogue.causes if codes & cause.classes.keys()] or case.catalogue.causes
    choices = sorted((cause.cause_id, cause.name) for cause in able)
    return replace(order, ranking_hidden=True, choices=tuple(choices))


def revised_order(order: WorkOrder, case: Case, *, at: datetime) -> WorkOrder:
    """The next revision of an order that stands: same id, number, key and state. It never gets less urgent."""
    level = min(order.priority, case.priority.level)
    raised = level < order.priority
    return _filled(
        replace(
            order,
            revision=order.revision + 1,
            analysis_id=case.analysis.analysis_id,
            updated_at=at,
            priority=level,
            priority_reason=case.priority.reason if level == case.priority.level else order.priority_reason,
            due_at=min(order.due_at, at + case.priority.due) if raised else order.due_at,
            note="",
            text_source="template",
        ),
        case,
    )


def joined_order(order: WorkOrder, case: Case, *, at: datetime) -> WorkOrder:
    """An order that another incident turns out to belong to: same suspect, same station.

    The next revision where there is something to tell: the first few, twice as many, or more urgent. Else the same one,
    with what is to be set aside: five hundred incidents of one cause are not five hundred revisions.
    """
    joined = int(order.attributes.get(JOINED, "0")) + 1
    tell = joined <= MOST_ALSO or joined.bit_count() == 1 or case.priority.level < order.priority
    own = order.problem.removesuffix(order.attributes.get(ALSO, ""))
    also = order.attributes.get(ALSO, "")
    if joined <= MOST_ALSO:
        also += f"; also {problem(case.incident)}"
    elif tell:
        also = also.partition("; and ")[0] + f"; and {joined - MOST_ALSO} more of the same cause"
    return replace(
        order,
        revision=order.revision + tell,
        updated_at=at if tell else order.updated_at,
        priority=min(order.priority, case.priority.level),
        due_at=min(order.due_at, at + case.priority.due),
        problem=own + also,
        containment=both_contained(order.containment, case.containment),
        attributes={**order.attributes, ALSO: also, JOINED: str(joined)},
    )


def both_contained(known: Containment, more: Containment) -> Containment:
    """The parts and lots of both, the newest parts where there are too many."""
    return replace(
        known,
        part_ids=tuple(dict.fromkeys((*known.part_ids, *more.part_ids)))[-MAX_CONTAINED:],
        lot_ids=tuple(sorted({*known.lot_ids, *more.lot_ids})),
        since=min(known.since, more.since),
    )


def worth_revising(order: WorkOrder, case: Case) -> bool:
    """Did something material change: the first suspect, the urgency, or twice as many defective parts?"""
    first = case.analysis.first_suspect
    known = order.suspects[0].cause_id if order.suspects else None
    doubled = case.incident.defective_parts >= 2 * int(order.attributes.get("defective_parts", "0") or 0)
    return (first.cause_id if first else None) != known or case.priority.level < order.priority or doubled


def _filled(order: WorkOrder, case: Case) -> WorkOrder:
    incident, analysis = case.incident, case.analysis
    done = {one.provenance.get("check") for one in analysis.evidence}
    template = next(text for text in analysis.narratives if text.source == "template")
    attributes = {
        **order.attributes,
        "defective_parts": str(incident.defective_parts),
        "decision": analysis.decision,
        "catalogue": analysis.engine.get("catalogue", ""),
        "weights": analysis.engine.get("weights", ""),
    }
    return replace(
        order,
        problem=problem(incident) + order.attributes.get(ALSO, ""),
        text=template.text,
        suspects=suspects(analysis, case.catalogue),
        open_set=analysis.unknown_score >= OPEN_SET_SCORE,
        checks=tuple(one for one in check_order(analysis.hypotheses, case.catalogue) if one.check_id not in done),
        containment=case.containment,
        images=case.photos,
        inspection_ids=incident.inspection_ids[-50:],
        attributes=attributes,
    )


def suspects(analysis: Analysis, catalogue: Catalogue) -> tuple[Suspect, ...]:
    """At most three, each with what speaks for and against it. Chance and the unknown are not suspects."""
    named = [one for one in analysis.hypotheses if one.cause_id not in {NONE, OTHER}]
    shown = [one for one in named if one.p >= LEAST_P][:MAX_SUSPECTS] or named[:1]
    result: list[Suspect] = []
    for one in shown:
        cause = catalogue.cause(one.cause_id)
        pro, contra = speaks(one, analysis.evidence)
        result.append(
            Suspect(
                cause_id=one.cause_id,
                name=one.name,
                grade=one.grade,
                speaks_for=pro[:6],
                speaks_against=contra[:4],
                actions=cause.actions if cause else (),
            )
        )
    return tuple(result)


def containment(incident: Incident, since: Sequence[Inspection]) -> Containment:
    """Every part since the onset may carry the defect, the accepted ones too: hold them until the cause is known.

    Args:
        since: parts since the onset, oldest first.
    """
    suspect_parts = [one for one in since if made_at(one) >= incident.onset_from]
    lots = sorted({one.shot.lot_id for one in suspect_parts if one.shot.lot_id})
    return Containment(
        part_ids=tuple(one.shot.part_id for one in suspect_parts[-MAX_CONTAINED:]),
        lot_ids=tuple(lots),
        since=incident.onset_from,
    )


def photos(before: Sequence[Inspection], since: Sequence[Inspection]) -> tuple[ImageRef, ...]:
    """The newest defective parts with their boxes, and one good part to compare with."""
    chosen: list[ImageRef] = []
    for one in reversed(since):
        if one.evaluation is Evaluation.NOT_OK and len(chosen) < PHOTOS and (image := _best_image(one.images)):
            chosen.append(image)
    good = next(
        (
            image
            for one in reversed((*before, *since))
            if one.evaluation is Evaluation.OK and (image := _best_image(one.images))
        ),
        None,
    )
    return (*chosen, good) if chosen and good else tuple(chosen)


def _best_image(images: Sequence[ImageRef]) -> ImageRef | None:
    order = {"overlay": 0, "crop": 1, "frame": 2}
    known = [image for image in images if image.role in order]
    return min(known, key=lambda image: order[image.role], default=None)


def issue(uow: UnitOfWork, order: WorkOrder, case: Case, verb: outbound.Verb, *, sender: Sender, clock: Clock) -> None:
    """Save an order and put it, its analysis and the index into the outbox: one transaction."""
    uow.orders.save(order)
    uow.outbox.add(outbound.work_order(order, case.analysis, verb, sender=sender, clock=clock))
    if not order.ranking_hidden:  # else the ranking follows when somebody has said what they suspect
        uow.outbox.add(outbound.rca(case.analysis, case.incident, order, sender=sender, clock=clock))
    announce_index(uow, sender=sender, clock=clock)


def add_narrative(
    uow: UnitOfWork, analysis: Analysis, narrative: Narrative, *, sender: Sender, clock: Clock
) -> WorkOrder | None:
    """Keep a text that a language model wrote, and put it into the order where it may stand.

    A text shown as ``text`` becomes the order's text; one shown as ``note`` stands beside the template's, marked; a
    rejected one is kept with the analysis only. Where a newer analysis came meanwhile, the text moves to it if it
    still holds there: the same first suspect, and all that it cites unchanged.

    Returns:
        The order's next revision, or None when no order changed.
    """
    newest = uow.analyses.latest(analysis.incident_id) or analysis
    for one in {analysis.analysis_id: analysis, newest.analysis_id: newest}.values():
        if one is analysis or still_holds(narrative, analysis, newest):
            uow.analyses.save(replace(one, narratives=(*one.narratives, narrative)))
    order = uow.orders.for_incident(analysis.incident_id)
    stale = newest.revision > analysis.revision and not still_holds(narrative, analysis, newest)
    if narrative.rejected or stale or order is None or order.collects or order.state not in REVISABLE:
        return None
    kept = replace(newest, narratives=(*newest.narratives, narrative))
    changed = replace(order, revision=order.revision + 1, updated_at=clock.now(), analysis_id=newest.analysis_id)
    if narrative.shown_as == "text":
        changed = replace(changed, text=narrative.text, text_source=narrative.source, note="")
    else:
        changed = replace(changed, note=narrative.text)
    uow.orders.save(changed)
    uow.outbox.add(outbound.work_order(changed, kept, "update", sender=sender, clock=clock))
    announce_index(uow, sender=sender, clock=clock)
    return changed


def still_holds(narrative: Narrative, written_for: Analysis, newest: Analysis) -> bool:
    """Does a text written for one analysis hold for a newer one of the same incident?"""
    first, now_first = written_for.first_suspect, newest.first_suspect
    if first is None or now_first is None or first.cause_id != now_first.cause_id:
        return False
    found = {fact.evidence_id: (fact.token, fact.polarity) for fact in newest.evidence}
    cited = [fact for fact in written_for.evidence if fact.evidence_id in narrative.citations]
    return all(found.get(fact.evidence_id) == (fact.token, fact.polarity) for fact in cited)
