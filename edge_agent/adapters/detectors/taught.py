"""The detector of a taught model: how far is this image from the good ones?"""

import hashlib
from pathlib import Path

import numpy as np
import structlog

from edge_agent.adapters.detectors.backbone import Backbone
from edge_agent.adapters.detectors.catalogue import ModelCard, TeachingCard, read_card
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.defect import Defect, ModelRef, Sighting
from edge_agent.domain.faults import ConfigError, PartFault
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.ports import Clock
from edge_agent.teaching.good_set import same_shape
from edge_agent.teaching.lesson import score_of
from edge_agent.teaching.scorer import Distance, Surface, regions

log = structlog.get_logger(__name__)

ANOMALY = "anomaly"
"""The one class of a taught model: something is unlike the good ones, whatever it is."""
_REPORTED = 0.3
"""Regions of images that score this are named, though the taught thresholds accept them: a recipe may be stricter."""
_PARITY_TOLERANCE = 0.02


class TaughtDetector:
    """Implements ``ports.Detector``. Needs no golden image; one is ignored.

    Args:
        model_dir: see ``catalogue``; the card's ``decode`` is ``taught``.
    """

    def __init__(self, model_dir: Path, options: DetectorOptions, *, clock: Clock) -> None:
        self._dir = model_dir
        self._options = options
        self._clock = clock
        self.card: ModelCard = read_card(model_dir)
        if self.card.teaching is None:
            raise ConfigError(f"model card {model_dir / 'card.json'}: decode taught needs a teaching section")
        self.teaching: TeachingCard = self.card.teaching
        self._ref = ModelRef(name=self.card.name, version=self.card.version, sha256=self.card.sha256)
        self._backbone: Backbone | None = None
        self._surface: Surface | None = None

    @property
    def ref(self) -> ModelRef:
        """Which model this is."""
        return self._ref

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers the session really got; empty before `warm_up`."""
        return tuple(self._backbone.session.get_providers()) if self._backbone else ()

    def warm_up(self) -> None:
        """Load, verify (sha256, what is carried inside, parity on a picture of noise) and run once.

        Raises:
            ConfigError: the file is not the one the card describes, or does not do what it did when it was taught.
        """
        content = self._verified_bytes()
        backbone = Backbone(content, self._name, self._options, self.teaching.working_wh)
        carried = backbone.carried()
        try:
            surface = Surface.from_bytes(carried or b"")
        except (ValueError, KeyError, OSError, EOFError) as error:
            raise ConfigError(f"model {self._name} carries no taught surface: {error}") from error
        self._backbone, self._surface = backbone, surface
        self._check_parity()
        log.info("model loaded", model=self._name, sha256=self.card.sha256[:12], providers=self.providers)

    def detect(self, frame: Frame, golden: Pixels | None, shift_xy_px: tuple[float, float] | None) -> Sighting:
        """The regions that are unlike the good images, where the image as a whole is doubtful or worse.

        Raises:
            PartFault: an image of another shape than taught, or the model failed. Never empty for a failure.
        """
        begun = self._clock.monotonic_ns()
        if not same_shape(frame.size_wh, self.teaching.size_wh):
            taught, seen = self.teaching.size_wh, frame.size_wh
            text = f"frame is {seen[0]}x{seen[1]} px, it was taught with {taught[0]}x{taught[1]}"
            raise PartFault("image.size", f"model {self._name}: {text}")
        distance = self.distance(frame.pixels)
        if not np.isfinite(distance.value):
            raise PartFault("detector.output", f"model {self._name}: the distance is not finite")
        score = score_of(distance.value, self.teaching.reject_distance)
        defects = self._defects(distance, score, frame) if score >= min(_REPORTED, self.card.min_score) else ()
        spent_ms = (self._clock.monotonic_ns() - begun) / 1e6
        return Sighting(defects=defects, model=self._ref, inference_ms=spent_ms, image_score=score)

    def distance(self, pixels: Pixels) -> Distance:
        """How far an image is from the good ones, with its maps."""
        if self._backbone is None or self._surface is None:
            raise RuntimeError(f"model {self._name}: warm_up() comes before detect()")
        return self._surface.distance(self._backbone.views(pixels))

    def _defects(self, distance: Distance, score: float, frame: Frame) -> tuple[Defect, ...]:
        if self._surface is None:
            raise RuntimeError(f"model {self._name}: warm_up() comes before detect()")
        return tuple(
            Defect(defect_id=self._clock.new_id(), code=ANOMALY, score=score * region.share, xyxy_px=region.xyxy_px)
            for region in regions(distance, self._surface, frame.size_wh)
        )

    @property
    def _name(self) -> str:
        return f"{self.card.name}/{self.card.version}"

    def _verified_bytes(self) -> bytes:
        file = self._dir / "model.onnx"
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ConfigError(f"model {self._name}: {file}: {error.strerror}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.card.sha256:
            text = f"model {self._name}: {file} has sha256 {found[:12]}..., its card says {self.card.sha256[:12]}..."
            raise ConfigError(text)
        return content

    def _check_parity(self) -> None:
        expected = self.teaching.parity_distance
        found = self.distance(parity_picture(self.teaching.size_wh)).value
        if not abs(found - expected) <= _PARITY_TOLERANCE * max(abs(expected), 1.0):
            text = f"{found:.4g} on the parity picture, expected {expected:.4g}"
            raise ConfigError(f"model {self._name}: parity test failed on {', '.join(self.providers)}: {text}")


def parity_picture(size_wh: tuple[int, int]) -> Pixels:
    """The same picture of noise on every machine: what a model says of it shows that it works as when it was made."""
    height, width = min(size_wh[1], 512), min(size_wh[0], 512)
    rows, columns = np.mgrid[:height, :width].astype(np.uint32)
    mixed = (rows * np.uint32(2654435761) ^ columns * np.uint32(2246822519)) + np.uint32(374761393)
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(2246822519)
    grey = ((mixed >> np.uint32(24)) // 4 + (columns * 160 // width)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
