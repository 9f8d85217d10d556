"""What a worker makes of a box's message, and of its own file."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.collecting.reading import Event, Reading, Refused, read
from edge_agent.collecting.settings import CollectFile, database_url, load
from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender, with_sequence
from edge_agent.domain.faults import ConfigError
from tests.fakes.clock import FakeClock
from tests.fakes.made import an_inspection

ROOT = "acme/north/smt/l1/aoi/_inspect/v1/box-7"
LARGEST = 65_536
SENDER = Sender(agent="box-7", topic_root=ROOT, uri_base="http://box-7", software_version="1")


def a_result(sequence: int = 5) -> bytes:
    clock = FakeClock()
    return with_sequence(outbound.result(an_inspection(clock), sender=SENDER, clock=clock).body, sequence)


def changed(**fields: Any) -> bytes:
    return json.dumps({name: v for name, v in (json.loads(a_result()) | fields).items() if v is not None}).encode()


def test_a_result_of_a_box_becomes_an_event_with_its_place_and_number() -> None:
    one = read(f"{ROOT}/out/result", a_result(41), largest=LARGEST)
    assert isinstance(one, Event)
    assert (one.box.site, one.box.line, one.box.name, one.box.root) == ("north", "l1", "box-7", ROOT)
    assert (one.sequence, one.topic, one.type) == (41, "out/result", "org.edge-agent.inspection.completed.v1")
    assert json.loads(one.data)["evaluation"] == "OK"


def test_a_metric_becomes_a_reading() -> None:
    one = read(f"{ROOT}/out/metric/yield", b'{"value":0.98,"timestamp_ms":1900000000000}', largest=LARGEST)
    assert isinstance(one, Reading)
    assert (one.name, one.value, one.time_ms) == ("yield", 0.98, 1_900_000_000_000)


def test_a_count_stands_for_the_numbers_of_its_results() -> None:
    body = changed(type="org.edge-agent.inspection.counted.v1", data={"sequences": [[1, 4], [7, 7]]})
    one = read(f"{ROOT}/out/result-count", body, largest=LARGEST)
    assert isinstance(one, Event)
    assert one.stands_for == ((1, 4), (7, 7))


def test_a_cleared_retained_message_is_nothing() -> None:
    assert read(f"{ROOT}/out/wo/1/order", b"", largest=LARGEST) is None


@pytest.mark.parametrize(
    ("topic", "body", "reason"),
    [
        (f"{ROOT}/in/cmd/pause", a_result(), "wrong-topic"),
        ("acme/north/out/result", a_result(), "wrong-topic"),
        (f"{ROOT}/out/result", b"x" * (LARGEST + 1), "oversize"),
        (f"{ROOT}/out/result", b"\xff\xfe", "not-json"),
        (f"{ROOT}/out/result", b"[1]", "not-json"),
        (f"{ROOT}/out/result", b'{"value":NaN}', "not-json"),
        (f"{ROOT}/out/result", b'{"a":' * 40 + b"1" + b"}" * 40, "too-deep"),
        (f"{ROOT}/out/result", b'{"a":' * 9_000 + b"1" + b"}" * 9_000, "too-deep"),
        (f"{ROOT}/out/result", changed(source="urn:inspect:box-8"), "envelope"),
        (f"{ROOT}/out/result", changed(id="17"), "envelope"),
        (f"{ROOT}/out/result", changed(specversion="0.3"), "envelope"),
        (f"{ROOT}/out/result", changed(time="yesterday"), "envelope"),
        (f"{ROOT}/out/result", changed(time="2030-01-01T00:00:00"), "envelope"),
        (f"{ROOT}/out/result", changed(sequence="-4"), "envelope"),
        (f"{ROOT}/out/result", changed(data=None), "envelope"),
        (f"{ROOT}/out/metric/x", b'{"value":true,"timestamp_ms":1}', "metric"),
        (f"{ROOT}/out/metric/x", b'{"value":1e999,"timestamp_ms":1}', "metric"),
        (f"{ROOT}/out/metric/x", b'{"value":1,"timestamp_ms":-1}', "metric"),
    ],
)
def test_what_cannot_be_a_row_is_refused_with_the_reason(topic: str, body: bytes, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        read(topic, body, largest=LARGEST)
    assert refused.value.reason == reason


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=9).map(
    lambda value: json.dumps({"specversion": "1.0", "data": value, "sequence": value, "time": value}).encode()
))  # fmt: skip
def test_any_bytes_are_a_row_or_refused(body: bytes) -> None:
    with contextlib.suppress(Refused):
        assert read(f"{ROOT}/out/result", body, largest=LARGEST) is None or body


def written(folder: Path, text: str) -> Path:
    file = folder / "collect.yaml"
    file.write_text(text, "utf-8")
    return file


def test_the_file_names_the_subscription_and_paths_beside_it(tmp_path: Path) -> None:
    text = "mqtt: {host: h, password_file: pw}\ndatabase: postgresql+psycopg://c@db/fleet\n"
    text += "root: acme/north/+/+/+/_inspect/v1/+\n"
    (tmp_path / "secret").write_text("word\n", "utf-8")
    found = load(written(tmp_path, text + "database_password_file: secret\n"))
    assert found.subscription == "$share/ingest/acme/north/+/+/+/_inspect/v1/+/out/#"
    assert found.state_topic("2") == "acme/north/_collect/v1/collect-2/state"
    assert found.mqtt.password_file == tmp_path / "pw"
    assert database_url(found).password == "word"
    assert "workorder" not in found.receipts  # those are the MES' to confirm


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("mqtt: {host: h}\n", "database: missing"),
        ("mqtt: {host: h}\ndatabase: x\nroot: acme/#\n", "eight levels"),
        ("mqtt: {host: h}\ndatabase: x\nworker: 3\n", "unknown key"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, text: str, about: str) -> None:
    with pytest.raises(ConfigError, match=about):
        load(written(tmp_path, text))


def test_only_postgresql_is_a_fleet_database() -> None:
    settings_ = CollectFile.model_validate({"mqtt": {"host": "h"}, "database": "sqlite:///x"})
    with pytest.raises(ConfigError, match="postgresql"):
        database_url(settings_)
