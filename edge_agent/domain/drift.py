"""Drift: something about the inspection itself is no longer what it was when its reference was taken.

The parts are not meant: lamp, lens, window, camera, model. A drift is a stored fact; it changes nothing by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

APPEARANCE = "appearance"
"""What images look like to a feature network."""
ALL_SCORES = "scores.all"
"""Scores of everything the model saw, below the limits too."""
GOOD_SCORES = "scores.good"
"""The highest score on each good part: how near good parts come to the limits."""
IMAGE = "image."
"""Before the name of one of the gate's figures, e.g. ``image.focus_ratio``."""
_NAMES: Mapping[str, str] = {
    APPEARANCE: "what the images look like",
    ALL_SCORES: "scores of all candidates",
    GOOD_SCORES: "highest scores of good parts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One quantity of one product, from when it was seen to have changed.

    Attributes:
        quantity: ``image.`` and a figure of the gate, or one of the three above.
        since: when the change was first seen; it began up to a window of parts before.
        until: when it was back, or a person took the new state for the reference; None while it lasts.
        usual, now: mean of the reference and of the last parts; of `APPEARANCE` 0 and the distance (0 to 1).
        size: population stability index; of `APPEARANCE` the distance.
        p: how probable such a difference is by chance.
        parts: how many were compared.
    """

    quantity: str
    product_id: str
    since: datetime
    usual: float
    now: float
    size: float
    p: float
    parts: int
    until: datetime | None = None

    @property
    def name(self) -> str:
        """The quantity in words."""
        return name_of(self.quantity)

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Was it there at some time in [start, end]?"""
        return self.since <= end and (self.until is None or self.until >= start)


def name_of(quantity: str) -> str:
    """A quantity in words."""
    return _NAMES.get(quantity) or quantity.removeprefix(IMAGE).replace("_", " ")


def fact(station_id: str) -> str:
    """Under which a station's drifts are stored."""
    return f"drift:{station_id}"


def as_record(one: Drift) -> dict[str, Any]:
    """A drift as JSON."""
    return {
        "quantity": one.quantity,
        "product": one.product_id,
        "since": one.since.isoformat(),
        "until": one.until.isoformat() if one.until else None,
        "usual": one.usual,
        "now": one.now,
        "size": one.size,
        "p": one.p,
        "parts": one.parts,
    }


def from_record(record: Mapping[str, Any]) -> Drift:
    """A drift from its JSON."""
    return Drift(
        quantity=str(record["quantity"]),
        product_id=str(record["product"]),
        since=datetime.fromisoformat(record["since"]),
        until=datetime.fromisoformat(record["until"]) if record["until"] else None,
        usual=float(record["usual"]),
        now=float(record["now"]),
        size=float(record["size"]),
        p=float(record["p"]),
        parts=int(record["parts"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a station's watch has found.

    Attributes:
        quantities: those that are compared with a complete reference; others are unknown, not unchanged.
        drifts: those that last, and the last ones that are over; oldest first.
    """

    quantities: frozenset[str] = frozenset()
    drifts: Sequence[Drift] = ()

    @property
    def lasting(self) -> tuple[Drift, ...]:
        """What has changed and is not back."""
        return tuple(one for one in self.drifts if one.until is None)


def watched(record: Mapping[str, Any] | None) -> Watched:
    """What is stored under `fact`; nothing where the station is not watched."""
    if not record:
        return Watched()
    return Watched(
        quantities=frozenset(record["quantities"]), drifts=tuple(from_record(one) for one in record["drifts"])
    )
