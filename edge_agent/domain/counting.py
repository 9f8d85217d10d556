"""What counts as a defective part, for charts and evidence alike."""

from collections.abc import Iterable

from edge_agent.domain.defect import Defect
from edge_agent.domain.inspection import Evaluation, Inspection

UNDECIDED = "not_decidable"
"""The stream of parts whose image could not be judged: the health of the inspection itself."""
SURE = 0.5
DECIDED = frozenset({Evaluation.OK, Evaluation.NOT_OK})


def counted_defects(inspection: Inspection) -> tuple[Defect, ...]:
    """The defects a part was rejected for; only NOT_OK parts are nonconforming.

    An inspection that does not say which (it was not made by the station) counts sure ones, and always the one that
    decided.
    """
    if inspection.evaluation is not Evaluation.NOT_OK:
        return ()
    if inspection.counted_ids:
        counted = frozenset(inspection.counted_ids)
        return tuple(defect for defect in inspection.defects if defect.defect_id in counted)
    least = min(SURE, inspection.score)
    return tuple(defect for defect in inspection.defects if defect.score >= least)


def classes_on(inspection: Inspection) -> frozenset[str]:
    """The defect classes a part was rejected for; an undecidable part is in the health stream alone."""
    if inspection.evaluation is Evaluation.NOT_DECIDABLE:
        return frozenset({UNDECIDED})
    return frozenset(defect.code for defect in counted_defects(inspection))


def is_decided(inspection: Inspection) -> bool:
    """Was the part judged OK or NOT_OK? Others feed no defect chart: not seen is not good."""
    return inspection.evaluation in DECIDED


def shows(inspection: Inspection, codes: Iterable[str]) -> bool:
    """Is the part defective in one of these classes?"""
    return not classes_on(inspection).isdisjoint(codes)
