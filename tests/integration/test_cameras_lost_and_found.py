"""Cameras nobody here wrote: killed, stopped, losing packets; the camera reports it, and comes back."""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.adapters.cameras.gige import GigeCamera
from edge_agent.adapters.cameras.rtsp import RtspCamera
from edge_agent.adapters.clock import SystemClock
from edge_agent.config.stations import GenicamCameraOptions, GigeCameraOptions, RtspCameraOptions
from edge_agent.domain.faults import ConfigError, PartFault, Transient
from edge_agent.ports import Camera
from tests.fakes.station import shot
from tests.peers.start import eventually, free_port, gige_camera, rtsp_server, until_lost

pytestmark = pytest.mark.integration
CLOCK = SystemClock()


def grab(camera: Camera) -> Any:
    return camera.grab(shot(CLOCK), 1).pixels


# --- RTSP -----------------------------------------------------------------------------------------------------------


def rtsp(port: int, **options: Any) -> RtspCamera:
    made = {"kind": "rtsp", "url": f"rtsp://user:secret@127.0.0.1:{port}/cam", "stall_timeout_s": 1.5, **options}
    return RtspCamera(RtspCameraOptions.model_validate(made), camera_id="c", clock=CLOCK)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_newest_frames_without_the_password(transport: str) -> None:
    port = free_port()
    with rtsp_server(port):
        camera = rtsp(port, transport=transport)
        eventually(camera.open)
        frame = camera.grab(shot(CLOCK), 2)
        assert frame.size_wh == (320, 240)
        assert frame.source == f"rtsp://127.0.0.1:{port}/cam"
        camera.close()


def test_rtsp_server_killed_and_started_again() -> None:
    port = free_port()
    camera = rtsp(port)
    with rtsp_server(port) as server:
        eventually(camera.open)
        grab(camera)
        server.kill()
        until_lost(lambda: grab(camera))
    camera.close()
    with pytest.raises(Transient):
        camera.open()
    with rtsp_server(port):
        eventually(camera.open)
        assert grab(camera).shape == (240, 320, 3)
        camera.close()


def test_rtsp_server_that_stops_without_a_word() -> None:
    port = free_port()
    camera = rtsp(port)
    with rtsp_server(port) as server:
        eventually(camera.open)
        server.send_signal(signal.SIGSTOP)
        until_lost(lambda: grab(camera))
        camera.close()
        server.send_signal(signal.SIGCONT)
        eventually(camera.open)
        grab(camera)
        camera.close()


def test_rtsp_still_picture_is_frozen() -> None:
    port = free_port()
    camera = rtsp(port, frozen_after=5, latency_ms=0)
    with rtsp_server(port, "black"):
        eventually(camera.open)
        assert "frozen" in str(until_lost(lambda: grab(camera)))
        camera.close()


# --- GigE Vision ----------------------------------------------------------------------------------------------------


@pytest.fixture
def viva() -> Any:
    return pytest.importorskip("viva_genicam", reason="viva-genicam is missing: pip install 'edge-agent[genicam]'")


def gige(serial: str, **options: Any) -> GigeCamera:
    made = {"kind": "gige", "device": serial, "frozen_after": 0, **options}
    return GigeCamera(GigeCameraOptions.model_validate(made), camera_id="c", clock=CLOCK)


@pytest.mark.parametrize(
    ("pixel_format", "shape", "dtype"),
    [
        ("Mono8", (64, 128), np.uint8),
        ("Mono16", (64, 128), np.uint16),
        ("BayerRG8", (64, 128, 3), np.uint8),
        ("RGB8", (64, 128, 3), np.uint8),
    ],
)
@pytest.mark.parametrize("trigger", ["software", "free"])
def test_gige_formats_and_triggers(
    viva: Any, pixel_format: str, shape: tuple[int, ...], dtype: type, trigger: str
) -> None:
    with gige_camera("GV-A"):
        settings = {"Width": 128, "Height": 64, "GainRaw": 2}
        camera = gige("GV-A", pixel_format=pixel_format, trigger=trigger, exposure_us=5_000, settings=settings)
        eventually(camera.open)
        pixels = grab(camera)
        assert (pixels.shape, pixels.dtype) == (shape, dtype)
        camera.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gain_db": 3.0}, "no feature Gain"),
        ({"settings": {"Bandwidth": 1}}, "Bandwidth"),
        ({"settings": {"Width": 100_000}}, "above the maximum"),
        ({"pixel_format": "Mono12"}, "Mono12"),
    ],
)
def test_gige_wrong_settings_are_configuration_errors(viva: Any, options: dict[str, Any], said: str) -> None:
    with gige_camera("GV-B"):
        eventually(lambda: gige("GV-B").open())
        with pytest.raises(ConfigError, match=said):
            eventually(lambda: gige("GV-B", **options).open())


def test_gige_killed_and_started_again_has_all_settings(viva: Any) -> None:
    camera = gige("GV-C", settings={"Width": 128, "Height": 64}, exposure_us=7_000, timeouts_before_reconnect=2)
    with gige_camera("GV-C") as peer:
        eventually(camera.open)
        grab(camera)
        peer.kill()
        until_lost(lambda: grab(camera))
        camera.close()
        with pytest.raises(Transient, match="GV-C"):
            camera.open()
    with gige_camera("GV-C"):
        eventually(camera.open)
        assert grab(camera).shape == (64, 128)
        camera.close()


@pytest.mark.slow
def test_gige_that_hangs_is_lost_and_comes_back(viva: Any) -> None:
    """A free-running camera that hangs only stops sending; a number of time-outs in a row is what shows it."""
    camera = gige("GV-D", trigger="free", timeouts_before_reconnect=2)
    with gige_camera("GV-D") as peer:
        eventually(camera.open)
        grab(camera)
        peer.send_signal(signal.SIGSTOP)
        until_lost(lambda: grab(camera), within_s=60)
        camera.close()
        peer.send_signal(signal.SIGCONT)
        eventually(camera.open, within_s=60)
        assert grab(camera).size > 0
        camera.close()


def test_gige_incomplete_frames_are_never_inspected(viva: Any) -> None:
    """One packet in 500 is lost, about 190 make a frame: some frames are whole, some are not."""
    camera = gige("GV-E", trigger="free")
    outcomes: Counter[str] = Counter()
    with gige_camera("GV-E", lost_per_thousand=2):
        eventually(camera.open)
        for _ in range(60):
            try:
                grab(camera)
                outcomes["whole"] += 1
            except PartFault as fault:
                outcomes[fault.code] += 1
            if outcomes["whole"] and outcomes["camera.incomplete"]:
                break
        camera.close()
    assert outcomes["whole"]
    assert outcomes["camera.incomplete"]


def test_gige_another_serial_is_not_taken(viva: Any) -> None:
    with gige_camera("GV-F"), pytest.raises(Transient, match="GV-OTHER"):
        gige("GV-OTHER").open()


def test_gige_as_the_trigger(viva: Any) -> None:
    camera = gige("GV-G", trigger="free")
    with gige_camera("GV-G"):
        eventually(camera.open)
        numbers = [number for number in (camera.await_frame(1) for _ in range(3)) if number is not None]
        assert numbers == [1, 2, 3]
        camera.close()


# --- GenTL ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def producer() -> Path:
    reason = "harvesters or genicam is missing: pip install 'edge-agent[genicam-harvesters]'"
    pytest.importorskip("harvesters", reason=reason)
    wheel = pytest.importorskip("genicam", reason=reason)
    return Path(str(wheel.__file__)).with_name("viky.cti")


def gentl(producer: Path, **options: Any) -> Camera:
    from edge_agent.adapters.cameras.genicam import GenicamCamera

    made = {"kind": "genicam", "producer": producer, **options}
    return GenicamCamera(GenicamCameraOptions.model_validate(made), camera_id="c", clock=CLOCK)


@pytest.mark.parametrize(("pixel_format", "shape"), [("Mono8", (400, 256)), ("RGBa8", (400, 256, 3))])
def test_genicam_formats(producer: Path, pixel_format: str, shape: tuple[int, ...]) -> None:
    camera = gentl(producer, device="1", settings={"PixelFormat": pixel_format, "Width": 256})
    camera.open()
    frame = camera.grab(shot(CLOCK), 2)
    assert (frame.pixels.shape, frame.source.count("green")) == (shape, 1)
    camera.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"settings": {"Nix": 1}}, "no feature 'Nix'"),
        ({"settings": {"Width": 10**9}}, "Width"),
        ({"settings": {"PixelFormat": "Mono99"}}, "Mono99"),
        ({"trigger": "software"}, "TriggerSelector"),
        ({"producer": Path("/nowhere/vendor.cti")}, "no such producer"),
        ({"producer": Path(__file__)}, "cannot be loaded"),
    ],
)
def test_genicam_wrong_settings_are_configuration_errors(producer: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        gentl(**({"producer": producer} | options)).open()


def test_genicam_unknown_device_is_waited_for(producer: Path) -> None:
    with pytest.raises(Transient, match=r"purple not found; the producer offers: .*red"):
        gentl(producer, device="purple").open()
