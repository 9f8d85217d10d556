"""The gate: is this image fit to be judged? Sharp, exposed, whole, and in position against the golden image."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.domain.frame import Pixels
from edge_agent.domain.inspection import Quality, Stretch
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import ImageLimits
from edge_agent.inspecting.closer import beside_golden, fineness
from edge_agent.inspecting.stretch import SLOPE, find_stretch, smoothed, stretch_solver, stretched

_SMALL_PX = 256
"""Registration works on an image halved until no side is longer than this; still better than half a pixel."""

_EVERY_ROW = 7
"""Exposure is measured on every seventh row: light changes slowly, and seven is no divisor of a usual pitch."""

_SMALL_STEP = 0.6
"""Shifts up to this many small pixels are solved for directly; there it is the more precise of the two methods."""

_SURE = 0.9
"""A direct solution counts when the image then matches at least this well."""

_CLEARLY = 0.05
"""Correlations nearer to each other than this are a tie."""

Float32 = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """A golden image prepared for registration once, used for every part of its product.

    Attributes:
        pixels: the golden image as read, for the detector.
        small: halved until it fits, 8 bits.
        small_float: the same, as phase correlation takes it.
        scale: golden pixels per small pixel.
        solver: (3, pixels of small), see `_solver`; None where the golden image has no texture to hold on to.
        stretcher: (8, pixels of small), see `stretch_solver`; None likewise.
    """

    pixels: Pixels
    small: Grey
    small_float: Float32
    window: Float32
    scale: float
    solver: Float32 | None
    stretcher: Float32 | None

    @property
    def is_flat(self) -> bool:
        """Is there one grey level only?"""
        low, high, _, _ = cv2.minMaxLoc(self.small)
        return bool(low == high)

    def as_seen(self, quality: Quality) -> Pixels:
        """The golden image stretched as the part is; the whole pixels of the shift are left to be moved by."""
        return stretched(self.pixels, quality.stretch, quality.shift_xy_px or (0.0, 0.0))

    @classmethod
    def of(cls, pixels: Pixels) -> "Reference":
        """Prepare a golden image, (H, W) or (H, W, 3), 8 or 16 bits."""
        small, scale = _shrink(_grey(pixels))
        window = np.asarray(cv2.createHanningWindow((small.shape[1], small.shape[0]), cv2.CV_32F), np.float32)
        small_float = small.astype(np.float32)
        solver = _solver(small)
        return cls(
            pixels=pixels,
            small=small,
            small_float=small_float,
            window=window,
            scale=scale,
            solver=solver,
            stretcher=None if solver is None else stretch_solver(small),
        )


def gate(pixels: Pixels, reference: Reference | None, limits: ImageLimits) -> Quality:
    """Measure an image and hold it against the recipe's limits.

    Args:
        pixels: (H, W) or (H, W, 3) BGR, uint8 or uint16.
        reference: the product's golden image, or None where the recipe has none.
        limits: see ``ImageLimits``; a limit that is None is not checked.

    Returns:
        All measured metrics, and every reason why the image is not usable.
    """
    wrong_size = _check_size(pixels, reference, limits)
    if wrong_size is not None:
        return Quality(usable=False, reasons=(wrong_size,))
    if reference is not None:
        pixels = _grey(pixels)
    metrics = _exposure(_grey(pixels[::_EVERY_ROW])) | _focus(_grey(_centre(pixels)))
    if limits.focus_across or limits.focus_down or limits.noise:
        metrics |= fineness(_grey(_centre(pixels)))
    reasons = _check_light(metrics, limits)
    shift, stretch = None, None
    # A golden image without any structure (bare laminate) matches nothing and has nowhere to be: only compared.
    if reference is not None and not reference.is_flat:
        small, _ = _shrink(_grey(pixels))
        shift, match = _register(small, reference)
        if match >= limits.min_match:
            stretch, shift = _stretch(small, reference, shift)
        metrics |= {"shift_px": float(np.hypot(*shift)), "match": match}
        reasons += _check_position(metrics, limits)
        if limits.max_tile_residual or limits.max_residual or limits.max_tile_light:
            moved = (shift[0] / reference.scale, shift[1] / reference.scale)
            metrics |= beside_golden(small, reference.small, moved)
            reasons += _check_tiles(metrics, limits)
    return Quality(usable=not reasons, reasons=tuple(reasons), metrics=metrics, shift_xy_px=shift, stretch=stretch)


def _check_size(pixels: Pixels, reference: Reference | None, limits: ImageLimits) -> Reason | None:
    height, width = pixels.shape[:2]
    if limits.size_wh is not None and (width, height) != tuple(limits.size_wh):
        wanted = f"{limits.size_wh[0]}x{limits.size_wh[1]}"
        return Reason(code="image.size", text=f"image is {width}x{height} px, the recipe expects {wanted}")
    if reference is not None and reference.pixels.shape[:2] != (height, width):
        golden_h, golden_w = reference.pixels.shape[:2]
        text = f"image is {width}x{height} px, its golden image is {golden_w}x{golden_h}"
        return Reason(code="image.size", text=text)
    if width * height > limits.max_megapixels * 1e6:
        text = f"image has {width * height / 1e6:.0f} megapixels, at most {limits.max_megapixels:g} are accepted"
        return Reason(code="image.too_large", text=text)
    return None


def _grey(pixels: Pixels) -> Grey:
    """8-bit grey for measuring; the detector still sees the raw pixels."""
    image: npt.NDArray[np.generic] = pixels
    if image.ndim == 3:
        image = image[:, :, 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
    return np.asarray(image, np.uint8)


def _exposure(rows: Grey) -> dict[str, float]:
    # Plain Python on 256 counts: right after a model run has emptied the caches it beats a chain of numpy calls.
    counts: list[float] = cv2.calcHist([rows], [0], None, [256], [0, 256]).ravel().tolist()
    return {
        "brightness_p5": float(_level(counts, 0.05 * rows.size)),
        "brightness_p95": float(255 - _level(counts[::-1], 0.05 * rows.size)),
        "brightness_mean": cv2.sumElems(rows)[0] / rows.size,
        "saturated_share": counts[255] / rows.size,
    }


def _level(counts: list[float], pixels: float) -> int:
    """The level up to which this many pixels lie."""
    for level, count in enumerate(counts):
        pixels -= count
        if pixels <= 0:
            return level
    return len(counts) - 1


def _centre(pixels: Pixels) -> Pixels:
    """The central half, which every layout fills."""
    height, width = pixels.shape[:2]
    return pixels[height // 4 : height - height // 4, width // 4 : width - width // 4]


def _focus(centre: Grey) -> dict[str, float]:
    """Variance of the Laplacian over Tenengrad (mean squared Sobel gradient).

    The Laplacian alone falls with darkness and rises with noise; the ratio divides contrast out, so its limits are
    two-sided: too low is defocus, too high is noise. A 3x3 Gaussian first: without it, sensor noise in a defocused
    image lifts the ratio back to that of a sharp one.
    Typical values on rendered boards: sharp 0.007 to 0.009, 1 px of blur 0.005, 3 px 0.002, strong noise 0.013.
    """
    if centre.size == 0:
        return {"focus_ratio": 0.0}
    centre = cv2.GaussianBlur(centre, (3, 3), 0)
    laplacian = cv2.Laplacian(centre, cv2.CV_16S)
    mean = cv2.sumElems(laplacian)[0] / centre.size
    variance = cv2.norm(laplacian, cv2.NORM_L2SQR) / centre.size - mean * mean
    across, down = cv2.spatialGradient(centre, laplacian)  # into its memory: fresh pages cost more than the sums
    tenengrad = (cv2.norm(across, cv2.NORM_L2SQR) + cv2.norm(down, cv2.NORM_L2SQR)) / centre.size
    ratio = variance / tenengrad if tenengrad > 0 else 0.0
    return {"focus_ratio": ratio}


def _check_light(metrics: dict[str, float], limits: ImageLimits) -> list[Reason]:
    reasons: list[Reason] = []
    spans = (
        ("focus_ratio", limits.focus_ratio, "image.defocused", "image.noisy", "focus ratio"),
        ("brightness_p95", limits.brightness_p95, "image.dark", "image.bright", "brightness (95th percentile)"),
        ("brightness_p5", limits.brightness_p5, "image.dark", "image.bright", "brightness (5th percentile)"),
        ("brightness_mean", limits.brightness_mean, "image.dark", "image.bright", "mean brightness"),
        ("focus_across", limits.focus_across, "image.defocused", "image.noisy", "fineness along x"),
        ("focus_down", limits.focus_down, "image.defocused", "image.noisy", "fineness along y"),
        ("noise", limits.noise, "image.defocused", "image.noisy", "noise"),
    )
    for name, span, below, above, words in spans:
        if span is None or span[0] <= metrics[name] <= span[1]:
            continue
        code = below if metrics[name] < span[0] else above
        text = f"{words} is {metrics[name]:.3g}, accepted {span[0]:g} to {span[1]:g}"
        reasons.append(Reason(code=code, text=text))
    if metrics["saturated_share"] > limits.max_saturated_share:
        text = (
            f"{metrics['saturated_share']:.0%} of the pixels are saturated, accepted {limits.max_saturated_share:.0%}"
        )
        reasons.append(Reason(code="image.saturated", text=text))
    return reasons


def _check_position(metrics: dict[str, float], limits: ImageLimits) -> list[Reason]:
    if metrics["match"] < limits.min_match:
        text = f"the image matches the golden image by {metrics['match']:.2f}, at least {limits.min_match:g} expected"
        return [Reason(code="part.missing", text=f"part missing or wrong: {text}")]
    if metrics["shift_px"] > limits.max_shift_px:
        text = f"the part is shifted by {metrics['shift_px']:.1f} px, at most {limits.max_shift_px:g} accepted"
        return [Reason(code="part.shifted", text=text)]
    return []


def _check_tiles(metrics: dict[str, float], limits: ImageLimits) -> list[Reason]:
    ceilings = (
        ("tile_residual", limits.max_tile_residual, "part.covered", "the worst tile differs from the golden image by"),
        ("residual", limits.max_residual, "part.turned", "the image differs from the golden image by"),
        ("tile_light", limits.max_tile_light, "part.covered", "the worst tile's brightness differs by"),
    )
    return [
        Reason(code=code, text=f"{words} {metrics[name]:.1f} grey levels, at most {most:g} accepted")
        for name, most, code, words in ceilings
        if most is not None and metrics[name] > most
    ]


def _register(small: Grey, reference: Reference) -> tuple[tuple[float, float], float]:
    """Translation that maps golden coordinates onto the image, and the correlation after it.

    Most parts lie where they should within a few pixels: their shift is solved for. Any other is found by
    `_correlate_phase`, at three times the cost.
    """
    step = _solve_step(small, reference)
    if step is not None:
        match = _correlation(small, reference.small, *step)
        if match >= _SURE:
            return (step[0] * reference.scale, step[1] * reference.scale), match
    return _correlate_phase(small, reference)


def _solver(small: Grey) -> Float32 | None:
    """The matrix that takes a small image to its gain and its shift against this one.

    One Gauss-Newton step of Lucas and Kanade (1981): image = gain * golden(x - shift) + offset is, for small shifts,
    linear in gain, offset and gain * shift, so that one least-squares solution, prepared here, fits every image. The
    outermost pixels have no gradient and are left out. Smoothing and the five-point slope matter: without them fine
    texture makes the shift too large (measured on rendered boards: 90 % of the errors below 0.45 px instead of 0.04).
    """
    if min(small.shape) < 5:
        return None
    golden = smoothed(small).astype(np.float64)
    across, down = cv2.filter2D(golden, cv2.CV_64F, SLOPE), cv2.filter2D(golden, cv2.CV_64F, SLOPE.T)
    inside = np.zeros_like(golden)
    inside[2:-2, 2:-2] = 1
    model = np.stack([golden.ravel(), np.ones(golden.size), across.ravel(), down.ravel()])
    weighted = model * inside.ravel()
    normal = model @ weighted.T
    if np.linalg.matrix_rank(normal) < len(normal):
        return None
    return np.linalg.solve(normal, weighted)[[0, 2, 3]].astype(np.float32)


def _stretch(
    small: Grey, reference: Reference, shift_xy_px: tuple[float, float]
) -> tuple[Stretch | None, tuple[float, float]]:
    """The stretch, where there is one, and the shift beside it."""
    scale = reference.scale
    if reference.stretcher is None:
        return None, shift_xy_px
    shift = (shift_xy_px[0] / scale, shift_xy_px[1] / scale)
    found = find_stretch(small, reference.small, reference.stretcher, shift, scale)
    return (None, shift_xy_px) if found is None else (found[0], (found[1][0] * scale, found[1][1] * scale))


def _solve_step(small: Grey, reference: Reference) -> tuple[float, float] | None:
    """The shift in small pixels, where it is small enough for `_solver` to hold."""
    if reference.solver is None:
        return None
    gain, across, down = (reference.solver @ smoothed(small).ravel().astype(np.float32)).tolist()
    if not 0.5 < gain < 2 or max(abs(across), abs(down)) > _SMALL_STEP * gain:
        return None
    return -across / gain, -down / gain


def _correlate_phase(small: Grey, reference: Reference) -> tuple[tuple[float, float], float]:
    """The same for a shift of any size: phase correlation of the scaled-down pair finds it, a solved step refines it.

    Repeating patterns can lead it astray, so "not shifted" is tried as well and wins where it matches clearly better.
    Clearly, because the match is measured in whole small pixels: small shifts gain little by it.
    """
    # OpenCV 5 multiplies the window into its arguments, in place: without a copy the reference fades shot by shot.
    golden = reference.small_float.copy()
    (dx, dy), _response = cv2.phaseCorrelate(golden, small.astype(np.float32), reference.window)
    moved = _correlation(small, reference.small, dx, dy)
    if moved + _CLEARLY < 1.0:
        unmoved = _correlation(small, reference.small, 0.0, 0.0)
        if unmoved > moved + _CLEARLY:
            return (0.0, 0.0), unmoved
    dx, dy = _refine(small, reference, dx, dy)
    return (dx * reference.scale, dy * reference.scale), moved


def _refine(small: Grey, reference: Reference, dx: float, dy: float) -> tuple[float, float]:
    """A shift in small pixels, good to a tenth of what it was where a step from its whole pixels can be solved."""
    whole_x, whole_y = round(dx), round(dy)
    back = np.array([[1, 0, -whole_x], [0, 1, -whole_y]], np.float32)
    size = (small.shape[1], small.shape[0])
    moved = cv2.warpAffine(small, back, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    step = _solve_step(np.asarray(moved, np.uint8), reference)
    return (dx, dy) if step is None else (whole_x + step[0], whole_y + step[1])


def _correlation(image: Grey, golden: Grey, dx: float, dy: float) -> float:
    height, width = image.shape
    shift_x, shift_y = round(dx), round(dy)
    if abs(shift_x) >= width // 2 or abs(shift_y) >= height // 2:
        return 0.0
    seen = image[max(shift_y, 0) : height + min(shift_y, 0), max(shift_x, 0) : width + min(shift_x, 0)]
    known = golden[max(-shift_y, 0) : height + min(-shift_y, 0), max(-shift_x, 0) : width + min(-shift_x, 0)]
    return _normed(seen, known)


def _normed(a: Grey, b: Grey) -> float:
    """Pearson's correlation of two images; 0 where one is flat.

    From whole sums, exact: sum(a b) = (sum(a^2) + sum(b^2) - sum((a - b)^2)) / 2. A seventieth of matchTemplate's time.
    """
    mean_a, mean_b = cv2.sumElems(a)[0] / a.size, cv2.sumElems(b)[0] / b.size
    squares_a, squares_b = cv2.norm(a, cv2.NORM_L2SQR), cv2.norm(b, cv2.NORM_L2SQR)
    product = (squares_a + squares_b - cv2.norm(a, b, cv2.NORM_L2SQR)) / 2
    both = (squares_a / a.size - mean_a * mean_a) * (squares_b / b.size - mean_b * mean_b)
    return float((product / a.size - mean_a * mean_b) / both**0.5) if both > 0 else 0.0


def _shrink(grey: Grey) -> tuple[Grey, float]:
    """Halved until it fits: in a fifth of the time of one resize by area, and no grey differs by more than 1."""
    small, scale = grey, 1.0
    while max(small.shape) > _SMALL_PX:
        height, width = max(1, small.shape[0] // 2), max(1, small.shape[1] // 2)
        even = small[: 2 * height, : 2 * width]
        small, scale = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8), scale * 2
    return small, scale
