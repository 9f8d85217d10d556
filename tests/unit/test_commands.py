"""Commands from the plant: done once, answered always, and never done late."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.link.commands import CommandHandler
from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.bootstrap.box_state import BoxState, verbs
from edge_agent.contract import payloads, topics
from edge_agent.domain.faults import Transient
from edge_agent.domain.message import InboundMessage
from edge_agent.inspecting.challenge import ChallengeGate
from edge_agent.inspecting.pause import Pause, load_pause
from edge_agent.observability.health import Condition, Health
from tests.fakes.clock import FakeClock
from tests.fakes.plant_samples import SENDER

BITS = {"success": 1, "unknown id": 2, "invalid command": 4, "unable": 16, "invalid request": 1 << 32}


class Box:
    """The handler with a real store and two stations."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.store = Database(sqlite_url(folder), clock=self.clock)
        self.store.migrate()
        self.health = Health()
        self.pauses = {"aoi-1": Pause(), "aoi-2": Pause()}
        self.challenges: dict[str, ChallengeGate] = {}
        self.changes = 0
        self.state = BoxState(
            sender=SENDER,
            clock=self.clock,
            store=self.store,
            recipes=lambda: ["board-a/3"],
            pauses=self.pauses,
            health=self.health,
        )
        table = verbs(
            sender=SENDER,
            clock=self.clock,
            health=self.health,
            pauses=self.pauses,
            challenges=self.challenges,
            changed=self._changed,
            changes={},
        )
        self.handler = CommandHandler(
            self.store, self.clock, SENDER, table, elsewhere={"trigger"}, reply_topics=["acme/+/hmi/reply/#"]
        )

    def _changed(self) -> None:
        self.changes += 1

    def send(self, verb: str, body: Any, properties: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Send a command; its reply."""
        before = len(self.on(topics.REPLY))
        self.handler.on_command(self.message(verb, body, properties))
        replies = self.on(topics.REPLY)
        assert len(replies) == before + 1
        return replies[0]

    def message(self, verb: str, body: Any, properties: Mapping[str, str] | None = None) -> InboundMessage:
        return InboundMessage(
            source="",
            message_id="",
            topic=topics.under(SENDER.topic_root, topics.command(verb)),
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
            received_at=self.clock.now(),
            properties=properties or {},
        )

    def ask(self, command_id: str, **args: Any) -> dict[str, Any]:
        return {
            "commandId": command_id,
            "args": args,
            "notAfter": payloads.stamp(self.clock.now() + timedelta(seconds=30)),
            "requestedBy": "hmi-3",
        }

    def on(self, topic: str) -> list[dict[str, Any]]:
        """What was written for a topic, newest first."""
        with self.store.reader() as unit:
            rows = unit.outbox.rows(limit=1000)
        return [json.loads(row.message.body)["data"] for row in rows if row.message.topic == topic]

    def audited(self) -> list[tuple[str, str, str]]:
        with self.store.reader() as unit:
            assert not unit.audit.verify().fault
            return [(entry.actor, entry.action, entry.subject) for entry in unit.audit.rows()]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.store.close()


def test_a_station_is_paused_and_resumed(box: Box) -> None:
    reply = box.send("pause", box.ask("c-1", stationId="aoi-1", reason="lens is cleaned"))
    assert (reply["commandId"], reply["status"], reply["returnStatus"]) == ("c-1", "done", BITS["success"])
    reason = box.pauses["aoi-1"].reason
    assert reason is not None
    assert reason.code == "station.paused"
    assert "hmi-3" in reason.text
    assert "lens is cleaned" in reason.text
    assert box.pauses["aoi-2"].reason is None
    assert box.send("resume", box.ask("c-2", stationId="aoi-1"))["detail"] == "aoi-1: at work"
    assert box.pauses["aoi-1"].reason is None
    assert box.changes == 2
    assert box.audited() == [
        ("hmi-3", "command.pause", "station:aoi-1"),
        ("hmi-3", "command.resume", "station:aoi-1"),
    ]


def test_without_a_station_all_are_meant(box: Box) -> None:
    box.send("pause", box.ask("c-1", stationId="aoi-2"))
    assert box.send("pause", box.ask("c-2"))["detail"] == "aoi-1: paused; aoi-2: paused already"
    assert [subject for _, _, subject in box.audited()] == ["station:aoi-2", "station:aoi-1"]


def test_a_pause_outlives_a_restart(box: Box) -> None:
    box.send("pause", box.ask("c-1", stationId="aoi-1"))
    with box.store.reader() as unit:
        loaded = {station: load_pause(unit, station) for station in box.pauses}
    assert loaded["aoi-1"].reason == box.pauses["aoi-1"].reason
    assert loaded["aoi-2"].reason is None


def test_a_repeated_command_gets_the_first_reply_and_does_nothing(box: Box) -> None:
    first = box.send("pause", box.ask("c-1", stationId="aoi-1"))
    box.send("resume", box.ask("c-2", stationId="aoi-1"))
    again = box.ask("c-1", stationId="aoi-1")
    box.clock.advance(3600)  # a repetition may come late: it is still answered with what happened
    assert box.send("pause", again) == first
    enveloped = {"specversion": "1.0", "id": "e-9", "source": "urn:plant:bare", "type": "x", "data": again}
    assert box.send("pause", enveloped) == first
    assert box.pauses["aoi-1"].reason is None
    assert box.changes == 2


def test_another_sender_may_use_the_same_id(box: Box) -> None:
    box.send("pause", box.ask("c-1", stationId="aoi-1"))
    other = {"specversion": "1.0", "id": "e-1", "source": "urn:mes:1", "type": "x", "data": box.ask("c-1")}
    assert box.send("resume", other)["status"] == "done"
    assert box.pauses["aoi-1"].reason is None


def test_an_id_that_was_used_for_something_else_is_refused(box: Box) -> None:
    box.send("pause", box.ask("c-1", stationId="aoi-1"))
    for verb, asked in (("resume", box.ask("c-1", stationId="aoi-1")), ("pause", box.ask("c-1", stationId="aoi-2"))):
        reply = box.send(verb, asked)
        assert (reply["status"], reply["returnStatus"]) == ("rejected", BITS["invalid request"])
    assert box.pauses["aoi-1"].reason is not None
    assert box.pauses["aoi-2"].reason is None


def test_a_late_command_is_not_done(box: Box) -> None:
    asked = box.ask("c-1")
    box.clock.advance(31)
    reply = box.send("pause", asked)
    assert (reply["status"], reply["returnStatus"]) == ("expired", BITS["unable"])
    assert box.send("pause", box.ask("c-2"), {"mqtt.retain": "1"})["status"] == "expired"
    assert all(pause.reason is None for pause in box.pauses.values())
    assert box.audited() == []


def test_a_command_that_says_nothing_of_its_age_is_not_done(box: Box) -> None:
    reply = box.send("pause", {"commandId": "c-1"})
    assert (reply["status"], reply["returnStatus"]) == ("rejected", BITS["invalid request"])
    assert "notAfter" in reply["detail"]
    reply = box.send("pause", {"commandId": "c-2"}, {"mqtt.expiry_s": "60"})
    assert reply["status"] == "done"


REFUSED: list[tuple[str, Any, str, str]] = [
    ("selfdestruct", {"commandId": "c"}, "invalid command", "there are: ack, challenge, pause, ping, resume, status"),
    ("recipe", {"commandId": "c"}, "invalid command", "'recipe' is not known"),
    ("pause", {"commandId": "c", "args": {"stationId": "aoi-9"}}, "unknown id", "there are: aoi-1, aoi-2"),
    ("resume", {"commandId": "c", "args": {"stationId": 7}}, "invalid request", "stationId"),
]


@pytest.mark.parametrize(("verb", "body", "bit", "why"), REFUSED)
def test_what_cannot_be_done_is_refused_with_its_reason(box: Box, verb: str, body: Any, bit: str, why: str) -> None:
    reply = box.send(verb, box.ask("c") | body)
    assert (reply["status"], reply["returnStatus"]) == ("rejected", BITS[bit])
    assert why in reply["detail"]
    assert box.audited() == []


def test_what_cannot_be_read_is_an_error_and_answered_where_it_has_an_id(box: Box) -> None:
    reply = box.send("pause", {"commandId": "c-1", "args": 3})
    assert (reply["commandId"], reply["returnStatus"]) == ("c-1", BITS["invalid request"])
    for body in (b"{", b"[]", b'{"args": {}}', b"\xff", json.dumps({"commandId": "x" * 129}).encode()):
        box.handler.on_command(box.message("pause", body))
    assert len(box.on(topics.REPLY)) == 1
    assert [error["class"] for error in box.on(topics.ERROR)] == ["inbound-invalid"] * 6


def test_triggers_are_left_to_the_trigger(box: Box) -> None:
    box.handler.on_command(box.message("trigger", {"commandId": "c-1"}))
    with box.store.reader() as unit:
        assert unit.outbox.rows() == []


def test_ping_and_status_tell_how_the_box_is(box: Box) -> None:
    box.send("pause", box.ask("c-1", stationId="aoi-2"))
    box.health.report("broker", Condition.DOWN, "no route", at=box.clock.now())
    assert box.send("ping", {"commandId": "c-2"})["result"]["version"] == SENDER.software_version
    result = box.send("status", {"commandId": "c-3"})["result"]
    assert [(station["id"], station["paused"]) for station in result["stations"]] == [("aoi-1", False), ("aoi-2", True)]
    assert result["components"]["broker"]["condition"] == "down"
    assert result["outbox"]["pending"] == 2
    assert len(box.audited()) == 1


def test_alarms_are_acknowledged_until_they_change(box: Box) -> None:
    def report(condition: Condition) -> None:
        box.health.report("broker", condition, "no route", at=box.clock.now())

    report(Condition.DOWN)
    box.health.report("camera:aoi-1", Condition.OK, at=box.clock.now())
    reply = box.send("ack", box.ask("c-1", note="called the network people"))
    assert reply["result"] == {"acknowledged": ["broker"]}
    report(Condition.DOWN)
    told = box.send("status", {"commandId": "c-2"})["result"]["components"]
    assert told["broker"]["acknowledged"].startswith("hmi-3 at ")
    assert told["broker"]["acknowledged"].endswith("called the network people")
    assert told["camera:aoi-1"]["acknowledged"] is None
    assert box.audited() == [("hmi-3", "command.ack", "alarm:broker")]
    report(Condition.OK)
    report(Condition.DOWN)
    assert not box.health.alarms()[0].acknowledged
    assert box.send("ack", box.ask("c-3", component="camera:aoi-1"))["returnStatus"] == BITS["unknown id"]


@pytest.mark.parametrize(
    ("wanted", "topic"),
    [
        ("acme/1/hmi/reply/7", "/acme/1/hmi/reply/7"),
        ("acme/1/other", topics.REPLY),
        ("acme/+/hmi/reply/7", topics.REPLY),
        ("", topics.REPLY),
    ],
)
def test_a_response_topic_is_followed_only_where_it_is_allowed(box: Box, wanted: str, topic: str) -> None:
    asked = {"commandId": "c-1"}
    properties = {"mqtt.response_topic": wanted, "mqtt.correlation": "x-9"}
    for _ in range(2):  # a repetition is answered in the same way
        box.handler.on_command(box.message("ping", asked, properties))
    with box.store.reader() as unit:
        rows = unit.outbox.rows()
    assert [row.message.topic for row in rows] == [topic, topic]
    assert rows[0].message.correlation == ("x-9" if topic != topics.REPLY else "c-1")


def test_nothing_happens_when_the_store_cannot_write(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message stays with the broker, and is done when it comes again."""

    def full(*_: object) -> None:
        raise Transient("disk full")

    asked = box.message("pause", box.ask("c-1"))
    with monkeypatch.context() as patch:
        patch.setattr(Database, "commit", full)
        with pytest.raises(Transient):
            box.handler.on_command(asked)
    assert all(pause.reason is None for pause in box.pauses.values())
    box.handler.on_command(asked)
    assert all(pause.reason is not None for pause in box.pauses.values())


def test_the_state_says_who_is_paused_and_where_the_audit_log_stands(box: Box) -> None:
    def told() -> dict[str, Any]:
        data: dict[str, Any] = json.loads(box.state.body(True))["data"]
        return data

    assert (told()["mode"], told()["pausedStations"], told().get("audit")) == ("running", [], None)
    box.send("pause", box.ask("c-1", stationId="aoi-1"))
    with box.store.reader() as unit:
        head = unit.audit.latest()[0]
    assert (told()["mode"], told()["pausedStations"]) == ("running", ["aoi-1"])
    assert told()["audit"] == {"seq": 1, "hash": head.hash}
    assert told()["outbox"]["pending"] == 1
    box.send("pause", box.ask("c-2", stationId="aoi-2"))
    assert told()["mode"] == "paused"
    assert "mode" not in json.loads(box.state.body(False))["data"]


def test_the_birth_does_not_wait_for_the_store(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: object) -> None:
        raise Transient("away")

    monkeypatch.setattr(Database, "reader", away)
    data = json.loads(box.state.body(True))["data"]
    assert (data["online"], data["mode"]) == (True, "running")
    assert "outbox" not in data
