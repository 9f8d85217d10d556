"""Is it the inspection that changed, not the parts? The camera is always a suspect.

Two looks: the images since the onset against those before it, and what the station's watch for drift has found
against its reference: a lamp that aged over weeks is the same before and after any onset.
"""

from collections.abc import Mapping

import numpy as np

from edge_agent.domain.drift import APPEARANCE, GOOD_SCORES, IMAGE, Drift
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.inspection import Evaluation, Inspection
from edge_agent.responding.evidence.chance import at_least, robust_sd, student_two_sided
from edge_agent.responding.evidence.window import Floats, Window, fact
from edge_agent.responding.words import clock_time, number, share

TOOL = "inspection.health@2"
METRICS = {
    "focus": ("focus_ratio",),
    "brightness": ("brightness_p95", "brightness_mean"),
    "match": ("match",),
    "shift": ("shift_px",),
}
WATCHED_NAMES = {"appearance": "the images' looks", "scores": "the scores of good parts"}
NAMES = {"focus": "sharpness", "brightness": "brightness", "match": "match with the golden image", "shift": "shift"}
UNDECIDABLE = "insp:undecidable"
DRIFTING: Mapping[str, tuple[str, ...]] = {
    "focus": (f"{IMAGE}focus",),
    "brightness": (f"{IMAGE}brightness", f"{IMAGE}saturated"),
    "match": (f"{IMAGE}match", f"{IMAGE}residual", f"{IMAGE}tile_residual"),
    "shift": (f"{IMAGE}shift",),
    "appearance": (APPEARANCE,),
    "scores": (GOOD_SCORES,),
}
"""Token to how the quantities that count for it begin."""
WATCHED_ONLY = ("appearance", "scores")
"""What one part does not say of itself: only the watch compares these."""
DRIFT_STRENGTH = 0.95
SIGNIFICANT = 0.001
MIN_SIGMA = 2.0
MIN_IMAGES = 8
MIN_OF_PRODUCT = 4


def find(window: Window) -> list[Evidence]:
    """``insp:`` tokens: sharpness, brightness, match, shift, appearance, scores, and the share that was not judged."""
    return [
        *(_with_drift(window, name, _metric(window, name)) for name in METRICS),
        *(_with_drift(window, name, _watched(window, name)) for name in WATCHED_ONLY),
        _undecidable(window),
    ]


def _with_drift(window: Window, name: str, found: Evidence) -> Evidence:
    """What the watch says, where the images around the onset say nothing."""
    drifts = [one for one in window.drift.drifts if _counts_for(one.quantity, name) and _was_there(window, one)]
    if found.polarity is Polarity.PRESENT or not drifts:
        return found
    drift = max(drifts, key=lambda one: one.size)
    return fact(
        window,
        tool=TOOL,
        token=f"insp:{name}",
        statement=_drifted(drift),
        present=True,
        strength=DRIFT_STRENGTH,
        n=drift.parts,
        value=drift.now,
        baseline=drift.usual,
        provenance={"quantity": drift.quantity, "product": drift.product_id},
    )


def _was_there(window: Window, drift: Drift) -> bool:
    made = {one.shot.product_id for one in window.after}
    incident = window.incident
    return drift.product_id in made and drift.overlaps(incident.onset_from, incident.updated_at)


def _watched(window: Window, name: str) -> Evidence:
    """Not changed where the watch has a reference; unknown where it has none."""
    looked = any(_counts_for(quantity, name) for quantity in window.drift.quantities)
    shown = WATCHED_NAMES[name]
    words = f"{shown} stayed as in the reference" if looked else f"{shown} are not compared with a reference"
    present = False if looked else None
    strength = 0.9 if looked else 0.0
    return fact(window, tool=TOOL, token=f"insp:{name}", statement=words, present=present, strength=strength, n=0)


def _counts_for(quantity: str, name: str) -> bool:
    return quantity.startswith(DRIFTING[name])


def _drifted(drift: Drift) -> str:
    if drift.quantity == APPEARANCE:
        figures = f"(distance {number(drift.now)} of 1)"
    else:
        figures = f"{number(drift.usual)} -> {number(drift.now)}"
    return f"{drift.name} had drifted from the station's reference {figures}, seen at {clock_time(drift.since)}"


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
