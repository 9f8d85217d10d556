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


COCO_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.5 to 0.95; the mean of the mean average precisions at these is COCO's headline figure."""


def coco_mean_average_precision(images: Sequence[Judged], codes: Sequence[str]) -> float:
    """Mean average precision, averaged over `COCO_IOUS`; the area under the curve is not sampled at 101 points."""
    values = [mean_average_precision(images, codes, min_iou) for min_iou in COCO_IOUS]
    return sum(values) / len(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Every box of all classes, best score first.

    Attributes:
        score: (N,) what the detector said.
        hit: (N,) did it find a defect of its class?
        truths: how many defects there are.
    """

    score: npt.NDArray[np.float64]
    hit: npt.NDArray[np.bool_]
    truths: int

    def at(self, min_score: float) -> Counts:
        """What is left at a threshold."""
        kept = self.hit[self.score >= min_score]
        true = int(kept.sum())
        return Counts(hit=true, false=len(kept) - true, missed=self.truths - true)

    def best(self) -> tuple[float, float]:
        """Highest F-score over all thresholds, and that threshold; 0 and 1 where nothing was found."""
        if not self.hit.any():
            return 0.0, 1.0
        true = np.cumsum(self.hit)
        f_score = 2 * true / (np.arange(1, len(true) + 1) + self.truths)
        # Equal scores stand or fall together.
        last = np.append(self.score[1:] != self.score[:-1], True)
        best = int(np.where(last, f_score, -1).argmax())
        return float(f_score[best]), float(self.score[best])

    def full_recall(self) -> tuple[float, int] | None:
        """The highest threshold that still finds every defect, and the false boxes there; None where none does."""
        if not self.truths or int(self.hit.sum()) < self.truths:
            return None
        threshold = float(self.score[self.hit].min())
        return threshold, self.at(threshold).false


def ranked(images: Sequence[Judged], codes: Sequence[str], min_iou: float) -> Ranked:
    """All classes in one ranking."""
    pairs = [hits(images, code, min_iou) for code in codes]
    score = np.concatenate([one for one, _ in pairs]) if pairs else np.zeros(0)
    hit = np.concatenate([one for _, one in pairs]) if pairs else np.zeros(0, bool)
    order = np.argsort(-score, kind="stable")
    truths = sum(_occurrences(images, code) for code in codes)
    return Ranked(score=score[order], hit=hit[order], truths=truths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Boxes of about the same score: the mean score should be the share that is true."""

    score: float
    true_share: float
    count: int


def reliability(every: Ranked, min_score: float, bins: int = 10) -> tuple[float, tuple[Bin, ...]]:
    """Expected calibration error and its bins, of the boxes from ``min_score`` on (Naeini and others, AAAI 2015)."""
    score, hit = every.score[every.score >= min_score], every.hit[every.score >= min_score]
    index = np.minimum((score * bins).astype(int), bins - 1)
    found = tuple(
        Bin(score=float(score[inside].mean()), true_share=float(hit[inside].mean()), count=int(inside.sum()))
        for one in range(bins)
        if (inside := index == one).any()
    )
    weight = max(1, len(score))
    return sum(one.count * abs(one.score - one.true_share) for one in found) / weight, found


NOTHING = "nothing"


def confusion(images: Sequence[Judged], min_iou: float, min_score: float) -> Mapping[tuple[str, str], int]:
    """How often a defect of one class was reported as another, as `NOTHING`, or reported where there was `NOTHING`.

    Classes do not matter for matching here: each truth takes the best-scored free box that overlaps it enough.
    """
    table: dict[tuple[str, str], int] = {}
    for image in images:
        left = list(image.truth)
        for found in sorted((one for one in image.found if one.score >= min_score), key=lambda one: -one.score):
            best = max(left, key=lambda truth: iou(found.xyxy_px, truth[1]), default=None)
            hit = best is not None and iou(found.xyxy_px, best[1]) >= min_iou
            key = (best[0] if hit and best else NOTHING, found.code)
            table[key] = table.get(key, 0) + 1
            if hit and best is not None:
                left.remove(best)
        for code, _ in left:
            table[code, NOTHING] = table.get((code, NOTHING), 0) + 1
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """What happens to parts at one threshold on their best-scored box."""

    score: float
    escapes: int
    overkill: int


def operating(defective: Sequence[float], clean: Sequence[float], scores: Sequence[float]) -> tuple[Operating, ...]:
    """Escapes and overkill at some thresholds.

    Args:
        defective: best score of each part that has a defect (0 where nothing was found).
        clean: of each part that has none.
    """
    bad, good = np.array(defective, float), np.array(clean, float)
    return tuple(
        Operating(score=one, escapes=int((bad < one).sum()), overkill=int((good >= one).sum())) for one in scores
    )


def escapes_at_overkill(defective: Sequence[float], clean: Sequence[float], most: float) -> Operating | None:
    """The lowest threshold that rejects no more than this share of the clean parts; None without clean parts."""
    if not clean:
        return None
    allowed = int(most * len(clean))
    good = np.sort(np.array(clean, float))[::-1]
    # One more than the allowed ones must stay below the threshold.
    threshold = float(np.nextafter(good[allowed], np.inf)) if allowed < len(good) else 0.0
    return operating(defective, clean, [threshold])[0]


def _occurrences(images: Sequence[Judged], code: str) -> int:
    return sum(truth_code == code for image in images for truth_code, _ in image.truth)
