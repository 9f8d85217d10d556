"""A recipe's file: the limits for one product."""

from pathlib import Path

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

    @model_validator(mode="after")
    def _zones_exist(self) -> "RecipeFile":
        known = {zone.name for zone in self.zones}
        for code, limit in self.limits.items():
            for one in limit if isinstance(limit, list) else [limit]:
                if one.zone is not None and one.zone not in known:
                    raise ValueError(f"limits.{code}: zone {one.zone!r} is not one of {sorted(known)}")
        return self
