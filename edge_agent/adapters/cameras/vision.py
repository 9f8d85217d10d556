"""What machine vision cameras have in common, whatever library speaks to them: binding frames to shots.

* ``software``: the camera exposes when told to. What still waits is older than the shot and is thrown away first.
* ``line0``: the camera is triggered by a wire. Frames belong to shots in order; a number missing in the camera's frame
  counter belongs to the shot in its place, so that a lost frame costs one part and not all that follow.
* ``free``: the camera runs by itself. The shot gets the second frame from now on; the first may have begun before.
"""

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import structlog

from edge_agent.adapters.cameras.frozen import FrozenWatch
from edge_agent.domain.faults import PartFault, Transient
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.domain.part import Shot
from edge_agent.ports import Clock

log = structlog.get_logger(__name__)

TriggerMode = Literal["software", "line0", "free"]

_ANNOUNCED = 16
"""Frames that may wait for their shot when the camera is the trigger; more are dropped, and counted."""
_SLICE_S = 0.05
_PROBE_EVERY_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """What the camera sent for one exposure.

    Attributes:
        pixels: None when it is incomplete.
        damage: why.
        lost_before: exposures between the previous block and this one that never arrived.
    """

    pixels: Pixels | None
    damage: str = ""
    lost_before: int = 0


class Device(Protocol):
    """One camera, through one library. Every method but ``disconnect`` raises Transient when the camera is gone."""

    @property
    def source(self) -> str:
        """What it is, for people."""
        ...

    def connect(self) -> None:
        """Search, open, apply all settings, read them back, start. Raises ConfigError for wrong settings."""
        ...

    def fire(self) -> None:
        """Software trigger."""
        ...

    def next_block(self, timeout_s: float) -> Block | None:
        """The oldest block that waits, or None when none came in time."""
        ...

    def restart(self) -> None:
        """Stop and start the acquisition: nothing that was under way arrives any more."""
        ...

    def probe(self) -> None:
        """Ask the camera for a sign of life."""
        ...

    def disconnect(self) -> None:
        """Release everything; never raises."""
        ...


class VisionCamera:
    """Implements ``ports.Camera``.

    Args:
        timeouts_before_reconnect: missing frames in a row until the camera counts as gone. A hung stream does not come
            back by itself.
        frozen_after: see `FrozenWatch`.
    """

    def __init__(
        self,
        device: Device,
        *,
        camera_id: str,
        clock: Clock,
        trigger: TriggerMode,
        timeouts_before_reconnect: int,
        frozen_after: int,
    ) -> None:
        self._device = device
        self._camera_id = camera_id
        self._clock = clock
        self._trigger = trigger
        self._timeouts_allowed = timeouts_before_reconnect
        self._frozen_after = frozen_after
        self._lock = threading.RLock()
        self._connected = False
        self._announced: deque[tuple[int, Block]] = deque()
        self._announcements = 0
        self._failure = ""
        self._reset()

    def open(self) -> None:
        """Find the camera and apply all settings. Raises Transient (absent, busy) or ConfigError."""
        with self._lock:
            self.close()
            try:
                self._device.connect()
            except BaseException:
                self._device.disconnect()
                raise
            self._reset()
            self._connected = True

    def grab(self, shot: Shot, timeout_s: float) -> Frame:
        """The frame of this shot.

        Raises:
            PartFault: ``camera.timeout``, ``camera.incomplete`` (packets were lost: zeros instead of pixels),
                ``camera.frame_lost`` (it never arrived).
            Transient: the camera is gone or frozen, or several frames in a row did not come.
        """
        block = self._fetch_announced(shot) if self._announcements else None
        if block is None:
            with self._lock:
                self._require_open()
                block = self._take(shot, timeout_s)
        return self._frame(block, shot)

    def await_frame(self, timeout_s: float) -> int | None:
        """For the camera trigger: the number of a frame that is kept for the shot with this sequence, or None.

        A lost camera is announced as well, because the `grab` that follows is what reports it.
        """
        deadline_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            number = self._announce_next()
            if number is not None or self._clock.monotonic_ns() >= deadline_ns:
                return number
            if not self._connected:
                threading.Event().wait(_SLICE_S)

    def close(self) -> None:
        """Let go of the camera."""
        with self._lock:
            self._connected = False
            self._device.disconnect()
            self._announced.clear()

    def _reset(self) -> None:
        self._frozen = FrozenWatch(self._camera_id, self._frozen_after)
        self._timeouts = 0
        self._kept: Block | None = None
        self._failure = ""
        self._flooded = 0
        self._quiet_since_ns = self._clock.monotonic_ns()

    def _require_open(self) -> None:
        if not self._connected or self._failure:
            raise Transient(self._failure or f"camera {self._camera_id} is not open")

    # --- one shot -------------------------------------------------------------------------------------------------

    def _take(self, shot: Shot, timeout_s: float) -> Block:
        if self._trigger == "line0":
            block = self._next_in_line(timeout_s)
        else:
            self._prepare()
            block = self._device.next_block(timeout_s)
        if block is None:
            raise self._count_timeout(shot, timeout_s)
        self._timeouts = 0
        return block

    def _prepare(self) -> None:
        """Throw away what is older than the shot, then expose."""
        if self._timeouts:
            self._device.restart()
        while self._device.next_block(0) is not None:
            pass
        if self._trigger == "software":
            self._device.fire()
        else:
            self._device.next_block(1.0)

    def _next_in_line(self, timeout_s: float) -> Block | None:
        block, self._kept = self._kept or self._device.next_block(timeout_s), None
        if block is not None and block.lost_before:
            self._kept = replace(block, lost_before=block.lost_before - 1)
            self._timeouts = 0
            raise PartFault("camera.frame_lost", f"camera {self._camera_id}: the frame of this part never arrived")
        return block

    def _count_timeout(self, shot: Shot, timeout_s: float) -> PartFault | Transient:
        self._timeouts += 1
        text = f"camera {self._camera_id}: no frame for part {shot.part_id} within {timeout_s:g} s"
        if self._timeouts >= self._timeouts_allowed:
            return Transient(f"{text}; {self._timeouts} in a row")
        return PartFault("camera.timeout", text)

    def _frame(self, block: Block, shot: Shot) -> Frame:
        if block.pixels is None:
            text = f"camera {self._camera_id}: the frame of part {shot.part_id} is incomplete: {block.damage}"
            raise PartFault("camera.incomplete", text)
        self._frozen.check(block.pixels)
        return Frame(
            frame_id=self._clock.new_id(),
            camera_id=self._camera_id,
            pixels=block.pixels,
            captured_at=self._clock.now(),
            source=self._device.source,
            dropped_before=block.lost_before,
        )

    # --- the camera as trigger ------------------------------------------------------------------------------------

    def _announce_next(self) -> int | None:
        with self._lock:
            if not self._connected or self._failure:
                return None
            try:
                block = self._device.next_block(_SLICE_S)
                if block is None:
                    self._probe_when_quiet()
                    return None
            except Transient as error:
                self._failure = str(error)
                block = None
            self._quiet_since_ns = self._clock.monotonic_ns()
            self._announcements += 1
            if block is not None:
                self._announced.append((self._announcements, block))
            if len(self._announced) > _ANNOUNCED:
                self._announced.popleft()
                self._count_flood()
            return self._announcements

    def _count_flood(self) -> None:
        if self._flooded == 0:
            log.warning(
                "the camera delivers faster than parts are inspected; frames are dropped", camera=self._camera_id
            )
        self._flooded += 1

    def _probe_when_quiet(self) -> None:
        """No part may mean no frame for hours; ask now and then whether the camera is still there."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._quiet_since_ns >= _PROBE_EVERY_S * 1e9:
            self._quiet_since_ns = now_ns
            self._device.probe()

    def _fetch_announced(self, shot: Shot) -> Block:
        with self._lock:
            self._require_open()
            wanted = shot.sequence or 0
            while self._announced and self._announced[0][0] <= wanted:
                number, block = self._announced.popleft()
                if number == wanted:
                    return block
            raise PartFault("camera.frame_lost", f"camera {self._camera_id}: frame {shot.sequence} was dropped")
