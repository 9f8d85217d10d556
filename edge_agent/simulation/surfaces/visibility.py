"""How well can a flaw be seen? A contrast-to-noise figure, from the same piece with and without it.

The difference that the flaw makes, at each place over what the texture does there anyway (visual masking: Watson 1993,
"DCTune"), summed over the places: ``sqrt(sum((difference / masking) ** 2))``, in CIELAB and without the slow course of
the light. It counts pixels, so a larger flaw may be weaker.
"""

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

HIDDEN, PLAIN = 15.0, 40.0
"""Below the first a person who compares the two pictures hardly finds it; from the second on it is seen at a glance."""
_EYE_PX, _MASK_PX = 0.7, 5.0
"""Blur of the eye; how far texture hides what is beside it."""
_NOISE_LEVELS = 1.0
"""No less than this masks, in grey levels."""
_SLOW = 0.2
"""What changes over more than this share of the picture is light, and not seen."""


def visibility(flawed: Picture, same_without: Picture) -> float:
    """Of a flaw; 0 where there is none.

    Args:
        flawed, same_without: the same piece, taken the same way, (h, w, 3) BGR.
    """
    without = seen(same_without)
    difference = seen(flawed) - without
    rough = without - _blurred(without, _MASK_PX)
    masking = np.sqrt(_blurred(rough**2, _MASK_PX)) + _NOISE_LEVELS
    return float(np.sqrt(((difference / masking) ** 2).sum()))


def seen(picture: Picture) -> Floats:
    """Lightness and colour as the eye has them: a little blurred, without the slow course of the light."""
    lab = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2LAB), np.float32)
    width, height = lab.shape[1] // 8, lab.shape[0] // 8
    small = np.asarray(cv2.resize(lab, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    slow = _blurred(small, _SLOW * max(width, height))
    slow = np.asarray(cv2.resize(slow, lab.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return _blurred(lab, _EYE_PX) - slow


def _blurred(image: Floats, sigma_px: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT), np.float32)
