"""What a model costs on this machine: size, latency, memory. In a process of its own, so that nothing else counts."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.onnx import OnnxDetector
from edge_agent.commands.machine import machine
from edge_agent.config.stations import DetectorOptions

RUNS = 60


def of(folder: Path) -> dict[str, Any]:
    """Bytes of the file, median processor time of a bare run on one thread, MiB that loading and running added.

    Processor time: a busy machine does not make a model slower.
    """
    source = Path(__file__).resolve().parents[1]
    call = f"import sys; sys.path.insert(0, {str(source)!r}); from training import cost; cost.child({str(folder)!r})"
    result = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return {"file_bytes": (folder / "model.onnx").stat().st_size, **measured, "threads": 1, "machine": machine()}


def child(folder: str) -> None:
    """Print the measurement as JSON."""
    before = _resident_mib()
    detector = OnnxDetector(Path(folder), DetectorOptions(threads=1), clock=SystemClock())
    detector.warm_up()
    rng = np.random.default_rng(0)
    feed = {one.name: rng.integers(0, 256, one.shape, dtype=np.uint8).astype(one.dtype) for one in detector.card.inputs}
    times = []
    for _ in range(RUNS):
        began = time.thread_time()
        detector.session.run(None, feed)
        times.append((time.thread_time() - began) * 1e3)
    measured = {"latency_ms": round(statistics.median(times), 2), "latency_ms_fastest": round(min(times), 2)}
    print(json.dumps(measured | {"memory_mib": round(_resident_mib() - before, 1)}))


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
