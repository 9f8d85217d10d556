"""The edge agent: the closed loop for visual inspection on a factory box."""

import os

# onnxruntime's Linux wheels start a telemetry thread on import unless told not to. Before any import of it, and
# not as a default that an environment could undo: this box talks to nobody but the plant.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
