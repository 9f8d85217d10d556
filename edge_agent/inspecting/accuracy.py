"""How well a detector sees: boxes matched with the truth, average precision, F-score, recall.

Average precision is the area under the precision envelope (Pascal VOC 2010 and later, COCO without its 101-point
sampling). A truth is found by the best-scored box of its class that overlaps it by at least the given IoU; every
further box on it is a false one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_agent.domain.defect import BoxXyxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A box a detector reported."""

    code: str
    score: float
    xyxy_px: BoxXyxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One image: what was found and what is there."""

    found: tuple[Found, ...]
    truth: tuple[tuple[str, BoxXyxy], ...]


def iou(a: BoxXyxy, b: BoxXyxy) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def hits(images: Sequence[Judged], code: str, min_iou: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Scores and "found a truth" of every box of a class, best score first."""
    rows: list[tuple[float, bool]] = []
    for image in images:
        left = [box for truth_code, box in image.truth if truth_code == code]
        for found in sorted((one for one in image.found if one.code == code), key=lambda one: -one.score):
            best = max(left, key=lambda box: iou(found.xyxy_px, box), default=None)
            hit = best is not None and iou(found.xyxy_px, best) >= min_iou
            if hit and best is not None:
                left.remove(best)
            rows.append((found.score, hit))
    rows.sort(key=lambda row: -row[0])
    return np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], bool)


def average_precision(images: Sequence[Judged], code: str, min_iou: float) -> float | None:
    """Area under the precision-recall curve of a class; None where the class does not occur."""
    number = _occurrences(images, code)
    if not number:
        return None
    _, hit = hits(images, code, min_iou)
    if not len(hit):
        return 0.0
    true = np.cumsum(hit)
    recall, precision = true / number, true / np.arange(1, len(hit) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def mean_average_precision(images: Sequence[Judged], codes: Sequence[str], min_iou: float) -> float:
    """Mean over the classes that occur; 0 where none does."""
    values = [value for code in codes if (value := average_precision(images, code, min_iou)) is not None]
    return sum(values) / len(values) if values else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """True boxes, false boxes and missed defects at one score threshold."""

    hit: int
    false: int
    missed: int

    @property
    def precision(self) -> float:
        """Share of the boxes that are defects; 1 where there are none."""
        return self.hit / (self.hit + self.false) if self.hit + self.false else 1.0

    @property
    def recall(self) -> float:
        """Share of the defects that were found; 1 where there are none."""
        return self.hit / (self.hit + self.missed) if self.hit + self.missed else 1.0

    @property
    def f_score(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def counts(images: Sequence[Judged], codes: Sequence[str], min_iou: float, min_score: float) -> Mapping[str, Counts]:
    """By class."""
    found: dict[str, Counts] = {}
    for code in codes:
        scores, hit = hits(images, code, min_iou)
        kept = hit[scores >= min_score]
        true = int(kept.sum())
        found[code] = Counts(hit=true, false=len(kept) - true, missed=_occurrences(images, code) - true)
    return found


def total(by_code: Mapping[str, Counts]) -> Counts:
    """Over all classes."""
    every = by_code.values()
    return Counts(
        hit=sum(one.hit for one in every),
        false=sum(one.false for one in every),
        missed=sum(one.missed for one in every),
    )


def _occurrences(images: Sequence[Judged], code: str) -> int:
    return sum(truth_code == code for image in images for truth_code, _ in image.truth)
