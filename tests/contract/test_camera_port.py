"""What every camera does, whatever it is."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge_agent.adapters.cameras.folder import FolderCamera
from edge_agent.adapters.cameras.gige import GigeCamera
from edge_agent.adapters.cameras.rtsp import RtspCamera
from edge_agent.adapters.cameras.v4l2 import V4l2Camera
from edge_agent.adapters.cameras.video import VideoCamera
from edge_agent.adapters.clock import SystemClock
from edge_agent.config.stations import (
    FolderCameraOptions,
    GenicamCameraOptions,
    GigeCameraOptions,
    RtspCameraOptions,
    V4l2CameraOptions,
    VideoCameraOptions,
)
from edge_agent.domain.faults import PartFault, Transient
from edge_agent.domain.part import Shot
from edge_agent.ports import Camera
from tests.fakes.cameras import FakeCapture
from tests.fakes.station import board, shot
from tests.peers.start import eventually, free_port, gige_camera, rtsp_server

CLOCK = SystemClock()
Made = AbstractContextManager[Camera]


@contextmanager
def folder(tmp_path: Path) -> Iterator[Camera]:
    cv2.imwrite(str(tmp_path / "P-1.png"), board())
    yield FolderCamera(FolderCameraOptions(kind="folder", path=tmp_path, settle_ms=1), camera_id="c", clock=CLOCK)


@contextmanager
def video(tmp_path: Path) -> Iterator[Camera]:
    path = film(tmp_path / "film.mkv", frames=20)
    yield VideoCamera(VideoCameraOptions(kind="video", path=path), camera_id="c", clock=CLOCK)


@contextmanager
def v4l2(tmp_path: Path) -> Iterator[Camera]:
    options = V4l2CameraOptions(kind="v4l2", latency_ms=0)
    yield V4l2Camera(options, camera_id="c", clock=CLOCK, capture=lambda _: FakeCapture())


@contextmanager
def rtsp(tmp_path: Path) -> Iterator[Camera]:
    port = free_port()
    with rtsp_server(port):
        options = RtspCameraOptions(kind="rtsp", url=f"rtsp://127.0.0.1:{port}/cam", stall_timeout_s=3)
        yield RtspCamera(options, camera_id="c", clock=CLOCK)


@contextmanager
def gige(tmp_path: Path) -> Iterator[Camera]:
    pytest.importorskip("viva_genicam", reason="viva-genicam is missing: pip install 'edge-agent[genicam]'")
    with gige_camera("GV-CONTRACT"):
        yield GigeCamera(GigeCameraOptions(kind="gige", device="GV-CONTRACT"), camera_id="c", clock=CLOCK)


@contextmanager
def genicam(tmp_path: Path) -> Iterator[Camera]:
    reason = "harvesters or genicam is missing: pip install 'edge-agent[genicam-harvesters]'"
    pytest.importorskip("harvesters", reason=reason)
    wheel = pytest.importorskip("genicam", reason=reason)
    from edge_agent.adapters.cameras.genicam import GenicamCamera

    producer = Path(str(wheel.__file__)).with_name("viky.cti")
    yield GenicamCamera(GenicamCameraOptions(kind="genicam", producer=producer), camera_id="c", clock=CLOCK)


def film(path: Path, *, frames: int) -> Path:
    """A video without loss, whose n-th frame is the board of seed n."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, options={"level": "3"})
        stream.width, stream.height, stream.pix_fmt = 320, 320, "gray"
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(board(number), format="gray")))
        container.mux(stream.encode(None))
    return path


REAL = [pytest.param(make, id=make.__name__, marks=pytest.mark.integration) for make in (rtsp, gige, genicam)]
KINDS = [pytest.param(make, id=make.__name__) for make in (folder, video, v4l2)] + REAL


@pytest.fixture(params=KINDS)
def camera(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Camera]:
    make: Callable[[Path], Made] = request.param
    with make(tmp_path) as made:
        yield made
        made.close()


def asked(tmp_path: Path) -> Shot:
    return replace(shot(CLOCK), image_path=str(tmp_path / "P-1.png"))


def test_it_delivers_frames(camera: Camera, tmp_path: Path) -> None:
    eventually(camera.open)
    frames = [camera.grab(asked(tmp_path), 2) for _ in range(3)]
    for frame in frames:
        assert frame.pixels.ndim in (2, 3)
        assert frame.pixels.ndim == 2 or frame.pixels.shape[2] == 3
        assert frame.pixels.dtype in (np.uint8, np.uint16)
        assert frame.pixels.std() > 0
        assert frame.size_wh == (frame.pixels.shape[1], frame.pixels.shape[0])
        assert frame.camera_id == "c"
        assert frame.source
        assert frame.captured_at.utcoffset() is not None
    assert len({frame.frame_id for frame in frames}) == 3


def test_a_frame_is_not_written_to_by_the_next_one(camera: Camera, tmp_path: Path) -> None:
    eventually(camera.open)
    first = camera.grab(asked(tmp_path), 2)
    before = first.pixels.copy()
    for _ in range(3):
        camera.grab(asked(tmp_path), 2)
    assert np.array_equal(first.pixels, before)


def test_it_can_be_closed_at_any_time_and_opened_again(camera: Camera, tmp_path: Path) -> None:
    camera.close()
    eventually(camera.open)
    camera.close()
    camera.close()
    eventually(camera.open)
    camera.open()
    assert camera.grab(asked(tmp_path), 2).pixels.size > 0


def test_a_closed_camera_gives_no_frame(camera: Camera, tmp_path: Path) -> None:
    eventually(camera.open)
    camera.close()
    shutil.rmtree(tmp_path)
    with pytest.raises((Transient, PartFault)):
        camera.grab(asked(tmp_path), 0.1)
    os.makedirs(tmp_path, exist_ok=True)
