"""Frames of a video file, one for each shot."""

import threading
from collections.abc import Iterator
from typing import Any

import av

from edge_agent.adapters.cameras.announce import Announcer
from edge_agent.adapters.cameras.decoded import to_pixels
from edge_agent.config.stations import VideoCameraOptions
from edge_agent.domain.faults import ConfigError, PartFault, Transient
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.domain.part import Shot
from edge_agent.ports import Clock


class VideoCamera:
    """Implements ``ports.Camera``. The end of the file is the end, unless ``loop`` is set."""

    def __init__(self, options: VideoCameraOptions, *, camera_id: str, clock: Clock) -> None:
        self._options = options
        self._camera_id = camera_id
        self._clock = clock
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._index = 0
        self._announcer = Announcer(clock)

    def open(self) -> None:
        """Open the file at its beginning. Raises ConfigError (no such file, not a video)."""
        self.close()
        try:
            self._container = av.open(str(self._options.path), mode="r")
        except (av.error.FFmpegError, OSError) as error:
            raise ConfigError(f"camera {self._camera_id}: video {self._options.path}: {error.strerror}") from error
        if not self._container.streams.video:
            raise ConfigError(f"camera {self._camera_id}: {self._options.path} holds no video stream")
        self._rewind()

    def grab(self, shot: Shot, timeout_s: float) -> Frame:
        """The next frame of the file.

        Raises:
            PartFault: ``video.ended``, or ``video.damaged`` for a frame that cannot be decoded.
            Transient: not open.
        """
        if self._container is None:
            raise Transient(f"camera {self._camera_id} is not open")
        self._announcer.fetched()
        pixels = self._next()
        if pixels is None and self._options.loop and self._index > 0:
            self._rewind()
            pixels = self._next()
        if pixels is None:
            raise PartFault("video.ended", f"{self._options.path}: no more frames after {self._index}")
        self._index += 1
        return Frame(
            frame_id=self._clock.new_id(),
            camera_id=self._camera_id,
            pixels=pixels,
            captured_at=self._clock.now(),
            source=f"{self._options.path}#{self._index - 1}",
        )

    def await_frame(self, timeout_s: float) -> int | None:
        """For the camera trigger: the number of the next frame as soon as the one before was taken."""
        if self._announcer.outstanding or self._container is None:
            threading.Event().wait(min(timeout_s, 0.005))
            return None
        return self._announcer.announce()

    def close(self) -> None:
        """Close the file."""
        container, self._container, self._frames = self._container, None, iter(())
        self._announcer.fetched()
        if container is not None:
            container.close()

    def _rewind(self) -> None:
        if self._index > 0:
            self._container.seek(0)
        self._index = 0
        self._frames = self._container.decode(video=0)

    def _next(self) -> Pixels | None:
        try:
            frame = next(self._frames, None)
        except av.error.EOFError:
            return None
        except av.error.FFmpegError as error:
            self._frames = self._container.decode(video=0)
            text = f"{self._options.path}: frame {self._index}: {error.strerror}"
            raise PartFault("video.damaged", text) from error
        if frame is None:
            return None
        if frame.is_corrupt:
            raise PartFault("video.damaged", f"{self._options.path}: frame {self._index} is damaged")
        return to_pixels(frame)
