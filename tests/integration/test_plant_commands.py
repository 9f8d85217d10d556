"""The whole agent as a process with the real mosquitto: commands, figures, and the terminal beside it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.adapters.clock import SystemClock
from edge_agent.contract import payloads
from edge_agent.contract.signed import signed
from edge_agent.domain.message import Ack, Lane, OutboundMessage, OutboxState
from edge_agent.signing.keys import read_signing_key
from tests.fault.agent_box import Box, missing, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
]
CLOCK = SystemClock()


class Hmi:
    """A foreign client: sends commands, keeps everything that the box says."""

    def __init__(self, box: Box) -> None:
        self.root = box.root
        self.got: list[paho.MQTTMessage] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="hmi-3", protocol=paho.MQTTv5)
        self.client.username_pw_set("plant", box.broker.passwords["plant"])
        self.client.on_message = lambda _client, _userdata, message: self.got.append(message)
        self.client.on_connect = lambda client, *_: client.subscribe(f"{self.root}/out/#", 1)
        self.client.connect(box.broker.host, box.broker.port)
        self.client.loop_start()
        until(self.client.is_connected, "the HMI is connected")

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def on(self, topic: str) -> list[paho.MQTTMessage]:
        return [message for message in list(self.got) if message.topic == f"{self.root}/{topic}"]

    def data(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(message.payload)["data"] for message in self.on(topic)]

    def send(self, verb: str, body: dict[str, Any], properties: Properties | None = None) -> None:
        self.client.publish(f"{self.root}/in/cmd/{verb}", json.dumps(body), 1, False, properties)

    def ask(self, verb: str, command_id: str, **args: Any) -> dict[str, Any]:
        """Send a command that is good for half a minute; its reply."""
        until_then = payloads.stamp(CLOCK.now() + timedelta(seconds=30))
        body = {"commandId": command_id, "args": args, "notAfter": until_then, "requestedBy": "hmi-3"}
        before = len(self.on("out/reply"))
        self.send(verb, body)
        until(lambda: len(self.on("out/reply")) > before, f"the reply to {verb}")
        reply = self.data("out/reply")[-1]
        assert reply["commandId"] == command_id
        return reply

    def inspect(self, box: Box, part: str) -> dict[str, Any]:
        """Put the golden image in front of the camera and trigger; the result."""
        shutil.copyfile(box.places.config / "golden" / "PCB-A.png", box.places.share / f"{part}.png")
        self.send("trigger", {"partId": part, "productId": "PCB-A", "triggerId": f"T-{part}"})
        until(lambda: self._result(part), f"the result of {part}")
        return self._result(part)

    def _result(self, part: str) -> dict[str, Any]:
        return next((data for data in self.data("out/result") if data["unitId"] == part), {})


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    made.broker.start()
    made.configure()
    yield made
    made.end()


@pytest.fixture
def hmi(box: Box) -> Iterator[Hmi]:
    made = Hmi(box)
    yield made
    made.close()


def terminal(*words: str) -> subprocess.CompletedProcess[str]:
    """``edge-agent ...``."""
    command = [sys.executable, "-m", "edge_agent.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_station_is_paused_stays_so_across_a_restart_and_is_resumed(box: Box, hmi: Hmi) -> None:
    box.start_agent()
    until(lambda: any(data["online"] for data in hmi.data("out/state")), "the birth")
    assert hmi.inspect(box, "A-1")["evaluation"] == "OK"
    assert hmi.ask("ping", "c-0")["status"] == "done"

    first = hmi.ask("pause", "c-1", stationId="aoi-1", reason="lens is cleaned")
    assert (first["status"], first["returnStatus"]) == ("done", 1)
    until(lambda: hmi.data("out/state")[-1].get("mode") == "paused", "the state says so")
    held = hmi.inspect(box, "A-2")
    assert (held["evaluation"], held["disposition"]) == ("NOT_INSPECTED", "HOLD")
    assert [reason["code"] for reason in held["reasons"]] == ["station.paused"]
    assert "lens is cleaned" in held["reasons"][0]["text"]

    code, _ = box.agent.terminate()
    assert code == 0
    box.start_agent()
    status = hmi.ask("status", "c-2")["result"]
    assert status["stations"][0]["paused"] is True
    assert status["components"]["station:aoi-1"]["condition"] == "degraded"
    assert hmi.inspect(box, "A-3")["disposition"] == "HOLD"

    assert hmi.ask("resume", "c-3")["status"] == "done"
    assert hmi.ask("pause", "c-1", stationId="aoi-1", reason="lens is cleaned") == first  # a repetition: told, not done
    assert hmi.inspect(box, "A-4")["evaluation"] == "OK"

    audited = [entry["action"] for entry in json.loads(terminal("audit", "list", *at(box), *JSON).stdout)][::-1]
    assert [action for action in audited if action.startswith("command.")] == ["command.pause", "command.resume"]


def test_a_command_that_waited_while_the_agent_was_away_is_not_done_too_late(box: Box, hmi: Hmi) -> None:
    box.start_agent()
    until(lambda: any(data["online"] for data in hmi.data("out/state")), "the birth: the session is there")
    box.agent.terminate()
    ago = payloads.stamp(CLOCK.now() - timedelta(seconds=1))
    hmi.send("pause", {"commandId": "late", "notAfter": ago})
    hmi.send("pause", {"commandId": "ageless"})
    expiring = Properties(PacketTypes.PUBLISH)
    expiring.MessageExpiryInterval = 600
    hmi.send("ping", {"commandId": "fresh"}, expiring)
    box.start_agent()
    until(lambda: len(hmi.data("out/reply")) == 3, "three replies")
    found = {reply["commandId"]: reply["status"] for reply in hmi.data("out/reply")}
    assert found == {"late": "expired", "ageless": "rejected", "fresh": "done"}
    assert hmi.inspect(box, "B-1")["evaluation"] == "OK"


def test_a_recipe_is_changed_only_by_whoever_may_sign_it(box: Box, hmi: Hmi, tmp_path: Path) -> None:
    key, own = tmp_path / "mes.key", tmp_path / "box.key"
    for file in (key, own):
        assert terminal("keys", "new", str(file)).returncode == 0
    security = {"signed_commands": True, "trusted_keys": {"mes": f"{key}.pub"}, "signing_key_file": str(own)}
    box.change(lambda plant: plant.update(security=security))
    box.start_agent()
    until(lambda: any(data["online"] for data in hmi.data("out/state")), "the birth")
    wanted = {"stationId": "aoi-1", "productId": "PCB-A", "recipeId": "pcb-a", "version": 1}
    refused = hmi.ask("recipe", "r-1", **wanted)
    assert (refused["status"], "must be signed" in refused["detail"]) == ("rejected", True)
    (told,) = hmi.data("out/error")
    assert (told["class"], told["reasonCode"]) == ("security", "unsigned")

    soon = payloads.stamp(CLOCK.now() + timedelta(seconds=30))
    command = {"commandId": "r-1", "args": wanted, "notAfter": soon, "requestedBy": "shift-lead"}
    topic = f"{hmi.root}/in/cmd/recipe"
    hmi.client.publish(topic, signed(json.dumps(command).encode(), topic, read_signing_key(key)), 1)
    until(lambda: len(hmi.data("out/reply")) == 2, "the reply")
    assert hmi.data("out/reply")[-1]["status"] == "done"
    audited = json.loads(terminal("audit", "list", *at(box), *JSON).stdout)
    (entry,) = [one for one in audited if one["action"] == "command.recipe"]
    assert (entry["actor"], "signed by mes" in entry["detail"]) == ("shift-lead", True)
    assert hmi.ask("ping", "p-1")["status"] == "done", "what need not be signed is done without"


def test_the_terminal_repairs_the_outbox_while_the_agent_runs(box: Box, hmi: Hmi) -> None:
    box.start_agent()
    too_large = OutboundMessage(
        message_id=CLOCK.new_id(),
        topic="out/defect",
        body=b"x" * 300_000,
        lane=Lane.FINDINGS,
        ack=Ack.RECEIPT,
        created_at=CLOCK.now(),
    )
    with box.store.unit() as unit:
        sequence = unit.outbox.add(too_large)
        unit.commit()
    until(lambda: state_of(box, sequence) is OutboxState.QUARANTINED, "it is put aside")
    (listed,) = json.loads(terminal("outbox", "list", "--only", "quarantined", *at(box), *JSON).stdout)
    assert (listed["sequence"], listed["bytes"]) == (sequence, 300_000)
    assert "max_payload_kib" in listed["detail"]
    assert terminal("outbox", "retry", str(sequence), *at(box)).returncode == 0
    until(lambda: len(hmi.data("out/error")) == 2, "it was tried, and put aside again")
    until(lambda: state_of(box, sequence) is OutboxState.QUARANTINED, "it is put aside again")
    done = terminal("outbox", "drop", str(sequence), "--yes", *at(box))
    assert (done.returncode, done.stdout) == (0, "1 given up\n")
    assert state_of(box, sequence) is OutboxState.EXPIRED
    assert hmi.inspect(box, "C-1")["evaluation"] == "OK"


def test_what_was_loaded_is_audited_and_only_when_it_changed(box: Box) -> None:
    box.start_agent()
    box.agent.terminate()
    recipe = box.places.config / "recipes" / "pcb-a.yaml"
    recipe.write_text(recipe.read_text() + "\n# changed\n")
    box.start_agent()
    entries = json.loads(terminal("audit", "list", *at(box), *JSON).stdout)[::-1]
    starts = [place for place, entry in enumerate(entries) if entry["action"] == "agent.started"]
    first, second = entries[: starts[0]], entries[starts[0] + 1 : starts[1]]
    kinds = {entry["action"] for entry in first}
    assert kinds == {"configuration.loaded", "recipe.loaded", "model.loaded"}
    assert all(entry["before"] == "" for entry in first)
    assert {entry["action"] for entry in second} == {"configuration.loaded", "recipe.loaded"}
    changed = {entry["subject"]: entry for entry in second}["configuration:recipes/pcb-a.yaml"]
    assert changed["before"] == {entry["subject"]: entry for entry in first}[changed["subject"]]["after"]
    assert changed["after"] not in ("", changed["before"])
    verified = terminal("audit", "verify", *at(box), "--head", entries[-1]["hash"])
    assert verified.returncode == 0, verified.stderr
    until(lambda: box.retained_state().get("audit", {}).get("hash") == entries[-1]["hash"], "the head is published")


@pytest.mark.slow
def test_the_figures_are_retained_and_expire(box: Box, hmi: Hmi) -> None:
    box.start_agent()
    hmi.inspect(box, "D-1")
    until(lambda: hmi.on("out/metric/fpy"), "the yield, within half a minute")
    until(lambda: hmi.on("out/metric/disk_free_bytes"), "the last figure")
    names = {message.topic.rpartition("/")[2] for message in hmi.got if "/out/metric/" in message.topic}
    assert names == {
        "fpy",
        "parts_per_minute",
        "inspection_ms_p50",
        "inspection_ms_p99",
        "outbox_pending",
        "outbox_oldest_s",
        "disk_free_bytes",
    }
    message = hmi.on("out/metric/fpy")[-1]
    assert json.loads(message.payload)["value"] == 1.0
    assert message.qos == 0
    assert 0 < message.properties.MessageExpiryInterval <= 300
    hmi.close()
    late = Hmi(box)
    until(lambda: late.on("out/metric/fpy"), "a newcomer gets the last one")
    late.close()


JSON = ("--format", "json")


def at(box: Box) -> tuple[str, str]:
    return "--state", str(box.state)


def state_of(box: Box, sequence: int) -> OutboxState:
    with box.store.reader() as unit:
        row = unit.outbox.get(sequence)
    assert row is not None
    return row.state
