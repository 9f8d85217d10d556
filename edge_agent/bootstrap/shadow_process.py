"""A shadow model in a process of its own (docs/adr/0018): it can hang, crash or grow, and the line does not notice."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.store.codec import decode, encode
from edge_agent.bootstrap.own_process import ONE_THREAD, START_S
from edge_agent.config.stations import DetectorOptions, ShadowSection
from edge_agent.domain.defect import Sighting
from edge_agent.domain.faults import PartFault, Transient
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.ports import SecondSight
from edge_agent.runtime.children import Child, ChildDied, ChildFault

log = structlog.get_logger(__name__)

NICE = 19
"""Whatever else wants the processor comes first."""


class ShadowProcess:
    """Implements ``ports.SecondDetector``.

    Images go through memory that both see (memfd), not through the pipe: writing there lets the line's threads run,
    packing a message does not; and it is gone when the agent is, however that goes.
    """

    def __init__(self, model_dir: Path, options: ShadowSection, *, name: str) -> None:
        self._deadline_s = options.deadline_s
        self._memory = {role: os.fdopen(os.memfd_create(f"shadow {role}"), "r+b") for role in ("image", "golden")}
        detector = DetectorOptions(providers=options.providers, threads=options.threads)
        arguments = {"model_dir": model_dir, "options": detector, "clock": SystemClock, "encode": encode}
        self._child = Child(
            "edge_agent.adapters.detectors.apart:DetectorApart",
            arguments,
            name=name,
            nice=NICE,
            max_rss_mb=options.max_rss_mb,
            environment=ONE_THREAD,
            start_s=START_S,
        )

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._child.pid

    def look(self, frame: Frame, golden: Pixels | None, shift_xy_px: tuple[float, float] | None) -> SecondSight:
        """What it sees. Raises PartFault, Transient, ConfigError: see the port."""
        try:
            payload = {
                "image": self._laid_down("image", frame.pixels),
                "golden": None if golden is None else self._laid_down("golden", golden),
                "shift_xy_px": shift_xy_px,
            }
        except (OSError, ValueError) as error:  # no memory left; closed meanwhile
            raise Transient(f"the image cannot be handed over: {error}") from error
        try:
            return _understood(self._child.call("look", payload, self._deadline_s))
        except ChildDied as error:
            raise PartFault("shadow.died", str(error)) from error
        except ChildFault as error:
            log.error("bug in a process of its own", error=str(error))
            raise PartFault("shadow.failed", str(error).partition("\n")[0]) from error

    def close(self) -> None:
        """End it, also during a look (which raises Transient). Safe to call twice."""
        self._child.close()
        for memory in self._memory.values():
            memory.close()

    def _laid_down(self, role: str, pixels: Pixels) -> dict[str, Any]:
        memory = self._memory[role]
        memory.seek(0)  # over the last one: its memory is used again
        np.ascontiguousarray(pixels).tofile(memory)
        return {"file": f"/proc/{os.getpid()}/fd/{memory.fileno()}", "shape": pixels.shape, "dtype": str(pixels.dtype)}


def _understood(answer: Any) -> SecondSight:
    if "fault" in answer:
        raise PartFault(str(answer["fault"]), str(answer["text"]))
    try:
        return SecondSight(sighting=decode(Sighting, answer["sighting"]), processor_ms=float(answer["processor_ms"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Transient(f"the answer is no sighting: {error}") from error
