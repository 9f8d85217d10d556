"""The simulated camera: registration, lighting, focus and noise."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imaging:
    """How a board was imaged. The defaults are a good image.

    Attributes:
        shift_xy_px: the part's misplacement.
        angle_deg: the part's rotation about the image centre.
        blur_px: standard deviation of the defocus.
        noise: standard deviation of the sensor's noise, grey levels.
        brightness: offset, grey levels.
        gain: factor of the lighting.
        vignette: loss of light in the corners, 0 to 1.
        jpeg: quality of a lossy step before the agent, 1 to 100; None for raw.
        dirt: number of faint specks that are no defects.
    """

    shift_xy_px: tuple[float, float] = (0.0, 0.0)
    angle_deg: float = 0.0
    blur_px: float = 0.5
    noise: float = 2.0
    brightness: float = 0.0
    gain: float = 1.0
    vignette: float = 0.0
    jpeg: int | None = None
    dirt: int = 0

    def matrix(self, size_px: int) -> npt.NDArray[np.float64]:
        """(2, 3) affine map from layout to image coordinates."""
        middle = (size_px - 1) / 2
        matrix: npt.NDArray[np.float64] = cv2.getRotationMatrix2D((middle, middle), self.angle_deg, 1.0)
        matrix[:, 2] += self.shift_xy_px
        return matrix


def take(image: Mask, imaging: Imaging, rng: np.random.Generator) -> Mask:
    """Image a board: (H, W) uint8 in, (H, W) uint8 out."""
    size = image.shape[0]
    if imaging.dirt:
        image = _soil(image, imaging.dirt, rng)
    if imaging.angle_deg or imaging.shift_xy_px != (0.0, 0.0):
        matrix = imaging.matrix(size)
        image = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if imaging.blur_px > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), imaging.blur_px)
    image = _expose(image, imaging, rng)
    if imaging.jpeg is not None:
        _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, imaging.jpeg])
        image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)
    return image


def _expose(image: Mask, imaging: Imaging, rng: np.random.Generator) -> Mask:
    light = image.astype(np.float32)
    light *= imaging.gain
    if imaging.vignette:
        light *= _vignette(image.shape[0], imaging.vignette)
    light += imaging.brightness + 0.5
    if imaging.noise:
        light += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(imaging.noise)
    return light.clip(0, 255).astype(np.uint8)


def _vignette(size_px: int, loss: float) -> npt.NDArray[np.float32]:
    axis = np.linspace(-1, 1, size_px, dtype=np.float32) ** 2
    return (1 - loss * (axis[:, None] + axis[None, :]) / 2).astype(np.float32)


def _soil(image: Mask, count: int, rng: np.random.Generator) -> Mask:
    """Faint specks: at most a fifth of the contrast between copper and laminate."""
    veil = np.zeros(image.shape, np.float32)
    for x, y, radius, depth in zip(
        rng.uniform(0, image.shape[1], count),
        rng.uniform(0, image.shape[0], count),
        rng.uniform(1, 6, count),
        rng.uniform(-40, 40, count),
        strict=True,
    ):
        cv2.circle(veil, (int(x), int(y)), int(radius), float(depth), -1, cv2.LINE_AA)
    return (image + veil).clip(0, 255).astype(np.uint8)
