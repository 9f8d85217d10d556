"""Frames of a video file."""

from pathlib import Path

import numpy as np
import pytest

from edge_agent.adapters.cameras.video import VideoCamera
from edge_agent.adapters.clock import SystemClock
from edge_agent.config.stations import VideoCameraOptions
from edge_agent.domain.faults import ConfigError, PartFault
from tests.contract.test_camera_port import film
from tests.fakes.station import board, shot

CLOCK = SystemClock()


def camera(path: Path, *, loop: bool = False) -> VideoCamera:
    return VideoCamera(VideoCameraOptions(kind="video", path=path, loop=loop), camera_id="c", clock=CLOCK)


def test_one_frame_for_each_shot_in_order_and_unchanged(tmp_path: Path) -> None:
    opened = camera(film(tmp_path / "f.mkv", frames=3))
    opened.open()
    for number in range(3):
        frame = opened.grab(shot(CLOCK), 1)
        assert np.array_equal(frame.pixels, board(number))
        assert frame.source.endswith(f"f.mkv#{number}")


def test_the_end_is_the_end(tmp_path: Path) -> None:
    opened = camera(film(tmp_path / "f.mkv", frames=1))
    opened.open()
    opened.grab(shot(CLOCK), 1)
    for _ in range(2):
        with pytest.raises(PartFault) as caught:
            opened.grab(shot(CLOCK), 1)
        assert caught.value.code == "video.ended"


def test_a_loop_begins_anew(tmp_path: Path) -> None:
    opened = camera(film(tmp_path / "f.mkv", frames=2), loop=True)
    opened.open()
    seen = [opened.grab(shot(CLOCK), 1).pixels for _ in range(5)]
    assert [np.array_equal(seen[place], board(place % 2)) for place in range(5)] == [True] * 5


@pytest.mark.parametrize("content", [None, b"", b"this is no film" * 100])
def test_what_is_no_video_is_a_configuration_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "f.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"f\.mp4"):
        camera(path).open()


def test_a_truncated_video_ends_with_a_part_fault(tmp_path: Path) -> None:
    whole = film(tmp_path / "f.mkv", frames=6).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    opened = camera(tmp_path / "cut.mkv")
    opened.open()
    codes = []
    for _ in range(6):
        try:
            opened.grab(shot(CLOCK), 1)
        except PartFault as fault:
            codes.append(fault.code)
    assert codes
    assert set(codes) <= {"video.ended", "video.damaged"}


def test_frames_are_announced_one_at_a_time(tmp_path: Path) -> None:
    opened = camera(film(tmp_path / "f.mkv", frames=3))
    assert opened.await_frame(0) is None
    opened.open()
    assert [opened.await_frame(0), opened.await_frame(0)] == [1, None]
    opened.grab(shot(CLOCK), 1)
    assert opened.await_frame(0) == 2
