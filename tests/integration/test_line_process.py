"""The line as a process against the real broker, answered by a stub of the box."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.simulation.broker import Broker
from edge_agent.simulation.process import SIGNALS

ROOT = "acme/lab/pcb/line-1/aoi/_inspect/v1/box"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="mosquitto is not installed"
    ),
]


class Box:
    """Answers each trigger with ACCEPT, except where ``silent_for`` says not to."""

    def __init__(self, broker: Broker, silent_for: Callable[[int], bool] = lambda sequence: False) -> None:
        self.triggers: list[dict[str, Any]] = []
        self.readings: dict[str, list[float]] = {}
        self.log: list[dict[str, Any]] = []
        self.images_seen: list[tuple[int, int]] = []
        self.waiting = self.most_waiting = 0
        self._silent_for = silent_for
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="box", protocol=mqtt.MQTTv5)
        self._client.username_pw_set("agent", broker.password_file("agent").read_text())
        self._client.on_message = self._on_message
        self._client.connect(broker.host, broker.port)
        self._client.subscribe(
            [(f"{ROOT}/in/#", 1), ("acme/lab/pcb/line-1/_historian/#", 0), ("acme/lab/pcb/line-1/_events", 1)]
        )
        self._client.loop_start()
        self.images: Path | None = None

    def online(self) -> None:
        self._client.publish(f"{ROOT}/out/state", json.dumps({"data": {"online": True}}), qos=1, retain=True)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        body = json.loads(message.payload)
        if "_historian" in message.topic:
            self.readings.setdefault(message.topic.rsplit("/", 1)[1], []).append(body["value"])
        elif message.topic.endswith("_events"):
            self.log.append(body)
        elif message.topic.endswith("in/cmd/trigger"):
            self.triggers.append(body)
            assert self.images is not None
            picture = cv2.imread(str(self.images / f"{body['partId']}.png"), cv2.IMREAD_GRAYSCALE)
            self.images_seen.append(picture.shape)
            if not self._silent_for(body["sequence"]):
                result = {"data": {"unitId": body["partId"], "disposition": "ACCEPT"}}
                client.publish(f"{ROOT}/out/result", json.dumps(result), qos=1)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as running:
        yield running


def start_line(broker: Broker, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    words = ["--host", broker.host, "--port", str(broker.port), "--username", "plant"]
    words += ["--password-file", str(broker.password_file("plant")), "--topic-root", ROOT]
    words += ["--images", str(folder / "share"), "--truth", str(folder / "truth.jsonl")]
    words += ["--repairs", str(folder / "repairs.jsonl"), "--summary", str(folder / "summary.json")]
    command = [sys.executable, "-m", "edge_agent.simulation.line", *words, *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def until(true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        threading.Event().wait(0.05)


def test_each_part_is_photographed_asked_about_and_answered(broker: Broker, tmp_path: Path) -> None:
    box = Box(broker)
    box.images = tmp_path / "share"
    line = start_line(broker, tmp_path, "--parts", "12", "--rate", "20", "--seed", "2", "--run", "T1")
    box.online()
    assert line.wait(60) == 0, line.stderr.read() if line.stderr else ""
    box.close()
    account = json.loads((tmp_path / "summary.json").read_text())
    assert (account["parts"], account["asked"], account["answered"], account["unanswered"]) == (12, 12, 12, 0)
    assert [trigger["partId"] for trigger in box.triggers] == [f"T1-{n:05d}" for n in range(1, 13)]
    assert {"productId", "triggerId", "lotId", "sequence", "strata", "at"} <= box.triggers[0].keys()
    assert box.images_seen == [(640, 640)] * 12
    assert box.readings.keys() == SIGNALS.keys()
    assert {entry["kind"] for entry in box.log} >= {"startup"}


def test_a_part_without_an_answer_is_rejected_and_the_line_goes_on(broker: Broker, tmp_path: Path) -> None:
    box = Box(broker, silent_for=lambda sequence: sequence == 3)
    box.images = tmp_path / "share"
    box.online()
    line = start_line(broker, tmp_path, "--parts", "6", "--rate", "20")
    assert line.wait(60) == 0
    box.close()
    account = json.loads((tmp_path / "summary.json").read_text())
    assert (account["asked"], account["answered"], account["unanswered"]) == (6, 5, 1)
    assert account["dispositions"] == {"ACCEPT": 5, "REJECT (no answer)": 1}


def test_the_belt_stops_while_too_many_parts_wait(broker: Broker, tmp_path: Path) -> None:
    box = Box(broker, silent_for=lambda sequence: True)
    box.images = tmp_path / "share"
    box.online()
    line = start_line(broker, tmp_path, "--rate", "50")
    try:
        until(lambda: len(box.triggers) >= 4)
        threading.Event().wait(1.5)
        assert len(box.triggers) == 4
    finally:
        line.terminate()
        assert line.wait(15) == 0
        box.close()


def test_it_does_not_start_without_the_box_and_stops_on_a_signal(broker: Broker, tmp_path: Path) -> None:
    line = start_line(broker, tmp_path, "--parts", "5")
    until(lambda: (tmp_path / "truth.jsonl").exists())
    line.terminate()
    assert line.wait(15) == 0
    assert not list((tmp_path / "share").glob("*.png"))


def test_a_refused_login_is_said_and_ends_the_line(broker: Broker, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("nonsense")
    line = start_line(broker, tmp_path, "--password-file", str(wrong), "--parts", "1")
    _, said = line.communicate(timeout=40)
    assert line.returncode == 1
    assert b"login" in said
