"""The gate between an export and the models: a file that sees worse than the one it was made from is refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.onnx import OnnxDetector
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.faults import PartFault
from edge_agent.domain.frame import Frame
from edge_agent.domain.recipe import ImageLimits
from edge_agent.inspecting.accuracy import Found, Judged, average_precision, counts, mean_average_precision
from edge_agent.inspecting.gate import Reference, gate
from edge_agent.simulation.boards import CODES
from training.data import Sample

IOU = 0.33
SCORE = 0.5
MOST_MAP = 0.003
MOST_PRECISION = 0.01
MOST_RECALL = 0.01
FEW_BOXES = 3
"""So many boxes at the threshold change sides by chance: a class with a hundred defects cannot prove less."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An export against the float model it was made from, on the same images.

    Attributes:
        map_reference, map_candidate: mean average precision at IoU 0.33.
        precision_lost: average precision by class; negative where the candidate has more.
        boxes_lost: by class, defects found less at the operating score, and of how many.
    """

    map_reference: float
    map_candidate: float
    precision_lost: dict[str, float]
    boxes_lost: dict[str, tuple[int, int]]

    @property
    def map_lost(self) -> float:
        """Negative where the candidate is better."""
        return self.map_reference - self.map_candidate

    def objections(self) -> list[str]:
        """Why the export must not be used; empty when it may."""
        found = []
        if not self.map_lost <= MOST_MAP:
            found.append(f"mAP fell from {self.map_reference:.4f} to {self.map_candidate:.4f}, allowed: {MOST_MAP}")
        for code, lost in self.precision_lost.items():
            if not lost <= MOST_PRECISION:
                found.append(f"average precision of {code} fell by {lost:.4f}, allowed: {MOST_PRECISION}")
        for code, (boxes, of) in self.boxes_lost.items():
            if boxes > max(FEW_BOXES, MOST_RECALL * of):
                found.append(f"{boxes} of {of} {code} are not found any more, allowed: {MOST_RECALL:.0%}")
        return found


def _precision(answers: Sequence[Judged], code: str) -> float:
    return average_precision(answers, code, IOU) or 0.0


class Refused(SystemExit):
    """An export that must not be used."""


def compare_answers(reference: Sequence[Judged], candidate: Sequence[Judged], codes: Sequence[str]) -> Comparison:
    """Compare what both found."""
    before, after = (counts(answers, codes, IOU, SCORE) for answers in (reference, candidate))
    return Comparison(
        map_reference=mean_average_precision(reference, codes, IOU),
        map_candidate=mean_average_precision(candidate, codes, IOU),
        precision_lost={code: _precision(reference, code) - _precision(candidate, code) for code in codes},
        boxes_lost={
            code: (before[code].hit - after[code].hit, before[code].hit + before[code].missed) for code in codes
        },
    )


def look(detector: OnnxDetector, samples: Sequence[Sample]) -> list[Judged]:
    """What a detector finds, registered as on the line. A part that cannot be judged has no boxes."""
    return [_look(detector, sample) for sample in samples]


def _look(detector: OnnxDetector, sample: Sample) -> Judged:
    clock = SystemClock()
    frame = Frame(frame_id=clock.new_id(), camera_id="gate", pixels=sample.image, captured_at=clock.now())
    reference = Reference.of(sample.golden)
    quality = gate(sample.image, reference, ImageLimits())
    try:
        defects = detector.detect(frame, reference.as_seen(quality), quality.shift_xy_px).defects
    except PartFault:
        defects = ()
    found = tuple(Found(code=one.code, score=one.score, xyxy_px=one.xyxy_px) for one in defects)
    truth = tuple((CODES[int(row[0])], (row[1], row[2], row[3], row[4])) for row in sample.boxes.tolist())
    return Judged(found=found, truth=truth)


def open_for_measuring(folder: Path, min_score: float = 0.02) -> OnnxDetector:
    """A model folder as the agent opens it (hash, inputs and golden outputs are verified), but for its threshold."""
    detector = OnnxDetector(folder, DetectorOptions(threads=1), clock=SystemClock(), min_score=min_score)
    detector.warm_up()
    return detector


def demand_parity(reference: Path, candidate: Path, samples: Sequence[Sample]) -> Comparison:
    """Measure both folders; refuse a candidate that lost more than is allowed.

    Raises:
        Refused: with every objection.
    """
    answers = [look(open_for_measuring(folder), samples) for folder in (reference, candidate)]
    compared = compare_answers(answers[0], answers[1], CODES)
    objections = compared.objections()
    if objections:
        raise Refused(f"export refused: {'; '.join(objections)}")
    return compared
