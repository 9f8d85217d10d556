"""A station's gate limits from frames that are known to be good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_agent.domain.faults import ConfigError
from edge_agent.domain.frame import Pixels
from edge_agent.domain.inspection import Quality
from edge_agent.domain.recipe import ImageLimits
from edge_agent.inspecting.gate import Reference, gate

LEAST = 20
"""Frames from which limits can be set at all."""
_DEVIATIONS = 6.0
_BEYOND = 0.5
"""Limits lie this share of the seen range outside of it, at least."""

ANYTHING = (-1e9, 1e9)
SPANS = ("focus_ratio", "focus_across", "focus_down", "noise", "brightness_p5", "brightness_p95", "brightness_mean")
"""Limited on both sides."""
CEILINGS = {
    "max_saturated_share": ("saturated_share", 0.002, 1.0),
    "max_shift_px": ("shift_px", 2.0, 1e6),
    "max_tile_residual": ("tile_residual", 1.0, 255.0),
    "max_residual": ("residual", 0.5, 255.0),
    "max_tile_light": ("tile_light", 1.0, 255.0),
}
"""Limit to (metric, least room above what was seen, largest value that makes sense)."""
EVERYTHING = ImageLimits(
    focus_across=ANYTHING,
    focus_down=ANYTHING,
    noise=ANYTHING,
    brightness_mean=ANYTHING,
    max_tile_residual=1e9,
    max_residual=1e9,
    max_tile_light=1e9,
    max_shift_px=1e9,
    min_match=-1.0,
)
"""Measures everything and refuses nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Limits, and what they rest on.

    Attributes:
        refused: how many of the frames the limits would refuse, each judged by limits made without it (ten groups).
    """

    limits: ImageLimits
    frames: int
    refused: int


def measure(pixels: Pixels, reference: Reference | None) -> Quality:
    """Everything the gate can measure of a frame."""
    return gate(pixels, reference, EVERYTHING)


def calibrate(seen: Sequence[Mapping[str, float]], base: ImageLimits) -> Calibration:
    """Limits from the metrics of good frames.

    Each limit lies six deviations from the median, and half of the seen range beyond what was seen, whichever is
    further: the frames are few and good ones must not be refused. Limits of metrics that were not measured (without a
    golden image) stay as they are.

    Args:
        seen: metrics by name, of each frame; see `measure`.
        base: size and megapixels are taken from here.

    Raises:
        ConfigError: fewer than `LEAST` frames.
    """
    if len(seen) < LEAST:
        raise ConfigError(f"{len(seen)} frames; at least {LEAST} are needed to set limits, 100 and more are better")
    groups = [list(seen[first::10]) for first in range(10)]
    refused = 0
    for index, group in enumerate(groups):
        limits = _limits([one for other in groups[:index] + groups[index + 1 :] for one in other], base)
        refused += sum(strain(one, limits) > 1 for one in group)
    return Calibration(limits=_limits(seen, base), frames=len(seen), refused=refused)


def _limits(seen: Sequence[Mapping[str, float]], base: ImageLimits) -> ImageLimits:
    changes: dict[str, object] = {}
    for name in SPANS:
        if name in seen[0]:
            low, high = _span([one[name] for one in seen])
            changes[name] = (max(low, 0.0), min(high, 255.0) if name.startswith("brightness") else high)
    for limit, (name, room, most) in CEILINGS.items():
        if name in seen[0]:
            values = [one[name] for one in seen]
            changes[limit] = float(min(max(_span(values)[1], max(values) + room), most))
    if "match" in seen[0]:
        changes["min_match"] = max(_span([one["match"] for one in seen])[0], 0.0)
    return replace(base, **changes)  # type: ignore[arg-type]


def _span(values: Sequence[float]) -> tuple[float, float]:
    numbers = np.asarray(values, float)
    middle = float(np.median(numbers))
    deviation = max(1.4826 * float(np.median(np.abs(numbers - middle))), float(numbers.std()) * 0.5)
    room = max(_BEYOND * float(np.ptp(numbers)), 0.02 * abs(middle), 1e-6)
    low = min(middle - _DEVIATIONS * deviation, float(numbers.min()) - room)
    high = max(middle + _DEVIATIONS * deviation, float(numbers.max()) + room)
    return low, high


def strain(metrics: Mapping[str, float], limits: ImageLimits) -> float:
    """How near a frame is to being refused: 0 in the middle of everything accepted, above 1 refused."""
    found = [0.0]
    for name in SPANS:
        span = getattr(limits, name)
        if span is not None and name in metrics:
            half = max((span[1] - span[0]) / 2, 1e-9)
            found.append(abs(metrics[name] - (span[0] + span[1]) / 2) / half)
    for limit, (name, _, _) in CEILINGS.items():
        ceiling = getattr(limits, limit)
        if ceiling is not None and name in metrics:
            found.append(metrics[name] / max(ceiling, 1e-9))
    if "match" in metrics:
        found.append((1 - metrics["match"]) / max(1 - limits.min_match, 1e-9))
    return max(found)
