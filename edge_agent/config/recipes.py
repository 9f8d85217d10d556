"""A recipe's file: the limits for one product."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge_agent.config.section import Name, Section

Box = tuple[float, float, float, float]
Span = tuple[float, float]


class ImageSection(Section):
    """What a usable image is; see ``edge_agent.domain.recipe.ImageLimits``."""

    size_wh: tuple[int, int] | None = None
    max_megapixels: float = Field(default=50.0, gt=0, le=500)
    focus_ratio: Span | None = None
    brightness_p95: Span | None = None
    brightness_p5: Span | None = None
    max_saturated_share: float = Field(default=1.0, gt=0, le=1)
    max_shift_px: float = Field(default=24.0, gt=0)
    min_match: float = Field(default=0.6, ge=0, le=1)
    focus_across: Span | None = None
    """Fineness along x (second over first derivative): finds blur by motion. Set by `edge-agent calibrate gate`."""
    focus_down: Span | None = None
    """The same along y."""
    noise: Span | None = None
    """Immerkaer's estimate in grey levels, texture included."""
    brightness_mean: Span | None = None
    max_tile_residual: float | None = Field(default=None, gt=0)
    """Worst tile's mean difference from the golden image, in grey levels: occlusion, glare, missing or wrong pieces."""
    max_residual: float | None = Field(default=None, gt=0)
    """Mean of all tiles: turned parts, other parts."""
    max_tile_light: float | None = Field(default=None, gt=0)
    """Worst tile's difference of brightness."""


class GoldenSection(Section):
    """The known-good reference: one image, or one beside each part's image."""

    image: Path | None = None
    """Relative to the configuration folder."""
    replace: tuple[str, str] | None = None
    """In the part's file name, the first is replaced by the second, e.g. ``[_test, _temp]``."""

    @model_validator(mode="after")
    def _one_way(self) -> "GoldenSection":
        if (self.image is None) == (self.replace is None):
            raise ValueError("set exactly one of image and replace")
        return self


class LimitSection(Section):
    """What is tolerated of one defect class."""

    reject_score: float = Field(default=0.5, gt=0, le=1)
    doubt_score: float | None = Field(default=None, gt=0, le=1)
    """Default: the same as reject_score (no doubtful band)."""
    min_size_px: float = Field(default=0, ge=0)
    max_count: int = Field(default=0, ge=0)
    zone: str | None = None
    severity: int = Field(default=5, ge=1, le=10)

    @model_validator(mode="after")
    def _band(self) -> "LimitSection":
        if self.doubt_score is not None and self.doubt_score > self.reject_score:
            raise ValueError(f"doubt_score {self.doubt_score} must not exceed reject_score {self.reject_score}")
        return self


class ZoneSection(Section):
    """A named rectangle in golden-image pixels."""

    name: Name
    xyxy_px: Box
    ignore: bool = False


class ModelJudge(Section):
    """A further model: a taught one beside a trained one, say. Its classes are judged by the recipe's limits."""

    kind: Literal["model"]
    name: Name
    model: str = Field(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$")
    may_reject: bool = True
    """False: what it would reject is held for a person."""


class DifferenceJudge(Section):
    """The difference from the golden image, without a model."""

    kind: Literal["golden_difference"]
    name: Name
    tolerance_px: int = Field(default=2, ge=0, le=50)
    """Edges may lie this far from where the golden image has them."""
    min_levels: int = Field(default=48, ge=1, le=255)
    """Grey levels that light and noise may make."""
    min_area_px: float = Field(default=12, gt=0)
    """Smaller places are not looked at; larger ones, up to max_area_px, are for a person."""
    max_area_px: float = Field(default=40, gt=0)
    """A larger place rejects."""
    may_reject: bool = True

    @model_validator(mode="after")
    def _band(self) -> "DifferenceJudge":
        if self.min_area_px > self.max_area_px:
            raise ValueError(f"min_area_px {self.min_area_px:g} must not exceed max_area_px {self.max_area_px:g}")
        return self


class GaugeJudge(Section):
    """A gauge: the width between two edges along a line, or the number of pieces in a rectangle."""

    kind: Literal["gauge"]
    name: Name
    measure: Literal["width", "count"]
    start_xy_px: tuple[float, float]
    """Of the line, or a corner of the rectangle, in golden-image pixels."""
    end_xy_px: tuple[float, float]
    low: float
    """Smallest accepted reading: millimetres where px_per_mm is set, else pixels; pieces for count."""
    high: float
    doubt: float = Field(default=0, ge=0)
    """Readings this near to a limit are for a person: the gauge's own uncertainty."""
    polarity: Literal["bright", "dark"] = "bright"
    """What is measured is brighter, or darker, than what is around it."""
    thickness_px: int = Field(default=5, ge=1, le=200)
    """Brightness is averaged over this many pixels across the line."""
    min_contrast: float = Field(default=20, gt=0, le=255)
    min_area_px: float = Field(default=6, gt=0)
    """Smaller pieces are not counted."""
    may_reject: bool = True

    @model_validator(mode="after")
    def _sense(self) -> "GaugeJudge":
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} must not exceed high {self.high:g}")
        if self.start_xy_px == self.end_xy_px:
            raise ValueError("start_xy_px and end_xy_px are the same point")
        return self


JudgeSection = Annotated[ModelJudge | DifferenceJudge | GaugeJudge, Field(discriminator="kind")]


class RecipeFile(Section):
    """One recipe."""

    id: Name
    version: int = Field(ge=1)
    product: Name
    model: str = Field(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$")
    """``name`` (its newest version) or ``name/version`` below the models folder."""
    image: ImageSection = ImageSection()
    golden: GoldenSection | None = None
    px_per_mm: float | None = Field(default=None, gt=0)
    default: LimitSection = LimitSection()
    """For classes that are not listed: they count, always."""
    limits: dict[str, LimitSection | list[LimitSection]] = {}
    """Defect class to its limit, or to several (one per zone)."""
    zones: list[ZoneSection] = []
    judges: list[JudgeSection] = []
    """Who is asked beside ``model``: the worst answer counts, and the record says who gave which."""
    doubts_reject: int = Field(default=0, ge=0)
    """So many doubtful judges reject a part together; 0: a doubt stays a doubt and is for a person."""

    @model_validator(mode="after")
    def _judges_fit(self) -> "RecipeFile":
        names = [judge.name for judge in self.judges]
        twice = sorted({name for name in names if names.count(name) > 1 or name == "model"})
        if twice:
            raise ValueError(f"judges: names must differ, and not be 'model': {', '.join(twice)}")
        if self.golden is None and any(judge.kind == "golden_difference" for judge in self.judges):
            raise ValueError("judges: golden_difference needs a golden image (golden)")
        return self

    @model_validator(mode="after")
    def _zones_exist(self) -> "RecipeFile":
        known = {zone.name for zone in self.zones}
        for code, limit in self.limits.items():
            for one in limit if isinstance(limit, list) else [limit]:
                if one.zone is not None and one.zone not in known:
                    raise ValueError(f"limits.{code}: zone {one.zone!r} is not one of {sorted(known)}")
        return self
