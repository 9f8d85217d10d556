"""Streams that cannot be triggered: a reader thread empties the stream, and only the newest frame is kept.

A consumer that reads the stream itself falls behind without limit as soon as it is slower than the camera.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from edge_agent.adapters.cameras.announce import Announcer
from edge_agent.adapters.cameras.frozen import FrozenWatch
from edge_agent.domain.faults import ConfigError, PartFault, Transient
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.domain.part import Shot
from edge_agent.ports import Clock

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrived:
    """A frame as it came in. ``number`` counts the frames of this connection from 1."""

    pixels: Pixels
    number: int
    arrived_ns: int


Frames = Iterator[Pixels | None]
"""What a stream yields: pixels, or None for a frame that came in damaged (it counts as lost)."""


class LiveReader:
    """Reads a stream in a thread of its own; holds one frame.

    Args:
        stream: opens the stream and yields its frames; raises Transient when it ends or fails, ConfigError when it
            never can work. It must come back at least every ``stall_s``, with a frame or an error.
        stall_s: no frame for this long is a lost camera.
    """

    def __init__(
        self, stream: Callable[[threading.Event], Frames], *, camera_id: str, clock: Clock, stall_s: float
    ) -> None:
        self._stream = stream
        self._camera_id = camera_id
        self._clock = clock
        self._stall_s = stall_s
        self._changed = threading.Condition()
        self._newest: Arrived | None = None
        self._failure: Transient | ConfigError | None = None
        self._count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera-{camera_id}", daemon=True)

    def start(self) -> Arrived:
        """Begin to read, and wait for the first frame. Raises Transient."""
        self._thread.start()
        first = self._wait_newer(0, 0, self._stall_s + 1)
        if first is None:
            raise Transient(f"camera {self._camera_id}: no frame within {self._stall_s:g} s")
        return first

    def newer(self, than: int, *, not_before_ns: int, timeout_s: float) -> Arrived:
        """The newest frame that is newer than number ``than`` and arrived at or after ``not_before_ns``.

        Raises:
            PartFault: ``camera.timeout``: the stream goes on, but no such frame came in time.
            Transient: the stream ended, failed or stalls.
        """
        found = self._wait_newer(than, not_before_ns, timeout_s)
        if found is None:
            self._complain_if_stalled()
            raise PartFault("camera.timeout", f"camera {self._camera_id}: no new frame within {timeout_s:g} s")
        return found

    def peek(self, than: int, timeout_s: float) -> bool:
        """Is there a frame newer than number ``than``? Waits for one. Raises Transient."""
        if self._wait_newer(than, 0, timeout_s) is not None:
            return True
        self._complain_if_stalled()
        return False

    def stop(self) -> None:
        """End the thread; returns when it is done, or after its own read timeout at the latest."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(self._stall_s + 2)
            if self._thread.is_alive():
                log.warning("camera thread does not end", camera=self._camera_id)

    def _wait_newer(self, than: int, not_before_ns: int, timeout_s: float) -> Arrived | None:
        def ready() -> bool:
            frame = self._newest
            fresh = frame is not None and frame.number > than and frame.arrived_ns >= not_before_ns
            return fresh or self._failure is not None

        with self._changed:
            self._changed.wait_for(ready, timeout_s)
            if self._failure is not None:
                raise type(self._failure)(str(self._failure))
            return self._newest if ready() else None

    def _complain_if_stalled(self) -> None:
        with self._changed:
            last_ns = self._newest.arrived_ns if self._newest else 0
        silent_s = (self._clock.monotonic_ns() - last_ns) / 1e9
        if silent_s >= self._stall_s:
            raise Transient(f"camera {self._camera_id} stalls: no frame for {silent_s:.1f} s")

    def _run(self) -> None:
        failure: Transient | ConfigError = Transient(f"camera {self._camera_id}: the stream ended")
        try:
            for pixels in self._stream(self._stop):
                self._take(pixels)
                if self._stop.is_set():
                    break
        except (Transient, ConfigError) as error:
            failure = error
        except Exception as error:
            failure = Transient(f"camera {self._camera_id}: {type(error).__name__}: {error}")
            log.exception("camera thread failed", camera=self._camera_id)
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def _take(self, pixels: Pixels | None) -> None:
        with self._changed:
            self._count += 1
            if pixels is not None:
                self._newest = Arrived(pixels=pixels, number=self._count, arrived_ns=self._clock.monotonic_ns())
                self._changed.notify_all()


class LiveCamera:
    """Implements ``ports.Camera`` on top of a `LiveReader`.

    A shot gets the newest frame that arrived ``latency_ms`` or more after its trigger, so that it cannot be a picture
    of the part before.

    Args:
        source: where frames come from, for people; without secrets.
        frozen_after: see `FrozenWatch`.
    """

    def __init__(
        self,
        stream: Callable[[threading.Event], Frames],
        *,
        camera_id: str,
        clock: Clock,
        source: str,
        stall_s: float,
        latency_ms: float,
        frozen_after: int,
    ) -> None:
        self._stream_of = stream
        self._camera_id = camera_id
        self._clock = clock
        self._source = source
        self._stall_s = stall_s
        self._latency_ns = int(latency_ms * 1e6)
        self._frozen_after = frozen_after
        self._frozen = FrozenWatch(camera_id, frozen_after)
        self._announcer = Announcer(clock)
        self._reader: LiveReader | None = None
        self._last = 0

    def open(self) -> None:
        """Connect and wait for the first frame. Raises Transient (absent) or ConfigError (wrong settings)."""
        self.close()
        reader = LiveReader(self._stream_of, camera_id=self._camera_id, clock=self._clock, stall_s=self._stall_s)
        self._frozen = FrozenWatch(self._camera_id, self._frozen_after)
        self._last = 0
        try:
            reader.start()
        except (Transient, ConfigError):
            reader.stop()
            raise
        self._reader = reader

    def grab(self, shot: Shot, timeout_s: float) -> Frame:
        """The newest frame after the trigger. Raises PartFault (none in time) or Transient (gone, frozen)."""
        self._announcer.fetched()
        reader = self._reader
        if reader is None:
            raise Transient(f"camera {self._camera_id} is not open")
        not_before_ns = shot.triggered_ns + self._latency_ns
        arrived = reader.newer(self._last, not_before_ns=not_before_ns, timeout_s=timeout_s)
        dropped, self._last = arrived.number - self._last - 1, arrived.number
        self._frozen.check(arrived.pixels)
        return Frame(
            frame_id=self._clock.new_id(),
            camera_id=self._camera_id,
            pixels=arrived.pixels,
            captured_at=self._clock.now(),
            source=self._source,
            dropped_before=dropped,
        )

    def await_frame(self, timeout_s: float) -> int | None:
        """For the camera trigger: the number of an announcement once there is a frame, else None. One at a time.

        A lost camera is announced as well, because the `grab` that follows is what reports it.
        """
        reader = self._reader
        if reader is None or self._announcer.outstanding:
            threading.Event().wait(min(timeout_s, 0.005))
            return None
        try:
            if not reader.peek(self._last, timeout_s):
                return None
        except Transient as error:
            log.debug("camera lost while waiting for a frame", camera=self._camera_id, error=str(error))
        return self._announcer.announce()

    def close(self) -> None:
        """Disconnect."""
        reader, self._reader = self._reader, None
        self._announcer.fetched()
        if reader is not None:
            reader.stop()
