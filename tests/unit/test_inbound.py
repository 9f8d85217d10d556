"""What the plant sends: read, or refused with a reason; never an exception of another kind."""

import json
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract import inbound, topics
from edge_agent.contract.inbound import InvalidMessage
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.verdict import ResponseEvent
from tests.fakes.clock import START
from tests.fakes.plant_samples import ROOT, uid

ORDER = uid(5)
ANSWER_TOPIC = topics.under(ROOT, topics.response(ORDER))


def message(body: Any, topic: str = ANSWER_TOPIC, **properties: str) -> InboundMessage:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return InboundMessage(source="", message_id="", topic=topic, body=raw, received_at=START, properties=properties)


def event(data: Any, **changes: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "e-1", "source": "urn:mes", "type": "t", "data": data, **changes}


def answer(**changes: Any) -> dict[str, Any]:
    return {"responseId": "r-1", "jobOrderId": str(ORDER), "rev": 2, "event": "closed", **changes}


ACTUAL = {
    "causeCode": "ETCH-1",
    "causeText": "too hot",
    "confirms": "yes",
    "actions": ["A-1"],
    "parts": [{"materialId": "P-9", "qty": 2}, {"materialId": "P-9", "qty": 1}],
    "minutes": 12.5,
    "personnel": "technician-3",
}


def test_a_full_answer() -> None:
    made = inbound.job_response(message(event(answer(actual=ACTUAL, mesOrderId="PM-1", novelty={"x": 1}))))
    assert (made.response_id, made.source, made.order_id, made.revision) == ("r-1", "urn:mes", ORDER, 2)
    assert (made.event, made.mes_order_id, made.received_at) == (ResponseEvent.CLOSED, "PM-1", START)
    assert made.actual is not None
    assert (made.actual.cause_id, made.actual.confirms, made.actual.by) == ("ETCH-1", "yes", "technician-3")
    assert (made.actual.minutes, made.actual.parts, made.actual.action_ids) == (12.5, {"P-9": 3.0}, ("A-1",))


def test_minutes_from_start_and_end_where_they_are_not_told() -> None:
    times = {"startTime": "2026-01-05T06:00:00Z", "endTime": "2026-01-05T07:30:00+01:00"}
    made = inbound.job_response(message(event(answer(actual=times))))
    assert made.actual is not None
    assert made.actual.minutes == 30.0
    backwards = {"startTime": times["endTime"], "endTime": "2026-01-05T06:00:00Z"}
    assert inbound.job_response(message(event(answer(actual=backwards)))).actual.minutes is None


def test_identity_structured_binary_and_bare() -> None:
    structured = inbound.identified(message(event(answer())))
    assert (structured.source, structured.message_id) == ("urn:mes", "e-1")
    binary = inbound.identified(message(answer(), id="e-2", source="urn:erp"))
    assert (binary.source, binary.message_id) == ("urn:erp", "e-2")
    bare = inbound.identified(message(answer()))
    assert (bare.source, bare.message_id) == (inbound.BARE_SOURCE, "r-1")
    nameless = message({"online": True})
    assert inbound.identified(nameless).message_id == inbound.identified(nameless).message_id


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not-json"),
        (b"null", "not-an-object"),
        (b'{"a":NaN}', "not-json"),
        (b'{"a":' + b"9" * 5_000 + b"}", "not-json"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "too-deep"),
        (b"[" * 100_000, "too-deep"),
        (b" " * (inbound.MAX_BYTES + 1), "oversize"),
        (event(answer(), specversion="2.0"), "envelope"),
        (event(answer(), id=7), "envelope"),
        (event(answer(), source=""), "envelope"),
        (event([1]), "envelope"),
        (event({}), "schema"),
        (event(answer(responseId="x" * 129)), "schema"),
        (event(answer(jobOrderId="WO-7")), "schema"),
        (event(answer(rev=-1)), "schema"),
        (event(answer(actual={"causeText": "x" * 4_001})), "schema"),
        (event(answer(actual={"confirms": "perhaps"})), "schema"),
        (event(answer(actual={"minutes": -1})), "schema"),
        (event(answer(actual={"startTime": "2026-01-05T06:00:00"})), "schema"),
        (event(answer(actual={"parts": [{"materialId": "x"}] * 51})), "schema"),
        (event(answer(jobOrderId=str(uid(6)))), "wrong-topic"),
        (event(answer(event="teleported")), "unknown-value"),
    ],
)
def test_refused_with_a_reason(body: Any, reason: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        inbound.job_response(message(body))
    assert refused.value.reason == reason
    assert refused.value.keep == (reason == "unknown-value")
    assert len(refused.value.detail) <= 600


def test_receipts() -> None:
    made = inbound.receipts(message(event({"ids": [str(uid(1)), str(uid(2))], "status": "duplicate"})))
    assert (made.message_ids, made.status) == ((uid(1), uid(2)), "duplicate")
    with pytest.raises(InvalidMessage, match="schema"):
        inbound.receipts(message(event({"ids": []})))


@pytest.mark.parametrize(
    ("body", "online"), [(b"", False), (event({"online": True}), True), ({"online": False}, False)]
)
def test_mes_state(body: Any, online: bool) -> None:
    assert inbound.mes_online(message(body)) is online


COMMAND = topics.under(ROOT, topics.command("trigger"))


def test_a_trigger() -> None:
    args = {"partId": "SN-1", "productId": "board-a", "sequence": 4, "strata": {"shift": "B"}}
    made = inbound.trigger(message(event({"commandId": "c-1", "args": args}), COMMAND))
    assert (made.trigger_id, made.part_id, made.product_id, made.sequence) == ("c-1", "SN-1", "board-a", 4)
    assert made.strata == {"shift": "B"}


@pytest.mark.parametrize(("late_s", "accepted"), [(-1, False), (1, True)])
def test_a_command_is_refused_after_its_time(late_s: float, accepted: bool) -> None:
    not_after = (START + timedelta(seconds=late_s)).isoformat()
    asked = message(event({"commandId": "c-1", "notAfter": not_after}), topics.under(ROOT, topics.command("pause")))
    if accepted:
        assert inbound.command(asked).verb == "pause"
    else:
        with pytest.raises(InvalidMessage, match="expired"):
            inbound.command(asked)


def test_a_retained_command_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="retained"):
        inbound.command(message(event({"commandId": "c-1"}), COMMAND, **{"mqtt.retain": "1"}))


READERS = (inbound.job_response, inbound.receipts, inbound.mes_online, inbound.command, inbound.trigger)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*answer(), "actual", "ids", "args", "data", "online", "x"]), inner, max_size=6
        )
    ),
    max_leaves=20,
)


@given(body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    for reader in READERS:
        for raw in (body, b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":' + body + b"}"):
            with suppress(InvalidMessage):
                reader(message(raw))


@given(data=st.fixed_dictionaries({"actual": JSON, "event": st.sampled_from(ResponseEvent), "reason": st.text()}))
def test_an_answer_with_any_content_is_read_or_refused(data: dict[str, Any]) -> None:
    with suppress(InvalidMessage):
        made = inbound.job_response(message(json.dumps(event(answer(**data))).encode()))
        assert made.order_id == UUID(str(ORDER))
