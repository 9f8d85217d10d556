"""The agent's own inspections, as far as a person has said what they were.

A detector's own boxes are no labels: a model taught with them learns its mistakes. What counts is the answer to the
work order: a closed case with a cause says that the incident's defects were real; a case whose cause is the
inspection itself says that they were not. An image is taken only when every box on it is covered by such an answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from edge_agent.datasets.dataset import Box, Skipped
from edge_agent.datasets.draft import Draft, Gathered
from edge_agent.domain.cause import MEASUREMENT, NONE
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.inspection import Disposition, ImageRef, Inspection
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.ports import ImageStore, UnitOfWork

MIN_TRUST = 0.4
"""Answers that cost nothing (agreeing without any work done, 0.3) are not enough; see ``ConfirmedCase.weight``."""
AGENT = "agent"
"""The label source of images that the agent accepted and nobody looked at."""
_PAGE = 500
_CASES = 1_000_000


@dataclass(slots=True)
class _Said:
    """What people said of one inspection's boxes, by class."""

    real: dict[str, str] = field(default_factory=dict)
    false: dict[str, str] = field(default_factory=dict)
    not_enough: list[str] = field(default_factory=list)


def gather(
    uow: UnitOfWork, images: ImageStore, *, min_trust: float = MIN_TRUST, accepted_too: bool = False
) -> Gathered:
    """All inspections with a stored image; those without a person's word are listed as skipped.

    Args:
        uow: a reading snapshot.
        min_trust: how far an answer must be trusted to make labels.
        accepted_too: take images that the agent accepted as images without defects, label source ``agent``.

    Raises:
        ConfigError: no inspection has an image.
    """
    said = _said(uow, min_trust)
    drafts: list[Draft] = []
    skipped: list[Skipped] = []
    for inspection in _inspections(uow):
        frame = next((ref for ref in inspection.images if ref.role == "frame"), None)
        if frame is None:
            continue
        found = _draft(inspection, frame, images, said.get(inspection.inspection_id, _Said()), accepted_too)
        (drafts if isinstance(found, Draft) else skipped).append(found)  # type: ignore[arg-type]
    if not drafts and not skipped:
        raise ConfigError("no inspection in this store has an image")
    classes = sorted({box.code for draft in drafts for box in draft.boxes})
    return Gathered(kind="store", drafts=drafts, skipped=skipped, classes=tuple(classes))


def found_by_people(uow: UnitOfWork, *, min_trust: float = MIN_TRUST) -> dict[UUID, bool]:
    """Inspections of which a person has said what they were: is the part defective?

    Answers that contradict each other, or cost nothing, say nothing.
    """
    said = _said(uow, min_trust)
    return {key: bool(one.real) for key, one in said.items() if bool(one.real) != bool(one.false)}


def _inspections(uow: UnitOfWork) -> Iterator[Inspection]:
    seq = 0
    while page := uow.inspections.after(seq, _PAGE):
        for seq, inspection in page:  # noqa: B007 - the last one is where the next page begins
            yield inspection


def _said(uow: UnitOfWork, min_trust: float) -> dict[UUID, _Said]:
    """What was said of each inspection."""
    said: dict[UUID, _Said] = {}
    for case in uow.answers.cases(limit=_CASES):
        incident = uow.incidents.get(case.incident_id)
        order = uow.orders.get(case.order_id)
        if incident is None:
            continue
        number = order.number if order else str(case.order_id)
        codes = {case.code, *incident.class_counts}
        for inspection_id in incident.inspection_ids:
            _add(said.setdefault(inspection_id, _Said()), case, number, codes, min_trust)
    return said


def _add(said: _Said, case: ConfirmedCase, number: str, codes: set[str], min_trust: float) -> None:
    source = f"{number} closed with {case.cause_id}"
    if case.cause_id == NONE:
        said.not_enough.append(f"{source}: no cause was found, which does not say whether the defects are real")
    elif case.weight < min_trust:
        said.not_enough.append(f"{source}: trusted {case.weight:g}, {min_trust:g} is asked")
    elif case.cause_id == MEASUREMENT:
        said.false |= dict.fromkeys(codes, source)
    else:
        said.real |= dict.fromkeys(codes, source)


def _draft(
    inspection: Inspection, frame: ImageRef, images: ImageStore, said: _Said, accepted_too: bool
) -> Draft | Skipped:
    name = str(inspection.inspection_id)
    why_not = _why_not(inspection, said, accepted_too)
    golden = next((ref for ref in inspection.images if ref.role == "golden"), None)
    try:
        image, twin = images.path(frame), images.path(golden) if golden else None
    except ValueError as error:
        why_not = (str(error), "an image below the state folder")
    if why_not:
        return Skipped(file=frame.path, line=name, value=why_not[0], expected=why_not[1])
    boxes = tuple(Box(code=one.code, xyxy_px=one.xyxy_px) for one in inspection.defects if one.code in said.real)
    sources = sorted({*said.real.values(), *said.false.values()}) or [AGENT]
    return Draft(
        image=image,
        origin=frame.path,
        file=frame.path,
        line=name,
        golden=twin,
        group=inspection.shot.lot_id or inspection.shot.part_id,
        boxes=boxes,
        sha256=frame.sha256,
        label_source="; ".join(sources),
    )


def _why_not(inspection: Inspection, said: _Said, accepted_too: bool) -> tuple[str, str] | None:
    """Why an inspection makes no label, and what was expected; None when it does."""
    codes = sorted({one.code for one in inspection.defects})
    both = [code for code in codes if code in said.real and code in said.false]
    if both:
        return f"{both[0]}: {said.real[both[0]]}, but {said.false[both[0]]}", "answers that agree"
    unsaid = [code for code in codes if code not in said.real and code not in said.false]
    if codes and not unsaid:
        return None
    if said.not_enough:
        return said.not_enough[0], "a closed order whose answer says whether the defects are real"
    if not codes and inspection.disposition is Disposition.ACCEPT and accepted_too:
        return None
    what = f"{inspection.evaluation.value} {', '.join(unsaid)}".strip()
    return f"{what}: nobody has said what it was", "a person's answer (a closed work order) for every box"
