"""``edge-agent mes`` as a process against a real mosquitto: orders in, answers out, also over a kill -9."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.simulation.broker import Broker
from tests.integration.link.conftest import _mosquitto  # noqa: F401  fixture

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("_mosquitto")]

ROOT = "acme/north/smt/l1/c1/_inspect/v1/box-1"
SITE = "acme/north/+/+/+/_inspect/v1/+"
ORDER: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "payloads" / "workorder.json").read_text(encoding="utf-8")
)
ORDER_ID = ORDER["data"]["jobOrderId"]
PATIENCE_S = 60.0


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Box:
    """What a box says and hears."""

    def __init__(self, broker: Broker) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="box-1", protocol=paho.MQTTv5)
        self._client.username_pw_set("box", broker.passwords["box"])
        self._client.on_message = lambda _c, _u, m: self.heard.append((m.topic, json.loads(m.payload)))
        self._client.connect("127.0.0.1", broker.port)
        self._client.subscribe([(f"{ROOT}/in/#", 1), ("acme/north/_mes/v1/state", 1)])
        self._client.loop_start()

    def order(self, event_id: str) -> None:
        body = json.dumps({**ORDER, "id": event_id})
        self._client.publish(f"{ROOT}/out/wo/{ORDER_ID}/order", body, 1, retain=True).wait_for_publish(5)

    def data(self, end: str) -> list[dict[str, Any]]:
        return [event.get("data", event) for topic, event in self.heard if topic.endswith(end)]

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Mes:
    """The process under test."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self._log, self._state = folder / "mes.log", folder / "mes"
        self._words = ["--port", str(broker.port), "--username", "mes", "--root", SITE, "--page", "127.0.0.1:0"]
        self._words += ["--password-file", str(broker.password_file("mes")), "--state", str(self._state)]
        self._words += ["--format", "json"]
        self.process = self.started()

    def started(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            words = [sys.executable, "-u", "-m", "edge_agent.cli", "mes", *self._words]
            self.process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
        return self.process

    def says(self, event: str) -> int:
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return sum(json.loads(line).get("event") == event for line in lines if line.startswith("{"))

    def command(self, *words: str) -> str:
        words = (*words, "--state", str(self._state))
        made = subprocess.run(
            [sys.executable, "-m", "edge_agent.cli", "mes", *words], capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert made.returncode == 0, made.stderr
        return made.stdout


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[tuple[Box, Mes]]:
    with Broker(tmp_path / "broker", users=("box", "mes")) as broker:
        box, mes = Box(broker), Mes(broker, tmp_path)
        try:
            until(lambda: mes.says("connected"), "the MES is connected")
            yield box, mes
        finally:
            box.stop()
            if mes.process.poll() is None:
                mes.process.kill()
            mes.process.wait(10)


def test_an_order_is_answered_at_the_terminal_and_a_kill_loses_nothing(plant: tuple[Box, Mes]) -> None:
    box, mes = plant
    box.order("e-1")
    until(lambda: box.data("/in/receipt"), "the order is receipted")
    mes.process.kill()
    mes.process.wait(10)
    mes.command("answer", "PM-1001", "accepted")  # written down while nobody can send it
    box.order("e-1")  # the box has not heard the receipt and says it again
    mes.started()
    until(lambda: len(box.data("/in/receipt")) >= 2, "the second delivery is receipted")
    assert [each["status"] for each in box.data("/in/receipt")][:2] == ["received", "duplicate"]
    until(lambda: box.data("/response"), "the answer is sent")
    assert box.data("/response")[0]["event"] == "accepted"
    assert mes.says("order opened") == 1
    assert "PM-1001, accepted" in mes.command("show", "PM-1001")


def test_its_site_is_told_when_it_comes_and_goes(plant: tuple[Box, Mes]) -> None:
    box, mes = plant
    until(lambda: box.data("/_mes/v1/state"), "it says that it is there")
    mes.process.send_signal(signal.SIGTERM)
    assert mes.process.wait(20) == 0
    until(lambda: len(box.data("/_mes/v1/state")) >= 2, "it says that it goes")
    assert [each["online"] for each in box.data("/_mes/v1/state")][-1] is False
