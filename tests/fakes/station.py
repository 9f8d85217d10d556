"""Fakes of the station's plug-points: real behaviour in memory, steerable faults."""

from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import numpy as np

from edge_agent.domain.defect import BoxXyxy, Defect, ModelRef, Sighting
from edge_agent.domain.faults import PartFault, Transient
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.inspecting.inspector import Look
from edge_agent.ports import Clock

MODEL = ModelRef(name="fake", version="1", sha256="0" * 64)


def shot(clock: Clock, part: str = "P-1", *, product: str = "board-a", station: str = "aoi-1") -> Shot:
    """A shot made now."""
    return Shot(
        shot_id=clock.new_id(),
        station_id=station,
        part_id=part,
        product_id=product,
        trigger_id=f"T-{part}",
        triggered_at=clock.now(),
        triggered_ns=clock.monotonic_ns(),
    )


def board(seed: int = 1, *, size: int = 320) -> Pixels:
    """A picture with structure: dark laminate, bright traces."""
    rng = np.random.default_rng(seed)
    image = np.full((size, size), 30, np.uint8)
    for _ in range(25):
        x, y = rng.integers(0, size - 20, 2)
        if rng.random() < 0.5:
            image[y : y + 6, x : x + int(rng.integers(40, size))] = 220
        else:
            image[y : y + int(rng.integers(40, size)), x : x + 6] = 220
    return image


def defect(clock: Clock, code: str = "open", score: float = 0.9, box: BoxXyxy = (100, 100, 130, 120)) -> Defect:
    """A defect."""
    return Defect(defect_id=clock.new_id(), code=code, score=score, xyxy_px=box)


class FakeCamera:
    """Gives the queued outcomes in turn (pixels or an exception), then the last one for ever."""

    def __init__(self, clock: Clock, outcomes: Sequence[Pixels | Exception]) -> None:
        self._clock = clock
        self._outcomes = deque(outcomes)
        self.opened = 0
        self.is_open = False
        self.refuses_to_open = False

    def open(self) -> None:
        if self.refuses_to_open:
            raise Transient("no camera")
        self.opened += 1
        self.is_open = True

    def grab(self, shot: Shot, timeout_s: float) -> Frame:
        outcome = self._outcomes.popleft() if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return Frame(
            frame_id=self._clock.new_id(),
            camera_id="cam",
            pixels=outcome,
            captured_at=self._clock.now(),
            source=f"memory:{shot.part_id}",
        )

    def close(self) -> None:
        self.is_open = False


class FakeDetector:
    """Sees the given defects in every frame, or raises the given fault."""

    def __init__(self, defects: Sequence[Defect] = (), fault: PartFault | None = None) -> None:
        self.ref = MODEL
        self.providers = ("CPUExecutionProvider",)
        self._defects = tuple(defects)
        self._fault = fault
        self.asked = 0

    def warm_up(self) -> None: ...

    def detect(self, frame: Frame, golden: Pixels | None, shift_xy_px: tuple[float, float] | None) -> Sighting:
        self.asked += 1
        if self._fault is not None:
            raise self._fault
        return Sighting(defects=self._defects, model=MODEL, inference_ms=1.0)


class FakeTrigger:
    """Hands out the queued shots."""

    def __init__(self, shots: Sequence[Shot | Exception] = ()) -> None:
        self.queue = deque(shots)
        self.is_open = False
        self.patient = False
        self.refused: list[tuple[Shot, Reason]] = []

    def open(self) -> None:
        self.is_open = True

    def wait(self, timeout_s: float) -> Shot | None:
        if not self.queue:
            return None
        following = self.queue.popleft()
        if isinstance(following, Exception):
            raise following
        return following

    def missed(self) -> int:
        return 0

    def refusals(self) -> list[tuple[Shot, Reason]]:
        refused, self.refused = self.refused, []
        return refused

    def close(self) -> None:
        self.is_open = False


class FakeActuator:
    """Remembers what the line was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.is_ready = False
        self.is_fault = False
        self.beats = 0

    def open(self) -> None: ...

    def ready(self, ready: bool) -> None:
        self.is_ready = ready

    def busy(self, shot: Shot) -> None:
        self.told.append(("busy", shot.part_id))

    def settle(self, inspection: Inspection) -> None:
        self.told.append((inspection.disposition, inspection.shot.part_id))

    def fault(self, active: bool, text: str = "") -> None:
        self.is_fault = active

    def beat(self) -> None:
        self.beats += 1

    def close(self) -> None:
        self.is_ready = False


class FakeRecorder:
    """Keeps inspections in memory; ``fails`` makes it a full disk."""

    def __init__(self) -> None:
        self.fails = False
        self.kept: dict[UUID, Inspection] = {}
        self.expected: dict[UUID, Shot] = {}

    def expect(self, shot: Shot, *, once_within: timedelta | None = None) -> bool:
        if self.fails:
            raise Transient("disk full")
        known = {other.trigger_id for key, other in self.expected.items() if key != shot.shot_id}
        if once_within is not None and shot.trigger_id in known:
            return False
        self.expected[shot.shot_id] = shot
        return True

    def unanswered(self, station_id: str) -> list[Shot]:
        return [shot for key, shot in self.expected.items() if key not in self.kept]

    def record(self, look: Look) -> Inspection:
        if self.fails:
            raise Transient("disk full")
        self.kept[look.inspection.inspection_id] = look.inspection
        return look.inspection
