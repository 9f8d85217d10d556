"""The closed loop through Node-RED: parts, incident, order, acceptance, closing; the flow is the one that we ship."""

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.domain.message import Ack, OutboxState
from tests.fault.agent_box import Box, missing, until
from tests.peers import npm

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
]

EXAMPLE = Path(__file__).resolve().parents[2] / "plant_config" / "examples" / "node-red"
PARTS = 60


class NodeRed:
    """Node-RED without its editor, on a copy of the example."""

    def __init__(self, box: Box) -> None:
        npm.install(npm.NODE_RED)
        self.folder = box.folder / "node-red"
        shutil.copytree(EXAMPLE, self.folder)
        self.kept = box.folder / "kept.jsonl"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        enterprise, site, *_ = box.root.split("/")
        self._environment = {
            **os.environ,
            "PORT": str(self.port),
            "EDITOR_OFF": "1",
            "MES_FILE": str(self.kept),
            "MQTT_HOST": box.broker.host,
            "MQTT_PORT": str(box.broker.port),
            "MQTT_USER": "mes",
            "MQTT_PASSWORD": box.broker.passwords["mes"],
            "MES_STATE_TOPIC": f"{enterprise}/{site}/_mes/v1/state",
        }
        self._log = box.folder / "node-red.log"
        self.process = self.started()

    def started(self) -> "subprocess.Popen[bytes]":
        program = npm.NODE_RED / "node_modules" / "node-red" / "red.js"
        words = ["node", str(program), "--userDir", str(self.folder)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                words, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        return self.process

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    @property
    def said(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def ask(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Status and answer of its web service; (0, None) while it is not there."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            refusal = error.read()
            return (error.code, json.loads(refusal)) if refusal.startswith(b"{") else (0, None)  # no flow there yet
        except OSError:
            return 0, None

    def orders(self) -> list[dict[str, Any]]:
        return self.ask("/orders")[1] or []


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.end()


@pytest.fixture
def node_red(box: Box) -> Iterator[NodeRed]:
    box.broker.start()
    box.configure(plant=lambda plant: plant["mqtt"].update(receipt_retry_s=2))
    made = NodeRed(box)
    yield made
    made.kill()


def state_of(box: Box, number: str) -> str:
    return next((order.state.value for order in box.orders if order.number == number), "")


def unreceipted(box: Box) -> list[str]:
    waiting = [row for row in box.outbox if row.message.ack is Ack.RECEIPT and row.state is not OutboxState.CONFIRMED]
    return [row.message.topic for row in waiting]


def test_the_loop_closes_through_node_red_also_after_its_death(box: Box, node_red: NodeRed) -> None:
    box.start_agent()
    box.start_line(PARTS, "--seed", "1", "--fault", "conveyor_fast", "--rate", "10")
    until(lambda: node_red.orders(), "Node-RED has an order", 120)
    order = node_red.orders()[0]
    until(lambda: state_of(box, order["number"]) == "accepted", "the box knows that it is accepted")

    node_red.kill()
    node_red.started()
    until(lambda: node_red.orders(), "it is there again, and so is the order")

    assert node_red.ask("/orders/else/close", {"causeCode": "A01"})[0] == 404
    assert node_red.ask(f"/orders/{order['id']}/close", {"minutes": 3})[0] == 400
    found = {"causeCode": order["suspects"][0]["causeCode"], "minutes": 12, "personnel": "technician-2"}
    status, answer = node_red.ask(f"/orders/{order['id']}/close", found)
    assert (status, answer["said"]) == (202, "closed"), node_red.said
    until(lambda: state_of(box, order["number"]) == "closed", "the box knows that it is closed")
    until(lambda: not unreceipted(box), f"everything has its receipt: {unreceipted(box)}")

    kinds = {json.loads(line)["event"]["type"].split(".")[2] for line in node_red.kept.read_text().splitlines()}
    assert {"workorder", "defect", "rca"} <= kinds
    until(lambda: order["id"] not in {each["id"] for each in node_red.orders()}, "a cleared order leaves the list")
    assert "Traceback" not in box.agent.said
