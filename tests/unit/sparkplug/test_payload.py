"""The codec: what goes in comes out, and whatever bytes come are a payload or a named error."""

import math
import struct
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract.sparkplug import wire
from edge_agent.contract.sparkplug.payload import (
    MAX_METRICS,
    QUALITY_STALE,
    DataType,
    Metric,
    Payload,
    decode,
    encode,
    quality,
    typed,
)
from edge_agent.contract.sparkplug.wire import SparkplugError

D = DataType
U64 = st.integers(0, (1 << 64) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else st.integers(0, (1 << bits) - 1)


VALUES: dict[DataType, st.SearchStrategy[Any]] = {
    **{kind: integers(bits, signed=True) for kind, bits in ((D.INT8, 8), (D.INT16, 16), (D.INT32, 32), (D.INT64, 64))},
    **{kind: integers(bits, signed=False) for kind, bits in ((D.UINT8, 8), (D.UINT16, 16), (D.UINT32, 32))},
    D.UINT64: U64,
    D.DATETIME: U64,
    D.FLOAT: st.floats(width=32, allow_nan=False),
    D.DOUBLE: st.floats(allow_nan=False),
    D.BOOLEAN: st.booleans(),
    **dict.fromkeys((D.STRING, D.TEXT, D.UUID), TEXT),
    **dict.fromkeys((D.BYTES, D.FILE, D.INT16_ARRAY, D.STRING_ARRAY), st.binary(max_size=12)),
}


@st.composite
def properties(draw: st.DrawFn) -> dict[str, Any]:
    kinds = draw(st.lists(st.sampled_from([D.INT32, D.DOUBLE, D.STRING, D.BOOLEAN]), max_size=3))
    return {f"p{at}": (kind, draw(st.none() | VALUES[kind])) for at, kind in enumerate(kinds)}


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    kind = draw(st.sampled_from(list(VALUES)))
    is_null = draw(st.booleans())
    return Metric(
        name=draw(st.none() | TEXT),
        alias=draw(st.none() | U64),
        timestamp_ms=draw(st.none() | U64),
        datatype=kind,
        value=None if is_null else draw(VALUES[kind]),
        is_null=is_null,
        is_historical=draw(st.booleans()),
        is_transient=draw(st.booleans()),
        properties=draw(st.none() | properties()),
        metadata=draw(st.none() | st.fixed_dictionaries({"description": TEXT, "size": U64})),
    )


PAYLOADS = st.builds(
    Payload,
    timestamp_ms=st.none() | U64,
    metrics=st.lists(metrics(), max_size=4).map(tuple),
    seq=st.none() | U64,
    uuid=st.none() | TEXT,
    body=st.none() | st.binary(max_size=8),
)


@given(PAYLOADS)
@settings(max_examples=50)
def test_what_was_written_is_read(payload: Payload) -> None:
    assert decode(encode(payload)) == payload


@given(PAYLOADS)
@settings(max_examples=30)
def test_without_types_the_birth_s_types_make_the_values_again(payload: Payload) -> None:
    read = decode(encode(payload, with_datatypes=False))
    assert [metric.datatype for metric in read.metrics] == [None] * len(payload.metrics)
    for metric, given_as in zip(read.metrics, payload.metrics, strict=True):
        assert given_as.datatype is not None
        assert typed(metric.value, given_as.datatype) == given_as.value


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_any_bytes_are_a_payload_or_a_named_error(data: bytes) -> None:
    with suppress(SparkplugError):
        decode(data)


@given(PAYLOADS, st.data())
@settings(max_examples=50)
def test_a_damaged_payload_is_a_payload_or_a_named_error(payload: Payload, data: st.DataObject) -> None:
    raw = bytearray(encode(payload) or b"\0")
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with suppress(SparkplugError):
        decode(cut)


def test_bytes_as_protoc_prints_them() -> None:
    """Field by field, by the encoding guide: tag = number << 3 | wire type."""
    payload = Payload(
        timestamp_ms=300,
        seq=5,
        metrics=(Metric(name="T", alias=7, timestamp_ms=1, datatype=D.DOUBLE, value=1.5),),
    )
    metric = b"\x0a\x01T" + b"\x10\x07" + b"\x18\x01" + b"\x20\x0a" + b"\x69" + struct.pack("<d", 1.5)
    assert encode(payload) == b"\x08\xac\x02" + b"\x12" + bytes([len(metric)]) + metric + b"\x18\x05"


def of(**fields: Any) -> bytes:
    """A payload of one metric with these wire fields."""
    from edge_agent.contract.sparkplug.payload import TABLES

    return wire.encode_message({"metrics": [fields]}, "payload", TABLES)


@pytest.mark.parametrize(
    ("kind", "field", "raw", "value"),
    [
        (D.INT8, "int_value", 0xFF, -1),
        (D.INT8, "int_value", 0xFFFFFFFF, -1),
        (D.INT8, "long_value", (1 << 64) - 128, -128),
        (D.INT8, "int_value", 127, 127),
        (D.INT16, "int_value", 0xFFFE, -2),
        (D.INT32, "int_value", 0xFFFFFFFF, -1),
        (D.INT32, "long_value", (1 << 64) - 3, -3),
        (D.INT64, "long_value", (1 << 64) - 1, -1),
        (D.UINT32, "long_value", 0xFFFFFFFF, 0xFFFFFFFF),
        (D.UINT8, "int_value", 200, 200),
    ],
)
def test_negative_numbers_however_far_their_sender_stretched_them(
    kind: DataType, field: str, raw: int, value: int
) -> None:
    assert decode(of(datatype=kind, **{field: raw})).metrics[0].value == value


CELL = {"int_value": 1}
DATASET = {"num_of_columns": 1, "columns": ["a"], "types": [D.INT32], "rows": [{"elements": [CELL]}]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x08", "truncated"),
        (b"\x12\x05\x0a", "truncated"),
        (b"\x0a\x01T", "wire-type"),
        (b"\x0b", "wire-type"),
        (b"\x3b", "wire-type"),
        (b"\x00\x01", "tag"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "varint"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "varint"),
        (b"\x22\x02\xff\xfe", "utf8"),
        (b"\x00" * 0 + b"\x12\x06\x20" + b"\xff" * 4 + b"\x1f", "range"),
        (b"x" * (wire.MAX_BYTES + 1), "oversize"),
        (of(datatype=35), "datatype"),
        (of(datatype=D.PROPERTY_SET), "datatype"),
        (of(datatype=D.INT32, string_value="x"), "value"),
        (of(datatype=D.BOOLEAN, int_value=1), "value"),
        (of(datatype=D.INT8, int_value=300), "range"),
        (of(datatype=D.UINT8, int_value=300), "range"),
        (of(datatype=D.INT32, int_value=1, long_value=1), "value"),
        (of(properties={"keys": ["a"], "values": []}), "property-set"),
        (of(properties={"keys": ["a"], "values": [{"int_value": 1}]}), "property-set"),
        (of(datatype=D.DATASET, dataset_value=DATASET | {"num_of_columns": 2}), "dataset"),
        (of(datatype=D.DATASET, dataset_value=DATASET | {"types": []}), "dataset"),
        (of(datatype=D.DATASET, dataset_value=DATASET | {"rows": [{"elements": [CELL, CELL]}]}), "dataset"),
        (of(datatype=D.DATASET, dataset_value=DATASET | {"types": [99]}), "datatype"),
        (of(datatype=D.TEMPLATE, template_value={"metrics": [{"datatype": 99}]}), "datatype"),
    ],
)
def test_what_is_malformed_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(SparkplugError) as raised:
        decode(data)
    assert raised.value.reason == reason


def test_nesting_is_limited() -> None:
    metric: dict[str, Any] = {"name": "leaf"}
    for _ in range(wire.MAX_DEPTH):
        metric = {"datatype": int(D.TEMPLATE), "template_value": {"metrics": [metric]}}
    with pytest.raises(SparkplugError, match="depth"):
        decode(of(**metric))


def test_the_number_of_metrics_is_limited() -> None:
    with pytest.raises(SparkplugError, match="too-many"):
        decode(b"\x12\x00" * (MAX_METRICS + 1))
    with pytest.raises(SparkplugError, match="too-many"):
        decode(b"\x12\x00" * (wire.MAX_ITEMS + 1))
    with pytest.raises(SparkplugError, match="too-many"):
        decode(b"\x38\x00" * (wire.MAX_ITEMS + 1))
    with pytest.raises(SparkplugError, match="fields"):
        decode(b"\x08\x01" * (wire.MAX_FIELDS + 1))
    assert len(decode(b"\x12\x00" * MAX_METRICS).metrics) == MAX_METRICS


def test_unknown_fields_are_skipped() -> None:
    unknown = b"\x38\x01" + b"\x39" + b"\0" * 8 + b"\x3a\x02ab" + b"\x3d" + b"\0" * 4
    assert decode(unknown + b"\x18\x03") == Payload(seq=3)


def test_packed_and_unpacked_types_of_a_data_set_are_the_same() -> None:
    packed = b"\x08\x02" + b"\x12\x01a\x12\x01b" + b"\x1a\x02\x03\x0a"
    loose = b"\x08\x02" + b"\x12\x01a\x12\x01b" + b"\x18\x03\x18\x0a"
    metric = [b"\x20\x10" + b"\x8a\x01" + bytes([len(one)]) + one for one in (packed, loose)]
    read = [decode(b"\x12" + bytes([len(one)]) + one).metrics[0].value for one in metric]
    assert read[0] == read[1] == {"num_of_columns": 2, "columns": ["a", "b"], "types": [3, 10]}


def test_a_data_set_and_a_template_survive_the_way() -> None:
    template = {"is_definition": False, "template_ref": "t", "metrics": [{"name": "m", "datatype": 3, "int_value": 4}]}
    payload = Payload(
        metrics=(
            Metric(name="d", datatype=D.DATASET, value=DATASET),
            Metric(name="t", datatype=D.TEMPLATE, value=template),
        )
    )
    assert decode(encode(payload)) == payload


def test_property_sets_in_property_sets() -> None:
    inner = {"engUnit": (D.STRING, "mm"), "low": (D.DOUBLE, None)}
    nested = quality(QUALITY_STALE) | {"s": (D.PROPERTY_SET, inner), "l": (D.PROPERTY_SET_LIST, {"sets": [inner]})}
    metric = Metric(name="m", datatype=D.INT32, value=1, properties=nested)
    assert decode(encode(Payload(metrics=(metric,)))).metrics == (metric,)


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (Metric(name="m", datatype=D.INT8, value=128), "range"),
        (Metric(name="m", datatype=D.UINT64, value=-1), "range"),
        (Metric(name="m", datatype=D.FLOAT, value=1e300), "range"),
        (Metric(name="m", datatype=D.INT32, value=True), "value"),
        (Metric(name="m", datatype=D.DOUBLE, value="x"), "value"),
        (Metric(name="m", datatype=D.STRING, value=1), "value"),
        (Metric(name="m", value=1), "datatype"),
        (Metric(name="\ud800", datatype=D.INT32, value=1), "utf8"),
        (Metric(name="m", alias=-1), "range"),
        (Metric(name="m", metadata={"colour": "red"}), "field"),
    ],
)
def test_what_cannot_be_written_is_named(metric: Metric, reason: str) -> None:
    with pytest.raises(SparkplugError) as raised:
        encode(Payload(metrics=(metric,)))
    assert raised.value.reason == reason


def test_too_much_is_not_written() -> None:
    metric = Metric(name="m", datatype=D.BYTES, value=b"x" * wire.MAX_BYTES)
    with pytest.raises(SparkplugError, match="oversize"):
        encode(Payload(metrics=(metric,)))
    with pytest.raises(SparkplugError, match="too-many"):
        encode(Payload(metrics=(replace(metric, value=b""),) * (MAX_METRICS + 1)))


def test_a_number_that_is_none_stays_none() -> None:
    read = decode(encode(Payload(metrics=(Metric(name="m", datatype=D.DOUBLE, value=math.nan),))))
    value = read.metrics[0].value
    assert isinstance(value, float)
    assert math.isnan(value)
