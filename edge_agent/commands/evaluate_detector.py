"""The figures of ``edge-agent evaluate detector``."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.commands.desk import Desk
from edge_agent.commands.labelled import Labelled
from edge_agent.domain.defect import BoxXyxy
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection
from edge_agent.domain.quality import wilson
from edge_agent.inspecting.accuracy import (
    Counts,
    Found,
    Judged,
    average_precision,
    coco_mean_average_precision,
    confusion,
    counts,
    escapes_at_overkill,
    iou,
    mean_average_precision,
    operating,
    ranked,
    reliability,
    total,
)

IOU = 0.33
"""DeepPCB's own criterion; COCO's are reported beside it."""
LOWEST_SCORE = 0.01
"""Average precision needs the whole curve, far below what a station reports."""
OPERATING_SCORE = 0.5
"""Fixed: scores are calibrated when a model is packaged, nothing is tuned on the data measured here."""
CURVE_SCORES = tuple(round(0.05 * step, 2) for step in range(1, 20))
CALIBRATED_FROM = 0.05
"""Boxes below count for no calibration: there are thousands of them and nobody sees one."""
MOST_OVERKILL = 0.01
_UNDECIDED = (Evaluation.NOT_DECIDABLE, Evaluation.NOT_INSPECTED)
SIZES_PX = (32, 64)
"""Between small, medium and large defects: longest side of the box."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """One labelled part and what became of it."""

    part: Labelled
    mean_grey: float
    inspection: Inspection
    judged: Judged

    @property
    def defective(self) -> bool:
        """Does the truth name a defect?"""
        return bool(self.judged.truth)

    @property
    def score(self) -> float:
        """Of the surest box; 0 where there is none."""
        return max((one.score for one in self.judged.found), default=0.0)


def measure(desk: Desk, parts: Iterable[Labelled], *, keep_pixels: bool = False) -> list[Measured]:
    """Inspect all parts. Pixels are dropped unless they are wanted for pictures."""
    return [_measure(desk, part, keep_pixels) for part in parts]


def _measure(desk: Desk, part: Labelled, keep_pixels: bool) -> Measured:
    inspection = desk.inspect_pixels(part.image, part.golden, part.name)
    found = tuple(Found(code=one.code, score=one.score, xyxy_px=one.xyxy_px) for one in inspection.defects)
    kept = part if keep_pixels and not part.mended else part.without_pixels()
    judged = Judged(found=found, truth=part.truth)
    return Measured(part=kept, mean_grey=float(part.image.mean()), inspection=inspection, judged=judged)


def summarise(looks: Sequence[Measured], codes: Sequence[str]) -> dict[str, Any]:
    """All figures."""
    labelled = [one for one in looks if not one.part.mended]
    images = [one.judged for one in labelled]
    by_code = counts(images, codes, IOU, OPERATING_SCORE)
    every = total(by_code)
    return {
        "images": len(images),
        "defects": sum(len(image.truth) for image in images),
        **_precisions(images, codes),
        "f_score": round(every.f_score, 4),
        "precision": round(every.precision, 4),
        "recall": round(every.recall, 4),
        **_ranking(images, codes),
        "false_boxes_per_image": round(every.false / max(1, len(images)), 4),
        "by_class": {code: _class_figures(images, code, by_code) for code in codes},
        "confusion": _confusion(images),
        **_parts(looks),
        "strata": {
            "group": _strata(labelled, lambda one: one.part.group),
            "light": _strata(labelled, _light(labelled)),
            "size": _sizes(images),
        },
        **_times(looks),
    }


def _precisions(images: Sequence[Judged], codes: Sequence[str]) -> dict[str, Any]:
    return {
        "map_33": round(mean_average_precision(images, codes, IOU), 4),
        "map_50": round(mean_average_precision(images, codes, 0.5), 4),
        "map_50_95": round(coco_mean_average_precision(images, codes), 4),
    }


def _ranking(images: Sequence[Judged], codes: Sequence[str]) -> dict[str, Any]:
    """What needs all boxes in one ranking."""
    every = ranked(images, codes, IOU)
    best, threshold = every.best()
    recall = every.full_recall()
    error, bins = reliability(every, CALIBRATED_FROM)
    full = recall and {"score": _short(recall[0]), "false_boxes": recall[1], "per_image": recall[1] / len(images)}
    return {
        "f_best": {"f_score": round(best, 4), "score": _short(threshold), "note": "threshold chosen on this data"},
        "false_alarms_at_full_recall": full,
        "curve": [_point(every.at(score), score, len(images)) for score in CURVE_SCORES],
        "calibration": {
            "ece": round(error, 4),
            "bins": [{"score": _short(b.score), "true_share": _short(b.true_share), "boxes": b.count} for b in bins],
        },
    }


def _point(one: Counts, score: float, images: int) -> dict[str, float]:
    return {
        "score": score,
        "recall": _short(one.recall),
        "precision": _short(one.precision),
        "false_boxes_per_image": _short(one.false / max(1, images)),
    }


def _short(value: float) -> float:
    return round(float(value), 4)


def _class_figures(images: Sequence[Judged], code: str, by_code: Mapping[str, Counts]) -> dict[str, Any]:
    one = by_code[code]
    precision = average_precision(images, code, IOU)
    low, high = wilson(one.hit, one.hit + one.missed)
    return {
        "ap_33": None if precision is None else round(precision, 4),
        "f_score": round(one.f_score, 4),
        "recall": round(one.recall, 4),
        "recall_95": [round(low, 4), round(high, 4)],
        "precision": round(one.precision, 4),
        "truths": one.hit + one.missed,
        "false": one.false,
    }


def _confusion(images: Sequence[Judged]) -> list[dict[str, Any]]:
    """What was taken for something else, most frequent first."""
    table = confusion(images, IOU, OPERATING_SCORE)
    wrong = sorted(((-count, pair) for pair, count in table.items() if pair[0] != pair[1]))
    return [{"truth": truth, "found": found, "count": -count} for count, (truth, found) in wrong]


# --- parts ----------------------------------------------------------------------------------------------------------


def _parts(looks: Sequence[Measured]) -> dict[str, Any]:
    """Escapes and overkill by the recipe's decision, and by thresholds on the surest box."""
    bad = [one for one in looks if one.defective]
    clean = [one for one in looks if not one.defective]
    bad_scores, clean_scores = [one.score for one in bad], [one.score for one in clean]
    strict = escapes_at_overkill(bad_scores, clean_scores, MOST_OVERKILL)
    return {
        "escapes": share([one.inspection.disposition is Disposition.ACCEPT for one in bad]),
        "overkill": share([one.inspection.disposition is not Disposition.ACCEPT for one in clean]),
        "mended_parts": sum(one.part.mended for one in clean),
        "not_decided": sum(one.inspection.evaluation in _UNDECIDED for one in looks),
        "escapes_at_overkill_1": strict
        and {
            "score": _short(strict.score),
            "escapes": counted(strict.escapes, len(bad)),
            "overkill": counted(strict.overkill, len(clean)),
        },
        "parts_curve": [
            {"score": one.score, "escapes": one.escapes, "overkill": one.overkill}
            for one in operating(bad_scores, clean_scores, CURVE_SCORES)
        ],
    }


def share(cases: Sequence[bool]) -> dict[str, Any] | None:
    """Count, number and Wilson's 95 % interval; None where there was no such part."""
    return counted(sum(cases), len(cases))


def counted(count: int, of: int) -> dict[str, Any] | None:
    """The same from counts."""
    if not of:
        return None
    low, high = wilson(count, of)
    return {"count": count, "of": of, "interval_95": [round(low, 4), round(high, 4)]}


# --- strata ---------------------------------------------------------------------------------------------------------


def _strata(looks: Sequence[Measured], name_of: Callable[[Measured], str]) -> dict[str, Any]:
    names = sorted({name_of(one) for one in looks})
    return {name: _stratum([one for one in looks if name_of(one) == name]) for name in names}


def _stratum(looks: Sequence[Measured]) -> dict[str, Any]:
    images = [one.judged for one in looks]
    codes = sorted({code for image in images for code, _ in image.truth} | {f.code for i in images for f in i.found})
    every = ranked(images, codes, IOU).at(OPERATING_SCORE)
    return {
        "images": len(images),
        "defects": every.hit + every.missed,
        "map_33": round(mean_average_precision(images, codes, IOU), 4),
        "recall": share([True] * every.hit + [False] * every.missed),
        "false_boxes": every.false,
        "escapes": share([one.inspection.disposition is Disposition.ACCEPT for one in looks if one.defective]),
    }


def _light(looks: Sequence[Measured]) -> Callable[[Measured], str]:
    """Thirds of the images by mean grey level."""
    low, high = np.quantile([one.mean_grey for one in looks] or [0.0], [1 / 3, 2 / 3])
    names = "1 dark", "2 middle", "3 bright"
    return lambda one: names[int(one.mean_grey > low) + int(one.mean_grey > high)]


def _sizes(images: Sequence[Judged]) -> dict[str, Any]:
    """Recall by the size of the defect; a box of the right class that overlaps enough has found it."""
    names = f"1 up to {SIZES_PX[0]} px", f"2 up to {SIZES_PX[1]} px", "3 larger"
    cases: dict[str, list[bool]] = {name: [] for name in names}
    for image in images:
        for code, box in image.truth:
            longest = max(box[2] - box[0], box[3] - box[1])
            cases[names[sum(longest > limit for limit in SIZES_PX)]].append(found_in(image, code, box))
    return {name: {"defects": len(found), "recall": share(found)} for name, found in cases.items()}


def found_in(image: Judged, code: str, box: BoxXyxy) -> bool:
    """Is there a box of this class on this truth at the operating score?"""
    return any(
        one.code == code and one.score >= OPERATING_SCORE and iou(one.xyxy_px, box) >= IOU for one in image.found
    )


def _times(looks: Sequence[Measured]) -> dict[str, Any]:
    times = sorted(one.inspection.duration_ms for one in looks)
    return {
        "ms_median": round(statistics.median(times), 2) if times else None,
        "ms_p99": round(times[min(len(times) - 1, int(0.99 * len(times)))], 2) if times else None,
    }


# --- words ----------------------------------------------------------------------------------------------------------


def as_text(figures: Mapping[str, Any]) -> str:
    """For people."""
    best = figures["f_best"]
    lines = [
        f"{figures['model']} on {figures['data']}: {figures['images']} images, {figures['defects']} defects",
        f"mAP {figures['map_33']:.3f} (IoU 0.33), {figures['map_50']:.3f} (IoU 0.5), {figures['map_50_95']:.3f} "
        "(0.5 to 0.95)",
        f"at score {OPERATING_SCORE}: F {figures['f_score']:.3f}, precision {figures['precision']:.3f}, recall "
        f"{figures['recall']:.3f}; best F {best['f_score']:.3f} at score {best['score']} (chosen on this data)",
    ]
    lines += [_class_line(code, one) for code, one in figures["by_class"].items()]
    wrong = [f"{one['truth']} as {one['found']} {one['count']}x" for one in figures["confusion"][:6]]
    lines.append(f"confused most: {', '.join(wrong) or 'nothing'}")
    lines += _part_lines(figures)
    full = figures["false_alarms_at_full_recall"]
    every = f"{full['false_boxes']} (score {full['score']})" if full else "no threshold finds all"
    lines.append(f"false boxes per image: {figures['false_boxes_per_image']:.3f}; false boxes at full recall: {every}")
    lines.append(f"calibration error: {figures['calibration']['ece']:.3f}")
    lines.append(
        f"frame to decision: median {figures['ms_median']} ms, p99 {figures['ms_p99']} ms, {figures['machine']}"
    )
    return "\n".join(lines)


def _class_line(code: str, one: Mapping[str, Any]) -> str:
    low, high = one["recall_95"]
    precision = "-" if one["ap_33"] is None else f"{one['ap_33']:.3f}"
    return (
        f"  {code:16} AP {precision}  recall {one['recall']:.3f} ({low:.2f} to {high:.2f}) of {one['truths']}, "
        f"{one['false']} false"
    )


def _part_lines(figures: Mapping[str, Any]) -> list[str]:
    lines = [f"escapes: {as_share(figures['escapes'])}; overkill: {as_share(figures['overkill'])}"]
    strict = figures["escapes_at_overkill_1"]
    if strict:
        lines.append(f"at overkill up to 1 % (score {strict['score']}): escapes {as_share(strict['escapes'])}")
    if figures["mended_parts"]:
        lines.append(f"{figures['mended_parts']} clean parts are real ones whose labelled boxes were filled in")
    return lines


def as_share(one: Mapping[str, Any] | None) -> str:
    """A share with its interval, for people."""
    if one is None:
        return "no such parts in this data"
    low, high = one["interval_95"]
    return f"{one['count']} of {one['of']} parts (95 %: {low:.1%} to {high:.1%})"
