"""A defect: one located imperfection, and what a detector saw in one frame."""

from dataclasses import dataclass
from uuid import UUID

BoxXyxy = tuple[float, float, float, float]
"""x0, y0, x1, y1 in sensor pixels; x right, y down; x1 and y1 exclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One located imperfection.

    Attributes:
        code: defect class, the plant's vocabulary is mapped at the border.
        score: the detector's confidence, 0 to 1.
        xyxy_px: box in sensor coordinates.
        position_mm: centre in part coordinates (after registration), where the recipe knows the scale.
    """

    defect_id: UUID
    code: str
    score: float
    xyxy_px: BoxXyxy
    position_mm: tuple[float, float] | None = None

    @property
    def center_px(self) -> tuple[float, float]:
        """Centre of the box (x, y) in sensor pixels."""
        x0, y0, x1, y1 = self.xyxy_px
        return (x0 + x1) / 2, (y0 + y1) / 2

    @property
    def longest_side_px(self) -> float:
        """The longer side of the box in pixels: the size that limits speak of."""
        x0, y0, x1, y1 = self.xyxy_px
        return max(x1 - x0, y1 - y0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Which model, exactly."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a detector saw in one frame, in sensor coordinates. Empty means: looked, and saw nothing."""

    defects: tuple[Defect, ...]
    model: ModelRef
    inference_ms: float
    image_score: float = 0.0
    """How unlike the taught good images the whole image is, 0 to 1; 0 from models that only find defects."""
