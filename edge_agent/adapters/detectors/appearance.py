"""What images look like, as a point: for watching whether the camera still sees what it saw."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edge_agent.adapters.detectors.backbone import Backbone
from edge_agent.adapters.detectors.making_taught import Network
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.frame import Pixels

SIDE_PX = 256
"""Images of any shape are scaled to this square: they are compared with each other only."""


class Appearance:
    """Opens the feature network when the first image comes; one thread, for the calling thread's niceness holds for it.

    Args:
        network: finds the network's file; raises ConfigError when it cannot be had.
    """

    def __init__(self, network: Callable[[], Network]) -> None:
        self._network = network
        self._backbone: Backbone | None = None

    def features(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """(304,) of an image of any size.

        Raises:
            ConfigError: the network cannot be had.
            PartFault: it failed on this image.
        """
        if self._backbone is None:
            found = self._network()
            self._backbone = Backbone(
                found.content, found.name.split()[0], DetectorOptions(threads=1), (SIDE_PX, SIDE_PX)
            )
        return self._backbone.summary(pixels)
