"""Golden parity: does this model, on this machine, still see what it saw when it was made?"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.adapters.detectors.boxes import CLASS, SCORE, Floats, overlaps
from edge_agent.domain.faults import ConfigError


class ExpectedBox(BaseModel):
    """A box the model must find."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    score: float
    xyxy_px: tuple[float, float, float, float]


class GoldenAnswer(BaseModel):
    """``golden.json``: an image (files beside it) and the answer the model gave when it was packaged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    golden: str | None = None
    expected: list[ExpectedBox] = Field(min_length=1)
    score_tolerance: float = 0.1
    iou_tolerance: float = 0.8


def read_answer(model_dir: Path) -> GoldenAnswer:
    """The stored answer.

    Raises:
        ConfigError: missing or wrong.
    """
    file = model_dir / "golden.json"
    try:
        return GoldenAnswer.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"parity test {file}: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigError(f"parity test {file}: {error}") from error


def read_pixels(file: Path) -> npt.NDArray[np.uint8]:
    """A parity image.

    Raises:
        ConfigError: missing or unreadable.
    """
    image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise ConfigError(f"parity image {file} cannot be read")
    return np.asarray(image, np.uint8)


def difference(answer: GoldenAnswer, seen: Floats, classes: list[str]) -> str:
    """How the boxes differ from the stored answer; empty when they do not.

    Args:
        seen: (N, 6), see ``boxes``; boxes scoring below half of the weakest expected one are not compared.
        classes: names of the class column.
    """
    weakest = min(box.score for box in answer.expected)
    seen = seen[seen[:, SCORE] >= weakest / 2]
    if len(seen) != len(answer.expected):
        return f"expected {len(answer.expected)} boxes, found {len(seen)}"
    for box in answer.expected:
        target = np.array([[*box.xyxy_px]], np.float32)
        overlap = overlaps(target, seen)[0]
        best = int(overlap.argmax())
        code, score = classes[int(seen[best, CLASS])], float(seen[best, SCORE])
        if overlap[best] < answer.iou_tolerance or code != box.code or abs(score - box.score) > answer.score_tolerance:
            found = f"{code} {score:.3f} overlapping by {overlap[best]:.2f}"
            return f"expected {box.code} {box.score:.3f} at {box.xyxy_px}, nearest is {found}"
    return ""
