"""What goes out, byte for byte (tests/golden/payloads); every golden body is valid under its published schema.

After an intended change: ``UPDATE_GOLDEN=1 pytest tests/unit/test_outbound.py``, and read the difference.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from edge_agent.contract import outbound, payloads, topics
from edge_agent.contract.envelope import with_sequence
from edge_agent.domain.message import Ack, Lane, OutboundMessage
from edge_agent.domain.verdict import JobResponse, ResponseEvent
from edge_agent.domain.work_order import OrderState
from tests.fakes import plant_samples as sample
from tests.fakes.clock import START, FakeClock

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = REPOSITORY / "tests" / "golden" / "payloads"
SCHEMAS = REPOSITORY / "schemas"

RESPONSE = JobResponse(
    response_id="r-1",
    source="urn:mes",
    order_id=sample.ORDER.order_id,
    revision=2,
    event=ResponseEvent.CLOSED,
    received_at=START,
)


def _state(clock: FakeClock) -> bytes:
    data = payloads.State(
        online=True,
        session_id="s-1",
        boot_id="b-1",
        version="0.1.0",
        recipes=["board-a/3"],
        capabilities=["trigger"],
        outbox=payloads.OutboxFigures(pending=3, oldest_age_s=1.5),
        mode="running",
    )
    return outbound.state(data, sender=sample.SENDER, clock=clock)


Make = Callable[[FakeClock], Any]
MESSAGES: dict[str, Make] = {
    "result-not-ok": lambda clock: outbound.result(sample.NOT_OK, sender=sample.SENDER, clock=clock),
    "result-not-inspected": lambda clock: outbound.result(sample.NOT_INSPECTED, sender=sample.SENDER, clock=clock),
    "result-count": lambda clock: outbound.result_count(
        payloads.ResultCount(
            station_id="aoi-1",
            product_id="board-a",
            disposition="ACCEPT",
            start=START,
            end=START + timedelta(minutes=1),
            count=58,
            sequences=[[1, 40], [43, 60]],
        ),
        sender=sample.SENDER,
        clock=clock,
    ),
    "defect": lambda clock: outbound.defects(sample.NOT_OK, sender=sample.SENDER, clock=clock, severity={"open": 8})[0],
    "rca": lambda clock: outbound.rca(
        sample.ANALYSIS, sample.INCIDENT, sample.ORDER, sender=sample.SENDER, clock=clock
    ),
    "workorder": lambda clock: outbound.work_order(
        sample.ORDER, sample.ANALYSIS, "update", sender=sample.SENDER, clock=clock, causation="c-1"
    ),
    "wo-index": lambda clock: outbound.order_index(
        [sample.ORDER], 9, sender=sample.SENDER, clock=clock, answered=frozenset({sample.ORDER.order_id})
    ),
    "response-ack": lambda clock: outbound.response_ack(
        RESPONSE, "applied", sender=sample.SENDER, clock=clock, learned_from=True
    ),
    "report": lambda clock: outbound.report(
        sample.DOCUMENT, sender=sample.SENDER, clock=clock, order_id=sample.ORDER.order_id
    ),
    "reply": lambda clock: outbound.reply("c-1", "rejected", sender=sample.SENDER, clock=clock, detail="busy"),
    "error": lambda clock: outbound.error(
        "inbound-invalid",
        topic="in/receipt",
        reason_code="not-json",
        detail="no",
        original=b"{\xff",
        sender=sample.SENDER,
        clock=clock,
    ),
    "state": _state,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_the_bytes_are_the_golden_ones(name: str) -> None:
    made = MESSAGES[name](FakeClock())
    body = made.body if isinstance(made, OutboundMessage) else made
    path = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    assert body == path.read_bytes()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_golden_bodies_are_valid_under_their_schema(path: Path) -> None:
    event = json.loads(with_sequence(path.read_bytes(), 7))
    _validate("envelope", event)
    assert event["sequence"] == "7"
    _validate(event["dataschema"].split(":")[-2], event["data"])


def _validate(schema: str, content: Any) -> None:
    document = json.loads((SCHEMAS / f"{schema}.json").read_text(encoding="utf-8"))
    Draft202012Validator(document, format_checker=FormatChecker()).validate(content)


def test_schemas_are_what_the_models_say() -> None:
    script = REPOSITORY / "scripts" / "generate_schemas.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_metric_is_bare_and_valid() -> None:
    body = json.loads(outbound.metric(1.5, START))
    assert body == {"value": 1.5, "timestamp_ms": int(START.timestamp() * 1000)}
    _validate("metric", body)


# name: lane, acknowledgement, retained, days until it expires
CLASSES = {
    "result-not-ok": (Lane.RESULTS, Ack.PUBACK, False, 7),
    "result-count": (Lane.RESULTS, Ack.PUBACK, False, 30),
    "defect": (Lane.FINDINGS, Ack.RECEIPT, False, 90),
    "rca": (Lane.FINDINGS, Ack.RECEIPT, False, 90),
    "workorder": (Lane.ORDERS, Ack.RECEIPT, True, 90),
    "wo-index": (Lane.ORDERS, Ack.PUBACK, True, None),
    "response-ack": (Lane.ORDERS, Ack.PUBACK, False, 90),
    "report": (Lane.FINDINGS, Ack.RECEIPT, True, 90),
    "reply": (Lane.ORDERS, Ack.PUBACK, False, 1),
    "error": (Lane.FINDINGS, Ack.PUBACK, False, 30),
}


@pytest.mark.parametrize("name", CLASSES)
def test_lane_acknowledgement_retention_and_expiry(name: str) -> None:
    made = MESSAGES[name](FakeClock())
    expiry = (made.expires_at - made.created_at) / timedelta(days=1) if made.expires_at else None
    assert (made.lane, made.ack, made.retain, expiry) == CLASSES[name]
    assert json.loads(made.body)["id"] == str(made.message_id)


def test_an_order_says_where_to_answer() -> None:
    made = MESSAGES["workorder"](FakeClock())
    order_id = sample.ORDER.order_id
    assert made.response_topic == f"{sample.ROOT}/in/wo/{order_id}/response"
    assert made.correlation == made.order_key == str(order_id)
    assert (made.properties["verb"], made.properties["rev"]) == ("update", "2")


def test_a_closed_order_is_cleared_after_its_last_revision() -> None:
    made = outbound.work_order_cleared(sample.ORDER, clock=FakeClock())
    assert (made.body, made.retain, made.ack) == (b"", True, Ack.PUBACK)
    assert made.order_key == MESSAGES["workorder"](FakeClock()).order_key
    assert with_sequence(made.body, 5) == b""


def test_defects_one_event_for_each_class_and_only_for_parts_that_are_not_ok() -> None:
    made = outbound.defects(sample.NOT_OK, sender=sample.SENDER, clock=FakeClock(), severity={"short": 9})
    data = [json.loads(each.body)["data"] for each in made]
    assert [(each["defectClass"], each["count"], each["level"]) for each in data] == [
        ("open", 2, "Event"),
        ("short", 1, "Alarm"),
    ]
    assert outbound.defects(sample.NOT_INSPECTED, sender=sample.SENDER, clock=FakeClock()) == []


def test_every_order_state_has_its_words() -> None:
    assert set(outbound.JOB_STATES) == set(OrderState)


def test_long_lists_are_cut_and_their_length_is_told() -> None:
    many = tuple(f"SN-{n}" for n in range(2_000))
    order = replace(sample.ORDER, containment=replace(sample.ORDER.containment, part_ids=many))
    made = outbound.work_order(order, None, "create", sender=sample.SENDER, clock=FakeClock())
    containment = json.loads(made.body)["data"]["containment"]
    assert (len(containment["unitIds"]), containment["unitsTotal"]) == (outbound.MAX_LISTED, 2_000)
    assert len(made.body) < 64 * 1024


def test_an_excerpt_stays_below_four_kib_whatever_came() -> None:
    made = outbound.error(
        "oversize", topic="t", reason_code="x", detail="d", original="€".encode() * 9_999, sender=sample.SENDER,
        clock=FakeClock(),
    )  # fmt: skip
    assert len(json.loads(made.body)["data"]["excerpt"].encode()) <= 4_096


def test_topics_are_below_in_and_out() -> None:
    assert topics.answered_order(topics.under(sample.ROOT, topics.response(sample.uid(5)))) == str(sample.uid(5))
    assert topics.answered_order("a/b/c") == ""
    assert topics.verb_of(f"{sample.ROOT}/in/cmd/trigger") == "trigger"
