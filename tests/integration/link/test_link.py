"""The plant link against the real mosquitto."""

import json
import threading
from pathlib import Path
from uuid import uuid4

import pytest

from edge_agent.adapters.link import dispatch
from edge_agent.contract import topics
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.message import Ack, InboundMessage, Lane, OutboxState
from edge_agent.simulation.broker import Broker
from tests.integration.link.plant import (
    AGENT,
    CLOCK,
    MES_STATE,
    ROOT,
    Box,
    box,
    event,
    mes,
    message,
    options,
    response,
    soon,
    until,
)

pytestmark = pytest.mark.integration


def test_birth_is_retained_and_a_clean_stop_says_offline(broker: Broker, tmp_path: Path) -> None:
    with mes(broker) as plant:
        with box(broker, tmp_path):
            until(lambda: plant.on(topics.STATE), "the birth")
        until(lambda: len(plant.on(topics.STATE)) == 2, "the farewell")
        states = [json.loads(each.payload)["data"]["online"] for each in plant.on(topics.STATE)]
    assert states == [True, False]
    with mes(broker, client_id="late") as late:
        until(lambda: late.on(topics.STATE), "the retained state")
        assert json.loads(late.on(topics.STATE)[0].payload)["data"]["online"] is False
        assert late.on(topics.STATE)[0].properties.ContentType == "application/cloudevents+json"


def test_the_row_is_closed_by_the_receipt_not_by_the_puback(broker: Broker, tmp_path: Path) -> None:
    with mes(broker) as plant, box(broker, tmp_path, receipt_retry_s=60) as agent:
        agent.add(message(1))
        got = until(lambda: plant.on(topics.DEFECT), "the defect")[0]
        until(lambda: agent.counts()[OutboxState.SENT] == 1, "the PUBACK is booked")
        plant.confirm([json.loads(got.payload)["id"]])
        until(lambda: agent.counts()[OutboxState.CONFIRMED] == 1, "the receipt is booked")
        assert dict(got.properties.UserProperty)["seq"] == "1"


def test_without_a_receipt_it_is_sent_again(broker: Broker, tmp_path: Path) -> None:
    with mes(broker) as plant, box(broker, tmp_path, receipt_retry_s=0.2) as agent:
        agent.add(message(1))
        until(lambda: len(plant.numbers()) >= 3, "two repetitions")
        assert agent.counts()[OutboxState.SENT] == 1


def test_puback_class_is_done_with_the_puback(broker: Broker, tmp_path: Path) -> None:
    with mes(broker) as plant, box(broker, tmp_path) as agent:
        agent.add(message(1, ack=Ack.PUBACK))
        until(lambda: agent.counts()[OutboxState.CONFIRMED] == 1, "confirmed")
        assert plant.numbers() == [1]


def test_nobody_subscribes_and_the_mes_comes_later(broker: Broker, tmp_path: Path) -> None:
    with box(broker, tmp_path, receipt_retry_s=600) as agent:
        agent.add(message(1))
        until(lambda: agent.counts()[OutboxState.SENT] == 1, "PUBACK 0x10 is booked")
        assert agent.counts()[OutboxState.CONFIRMED] == 0
        with mes(broker, receipts=True) as plant:
            plant.send(MES_STATE, event({"online": True, "consumer": "test"}), retain=True, root="")
            until(lambda: agent.counts()[OutboxState.CONFIRMED] == 1, "sent again when the MES came, and receipted")


def test_orders_overtake_results(broker: Broker, tmp_path: Path) -> None:
    with Broker(tmp_path / "slow", settings={"max_inflight_messages": "20"}) as slow, mes(slow) as plant:
        agent = Box(slow, tmp_path)
        agent.add(*[message(n, ack=Ack.PUBACK, lane=Lane.RESULTS) for n in range(300)])
        agent.add(*[message(1000 + n, ack=Ack.PUBACK, lane=Lane.ORDERS) for n in range(5)])
        agent.start()
        until(lambda: len(plant.numbers()) == 305, "all of them")
        agent.stop()
        assert plant.numbers()[:5] == [1000, 1001, 1002, 1003, 1004]


def test_revisions_of_one_order_go_one_after_the_other(broker: Broker, tmp_path: Path) -> None:
    with mes(broker) as plant, box(broker, tmp_path) as agent:
        agent.add(*[message(n, ack=Ack.PUBACK, order_key="wo-1", retain=True) for n in range(20)])
        until(lambda: len(plant.numbers()) == 20, "all revisions")
        assert plant.numbers() == list(range(20))


def test_wrong_password_is_told_and_does_not_end_anything(broker: Broker, tmp_path: Path) -> None:
    with box(broker, tmp_path, connected=False, password="wrong") as agent:
        agent.add(message(1))
        detail = until(lambda: agent.link.status().detail, "the refusal is told")
        assert "refused" in detail
        assert not agent.link.status().connected
        assert agent.counts()[OutboxState.PENDING] == 1


def test_a_user_without_a_password_is_a_configuration_error(broker: Broker, tmp_path: Path) -> None:
    from edge_agent.adapters.link.mqtt import MqttLink

    with pytest.raises(ConfigError, match="has no password"):
        MqttLink(options(broker), agent=AGENT, topic_root=ROOT, store=None, clock=CLOCK, state_body=lambda online: b"")


def test_a_response_is_in_the_inbox_once(broker: Broker, tmp_path: Path) -> None:
    order = uuid4()
    answer = event(response(order), event_id="e-1")
    with mes(broker) as plant, box(broker, tmp_path) as agent:
        for _ in range(3):
            plant.send(topics.response(order), answer)
        plant.send(topics.response(order), event(response(order), event_id="e-2"))
        until(lambda: any(each.message_id == "e-2" for each in agent.inbox()), "the second response")
        assert [(each.source, each.message_id) for each in agent.inbox()] == [
            ("urn:mes:1", "e-1"),
            ("urn:mes:1", "e-2"),
        ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not-json"),
        (b"{", "not-json"),
        (b"\xff\xfe", "not-json"),
        (b"[1]", "not-an-object"),
        (b"[" * 50_000, "too-deep"),
        (b'{"specversion":"1.0"}', "envelope"),
        (b'{"jobOrderId":"x"}', "schema"),
        (b'{"pad":"' + b"x" * 300_000 + b'"}', "oversize"),
    ],
)
def test_malformed_responses_are_told_on_out_error(broker: Broker, tmp_path: Path, body: bytes, reason: str) -> None:
    with mes(broker) as plant, box(broker, tmp_path) as agent:
        plant.send(topics.response(uuid4()), body)
        told = until(lambda: plant.on(topics.ERROR), "the error")[0]
        data = json.loads(told.payload)["data"]
        assert (data["class"], data["reasonCode"]) == ("inbound-invalid", reason)
        assert len(data["excerpt"].encode()) <= 4096
        assert agent.inbox() == []


def test_an_unknown_word_is_kept_and_told(broker: Broker, tmp_path: Path) -> None:
    order = uuid4()
    with mes(broker) as plant, box(broker, tmp_path) as agent:
        plant.send(topics.response(order), event(response(order, event="teleported")))
        until(lambda: agent.inbox(), "the response is kept")
        assert agent.errors_out()[0]["reasonCode"] == "unknown-value"


def test_a_response_on_another_orders_topic_is_refused(broker: Broker, tmp_path: Path) -> None:
    with mes(broker) as plant, box(broker, tmp_path) as agent:
        plant.send(topics.response(uuid4()), event(response(uuid4())))
        until(lambda: agent.errors_out(), "told")
        assert agent.errors_out()[0]["reasonCode"] == "wrong-topic"
        assert agent.inbox() == []


def test_oversize_rows_are_put_aside_and_the_rest_goes_on(broker: Broker, tmp_path: Path) -> None:
    with mes(broker, receipts=True) as plant, box(broker, tmp_path, max_payload_kib=4) as agent:
        agent.add(message(1), message(2, body=b"x" * 5000), message(3))
        until(lambda: agent.counts()[OutboxState.QUARANTINED] == 1, "the large one is put aside")
        until(lambda: sorted(set(plant.numbers())) == [1, 3], "the others arrive")
        error = json.loads(until(lambda: plant.on(topics.ERROR), "the error")[0].payload)["data"]
        assert error["class"] == "oversize"
        assert agent.link.status().reconnects == 0


def test_a_packet_above_the_brokers_limit_is_not_sent(tmp_path: Path) -> None:
    with (
        Broker(tmp_path / "small", settings={"max_packet_size": "3000"}) as small,
        mes(small, receipts=True) as plant,
        box(small, tmp_path) as agent,
    ):
        agent.add(message(1, body=b"x" * 4000), message(2))
        until(lambda: agent.counts()[OutboxState.QUARANTINED] == 1, "put aside")
        until(lambda: plant.numbers() == [2], "the other arrives")
        assert agent.link.status().reconnects == 0


def test_an_unannounced_limit_quarantines_only_the_guilty(tmp_path: Path) -> None:
    """message_size_limit is not in the CONNACK: the broker refuses or hangs up."""
    with (
        Broker(tmp_path / "sly", settings={"message_size_limit": "3000"}) as sly,
        mes(sly, receipts=True) as plant,
        box(sly, tmp_path) as agent,
    ):
        good = [message(n) for n in range(10)]
        agent.add(*good[:5], message(99, body=b"x" * 4000), *good[5:])
        until(lambda: agent.counts()[OutboxState.QUARANTINED] == 1, "the guilty one is found", 30)
        until(lambda: set(plant.numbers()) == set(range(10)), "the others arrive")
        assert [row.message.body for row in _quarantined(agent)] == [b"x" * 4000]


def _quarantined(agent: Box) -> list:
    with agent.store.reader() as reader:
        return reader.outbox.rows(state=OutboxState.QUARANTINED)


def test_not_authorized_is_put_aside_and_told_in_the_log(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"user agent\ntopic readwrite {ROOT}/#\ntopic deny {ROOT}/out/defect\nuser mes\ntopic readwrite #\n")
    with (
        Broker(tmp_path / "strict", settings={"acl_file": str(acl)}) as strict,
        mes(strict) as plant,
        box(strict, tmp_path) as agent,
    ):
        agent.add(message(1))
        until(lambda: agent.counts()[OutboxState.QUARANTINED] == 1, "put aside")
        error = json.loads(until(lambda: plant.on(topics.ERROR), "the error")[0].payload)["data"]
        assert (error["class"], error["reasonCode"]) == ("publish-refused", "0x87")


def test_expired_rows_are_not_sent_and_the_rest_says_how_long_it_is_good(broker: Broker, tmp_path: Path) -> None:
    with mes(broker) as plant:
        agent = Box(broker, tmp_path)
        agent.add(message(1, ack=Ack.PUBACK, expires_at=soon(-1)), message(2, ack=Ack.PUBACK, expires_at=soon(60)))
        agent.start()
        until(lambda: agent.counts()[OutboxState.CONFIRMED] == 1, "one is delivered")
        agent.stop()
        until(lambda: len(plant.on(topics.STATE)) == 2, "the farewell, behind everything else")
        assert plant.numbers() == [2]
        assert 1 <= plant.on(topics.DEFECT)[0].properties.MessageExpiryInterval <= 60


def test_mqtts_own_properties_reach_the_mes(broker: Broker, tmp_path: Path) -> None:
    with mes(broker) as plant, box(broker, tmp_path) as agent:
        made = message(1, correlation="wo-1", response_topic=f"{ROOT}/in/wo/1/response", properties={"rev": "3"})
        agent.add(made)
        properties = until(lambda: plant.on(topics.DEFECT), "the message")[0].properties
        assert properties.CorrelationData == b"wo-1"
        assert properties.ResponseTopic == f"{ROOT}/in/wo/1/response"
        assert properties.ContentType == "application/cloudevents+json"
        assert dict(properties.UserProperty) == {"id": str(made.message_id), "seq": "1", "rev": "3"}


def test_the_link_can_be_started_again_after_a_stop(broker: Broker, tmp_path: Path) -> None:
    """The supervisor restarts the worker that drives it."""
    with mes(broker) as plant:
        agent = Box(broker, tmp_path)
        for number in range(3):
            agent.link.start()
            agent.add(message(number, ack=Ack.PUBACK))
            until(lambda number=number: agent.link.relay(0.05) or len(plant.numbers()) > number, "sent")
            agent.link.stop(3.0)
        until(lambda: len(plant.on(topics.STATE)) == 6, "three births, three farewells")
        agent.store.close()
        assert plant.numbers() == [0, 1, 2]


def test_messages_that_came_while_the_box_was_off_are_delivered(broker: Broker, tmp_path: Path) -> None:
    order = uuid4()
    with box(broker, tmp_path / "first"):
        pass
    with mes(broker) as plant:
        plant.send(topics.response(order), event(response(order), event_id="while-away"))
    with box(broker, tmp_path / "first") as agent:
        until(lambda: [each.message_id for each in agent.inbox()] == ["while-away"], "the stored response")


def test_the_broker_is_stopped_and_comes_back(broker: Broker, tmp_path: Path) -> None:
    with mes(broker, receipts=True) as plant, box(broker, tmp_path) as agent:
        broker.stop()
        until(lambda: not agent.link.status().connected, "the loss is noticed")
        agent.add(*[message(n) for n in range(50)])
        broker.start()
        until(lambda: agent.counts()[OutboxState.CONFIRMED] == 50, "all are delivered and receipted", 30)
        assert set(plant.numbers()) == set(range(50))


def test_a_slow_handler_keeps_neither_the_connection_nor_the_acks(broker: Broker, tmp_path: Path) -> None:
    """paho pitfall 3: a slow callback blocks PINGREQ, and the broker sends the will."""
    release, seen = threading.Event(), []

    def slow(message_in: InboundMessage) -> None:
        seen.append(message_in)
        release.wait(20)

    with mes(broker) as plant:
        agent = Box(broker, tmp_path, keepalive_s=2)
        agent.link.subscribe(f"{ROOT}/in/slow", slow)
        agent.start()
        for _ in range(150):
            plant.send("in/slow", b"{}")
        agent.add(*[message(n, ack=Ack.PUBACK) for n in range(20)])
        until(lambda: seen and len(plant.numbers()) == 20, "sending goes on while the handler waits")
        until(lambda: _age_of_puback(agent) > 4, "twice the keep-alive goes by", 20)
        assert agent.link.status().connected
        assert agent.link.status().reconnects == 0
        assert len(seen) == 1
        release.set()
        until(lambda: len(seen) == 150, "all are handled, in the broker's own time")
        agent.stop()


def _age_of_puback(agent: Box) -> float:
    last = agent.link.status().last_puback_at
    return (CLOCK.now() - last).total_seconds() if last else 0.0


def test_what_found_no_room_is_fetched_when_there_is(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mosquitto sends more than the Receive Maximum once something was acknowledged; nothing may be left with it."""
    monkeypatch.setattr(dispatch, "KEPT_AT_MOST", 40)
    go, seen = threading.Event(), set[str]()

    def heard(arrived: InboundMessage) -> None:
        assert go.wait(30)
        seen.add(json.loads(arrived.body)["responseId"])

    with mes(broker) as plant, box(broker, tmp_path, heard=heard) as agent:
        order = uuid4()
        for number in range(60):
            plant.send(topics.response(order), json.dumps(response(order, responseId=str(number))).encode())
        until(lambda: agent.link._dispatcher.dropped, "the queue is full")
        go.set()
        until(lambda: len(seen) == 60, "all of them are handled", 60)
        assert agent.link.status().reconnects >= 1
        assert not any(alarm.active for alarm in agent.link.status().alarms), "nobody else uses its name"


def test_an_unacknowledged_message_comes_again(broker: Broker, tmp_path: Path) -> None:
    """A handler that raises Transient (disk full) gets the message again, and it is acknowledged once it works."""
    from edge_agent.domain.faults import Transient

    attempts = []

    def full_disk(message_in: InboundMessage) -> None:
        attempts.append(message_in)
        if len(attempts) < 2:
            raise Transient("disk full")

    with mes(broker) as plant:
        agent = Box(broker, tmp_path)
        agent.link.subscribe(f"{ROOT}/in/x", full_disk)
        agent.start()
        plant.send("in/x", b"{}")
        until(lambda: len(attempts) == 2, "a second attempt")
        agent.stop()


def test_two_boxes_with_one_id_do_not_fight_for_ever(broker: Broker, tmp_path: Path) -> None:
    with box(broker, tmp_path / "a") as first, box(broker, tmp_path / "b") as second:
        boxes = (first, second)
        until(lambda: any("client id" in each.link.status().detail for each in boxes), "the take-over is told", 20)
        before = [each.link.status().reconnects for each in boxes]
        assert sum(before) <= 8


def test_telemetry_is_dropped_rather_than_queued_for_ever(broker: Broker, tmp_path: Path) -> None:
    values: list[bytes] = []
    with mes(broker) as plant:
        agent = Box(broker, tmp_path)
        agent.link.subscribe("acme/north/telemetry/+", lambda got: values.append(got.body), qos=0, keep=False)
        agent.start()
        for n in range(200):
            plant.send(f"acme/north/telemetry/{n % 3}", str(n).encode(), root="")
        until(lambda: len(values) == 200, "telemetry arrives")
        assert values == [str(n).encode() for n in range(200)]
        agent.stop()
