"""The detector: a model folder, verified, run by ONNX Runtime."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
import structlog

from edge_agent.adapters.detectors import boxes as raw
from edge_agent.adapters.detectors.boxes import CLASS, SCORE, Floats
from edge_agent.adapters.detectors.catalogue import InputCard, ModelCard, read_card
from edge_agent.adapters.detectors.decoding import pair_boxes, yolo_boxes
from edge_agent.adapters.detectors.naming import rename
from edge_agent.adapters.detectors.parity import difference, read_answer, read_pixels
from edge_agent.adapters.detectors.prepare import Canvas, Grey, Letterbox, Tile, grey, moved, tiles
from edge_agent.adapters.detectors.session import RUNTIME_ERRORS, open_session
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.defect import Defect, ModelRef, Sighting
from edge_agent.domain.faults import ConfigError, PartFault
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.ports import Clock

log = structlog.get_logger(__name__)

_ORT_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}


class OnnxDetector:
    """Implements ``ports.Detector``.

    Args:
        model_dir: see ``catalogue``.
        min_score: overrides the card's (evaluation looks at all scores).
    """

    def __init__(
        self, model_dir: Path, options: DetectorOptions, *, clock: Clock, min_score: float | None = None
    ) -> None:
        self._dir = model_dir
        self._options = options
        self._clock = clock
        self.card: ModelCard = read_card(model_dir)
        self._ref = ModelRef(name=self.card.name, version=self.card.version, sha256=self.card.sha256)
        wanted = self.card.min_score if min_score is None else min_score
        # Compared before calibration: few of a model's many boxes are worth any arithmetic.
        self._min_raw = raw.raw_score(wanted, self.card.calibration.slope, self.card.calibration.offset)
        self._session: ort.InferenceSession | None = None
        self._canvas = Canvas()

    @property
    def ref(self) -> ModelRef:
        """Which model this is."""
        return self._ref

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers the session really got; empty before `warm_up`."""
        return tuple(self._session.get_providers()) if self._session else ()

    @property
    def session(self) -> ort.InferenceSession:
        """The bare session, for benchmarks."""
        if self._session is None:
            raise RuntimeError(f"model {self._name}: warm_up() comes before detect()")
        return self._session

    def warm_up(self) -> None:
        """Load, verify (sha256, inputs, golden parity) and run once.

        Raises:
            ConfigError: the file is not the one the card describes, or does not do what it did when it was made.
        """
        self._session = open_session(self._verified_bytes(), self._name, self._options)
        self._check_inputs(self._session)
        self._check_parity()
        log.info("model loaded", model=self._name, sha256=self.card.sha256[:12], providers=self.providers)

    def detect(self, frame: Frame, golden: Pixels | None, shift_xy_px: tuple[float, float] | None) -> Sighting:
        """Defects in sensor coordinates, best score first.

        Args:
            frame: any size, 1 or 3 channels, 8 or 16 bits.
            golden: the known-good image, of the frame's width and height, where the model needs one.
            shift_xy_px: translation that maps golden coordinates onto the frame.

        Raises:
            PartFault: no golden image, the model failed, or its output makes no sense. Never empty for a failure.
        """
        begun = self._clock.monotonic_ns()
        found = self._look(frame.pixels, golden, shift_xy_px)
        spent_ms = (self._clock.monotonic_ns() - begun) / 1e6
        defects = tuple(
            Defect(
                defect_id=self._clock.new_id(),
                code=self.card.classes[int(row[CLASS])],
                score=float(row[SCORE]),
                xyxy_px=(float(row[0]), float(row[1]), float(row[2]), float(row[3])),
            )
            for row in found
        )
        return Sighting(defects=defects, model=self._ref, inference_ms=spent_ms)

    # --- loading ----------------------------------------------------------------------------------------------------

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
            raise ConfigError(f"model {self._name}: sha256 of {file} is {found}, the card says {self.card.sha256}")
        return content

    def _check_inputs(self, session: ort.InferenceSession) -> None:
        expected = {one.name: (list(one.shape), _ORT_TYPES[one.dtype]) for one in self.card.inputs}
        actual = {one.name: (one.shape, one.type) for one in session.get_inputs()}
        if expected != actual:
            raise ConfigError(f"model {self._name}: the card says inputs {expected}, the file has {actual}")

    def _check_parity(self) -> None:
        if not self.card.parity:
            log.warning("model has no parity test: it is used unchecked", model=self._name)
            blank = np.zeros(self.card.inputs[0].shape[2:], np.uint8)
            self._look(blank, blank if self.card.needs_golden else None, None)
            return
        answer = read_answer(self._dir)
        image = read_pixels(self._dir / answer.image)
        golden = read_pixels(self._dir / answer.golden) if answer.golden else None
        try:
            wrong = difference(answer, self._look(image, golden, None), self.card.classes)
        except PartFault as fault:
            wrong = fault.text
        if wrong:
            raise ConfigError(f"model {self._name}: parity test failed on {', '.join(self.providers)}: {wrong}")

    # --- looking ----------------------------------------------------------------------------------------------------

    def _look(self, pixels: Pixels, golden: Pixels | None, shift_xy_px: tuple[float, float] | None) -> Floats:
        """Calibrated, suppressed, clipped boxes in sensor pixels, (N, 6)."""
        if self.card.decode == "yolo":
            return self._finished(self._look_yolo(pixels), pixels)
        image, reference = self._pair(pixels, golden, shift_xy_px)
        found = self._finished(self._look_pair(image, reference), pixels)
        return rename(found, image, reference, self.card.classes) if self.card.naming == "copper" else found

    def _finished(self, found: Floats, pixels: Pixels) -> Floats:
        if not len(found):
            return found
        found[:, SCORE] = raw.calibrated(found[:, SCORE], self.card.calibration.slope, self.card.calibration.offset)
        height, width = pixels.shape[:2]
        return raw.suppress(raw.clipped(found, width, height), self.card.nms_iou)

    def _pair(
        self, pixels: Pixels, golden: Pixels | None, shift_xy_px: tuple[float, float] | None
    ) -> tuple[Grey, Grey]:
        """Image and golden image as the model compares them."""
        if golden is None:
            raise PartFault("golden.missing", f"model {self._name} compares with a golden image and there is none")
        if golden.shape[:2] != pixels.shape[:2]:
            text = f"frame is {_size(pixels)}, its golden image is {_size(golden)}"
            raise PartFault("golden.size", f"model {self._name}: {text}")
        return grey(pixels), moved(grey(golden), shift_xy_px)

    def _look_pair(self, image: Grey, reference: Grey) -> Floats:
        size_wh = _wh(self.card.inputs[0])
        found = [self._run_pair(tile, image, reference, size_wh) for tile in tiles(_image_wh(image), size_wh)]
        return np.concatenate(found) if len(found) > 1 else found[0]

    def _run_pair(self, tile: Tile, image: Grey, reference: Grey, size_wh: tuple[int, int]) -> Floats:
        names = [one.name for one in self.card.inputs]
        output = self._run({names[0]: tile.cut(image, size_wh), names[1]: tile.cut(reference, size_wh)})
        return pair_boxes(output, tile, len(self.card.classes), self._min_raw)

    def _look_yolo(self, pixels: Pixels) -> Floats:
        fitted = Letterbox.of(pixels, self.card.inputs[0].shape, self._canvas)
        output = self._run({self.card.inputs[0].name: fitted.tensor})
        return yolo_boxes(output, fitted, len(self.card.classes), self._min_raw)

    def _run(self, feed: Mapping[str, Grey | Floats]) -> Floats:
        try:
            return np.asarray(self.session.run(None, feed)[0])
        except RUNTIME_ERRORS as error:
            raise PartFault("detector.failed", f"model {self._name}: {error}") from error


def _wh(card: InputCard) -> tuple[int, int]:
    return card.shape[3], card.shape[2]


def _image_wh(image: Pixels) -> tuple[int, int]:
    return int(image.shape[1]), int(image.shape[0])


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]} px"
