"""Crops that look like another class than their label says. A hint: look at them; a rare variant looks odd, too.

Features of the crops (`crops.describe`) are standardised, reduced to at most 40 principal components, and whitened by
the classes' pooled covariance. A crop is flagged when its own class's mean (without it) is clearly farther than another
class's: linear discriminant analysis with equal priors, leave one out in the means. docs/datasets.md has what that
finds among labels changed on purpose.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_agent.datasets.dataset import Box, Item
from edge_agent.datasets.finding import Example, Finding, Level, found
from edge_agent.datasets.looking import Look

MIN_CROPS = 10
"""A class with fewer has no mean worth comparing with."""
MIN_MARGIN = 1.1
"""How many times farther the own class must be: nearer to 1, most flags are ordinary crops between two classes."""
MIN_AGREEMENT = 0.7
"""Share of crops that must look like their own class; with less, the features do not tell these classes apart."""
MAX_COMPONENTS = 40
_CROPS_PER_COMPONENT = 10
_SHRINK = 0.1
"""Share of the identity in the pooled covariance: few crops estimate it badly (Friedman 1989)."""
_MOST_FITTED = 20_000

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """A crop that is nearer to another class.

    Attributes:
        margin: how much farther its own class is, as a ratio of distances; 1 is in between.
    """

    item: Item
    box: Box
    looks_like: str
    margin: float


def check(looks: Sequence[Look]) -> list[Finding]:
    """The oddest crops first."""
    odd = odd_crops(looks)
    total = sum(len(look.item.boxes) for look in looks)
    text = (
        f"{len(odd)} of {total} crops look more like another class than like their own. A hint, not a verdict: "
        "look at the first ones."
    )
    cases = [
        Example(
            where=one.item.origin,
            what=f"labelled {one.box.code}, looks like {one.looks_like} ({one.margin:.2f} times nearer)",
            image=one.item.image,
            xyxy_px=one.box.xyxy_px,
        )
        for one in odd
    ]
    return found(Level.NOTE, "labels.look_odd", text, cases)


def odd_crops(looks: Sequence[Look]) -> list[Odd]:
    """All crops that are clearly nearer to another class, the oddest first."""
    rows = [
        (look.item, box, features)
        for look in looks
        if look.crops is not None
        for box, features in zip(look.item.boxes, look.crops, strict=True)
        if np.isfinite(features).all()
    ]
    codes = np.array([box.code for _, box, _ in rows])
    classes = [code for code in sorted(set(codes.tolist())) if int((codes == code).sum()) >= MIN_CROPS]
    if len(classes) < 2:
        return []
    kept = [row for row in rows if row[1].code in classes]
    labels = np.array([classes.index(box.code) for _, box, _ in kept])
    own, other, nearest = _distances(_whitened(np.stack([row[2] for row in kept]), labels), labels, len(classes))
    margins = own / np.maximum(other, 1e-9)
    if float((margins < 1).mean()) < MIN_AGREEMENT:
        return []
    order = [int(place) for place in np.argsort(-margins, kind="stable") if margins[place] > MIN_MARGIN]
    return [
        Odd(item=kept[place][0], box=kept[place][1], looks_like=classes[nearest[place]], margin=float(margins[place]))
        for place in order
    ]


def _whitened(features: npt.NDArray[np.float32], labels: npt.NDArray[np.int_]) -> Matrix:
    """(crops, components): distances are in standard deviations within a class."""
    standard = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-6)
    size = max(1, min(MAX_COMPONENTS, len(features) // _CROPS_PER_COMPONENT))
    step = max(1, len(standard) // _MOST_FITTED)
    _, vectors = np.linalg.eigh(np.cov(standard[::step].T.astype(np.float64)))
    points: Matrix = standard.astype(np.float64) @ vectors[:, ::-1][:, :size]
    centred = np.concatenate(
        [points[labels == one] - points[labels == one].mean(axis=0) for one in set(labels.tolist())]
    )
    covariance = centred.T @ centred / len(centred)
    spread = float(np.trace(covariance)) / size
    mixed = (1 - _SHRINK) * covariance + _SHRINK * max(spread, 1e-9) * np.eye(size)
    values, axes = np.linalg.eigh(mixed)
    whitened: Matrix = points @ axes / np.sqrt(values)
    return whitened


def _distances(
    points: Matrix, labels: npt.NDArray[np.int_], classes: int
) -> tuple[Matrix, Matrix, npt.NDArray[np.intp]]:
    """To the own class's mean without the crop itself, to the nearest other class's mean, and which that is."""
    sizes = np.array([(labels == one).sum() for one in range(classes)])
    means = np.stack([points[labels == one].mean(axis=0) for one in range(classes)])
    distances = np.linalg.norm(points[:, None, :] - means[None], axis=2)
    # Leaving a point out moves its class's mean away from it: d * n / (n - 1).
    n = sizes[labels]
    own = distances[np.arange(len(points)), labels] * n / (n - 1)
    distances[np.arange(len(points)), labels] = np.inf
    return own, distances.min(axis=1), distances.argmin(axis=1)
