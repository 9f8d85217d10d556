"""A model folder to the detector that runs it."""

from pathlib import Path

import numpy as np

from edge_agent.adapters.detectors.backbone import Backbone
from edge_agent.adapters.detectors.catalogue import read_card
from edge_agent.adapters.detectors.making_taught import feature_network
from edge_agent.adapters.detectors.onnx import OnnxDetector
from edge_agent.adapters.detectors.taught import TaughtDetector
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.faults import ConfigError
from edge_agent.ports import Clock


def verified(model_dir: Path, options: DetectorOptions, *, clock: Clock) -> tuple[str, tuple[str, ...]]:
    """Load a model of any kind and check that it is what its card says; its name and the providers it got.

    Raises:
        ConfigError: it is not.
    """
    card = read_card(model_dir)
    if card.decode == "features":
        network = feature_network(model_dir)
        width, height = card.inputs[0].shape[3], card.inputs[0].shape[2]
        backbone = Backbone(network.content, card.name, options, (width, height))
        backbone.views(np.zeros((height, width), np.uint8))
        return f"{card.name}/{card.version}", tuple(backbone.session.get_providers())
    detector = open_detector(model_dir, options, clock=clock)
    detector.warm_up()
    return f"{detector.ref.name}/{detector.ref.version}", detector.providers


def open_detector(
    model_dir: Path, options: DetectorOptions, *, clock: Clock, min_score: float | None = None
) -> OnnxDetector | TaughtDetector:
    """The detector of this model, not loaded yet (`warm_up` loads and verifies).

    Args:
        min_score: overrides the card's (evaluation looks at all scores); a taught model keeps its own.

    Raises:
        ConfigError: no card, a wrong one, or a model that finds nothing by itself.
    """
    match read_card(model_dir).decode:
        case "taught":
            return TaughtDetector(model_dir, options, clock=clock)
        case "features":
            text = "is a feature network: it finds nothing by itself, `edge-agent teach` builds on it"
            raise ConfigError(f"model {model_dir.parent.name}/{model_dir.name} {text}")
        case _:
            return OnnxDetector(model_dir, options, clock=clock, min_score=min_score)
