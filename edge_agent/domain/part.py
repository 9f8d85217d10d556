"""The part in front of the camera, and the request to inspect it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One request to inspect one part.

    Attributes:
        shot_id: made once, at the border; it becomes the inspection's id and travels to the MES unchanged.
        station_id: the station that was asked.
        part_id: the part's serial as the plant gave it.
        product_id: the part's type; chooses the recipe.
        trigger_id: what the trigger source called this request; the answer is bound to it, never to "the last part".
        triggered_at: aware UTC.
        triggered_ns: monotonic clock of this process, for durations.
        lot_id: the production lot, where known.
        sequence: the trigger source's own counter, where it has one (gaps are missed triggers).
        image_path: the image, where the trigger already names it (watched folder).
        challenge: a challenge part, whose evaluation is known: inspected like any other, counted nowhere.
        strata: what to compare by, e.g. ``{"phototool": "PT-2", "shift": "B"}``; never a person's name.
    """

    shot_id: UUID
    station_id: str
    part_id: str
    product_id: str
    trigger_id: str
    triggered_at: datetime
    triggered_ns: int
    lot_id: str | None = None
    sequence: int | None = None
    image_path: str | None = None
    challenge: bool = False
    strata: Mapping[str, str] = field(default_factory=dict)
