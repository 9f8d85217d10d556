"""An inspection: what was seen on a part, what it means, what happens to the part now."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from edge_agent.domain.defect import Defect, ModelRef
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import RecipeRef


class Evaluation(StrEnum):
    """What the images say."""

    OK = "OK"
    NOT_OK = "NOT_OK"
    NOT_DECIDABLE = "NOT_DECIDABLE"
    NOT_INSPECTED = "NOT_INSPECTED"


class Disposition(StrEnum):
    """What happens to the part now."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    HOLD = "HOLD"


Stretch = tuple[float, float, float, float]
"""Motion of golden coordinates beside the shift, pixels per pixel from the middle: across by x and y, then down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Is the image fit to be judged?

    Attributes:
        usable: False turns the inspection into NOT_DECIDABLE.
        reasons: why not; empty when usable.
        metrics: measured values by name (``focus_ratio``, ``brightness_p95``, ``shift_px``, ``match``, ...).
        shift_xy_px: translation that maps golden coordinates onto the frame; None without a golden image.
        stretch: scale, rotation and shear beside it; None where it is too little to matter.
    """

    usable: bool
    reasons: tuple[Reason, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    shift_xy_px: tuple[float, float] | None = None
    stretch: Stretch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The judgement of a sighting under a recipe.

    Attributes:
        score: the largest defect score that counts or is in doubt, 0 if none.
        counted: the defects that broke a limit.
    """

    evaluation: Evaluation
    disposition: Disposition
    reasons: tuple[Reason, ...]
    score: float
    counted: tuple[Defect, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one judge said of one part, and from what.

    Attributes:
        judge: its name in the recipe; ``model`` for the recipe's own model.
        score: the judge's own, 0 to 1 (gauges: 0 within, 1 outside).
        value: what it measured, where it measures something.
        low, high: what is accepted of that.
    """

    judge: str
    evaluation: Evaluation
    score: float
    text: str = ""
    model: ModelRef | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """A stored image: where, what and proof of its content."""

    role: str
    """``frame``, ``golden``, ``overlay`` or ``crop``."""
    path: str
    """Relative to the image folder of the state directory."""
    sha256: str
    size_bytes: int
    media_type: str = "image/jpeg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What one look at one part found. ``inspection_id`` is the shot's id.

    ``defects`` is everything that was seen, below the limits too; ``counted_ids`` names those that broke a limit.

    The constructor refuses the combination this product exists to prevent: an ACCEPT for anything that is not OK.
    """

    inspection_id: UUID
    shot: Shot
    evaluation: Evaluation
    disposition: Disposition
    reasons: tuple[Reason, ...]
    defects: tuple[Defect, ...]
    score: float
    started_at: datetime
    ended_at: datetime
    recipe: RecipeRef | None = None
    model: ModelRef | None = None
    quality: Quality | None = None
    images: tuple[ImageRef, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    counted_ids: tuple[UUID, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    """Of each judge, where the recipe has more than one."""

    def __post_init__(self) -> None:
        if (self.disposition is Disposition.ACCEPT) != (self.evaluation is Evaluation.OK):
            raise ValueError(f"{self.evaluation} cannot be {self.disposition}: only OK parts are accepted")
        if self.evaluation is not Evaluation.OK and not self.reasons:
            raise ValueError(f"{self.evaluation} without a reason")

    @property
    def duration_ms(self) -> float:
        """Trigger to disposition, in milliseconds."""
        return self.timings_ms.get("total", 0.0)
