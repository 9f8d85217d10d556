"""The Sparkplug B payload: metrics with names, aliases, types, times and values.

Integers travel as two's complement in unsigned fields; `typed` makes numbers of them. A metric of a DATA message has
no type of its own: its value is then as it stood on the wire, until the type of its birth is applied to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from edge_agent.contract.sparkplug.wire import MAX_ITEMS, Field, Kind, SparkplugError, decode_message, encode_message

MAX_METRICS = 5_000
"""Metrics of one payload."""


class DataType(IntEnum):
    """The data types of the specification, by their numbers."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTY_SET = 20
    PROPERTY_SET_LIST = 21
    INT8_ARRAY = 22
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATETIME_ARRAY = 34


_SIGNED = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
_UNSIGNED = {
    DataType.UINT8: 8,
    DataType.UINT16: 16,
    DataType.UINT32: 32,
    DataType.UINT64: 64,
    DataType.DATETIME: 64,
}
_TEXTS = (DataType.STRING, DataType.TEXT, DataType.UUID)
_ARRAYS = frozenset(DataType(number) for number in range(DataType.INT8_ARRAY, DataType.DATETIME_ARRAY + 1))
_BYTES = frozenset({DataType.BYTES, DataType.FILE}) | _ARRAYS
_NUMBERS = frozenset(_SIGNED) | frozenset(_UNSIGNED)
_IN_METRICS = frozenset(DataType) - {DataType.PROPERTY_SET, DataType.PROPERTY_SET_LIST}

QUALITY_GOOD, QUALITY_BAD, QUALITY_STALE = 192, 0, 500

Value = int | float | bool | str | bytes | Mapping[str, Any] | None
"""A data set or a template is a mapping with the names of its fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One value of one thing.

    Attributes:
        value: None where ``is_null``; signed or unsigned as the type says, once there is one.
        properties: name to (type, value); ``Quality`` is the one everybody knows.
        metadata: as on the wire (content_type, size, description, ...).
    """

    name: str | None = None
    alias: int | None = None
    timestamp_ms: int | None = None
    datatype: DataType | None = None
    value: Value = None
    is_historical: bool = False
    is_transient: bool = False
    is_null: bool = False
    properties: Mapping[str, tuple[DataType, Value]] | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A message's payload. ``seq`` is missing in NDEATH and in commands only."""

    timestamp_ms: int | None = None
    metrics: tuple[Metric, ...] = ()
    seq: int | None = None
    uuid: str | None = None
    body: bytes | None = None


def _fields(*rows: tuple[int, str, Kind] | tuple[int, str, Kind, bool] | tuple[int, str, Kind, bool, str]) -> Any:
    return {row[0]: Field(*row[1:]) for row in rows}


def _scalars(first: int) -> tuple[tuple[int, str, Kind], ...]:
    """The six plain kinds of a value, in the specification's order, from this field number on."""
    names = ("int_value", "long_value", "float_value", "double_value", "boolean_value", "string_value")
    kinds = (Kind.U32, Kind.U64, Kind.FLOAT, Kind.DOUBLE, Kind.BOOL, Kind.TEXT)
    return tuple((first + at, name, kind) for at, (name, kind) in enumerate(zip(names, kinds, strict=True)))


TABLES: Mapping[str, Mapping[int, Field]] = {
    "payload": _fields(
        (1, "timestamp", Kind.U64),
        (2, "metrics", Kind.MESSAGE, True, "metric"),
        (3, "seq", Kind.U64),
        (4, "uuid", Kind.TEXT),
        (5, "body", Kind.RAW),
    ),
    "metric": _fields(
        (1, "name", Kind.TEXT),
        (2, "alias", Kind.U64),
        (3, "timestamp", Kind.U64),
        (4, "datatype", Kind.U32),
        (5, "is_historical", Kind.BOOL),
        (6, "is_transient", Kind.BOOL),
        (7, "is_null", Kind.BOOL),
        (8, "metadata", Kind.MESSAGE, False, "metadata"),
        (9, "properties", Kind.MESSAGE, False, "property_set"),
        *_scalars(10),
        (16, "bytes_value", Kind.RAW),
        (17, "dataset_value", Kind.MESSAGE, False, "dataset"),
        (18, "template_value", Kind.MESSAGE, False, "template"),
    ),
    "metadata": _fields(
        (1, "is_multi_part", Kind.BOOL),
        (2, "content_type", Kind.TEXT),
        (3, "size", Kind.U64),
        (4, "seq", Kind.U64),
        (5, "file_name", Kind.TEXT),
        (6, "file_type", Kind.TEXT),
        (7, "md5", Kind.TEXT),
        (8, "description", Kind.TEXT),
    ),
    "property_set": _fields((1, "keys", Kind.TEXT, True), (2, "values", Kind.MESSAGE, True, "property_value")),
    "property_value": _fields(
        (1, "type", Kind.U32),
        (2, "is_null", Kind.BOOL),
        *_scalars(3),
        (9, "propertyset_value", Kind.MESSAGE, False, "property_set"),
        (10, "propertysets_value", Kind.MESSAGE, False, "property_set_list"),
    ),
    "property_set_list": _fields((1, "propertyset", Kind.MESSAGE, True, "property_set")),
    "dataset": _fields(
        (1, "num_of_columns", Kind.U64),
        (2, "columns", Kind.TEXT, True),
        (3, "types", Kind.U32, True),
        (4, "rows", Kind.MESSAGE, True, "row"),
    ),
    "row": _fields((1, "elements", Kind.MESSAGE, True, "cell")),
    "cell": _fields(*_scalars(1)),
    "template": _fields(
        (1, "version", Kind.TEXT),
        (2, "metrics", Kind.MESSAGE, True, "metric"),
        (3, "parameters", Kind.MESSAGE, True, "parameter"),
        (4, "template_ref", Kind.TEXT),
        (5, "is_definition", Kind.BOOL),
    ),
    "parameter": _fields((1, "name", Kind.TEXT), (2, "type", Kind.U32), *_scalars(3)),
}

_VALUES = (
    *(name for _, name, _ in _scalars(0)),
    "bytes_value",
    "dataset_value",
    "template_value",
)


# --- reading ----------------------------------------------------------------------------------------------------------


def decode(data: bytes) -> Payload:
    """The payload in these bytes.

    Raises:
        SparkplugError: anything that is wrong with them; never anything else. Besides the reasons of `wire`: datatype,
            value (of another kind than its type says), dataset, property-set.
    """
    found = decode_message(data, "payload", TABLES)
    metrics = found.get("metrics", [])
    if len(metrics) > MAX_METRICS:
        raise SparkplugError("too-many", f"{len(metrics)} metrics, at most {MAX_METRICS} are read")
    return Payload(
        timestamp_ms=found.get("timestamp"),
        metrics=tuple(_metric(one) for one in metrics),
        seq=found.get("seq"),
        uuid=found.get("uuid"),
        body=found.get("body"),
    )


def _metric(found: Mapping[str, Any]) -> Metric:
    is_null = found.get("is_null", False)
    datatype = _datatype(found.get("datatype"), _IN_METRICS)
    raw = None if is_null else _only(found, _VALUES)
    if isinstance(raw, dict):
        _check_nested(raw)
    properties = found.get("properties")
    return Metric(
        name=found.get("name"),
        alias=found.get("alias"),
        timestamp_ms=found.get("timestamp"),
        datatype=datatype,
        value=raw if datatype is None else typed(raw, datatype),
        is_historical=found.get("is_historical", False),
        is_transient=found.get("is_transient", False),
        is_null=is_null,
        properties=None if properties is None else _properties(properties),
        metadata=found.get("metadata"),
    )


def _datatype(number: int | None, allowed: frozenset[DataType]) -> DataType | None:
    """Type 0 is "unknown": none was given."""
    if not number:
        return None
    try:
        found = DataType(number)
    except ValueError:
        raise SparkplugError("datatype", f"there is no type {number}") from None
    if found not in allowed:
        raise SparkplugError("datatype", f"{found.name} is not for metrics")
    return found


def typed(value: Value, datatype: DataType) -> Value:
    """A value as it stood on the wire, as this type says.

    Raises:
        SparkplugError: value (another kind), range.
    """
    if value is None:
        return None
    if datatype in _NUMBERS and isinstance(value, int) and not isinstance(value, bool):
        return _integer(value, datatype)
    if datatype in (DataType.FLOAT, DataType.DOUBLE) and isinstance(value, float):
        return value
    expected = _expected(datatype)
    if expected is None or not isinstance(value, expected):
        raise SparkplugError("value", f"a {type(value).__name__} is no {datatype.name}")
    return value


def _expected(datatype: DataType) -> type | None:
    if datatype is DataType.BOOLEAN:
        return bool
    if datatype in _TEXTS:
        return str
    if datatype in _BYTES:
        return bytes
    return dict if datatype in (DataType.DATASET, DataType.TEMPLATE) else None


def _integer(value: int, datatype: DataType) -> int:
    bits = _SIGNED.get(datatype)
    if bits is None:
        if value >> _UNSIGNED[datatype]:
            raise SparkplugError("range", f"{value} is no {datatype.name}")
        return value
    # Senders differ in how far they stretch a negative number: to its own width, to 32 bits, or to 64.
    for width in sorted({bits, 32, 64}):
        if width >= bits and value < 1 << width:
            signed = value - (1 << width) if value >> (width - 1) else value
            if -(1 << (bits - 1)) <= signed < 1 << (bits - 1):
                return signed
            break
    raise SparkplugError("range", f"{value} is no {datatype.name}")


def _properties(found: Mapping[str, Any]) -> dict[str, tuple[DataType, Value]]:
    keys, values = found.get("keys", []), found.get("values", [])
    if len(keys) != len(values):
        raise SparkplugError("property-set", f"{len(keys)} keys and {len(values)} values")
    return {key: _property(value) for key, value in zip(keys, values, strict=True)}


def _property(found: Mapping[str, Any]) -> tuple[DataType, Value]:
    datatype = _datatype(found.get("type"), frozenset(DataType))
    if datatype is None:
        raise SparkplugError("property-set", "a property has no type")
    if found.get("is_null"):
        return datatype, None
    if datatype is DataType.PROPERTY_SET:
        return datatype, _properties(found.get("propertyset_value", {}))
    if datatype is DataType.PROPERTY_SET_LIST:
        sets = found.get("propertysets_value", {}).get("propertyset", [])
        return datatype, {"sets": [_properties(one) for one in sets]}
    return datatype, typed(_only(found, _VALUES[:6]), datatype)


def _only(found: Mapping[str, Any], names: tuple[str, ...]) -> Value:
    """The one value that is there."""
    there = [found[name] for name in names if name in found]
    if len(there) > 1:
        raise SparkplugError("value", f"{len(there)} values in one place")
    return there[0] if there else None


def _check_nested(raw: Mapping[str, Any]) -> None:
    """Data sets must be rectangular, and what is in templates must be metrics."""
    for metric in raw.get("metrics", ()):
        _metric(metric)
    if not ("columns" in raw or "types" in raw or "rows" in raw):
        return
    columns, types = len(raw.get("columns", ())), raw.get("types", ())
    if raw.get("num_of_columns", columns) != columns or len(types) != columns:
        raise SparkplugError("dataset", f"{columns} columns, {len(types)} types")
    for number in types:
        _datatype(number, frozenset(DataType))
    for row in raw.get("rows", ()):
        if len(row.get("elements", ())) != columns:
            raise SparkplugError("dataset", f"a row of {len(row.get('elements', ()))} cells in {columns} columns")


# --- writing ----------------------------------------------------------------------------------------------------------


def encode(payload: Payload, *, with_datatypes: bool = True) -> bytes:
    """The bytes of a payload. ``with_datatypes=False`` is for DATA messages, which leave the types to the birth.

    Raises:
        SparkplugError: a value that its type cannot hold, too many metrics, too large.
    """
    if len(payload.metrics) > min(MAX_METRICS, MAX_ITEMS):
        raise SparkplugError("too-many", f"{len(payload.metrics)} metrics, at most {MAX_METRICS} are written")
    values = {
        "timestamp": payload.timestamp_ms,
        "metrics": [_wire_metric(metric, with_datatypes) for metric in payload.metrics],
        "seq": payload.seq,
        "uuid": payload.uuid,
        "body": payload.body,
    }
    return encode_message(values, "payload", TABLES)


def _wire_metric(metric: Metric, with_datatype: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": metric.name,
        "alias": metric.alias,
        "timestamp": metric.timestamp_ms,
        "datatype": metric.datatype if with_datatype else None,
        "is_historical": metric.is_historical or None,
        "is_transient": metric.is_transient or None,
        "is_null": metric.is_null or None,
        "metadata": metric.metadata,
        "properties": None if metric.properties is None else _wire_properties(metric.properties),
    }
    if metric.is_null or metric.value is None:
        return found
    if metric.datatype is None:
        raise SparkplugError("datatype", f"metric {metric.name or metric.alias} has a value and no type")
    name, value = _wire_value(metric.value, metric.datatype)
    return found | {name: value}


def _wire_value(value: Value, datatype: DataType) -> tuple[str, Any]:
    """The field that holds a value of this type, and the value in it."""
    if datatype in _NUMBERS:
        if not isinstance(value, int) or isinstance(value, bool):
            raise SparkplugError("value", f"{value!r:.40} is no {datatype.name}")
        bits = _SIGNED.get(datatype) or _UNSIGNED[datatype]
        low, high = (-(1 << bits - 1), 1 << bits - 1) if datatype in _SIGNED else (0, 1 << bits)
        if not low <= value < high:
            raise SparkplugError("range", f"{value} is no {datatype.name}")
        if bits == 64 or datatype is DataType.UINT32:  # others look for a UInt32 in the long value, too
            return "long_value", value & 0xFFFFFFFFFFFFFFFF
        return "int_value", value & 0xFFFFFFFF
    if datatype in (DataType.FLOAT, DataType.DOUBLE):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SparkplugError("value", f"{value!r:.40} is no {datatype.name}")
        return ("float_value" if datatype is DataType.FLOAT else "double_value"), float(value)
    expected = _expected(datatype)
    if expected is None or not isinstance(value, expected):
        raise SparkplugError("value", f"{value!r:.40} is no {datatype.name}")
    if isinstance(value, dict):
        _check_nested(value)
    names = {bool: "boolean_value", str: "string_value", bytes: "bytes_value"}
    return names.get(expected, "dataset_value" if datatype is DataType.DATASET else "template_value"), value


def _wire_properties(properties: Mapping[str, tuple[DataType, Value]]) -> dict[str, Any]:
    return {"keys": list(properties), "values": [_wire_property(*one) for one in properties.values()]}


def _wire_property(datatype: DataType, value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": int(datatype)}
    if value is None:
        return found | {"is_null": True}
    if datatype is DataType.PROPERTY_SET:
        return found | {"propertyset_value": _wire_properties(value)}
    if datatype is DataType.PROPERTY_SET_LIST:
        return found | {"propertysets_value": {"propertyset": [_wire_properties(one) for one in value["sets"]]}}
    name, raw = _wire_value(value, datatype)
    return found | {name: raw}


def quality(value: int) -> Mapping[str, tuple[DataType, Value]]:
    """The property that says how good a value is: 192 good, 0 bad, 500 stale."""
    return {"Quality": (DataType.INT32, value)}


__all__ = [
    "MAX_METRICS",
    "QUALITY_BAD",
    "QUALITY_GOOD",
    "QUALITY_STALE",
    "DataType",
    "Metric",
    "Payload",
    "SparkplugError",
    "decode",
    "encode",
    "quality",
    "typed",
]
