"""A recipe: the limits for one product. Versioned, hashed, and named on every inspection made with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRef:
    """Which recipe, exactly."""

    recipe_id: str
    version: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A rectangle of the part with limits of its own, in golden-image pixels (x0, y0, x1, y1)."""

    name: str
    xyxy_px: tuple[float, float, float, float]
    ignore: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLimit:
    """What is tolerated of one defect class.

    Attributes:
        reject_score: at or above this score the defect counts.
        doubt_score: at or above this and below ``reject_score`` a person must look (HOLD).
        min_size_px: shorter defects (longest side) are tolerated.
        max_count: how many are tolerated on one part.
        zone: the limit holds in this zone only; None for the whole part.
        severity: 1 to 10 (FMEA), drives the order's priority.
    """

    code: str
    reject_score: float
    doubt_score: float
    min_size_px: float = 0.0
    max_count: int = 0
    zone: str | None = None
    severity: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """What a usable image is.

    Attributes:
        size_wh: expected width and height in pixels; None accepts any.
        max_megapixels: larger images are refused before they are decoded.
        focus_ratio: accepted range of variance-of-Laplacian over Tenengrad.
        brightness_p95: accepted range of the 95th percentile, grey levels 0 to 255.
        brightness_p5: accepted range of the 5th percentile.
        max_saturated_share: share of pixels at full scale that is still usable (binary images: 1.0).
        max_shift_px: largest accepted shift against the golden image.
        min_match: smallest accepted correlation (0 to 1) with the golden image after registration.
        focus_across, focus_down, noise, brightness_mean, max_tile_residual, max_residual, max_tile_light: measured only
            where they are set (`edge-agent calibrate gate` sets them); see ``inspecting.closer``.
    """

    size_wh: tuple[int, int] | None = None
    max_megapixels: float = 50.0
    focus_ratio: tuple[float, float] | None = None
    brightness_p95: tuple[float, float] | None = None
    brightness_p5: tuple[float, float] | None = None
    max_saturated_share: float = 1.0
    max_shift_px: float = 24.0
    min_match: float = 0.6
    focus_across: tuple[float, float] | None = None
    focus_down: tuple[float, float] | None = None
    noise: tuple[float, float] | None = None
    brightness_mean: tuple[float, float] | None = None
    max_tile_residual: float | None = None
    max_residual: float | None = None
    max_tile_light: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRule:
    """Where the known-good reference of a part is found.

    Either one image for the product, or one beside each part's image: the part's file name with ``replace[0]``
    replaced by ``replace[1]`` (DeepPCB: ``_test`` by ``_temp``).
    """

    image_path: str | None = None
    replace: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRule:
    """A further model as judge.

    Attributes:
        model: ``name`` or ``name/version`` below the models folder.
        may_reject: False: what it would reject is held for a person.
    """

    name: str
    model: str
    may_reject: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceRule:
    """The difference from the golden image as judge; see ``inspecting.comparing.differences``.

    Attributes:
        tolerance_px: edges may lie this far from where the golden image has them.
        min_levels: grey levels that light and noise may make.
        min_area_px: smaller places are not looked at.
        max_area_px: a larger place rejects; one between the two is doubtful.
    """

    name: str
    tolerance_px: int = 2
    min_levels: int = 48
    min_area_px: float = 12.0
    max_area_px: float = 40.0
    may_reject: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeRule:
    """A gauge as judge; see ``inspecting.comparing.gauge``.

    Attributes:
        measure: ``width`` (between the outer edges along a line) or ``count`` (of pieces in a rectangle).
        start_xy_px, end_xy_px: of the line, or corners of the rectangle, in golden-image pixels.
        low, high: accepted readings: millimetres where the recipe knows the scale (width), else pixels; pieces (count).
        doubt: readings this near to a limit are for a person (the gauge's own uncertainty).
    """

    name: str
    measure: str
    start_xy_px: tuple[float, float]
    end_xy_px: tuple[float, float]
    low: float
    high: float
    doubt: float = 0.0
    polarity: str = "bright"
    thickness_px: int = 5
    min_contrast: float = 20.0
    min_area_px: float = 6.0
    may_reject: bool = True


JudgeRule = ModelRule | DifferenceRule | GaugeRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Limits for one product.

    Attributes:
        ref: id, version and the sha256 of the file's content.
        model: ``name`` or ``name/version`` below the models folder.
        px_per_mm: image scale, for part coordinates; None where unknown.
        limits: per defect class; a class without a limit is rejected at ``default_limit``.
        judges: who is asked beside ``model``; the worst answer counts.
        doubts_reject: so many doubtful judges reject a part together; 0: doubts stay doubts.
        stand_in: the model that stands, at this station, where the recipe names ``model``; empty: none does.
        own_limits: what the models bring, for classes that the recipe says nothing about.
    """

    ref: RecipeRef
    product_id: str
    model: str
    image: ImageLimits
    golden: GoldenRule | None
    limits: tuple[ClassLimit, ...]
    default_limit: ClassLimit
    zones: tuple[Zone, ...] = ()
    px_per_mm: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    judges: tuple[JudgeRule, ...] = ()
    doubts_reject: int = 0
    stand_in: str = ""
    own_limits: tuple[ClassLimit, ...] = ()

    @property
    def looks_with(self) -> str:
        """The model that looks at a part first."""
        return self.stand_in or self.model

    @property
    def models(self) -> tuple[str, ...]:
        """Every model this recipe needs, its own first."""
        return (self.looks_with, *(judge.model for judge in self.judges if isinstance(judge, ModelRule)))

    @property
    def as_written(self) -> "Recipe":
        """Without what a station adds to it."""
        return replace(self, stand_in="", own_limits=())

    def completed(self, own: tuple[ClassLimit, ...]) -> "Recipe":
        """With a model's own limits for those classes that the recipe says nothing about."""
        named = {limit.code for limit in (*self.limits, *self.own_limits)}
        more = tuple(limit for limit in own if limit.code not in named)
        return replace(self, own_limits=(*self.own_limits, *more))

    def limits_for(self, code: str) -> tuple[ClassLimit, ...]:
        """The limits of a defect class, zone-specific ones first; never empty (fail closed)."""
        found = tuple(limit for limit in (*self.limits, *self.own_limits) if limit.code == code)
        return tuple(sorted(found, key=lambda limit: limit.zone is None)) or (self.default_limit,)
