"""Start peers in processes of their own; skip the test where one is missing."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from edge_agent.domain.faults import PartFault, Transient

HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"
T = TypeVar("T")


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(attempt: Callable[[], T], *, within_s: float = 15) -> T:
    """The first result of ``attempt`` without a Transient or PartFault; the last error after the deadline."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return attempt()
        except (Transient, PartFault):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def until_lost(attempt: Callable[[], object], *, within_s: float = 20) -> Transient:
    """Repeat until it raises Transient (part faults are what a part sees meanwhile)."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            attempt()
        except Transient as error:
            return error
        except PartFault:
            continue
    raise AssertionError(f"no Transient within {within_s} s")


def has_system_module(*names: str) -> bool:
    """Has the system's Python these GObject namespaces?"""
    lines = ["import gi"] + [f"gi.require_version({name.split(':')[0]!r}, {name.split(':')[1]!r})" for name in names]
    command = [SYSTEM_PYTHON, "-c", "\n".join(lines)]
    return os.path.exists(SYSTEM_PYTHON) and subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def rtsp_server(port: int, pattern: str = "ball") -> Iterator[subprocess.Popen[str]]:
    """GStreamer's RTSP server."""
    if not has_system_module("Gst:1.0", "GstRtspServer:1.0"):
        pytest.skip("GStreamer's RTSP server is missing: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0")
    command = [SYSTEM_PYTHON, str(HERE / "rtsp_server.py"), str(port), pattern]
    with _running(command) as server:
        yield server


@contextmanager
def gige_camera(serial: str = "GV-TEST", *, lost_per_thousand: int = 0) -> Iterator[subprocess.Popen[str]]:
    """Aravis' fake GigE Vision camera, on the loopback interface."""
    program = shutil.which("arv-fake-gv-camera-0.8")
    if program is None:
        pytest.skip("Aravis' fake camera is missing: apt-get install aravis-tools")
    command = [program, "-i", "127.0.0.1", "-s", serial, "-r", str(lost_per_thousand)]
    with _running(command, wait_ready=False) as camera:
        yield camera


@contextmanager
def plc(port: int, *, parts: int = 0, timeout_ms: int = 2_000) -> Iterator[subprocess.Popen[str]]:
    """A pymodbus server with a PLC's scan loop."""
    command = [sys.executable, str(HERE / "plc.py"), str(port), str(parts), str(timeout_ms)]
    with _running(command) as controller:
        yield controller


@contextmanager
def opcua_plc(
    port: int, *, parts: int = 0, timeout_ms: int = 2_000, keys: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """An asyncua server with a PLC's scan loop; with ``keys`` it takes encrypted connections only."""
    if importlib.util.find_spec("asyncua") is None:
        pytest.skip("asyncua is missing: install the extra opcua")
    command = [sys.executable, str(HERE / "opcua_plc.py"), str(port), str(parts), str(timeout_ms)]
    command += [str(keys)] if keys else []
    with _running(command) as controller:
        yield controller


@contextmanager
def _running(command: list[str], *, wait_ready: bool = True) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        if wait_ready:
            assert process.stdout.readline().strip() == "ready", f"{command} did not start"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
