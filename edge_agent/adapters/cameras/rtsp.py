"""An RTSP stream through PyAV."""

import threading
from collections.abc import Iterator
from typing import Any

import av

from edge_agent.adapters.cameras.decoded import to_pixels
from edge_agent.adapters.cameras.live import Frames, LiveCamera
from edge_agent.config.stations import RtspCameraOptions
from edge_agent.domain.faults import Transient
from edge_agent.ports import Clock


class RtspCamera(LiveCamera):
    """Implements ``ports.Camera``; second class for parts in motion, because a stream has no trigger."""

    def __init__(self, options: RtspCameraOptions, *, camera_id: str, clock: Clock) -> None:
        super().__init__(
            self._stream,
            camera_id=camera_id,
            clock=clock,
            source=_without_password(options.url),
            stall_s=options.stall_timeout_s,
            latency_ms=options.latency_ms,
            frozen_after=options.frozen_after,
        )
        self._options = options

    def _stream(self, stop: threading.Event) -> Frames:
        try:
            with self._connect() as container:
                yield from _frames(container, stop)
        except av.error.FFmpegError as error:
            raise Transient(f"camera {self._camera_id}: {error.strerror}") from error
        raise Transient(f"camera {self._camera_id}: the stream ended")

    def _connect(self) -> Any:
        stall_s = self._options.stall_timeout_s
        options = {
            "rtsp_transport": self._options.transport,
            "fflags": "nobuffer",
            "flags": "low_delay",
            "analyzeduration": "200000",
        }
        return av.open(self._options.url, mode="r", options=options, timeout=(stall_s, stall_s))


def _frames(container: Any, stop: threading.Event) -> Iterator[Any]:
    for frame in container.decode(video=0):
        if stop.is_set():
            return
        yield None if frame.is_corrupt else to_pixels(frame)


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
