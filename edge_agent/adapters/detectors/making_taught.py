"""A taught model's folder: written complete, or not at all."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.backbone import Backbone, with_surface, worked
from edge_agent.adapters.detectors.catalogue import read_card
from edge_agent.adapters.detectors.taught import ANOMALY, TaughtDetector, parity_picture
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.frame import Pixels
from edge_agent.teaching.lesson import FOLDS, Lesson
from edge_agent.teaching.spoiling import Spoilt, spoilt_images
from edge_agent.teaching.views import PAD_PX, finer_size

NETWORK = "lite0"
"""The feature network in the product's models folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A feature network, verified.

    Attributes:
        name: ``name/version sha256``.
    """

    content: bytes
    name: str
    licence: str
    opset: int


def feature_network(folder: Path) -> Network:
    """The feature network of a model folder.

    Raises:
        ConfigError: it is not there, or not the file its card describes.
    """
    card = read_card(folder)
    try:
        content = (folder / "model.onnx").read_bytes()
    except OSError as error:
        raise ConfigError(f"model {card.name}: {folder / 'model.onnx'}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise ConfigError(f"model {card.name}: {folder / 'model.onnx'} is not the file that its card describes")
    name = f"{card.name}/{card.version} {card.sha256}"
    return Network(content=content, name=name, licence=card.licence, opset=card.opset)


@dataclass(frozen=True, kw_only=True)
class Making:
    """What a model is being made with."""

    network: Network
    working_wh: tuple[int, int]
    threads: int = 1

    @cached_property
    def backbone(self) -> Backbone:
        """The network, opened."""
        options = DetectorOptions(threads=self.threads)
        return Backbone(self.network.content, self.network.name.split()[0], options, self.working_wh)

    def spoilt(self, number: int, pixels: Callable[[int], Pixels]) -> Iterator[Spoilt]:
        """Some of the good images with flaws put onto them, see ``teaching.spoiling``.

        Args:
            number: of good images.
            pixels: a good image by index.

        Raises:
            PartFault: the network failed.
        """
        return spoilt_images(number, lambda index: self._drawn_on(pixels(index)), self.backbone.views)

    def _drawn_on(self, pixels: Pixels) -> npt.NDArray[np.uint8]:
        """In its own size, or that at which the network looks closest if that is smaller: a flaw must survive both."""
        height, width = pixels.shape[:2]
        closest = finer_size(self.working_wh)
        return worked(pixels, (width, height) if width * height < closest[0] * closest[1] else closest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the card says of the lesson's images."""

    name: str
    version: str
    good_sha256: str
    images: int
    size_wh: tuple[int, int]
    taught_at: str


def write_model(models: Path, making: Making, lesson: Lesson, recorded: Recorded) -> Path:
    """Write ``models/<name>/<version>``, load it as the agent will, and only then put it in place.

    Raises:
        ConfigError: it cannot be written, or does not do what it was taught.
    """
    content = with_surface(making.network.content, lesson.surface.as_bytes())
    card = _card(making, lesson, recorded, hashlib.sha256(content).hexdigest())
    folder = models / recorded.name / recorded.version
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".teaching-") as scratch:
            made = Path(scratch) / "made"
            made.mkdir(mode=0o755)
            _write(made / "model.onnx", content)
            _write(made / "card.json", (json.dumps(card, indent=2) + "\n").encode())
            TaughtDetector(made, DetectorOptions(), clock=SystemClock()).warm_up()
            made.rename(folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _card(making: Making, lesson: Lesson, recorded: Recorded, sha256: str) -> dict[str, object]:
    width, height = making.working_wh
    accept = lesson.accept
    # What is carried in the file is half precision: the parity distance is that of the model as it will be read.
    surface = type(lesson.surface).from_bytes(lesson.surface.as_bytes())
    parity = surface.distance(making.backbone.views(parity_picture(recorded.size_wh))).value
    how = (
        f"conformal, from {accept.images} good images held out in {min(FOLDS, accept.images)} folds; "
        f"of good parts at most {accept.promised_rate:.4g} are stopped"
    )
    return {
        "name": recorded.name,
        "version": recorded.version,
        "sha256": sha256,
        "description": f"Taught from {recorded.images} good images on {recorded.taught_at}.",
        "decode": "taught",
        "inputs": [{"name": "image", "shape": [1, 3, height + 2 * PAD_PX, width + 2 * PAD_PX], "dtype": "uint8"}],
        "needs_golden": False,
        "classes": [ANOMALY],
        "min_score": round(lesson.score(accept.value), 6),
        "licence": f"feature network: {making.network.licence}; what was taught is yours",
        "data": [f"{recorded.images} good images, content {recorded.good_sha256}"],
        "opset": making.network.opset,
        "parity": False,
        "teaching": {
            "images": recorded.images,
            "good_sha256": recorded.good_sha256,
            "size_wh": recorded.size_wh,
            "working_wh": making.working_wh,
            "accept_distance": accept.value,
            "reject_distance": lesson.reject,
            "wanted_rate": accept.wanted_rate,
            "promised_rate": accept.promised_rate,
            "threshold_from": how,
            "parity_distance": parity,
            "backbone": making.network.name,
        },
    }
