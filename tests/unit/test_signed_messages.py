"""Signed events: what was signed is what is read, commands that must be signed, and what the box signs itself."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.adapters.link.commands import CommandHandler
from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.adapters.triggers.mqtt import MqttTrigger
from edge_agent.config.stations import MqttTriggerOptions
from edge_agent.contract import payloads, topics
from edge_agent.contract.commands import CommandOutcome, Verb
from edge_agent.contract.complaints import Complaints
from edge_agent.contract.signed import Signatures, Untrusted, signed, taken_apart
from edge_agent.domain.message import InboundMessage
from edge_agent.signing import jws
from edge_agent.signing.keys import SigningKey
from edge_agent.signing.trust import TrustedKeys
from tests.fakes.clock import FakeClock
from tests.fakes.plant_samples import SENDER
from tests.fakes.trigger_link import TriggerLink

MES, STRANGER = SigningKey.new(), SigningKey.new()
TOPIC = topics.under(SENDER.topic_root, topics.command("recipe"))


@pytest.fixture
def trusted(tmp_path: Path) -> TrustedKeys:
    file = tmp_path / "mes.pem"
    file.write_text(MES.public.pem)
    return TrustedKeys({"mes": file})


# --- the text ---------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=12), JSON, min_size=1, max_size=4), st.sampled_from([None, 2]), st.booleans())
def test_whoever_adds_the_signature_last_signs_the_text_without_it(
    event: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    event.pop("signature", None)
    text = json.dumps(event, indent=indent, ensure_ascii=ascii_only).encode()
    with_it = json.dumps(event | {"signature": "a..b"}, indent=indent, ensure_ascii=ascii_only).encode()
    assert taken_apart(with_it) == (text, "a..b")
    assert taken_apart(text) == (text, "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"signature":"a..b"}',  # nothing was signed
        b'{"signature":"a..b","data":{}}',  # not the last
        b'{"data":{"x":1,"signature":"a..b"}}',  # of something inside
        b'{"data":"x,\\"signature\\":\\"a..b\\"}"}',  # in a text
        b'{"data":1,"signature":7}',
        b'{"data":1,"signature":"a..b"} trailing',
        b'[1,"signature"]',
    ],
)
def test_a_signature_anywhere_else_is_none(body: bytes) -> None:
    assert taken_apart(body) == (body, "")


def test_what_is_signed_comes_apart_again() -> None:
    body = b'{"specversion":"1.0","data":{"a":1}}'
    text, signature = taken_apart(signed(body, "a/b", MES))
    assert text == body
    assert jws.verify(signature, text, {MES.public.key_id: MES.public}.get).header["topic"] == "a/b"
    assert signed(b"", "a/b", MES) == b""


# --- commands ---------------------------------------------------------------------------------------------------------


class Box:
    """The handler with a real store; ``recipe`` must be signed, and counts how often it is done."""

    def __init__(self, folder: Path, trusted: TrustedKeys) -> None:
        self.clock = FakeClock()
        self.store = Database(sqlite_url(folder), clock=self.clock)
        self.store.migrate()
        self.done: list[str] = []
        verb = Verb(run=self._do)
        self.handler = CommandHandler(
            self.store,
            self.clock,
            SENDER,
            {"recipe": verb, "pause": verb},
            signatures=Signatures(trusted, required=["recipe"]),
        )

    def _do(self, _unit: Any, request: Any) -> CommandOutcome:
        self.done.append(request.command_id)
        return CommandOutcome(status="done", subjects=("recipe:board-a",))

    def event(self, command_id: str = "c-1", **changed: Any) -> bytes:
        soon = payloads.stamp(self.clock.now() + timedelta(seconds=30))
        data = {"commandId": command_id, "args": {"productId": "a"}, "notAfter": soon, "requestedBy": "shift-lead"}
        event = {
            "specversion": "1.0",
            "id": f"e-{command_id}",
            "source": "urn:mes",
            "type": "x",
            "data": data | changed,
        }
        return json.dumps(event).encode()

    def send(self, body: bytes, *, verb: str = "recipe", **properties: str) -> str:
        """Send it; the status of the newest reply."""
        message = InboundMessage(
            source="",
            message_id="",
            topic=topics.under(SENDER.topic_root, topics.command(verb)),
            body=body,
            received_at=self.clock.now(),
            properties=properties,
        )
        self.handler.on_command(message)
        return str(self.on(topics.REPLY)[0]["status"])

    def on(self, topic: str) -> list[dict[str, Any]]:
        with self.store.reader() as unit:
            rows = unit.outbox.rows(limit=100)
        return [json.loads(row.message.body)["data"] for row in rows if row.message.topic == topic]

    def complaints(self) -> list[tuple[str, str]]:
        return [(error["class"], error["reasonCode"]) for error in self.on(topics.ERROR)]


@pytest.fixture
def box(tmp_path: Path, trusted: TrustedKeys) -> Any:
    made = Box(tmp_path, trusted)
    yield made
    made.store.close()


def test_a_signed_command_is_done_once(box: Box) -> None:
    body = signed(box.event(), TOPIC, MES)
    assert box.send(body) == "done"
    assert box.send(body) == "done"  # the first reply again
    assert box.done == ["c-1"]
    with box.store.reader() as unit:
        entry = unit.audit.rows()[0]
    assert (entry.actor, entry.action) == ("shift-lead", "command.recipe")
    assert "signed by mes" in entry.detail
    assert box.complaints() == []


def test_a_replay_in_another_envelope_is_still_the_same_command(box: Box) -> None:
    data = json.dumps(json.loads(box.event())["data"]).encode()
    body = signed(data, TOPIC, MES)  # binary mode: id and source come beside the body, and are not signed
    assert box.send(body, id="e-1", source="urn:mes") == "done"
    assert box.send(body, id="e-2", source="urn:somebody") == "done"
    assert box.done == ["c-1"]


Sign = Callable[[Box], bytes]


@pytest.mark.parametrize(
    ("send", "reason"),
    [
        (lambda box: box.event(), "unsigned"),
        (lambda box: signed(box.event(), TOPIC, STRANGER), "signature-unknown-key"),
        (lambda box: signed(box.event(), TOPIC, MES).replace(b'"a"', b'"b"'), "signature-wrong"),
        (lambda box: signed(box.event(), TOPIC.replace("recipe", "pause"), MES), "signature-wrong-topic"),
        (lambda box: signed(box.event(), TOPIC.replace(SENDER.agent, "box-2"), MES), "signature-wrong-topic"),
        (lambda box: box.event()[:-1] + b', "signature": "a.b.c"}', "signature-malformed"),
    ],
)
def test_what_is_not_signed_as_it_must_be_is_refused_and_told(box: Box, send: Sign, reason: str) -> None:
    assert box.send(send(box)) == "rejected"
    assert box.complaints() == [("security", reason)]
    assert box.done == []
    assert box.send(signed(box.event(), TOPIC, MES)) == "done"  # the id is not burnt by somebody else


def test_a_signature_must_be_right_where_none_is_needed(box: Box) -> None:
    pause = TOPIC.replace("recipe", "pause")
    assert box.send(box.event("c-1"), verb="pause") == "done"
    assert box.send(signed(box.event("c-2"), pause, MES), verb="pause") == "done"
    assert box.send(signed(box.event("c-3"), pause, STRANGER), verb="pause") == "rejected"
    assert box.done == ["c-1", "c-2"]


def test_a_signed_command_from_yesterday_is_told(box: Box) -> None:
    body = signed(box.event(), TOPIC, MES)
    box.clock.advance(86_400)
    assert box.send(body) == "expired"
    assert box.complaints() == [("expired", "expired")]
    assert box.done == []


@pytest.mark.parametrize("hours", [None, 2, 24 * 365])
def test_a_signed_command_is_not_good_for_long(box: Box, hours: int | None) -> None:
    until = None if hours is None else payloads.stamp(box.clock.now() + timedelta(hours=hours))
    body = signed(box.event(notAfter=until), TOPIC, MES)
    assert box.send(body, **{"mqtt.expiry_s": "30"}) == "rejected"
    assert "notAfter" in box.on(topics.REPLY)[0]["detail"]
    assert box.done == []


def test_where_nobody_is_trusted_signatures_say_nothing() -> None:
    nobody = Signatures(TrustedKeys({}))
    message = InboundMessage(
        source="", message_id="", topic=TOPIC, body=signed(b'{"a":1}', "x", STRANGER), received_at=FakeClock().now()
    )
    assert nobody.opened(message, "recipe") == (message, "")
    with pytest.raises(Untrusted, match="must be signed"):
        Signatures(TrustedKeys({}), required=["recipe"]).opened(message, "recipe")


def test_what_is_read_is_what_was_signed(trusted: TrustedKeys) -> None:
    message = InboundMessage(source="", message_id="", topic=TOPIC, body=b"", received_at=FakeClock().now())
    body = b'{"data":{"a":1}}'
    opened, signer = Signatures(trusted).opened(replace(message, body=signed(body, TOPIC, MES)), "recipe")
    assert (opened.body, signer) == (body, "mes")


# --- triggers ---------------------------------------------------------------------------------------------------------


def test_a_trigger_that_must_be_signed(tmp_path: Path, trusted: TrustedKeys) -> None:
    clock = FakeClock()
    store = Database(sqlite_url(tmp_path), clock=clock)
    store.migrate()
    link = TriggerLink(clock)
    complaints = Complaints(store=store, sender=SENDER, clock=clock)
    for station in ("aoi-1", "aoi-2"):  # both read the topic; only the last one gets what the test sends
        trigger = MqttTrigger(
            MqttTriggerOptions(kind="mqtt"),
            station_id=station,
            strata={},
            clock=clock,
            link=link,
            signatures=Signatures(trusted, required=["trigger"]),
            complain=complaints.write,
        )
    asked = json.dumps({"triggerId": "t-1", "partId": "p-1", "productId": "a"}).encode()
    link.send(asked)
    assert (trigger.wait(0), trigger.missed()) == (None, 1)
    link.send(signed(asked, link.topic, MES))
    shot = trigger.wait(0)
    assert shot is not None
    assert shot.part_id == "p-1"
    with store.reader() as unit:
        (told,) = [json.loads(row.message.body)["data"] for row in unit.outbox.rows()]
    assert (told["class"], told["reasonCode"], told["topic"]) == ("security", "unsigned", link.topic)
    store.close()


# --- what the box signs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "is_signed"),
    [
        (topics.order("1"), True),
        (topics.report("1"), True),
        (topics.response_ack("1"), False),
        (topics.ORDER_INDEX, False),
        (topics.RESULT, False),
    ],
)
def test_the_box_signs_orders_and_reports(topic: str, is_signed: bool) -> None:
    assert topics.is_signed(topic) is is_signed
