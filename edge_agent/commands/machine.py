"""What a figure was measured on: printed beside every figure."""

import os
import platform
from pathlib import Path

import onnxruntime as ort


def machine() -> str:
    """Processor, cores this process may use, and ONNX Runtime's version."""
    return f"{_processor()}, {len(os.sched_getaffinity(0))} cores, onnxruntime {ort.__version__}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
