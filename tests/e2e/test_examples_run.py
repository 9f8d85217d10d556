"""`edge-agent run` with each example: real peers where there is one, the shipped model, no broker."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.adapters.cameras.simulated import SimulatedCamera
from edge_agent.adapters.clock import SystemClock
from edge_agent.config.stations import SimulatedCameraOptions
from tests.fakes.station import shot
from tests.peers.start import free_port, gige_camera, plc, rtsp_server

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]
ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "board"


class Agent:
    """A running agent, and what it logs."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(folder), "--log-style", "json"]
        environment = dict(os.environ, PYTHONPATH=str(ROOT))
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self.lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self.seen: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(line)
            if line.startswith("{"):
                self.lines.put(json.loads(line))

    def parts(self, count: int, *, within_s: float = 90) -> list[dict[str, Any]]:
        """The next inspected parts."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + within_s
        while len(found) < count:
            try:
                line = self.lines.get(timeout=0.5)
            except queue.Empty:
                if self.process.poll() is None and time.monotonic() < deadline:
                    continue
                raise AssertionError(f"{len(found)} of {count} parts; the log:\n{''.join(self.seen[-40:])}") from None
            if line.get("event") == "part inspected":
                found.append(line)
        return found

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def agent(folder: Path) -> Iterator[Agent]:
    running = Agent(folder)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    if not MODEL.is_dir():
        pytest.skip("models/board is missing: see scripts/training")
    shutil.copytree(ROOT / "plant_config", tmp_path / "plant_config")
    copied = tmp_path / "plant_config" / "examples"
    for plant in copied.glob("*/plant.yaml"):
        plant.write_text(f"{plant.read_text()}state_dir: {tmp_path / 'state'}\nweb: {{enabled: false}}\n")
    return copied


def change(folder: Path, **keys: str) -> Path:
    """Replace whole lines of the station's file: ``old start -> new line``."""
    file = folder / "stations" / "aoi-1.yaml"
    lines = file.read_text().splitlines()
    for key, value in keys.items():
        (at,) = [number for number, line in enumerate(lines) if line.strip().startswith(f"{key}:")]
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        lines[at] = f"{indent}{key}: {value}"
    file.write_text("\n".join(lines) + "\n")
    return folder


def reasons(parts: list[dict[str, Any]]) -> set[str]:
    return {reason for part in parts for reason in part["reasons"]}


def test_video(examples: Path) -> None:
    with agent(examples / "video") as running:
        parts = running.parts(6)
        assert [part["disposition"] for part in parts] == ["ACCEPT", "ACCEPT", "REJECT", "ACCEPT", "ACCEPT", "REJECT"]
        assert running.stop() == 0


def test_simulated(examples: Path) -> None:
    with agent(examples / "simulated") as running:
        assert "ACCEPT" in {part["disposition"] for part in running.parts(4)}
        assert running.stop() == 0


def test_folder_with_bad_files_and_a_restart(examples: Path) -> None:
    folder = examples / "folder"
    inbox = folder / "inbox"
    clock = SystemClock()
    camera = SimulatedCamera(SimulatedCameraOptions(kind="simulated", defect_rate=0), camera_id="c", clock=clock)
    camera.open()
    for number in range(3):
        cv2.imwrite(str(inbox / f"P-{number}.png"), camera.grab(shot(clock), 1).pixels)
    (inbox / "empty.png").touch()
    (inbox / "text.png").write_text("no image")
    (inbox / "cut.png").write_bytes((inbox / "P-0.png").read_bytes()[:4_000])
    cv2.imwrite(str(inbox / "small.png"), np.zeros((64, 64), np.uint8))
    expected = {"image.empty", "image.not_an_image", "image.truncated", "image.size"}
    with agent(folder) as running:
        parts = running.parts(7)
        by_part = {part["part"]: part["disposition"] for part in parts}
        assert [by_part[f"P-{number}"] for number in range(3)] == ["ACCEPT"] * 3
        assert reasons(parts) == expected
        assert running.stop() == 0
    cv2.imwrite(str(inbox / "P-9.png"), camera.grab(shot(clock), 1).pixels)
    with agent(folder) as running:
        (part,) = running.parts(1)
        assert part["part"] == "P-9"


def test_rtsp(examples: Path) -> None:
    port = free_port()
    with rtsp_server(port), agent(change(examples / "rtsp", url=f"rtsp://127.0.0.1:{port}/cam")) as running:
        parts = running.parts(8)
        assert "image.size" in reasons(parts)
        assert {part["disposition"] for part in parts} == {"HOLD"}
        assert running.stop() == 0


def test_modbus_with_a_gige_camera_and_a_plc(examples: Path) -> None:
    pytest.importorskip("viva_genicam", reason="viva-genicam is missing: pip install 'edge-agent[genicam]'")
    port = free_port()
    folder = change(examples / "modbus", device="GV-E2E", port=str(port))
    station = folder / "stations" / "aoi-1.yaml"
    text = station.read_text().replace("192.168.10.5", "127.0.0.1")
    station.write_text(text.replace("    ready_coil: 16", f"    port: {port}\n    ready_coil: 16"))
    with gige_camera("GV-E2E"), plc(port, parts=4, timeout_ms=60_000) as controller, agent(folder) as running:
        assert controller.stdout is not None
        answers = [json.loads(controller.stdout.readline()) for _ in range(4)]
        assert [answer["result"] for answer in answers] == ["hold"] * 4
        parts = running.parts(4)
        assert [part["part"] for part in parts] == [answer["part"] for answer in answers]
        assert "image.size" in reasons(parts)
        assert running.stop() == 0


def test_genicam_with_the_camera_as_trigger(examples: Path) -> None:
    reason = "harvesters or genicam is missing: pip install 'edge-agent[genicam-harvesters]'"
    pytest.importorskip("harvesters", reason=reason)
    wheel = pytest.importorskip("genicam", reason=reason)
    producer = Path(str(wheel.__file__)).with_name("viky.cti")
    folder = change(examples / "genicam", producer=str(producer))
    station = folder / "stations" / "aoi-1.yaml"
    text = station.read_text().replace("trigger: line0", "trigger: free")
    station.write_text(text.replace("ExposureTime: 2000.0", "AcquisitionFrameRate: 4.0"))
    with agent(folder) as running:
        parts = running.parts(8)
        assert reasons(parts) <= {"image.size", "cycle.late", "station.overrun"}
        assert "image.size" in reasons(parts)
        assert running.stop() == 0
