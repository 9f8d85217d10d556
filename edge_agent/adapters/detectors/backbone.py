"""The feature network behind taught models, and what is carried inside its file."""

import base64

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edge_agent.adapters.detectors.prepare import eight_bit
from edge_agent.adapters.detectors.session import RUNTIME_ERRORS, open_session
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.faults import ConfigError, PartFault
from edge_agent.domain.frame import Pixels
from edge_agent.teaching.views import PAD_PX, cropped, deep_cells, finer_size, finer_views, views

Floats = npt.NDArray[np.float32]

OUTPUTS = ("stride2", "stride4", "stride8", "stride16b")
"""Of the network, one for each of ``teaching.views.STRIDES``."""
METADATA_KEY = "edge_agent.surface"


class Backbone:
    """Pixels to views.

    Args:
        model: the ONNX file's content.
        name: for messages.
        size_wh: the working size (see ``teaching.views.working_size``).

    Raises:
        ConfigError: not such a network, or the provider cannot be had.
    """

    def __init__(self, model: bytes, name: str, options: DetectorOptions, size_wh: tuple[int, int]) -> None:
        self._name = name
        self._size_wh = size_wh
        self.session: ort.InferenceSession = open_session(model, name, options)
        offered = {one.name for one in self.session.get_outputs()}
        if not offered.issuperset(OUTPUTS):
            raise ConfigError(f"model {name} is no feature network: it gives {', '.join(sorted(offered))}")
        self._input = self.session.get_inputs()[0].name

    def views(self, pixels: Pixels) -> dict[str, Floats]:
        """The views of an image of any size.

        Raises:
            PartFault: the network failed, or what it gave is not finite.
        """
        image = worked(pixels, self._size_wh)
        found = views(self._taps(image), image)
        found |= finer_views(self._taps(worked(pixels, finer_size(self._size_wh))))
        if not all(np.isfinite(view).all() for view in found.values()):
            raise PartFault("detector.output", f"model {self._name}: its features are not finite")
        return found

    def summary(self, pixels: Pixels) -> Floats:
        """What an image is like as a whole: mean and spread over its places of each deep feature, (2 C,).

        Raises:
            PartFault: the network failed, or what it gave is not finite.
        """
        cells = deep_cells(self._taps(worked(pixels, self._size_wh)))
        found = np.concatenate([cells.mean(axis=(1, 2)), cells.std(axis=(1, 2))])
        if not np.isfinite(found).all():
            raise PartFault("detector.output", f"model {self._name}: its features are not finite")
        return found

    def _taps(self, image: npt.NDArray[np.uint8]) -> list[Floats]:
        padded = cv2.copyMakeBorder(image, PAD_PX, PAD_PX, PAD_PX, PAD_PX, cv2.BORDER_REFLECT_101)
        tensor = np.ascontiguousarray(np.asarray(padded, np.uint8)[:, :, ::-1].transpose(2, 0, 1))[None]
        try:
            taps = self.session.run(list(OUTPUTS), {self._input: tensor})
        except RUNTIME_ERRORS as error:
            raise PartFault("detector.failed", f"model {self._name}: {error}") from error
        return cropped([np.asarray(tap[0], np.float32) for tap in taps])

    def carried(self) -> bytes | None:
        """What `with_surface` put into the file."""
        found = self.session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        return base64.b85decode(found) if found else None


def worked(pixels: Pixels, size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """8 bits, three channels (BGR), at the working size."""
    image = eight_bit(pixels)
    if image.ndim == 2 or image.shape[2] == 1:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    if (image.shape[1], image.shape[0]) == size_wh:
        return image
    shrinks = image.shape[1] * image.shape[0] > size_wh[0] * size_wh[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size_wh, interpolation=how), np.uint8)


def with_surface(model: bytes, surface: bytes) -> bytes:
    """The network's file with a taught surface inside: one file, one hash.

    ONNX files are protocol buffers: a field that is appended is merged, and ``ModelProto.metadata_props`` (14) is a
    list of entries of a key (1) and a value (2), so the network itself stays as it is, byte for byte.
    """
    key, value = METADATA_KEY.encode(), base64.b85encode(surface)
    entry = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(value)) + value
    return model + b"\x72" + _varint(len(entry)) + entry


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
