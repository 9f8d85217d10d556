"""Is it the inspection that changed, not the parts? The camera is always a suspect."""

from collections.abc import Mapping

import numpy as np

from edge_agent.domain.evidence import Evidence
from edge_agent.domain.inspection import Evaluation, Inspection
from edge_agent.responding.evidence.chance import at_least, robust_sd, student_two_sided
from edge_agent.responding.evidence.window import Floats, Window, fact
from edge_agent.responding.words import number, share

TOOL = "inspection.health@1"
METRICS = {
    "focus": ("focus_ratio",),
    "brightness": ("brightness_p95", "brightness_mean"),
    "match": ("match",),
    "shift": ("shift_px",),
}
NAMES = {"focus": "sharpness", "brightness": "brightness", "match": "match with the golden image", "shift": "shift"}
UNDECIDABLE = "insp:undecidable"
SIGNIFICANT = 0.001
MIN_SIGMA = 2.0
MIN_IMAGES = 8
MIN_OF_PRODUCT = 4


def find(window: Window) -> list[Evidence]:
    """``insp:`` tokens: sharpness, brightness, match, shift, and the share that could not be judged."""
    return [*(_metric(window, name) for name in METRICS), _undecidable(window)]


def _metric(window: Window, name: str) -> Evidence:
    shown = NAMES[name]
    best: tuple[float, float, float, float] | None = None
    for key in METRICS[name]:
        usual, before, after = _within_products(window, key)
        if len(before) < MIN_IMAGES or len(after) < MIN_IMAGES // 2:
            continue
        spread = max(robust_sd(before), 0.3 * float(np.std(before)), 2e-3 * abs(usual), 1e-6)
        change = float(after.mean() - before.mean())
        t = change / (spread * np.sqrt(1 / len(before) + 1 / len(after)))
        p = student_two_sided(float(t), len(before) - 1)
        if best is None or p < best[0]:
            best = (p, usual, usual + change, change / spread)
    if best is None:
        words = f"too few images to say whether the {shown} changed"
        return fact(window, tool=TOOL, token=f"insp:{name}", statement=words, present=None, strength=0.0, n=0)
    p, earlier, later, sigmas = best
    present = p < SIGNIFICANT and abs(sigmas) >= MIN_SIGMA
    verb = ("rose" if sigmas > 0 else "fell") if present else "stayed near"
    figures = f"{number(earlier)} -> {number(later)}" if present else number(earlier)
    return fact(
        window,
        tool=TOOL,
        token=f"insp:{name}",
        statement=f"image {shown} {verb} {figures}",
        present=present,
        strength=1 - p if present else 0.9,
        n=len(window.after),
        value=later,
        baseline=earlier,
        sigma=sigmas,
    )


def _within_products(window: Window, key: str) -> tuple[float, Floats, Floats]:
    """How a metric differs from what is usual for the part's own product: a change of product is no change of optics.

    Returns:
        The usual value of the parts that are looked at, and the differences before and after. Parts of a product that
        was hardly seen before are left out: nothing is known of them.
    """
    known: dict[str, list[float]] = {}
    for one in window.before:
        if (value := _value(one, key)) is not None:
            known.setdefault(one.shot.product_id, []).append(value)
    usual = {product: float(np.median(values)) for product, values in known.items() if len(values) >= MIN_OF_PRODUCT}
    levels = [usual[one.shot.product_id] for one in window.after if one.shot.product_id in usual]
    return (
        float(np.mean(levels)) if levels else 0.0,
        _differences(window.before, key, usual),
        _differences(window.after, key, usual),
    )


def _differences(inspections: tuple[Inspection, ...], key: str, usual: Mapping[str, float]) -> Floats:
    return np.array(
        [
            value - usual[one.shot.product_id]
            for one in inspections
            if one.shot.product_id in usual and (value := _value(one, key)) is not None
        ],
        dtype=np.float64,
    )


def _value(inspection: Inspection, key: str) -> float | None:
    return inspection.quality.metrics.get(key) if inspection.quality else None


def _undecidable(window: Window) -> Evidence:
    after = [one.evaluation is Evaluation.NOT_DECIDABLE for one in window.after]
    before = [one.evaluation is Evaluation.NOT_DECIDABLE for one in window.before]
    usual = max(0.005, (sum(before) + 0.5) / (len(before) + 1)) if before else 0.01
    count = sum(after)
    chance = at_least(count, len(after), usual)
    present = count >= 3 and chance < SIGNIFICANT
    words = f"{count} of {len(after)} images could not be judged (before: {share(sum(before) / max(len(before), 1))})"
    return fact(
        window,
        tool=TOOL,
        token=UNDECIDABLE,
        statement=words,
        present=present if after else None,
        strength=1 - chance if present else 0.9,
        n=len(after),
        value=count / max(len(after), 1),
        unit="share",
    )
