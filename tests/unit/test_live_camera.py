"""Streams without a trigger: the newest frame, never an old one."""

import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.adapters.cameras.frozen import FrozenWatch
from edge_agent.adapters.cameras.live import LiveCamera
from edge_agent.adapters.cameras.v4l2 import V4l2Camera
from edge_agent.adapters.clock import SystemClock
from edge_agent.config.stations import V4l2CameraOptions
from edge_agent.domain.faults import ConfigError, PartFault, Transient
from tests.fakes.cameras import FakeCapture
from tests.fakes.station import shot
from tests.peers.start import until_lost

CLOCK = SystemClock()


class Feed:
    """A stream that delivers what the test puts into it: a number (a frame), None (damaged), or an error."""

    def __init__(self) -> None:
        self.items: Queue[Any] = Queue()
        self.taken = threading.Semaphore(0)

    def __call__(self, stop: threading.Event) -> Iterator[Any]:
        while not stop.is_set():
            item = self.items.get()
            if isinstance(item, Exception):
                raise item
            yield None if item is None else np.full((4, 6), item, np.uint8)
            self.taken.release()

    def put(self, *items: Any) -> None:
        """Deliver, and wait until the reader has taken all of them."""
        for item in items:
            self.items.put(item)
        for _ in items:
            assert self.taken.acquire(timeout=5)


@pytest.fixture
def feed() -> Iterator[Feed]:
    made = Feed()
    yield made
    made.items.put(Transient("the test is over"))


def camera_on(feed: Feed, *, stall_s: float = 5, latency_ms: float = 0, frozen_after: int = 0) -> LiveCamera:
    camera = LiveCamera(
        feed,
        camera_id="c",
        clock=CLOCK,
        source="test",
        stall_s=stall_s,
        latency_ms=latency_ms,
        frozen_after=frozen_after,
    )
    feed.items.put(0)
    camera.open()
    assert feed.taken.acquire(timeout=5)
    return camera


def test_the_newest_frame_wins_and_the_others_are_counted(feed: Feed) -> None:
    camera = camera_on(feed)
    asked = shot(CLOCK)
    feed.put(1, 2, None, 3)
    frame = camera.grab(asked, 1)
    assert (int(frame.pixels[0, 0]), frame.dropped_before) == (3, 4)


def test_a_frame_from_before_the_trigger_is_not_used(feed: Feed) -> None:
    camera = camera_on(feed)
    feed.put(1)
    with pytest.raises(PartFault) as caught:
        camera.grab(shot(CLOCK), 0.05)
    assert caught.value.code == "camera.timeout"


def test_a_frame_is_used_once(feed: Feed) -> None:
    camera = camera_on(feed)
    asked = shot(CLOCK)
    feed.put(1)
    camera.grab(asked, 1)
    with pytest.raises(PartFault):
        camera.grab(asked, 0.05)


def test_latency_moves_the_earliest_frame(feed: Feed) -> None:
    camera = camera_on(feed, latency_ms=60_000)
    asked = shot(CLOCK)
    feed.put(1)
    with pytest.raises(PartFault):
        camera.grab(asked, 0.05)


@pytest.mark.parametrize("error", [Transient("gone"), ConfigError("wrong"), ValueError("bug")])
def test_an_error_of_the_stream_reaches_the_caller(feed: Feed, error: Exception) -> None:
    camera = camera_on(feed)
    feed.items.put(error)
    expected = ConfigError if isinstance(error, ConfigError) else Transient
    with pytest.raises(expected, match=str(error)):
        camera.grab(shot(CLOCK), 5)


def test_silence_is_a_lost_camera(feed: Feed) -> None:
    camera = camera_on(feed, stall_s=0.05)
    with pytest.raises(Transient, match="stalls"):
        camera.grab(shot(CLOCK), 0.2)


def test_a_stream_without_a_first_frame_does_not_open(feed: Feed) -> None:
    camera = LiveCamera(feed, camera_id="c", clock=CLOCK, source="", stall_s=0.05, latency_ms=0, frozen_after=0)
    feed.items.put(Transient("refused"))
    with pytest.raises(Transient, match="refused"):
        camera.open()
    with pytest.raises(Transient, match="not open"):
        camera.grab(shot(CLOCK), 0.1)


def test_one_frame_is_announced_at_a_time(feed: Feed) -> None:
    camera = camera_on(feed)
    assert camera.await_frame(1) == 1
    feed.put(5)
    assert camera.await_frame(0.02) is None
    asked = shot(CLOCK)
    feed.put(6)
    camera.grab(asked, 1)
    assert camera.await_frame(0.02) is None
    feed.put(7)
    assert camera.await_frame(1) == 2


def test_frozen_watch_counts_equal_frames_in_a_row() -> None:
    watch = FrozenWatch("c", 3)
    one, other = np.zeros((3, 3), np.uint8), np.ones((3, 3), np.uint8)
    for pixels in (one, one, other, other, one, one):
        watch.check(pixels)
    with pytest.raises(Transient, match="frozen"):
        watch.check(one)


def test_frozen_watch_can_be_switched_off() -> None:
    watch = FrozenWatch("c", 0)
    for _ in range(100):
        watch.check(np.zeros((3, 3), np.uint8))


# --- V4L2, with a capture object of our own: there is no camera here, and no loopback module --------------------------


def v4l2(capture: FakeCapture, **options: Any) -> V4l2Camera:
    made = V4l2CameraOptions.model_validate({"kind": "v4l2", "latency_ms": 0, **options})
    return V4l2Camera(made, camera_id="c", clock=CLOCK, capture=lambda _: capture)


def test_v4l2_applies_size_and_format() -> None:
    capture = FakeCapture()
    camera = v4l2(capture, width_px=32, height_px=16, fourcc="MJPG")
    camera.open()
    assert camera.grab(shot(CLOCK), 2).size_wh == (32, 16)
    assert capture.get(cv2.CAP_PROP_FOURCC) == cv2.VideoWriter.fourcc(*"MJPG")
    camera.close()
    assert capture.released


def test_v4l2_says_what_the_driver_took_instead() -> None:
    capture = FakeCapture(fixed={cv2.CAP_PROP_FRAME_WIDTH: 640.0})
    with pytest.raises(ConfigError, match="width_px: /dev/video0 has 640 instead of 1920"):
        v4l2(capture, width_px=1920).open()
    assert capture.released


def test_v4l2_without_a_device_is_transient() -> None:
    with pytest.raises(Transient, match="cannot open /dev/none"):
        V4l2Camera(V4l2CameraOptions(kind="v4l2", device="/dev/none"), camera_id="c", clock=CLOCK).open()


def test_v4l2_unplugged_and_frozen() -> None:
    capture = FakeCapture()
    camera = v4l2(capture, frozen_after=3)
    camera.open()
    capture.frozen = True
    assert "frozen" in str(until_lost(lambda: camera.grab(shot(CLOCK), 2)))
    capture.frozen = False
    capture.unplugged.set()
    with pytest.raises(Transient, match="stopped delivering"):
        camera.grab(shot(CLOCK), 2)
    camera.close()
