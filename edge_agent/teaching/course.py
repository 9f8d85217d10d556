"""How light and shade run over good images, as a whole: taken out, so that a faint patch is left.

A glint that turns with the part, a lamp that leans: each moves the lightness of hundreds of places together, by more
than a faint discolouration moves a few of them. The principal components of the good images' coarse pictures are these
movements ("eigenfaces", Turk and Pentland 1991); what a patch changes is not among them.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

MOST_MODES = 16
_IMAGES_PER_MODE = 3
_SMOOTH = (0.8, 1.6)
"""What is left is looked at as it is and blurred by so many places."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """What good images do as a whole.

    Attributes:
        mean: (h, w, C).
        modes: orthonormal, (k, h * w * C).
    """

    mean: Floats
    modes: Floats

    def left_over(self, images: Floats) -> Floats:
        """What is not in the course, sharp and blurred: (n, h, w, C) to (n, h, w, 3 C)."""
        flat = (images - self.mean).reshape(len(images), -1)
        rest = np.asarray((flat - (flat @ self.modes.T) @ self.modes).reshape(images.shape), np.float32)
        return np.concatenate([rest, *(_blurred(rest, sigma) for sigma in _SMOOTH)], axis=-1)


def fit_course(images: Floats) -> Course:
    """The course of good images, (n, h, w, C): a mode for every three images, `MOST_MODES` at most."""
    mean = images.mean(axis=0)
    flat = (images - mean).reshape(len(images), -1)
    _, _, modes = np.linalg.svd(flat, full_matrices=False)
    kept = min(MOST_MODES, len(images) // _IMAGES_PER_MODE)
    return Course(mean=np.asarray(mean, np.float32), modes=np.asarray(modes[:kept], np.float32))


def _blurred(images: Floats, sigma: float) -> Floats:
    blurred = [cv2.GaussianBlur(one, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) for one in images]
    return np.stack([np.asarray(one, np.float32).reshape(images.shape[1:]) for one in blurred])
