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
class Recipe:
    """Limits for one product.

    Attributes:
        ref: id, version and the sha256 of the file's content.
        model: ``name`` or ``name/version`` below the models folder.
        px_per_mm: image scale, for part coordinates; None where unknown.
        limits: per defect class; a class without a limit is rejected at ``default_limit``.
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

    def completed(self, own: tuple[ClassLimit, ...]) -> "Recipe":
        """With a model's own limits for those classes that the recipe says nothing about."""
        named = {limit.code for limit in self.limits}
        return replace(self, limits=(*self.limits, *(limit for limit in own if limit.code not in named)))

    def limits_for(self, code: str) -> tuple[ClassLimit, ...]:
        """The limits of a defect class, zone-specific ones first; never empty (fail closed)."""
        found = tuple(limit for limit in self.limits if limit.code == code)
        return tuple(sorted(found, key=lambda limit: limit.zone is None)) or (self.default_limit,)
