"""Protocol buffers' wire format, as much as Sparkplug uses, with limits on everything that a stranger may choose.

A message is described by a table (field number to `Field`); unknown fields are skipped, as protocol buffers demand.
Nothing but `SparkplugError` is ever raised for bytes, whatever they are.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

MAX_BYTES = 1 << 20
"""A payload larger than this is not read."""
MAX_DEPTH = 8
"""Messages within messages (template in template, property set in property set)."""
MAX_ITEMS = 20_000
"""Repeated elements of one payload, all levels together: metrics, properties, rows, cells."""
MAX_FIELDS = 200_000
"""Fields of one payload, all levels together, repeated and skipped ones as well: bounds the time to read it."""

_U32, _U64 = (1 << 32) - 1, (1 << 64) - 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class SparkplugError(ValueError):
    """Bytes or values that are no Sparkplug payload. ``reason`` is one of the words below."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Kind(Enum):
    """How a field's value is written."""

    U32 = ("u32", _VARINT)
    U64 = ("u64", _VARINT)
    BOOL = ("bool", _VARINT)
    FLOAT = ("float", _FIXED32)
    DOUBLE = ("double", _FIXED64)
    TEXT = ("text", _BYTES)
    RAW = ("raw", _BYTES)
    MESSAGE = ("message", _BYTES)

    def __init__(self, _: str, wire_type: int) -> None:
        self.wire_type = wire_type
        """The low three bits of the field's tag."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its name, its kind, and what is in it."""

    name: str
    kind: Kind
    repeated: bool = False
    message: str = ""
    """For a message: the name of its table."""


Tables = Mapping[str, Mapping[int, Field]]


@dataclass(slots=True)
class Budget:
    """What a payload may still cost."""

    items: int = MAX_ITEMS
    fields: int = MAX_FIELDS

    def spend(self) -> None:
        """Count one repeated element."""
        self.items -= 1
        if self.items < 0:
            raise SparkplugError("too-many", f"more than {MAX_ITEMS} elements")

    def look(self) -> None:
        """Count one field."""
        self.fields -= 1
        if self.fields < 0:
            raise SparkplugError("too-many", f"more than {MAX_FIELDS} fields")


@dataclass(slots=True)
class _Reader:
    data: bytes
    at: int
    end: int

    def varint(self) -> int:
        value = shift = 0
        while True:
            if self.at >= self.end:
                raise SparkplugError("truncated", f"within a number at byte {self.at}")
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise SparkplugError("varint", f"longer than ten bytes at byte {self.at}")
        if value > _U64:
            raise SparkplugError("varint", f"more than 64 bits at byte {self.at}")
        return value

    def take(self, size: int) -> int:
        """Move over ``size`` bytes; where they begin."""
        start = self.at
        if size > self.end - start:
            raise SparkplugError("truncated", f"{size} bytes announced at byte {start}, {self.end - start} are there")
        self.at = start + size
        return start

    def fields(self) -> Iterator[tuple[int, int]]:
        """Field number and wire type of each field; the caller reads or skips its value."""
        while self.at < self.end:
            tag = self.varint()
            number, wire_type = tag >> 3, tag & 7
            if number == 0 or number > (1 << 29) - 1:
                raise SparkplugError("tag", f"field number {number} at byte {self.at}")
            yield number, wire_type

    def skip(self, wire_type: int) -> None:
        match wire_type:
            case 0:
                self.varint()
            case 1:
                self.take(8)
            case 2:
                self.take(self.varint())
            case 5:
                self.take(4)
            case _:
                raise SparkplugError("wire-type", f"{wire_type} at byte {self.at}")


def decode_message(data: bytes, table: str, tables: Tables) -> dict[str, Any]:
    """The fields of a message by name; messages in it are dictionaries, repeated fields lists, absent ones absent.

    Raises:
        SparkplugError: oversize, truncated, varint, tag, wire-type, range, utf8, depth, too-many.
    """
    if len(data) > MAX_BYTES:
        raise SparkplugError("oversize", f"{len(data)} bytes, at most {MAX_BYTES} are read")
    return _message(_Reader(data, 0, len(data)), table, tables, Budget(), MAX_DEPTH)


def _message(reader: _Reader, table: str, tables: Tables, budget: Budget, depth: int) -> dict[str, Any]:
    if depth == 0:
        raise SparkplugError("depth", f"messages are nested more than {MAX_DEPTH} deep")
    known, found = tables[table], dict[str, Any]()
    for number, wire_type in reader.fields():
        budget.look()
        described = known.get(number)
        if described is None:
            budget.spend()
            reader.skip(wire_type)
        elif described.repeated:
            _repeated(reader, wire_type, described, found.setdefault(described.name, []), (tables, budget, depth))
        else:
            _expect(wire_type, described)
            found[described.name] = _value(reader, described, tables, budget, depth)
    return found


def _repeated(
    reader: _Reader, wire_type: int, described: Field, into: list[Any], more: tuple[Tables, Budget, int]
) -> None:
    """One element, or several numbers that were packed together."""
    tables, budget, depth = more
    if wire_type == _BYTES and described.kind.wire_type == _VARINT:
        size = reader.varint()
        start = reader.take(size)
        packed = _Reader(reader.data, start, start + size)
        while packed.at < packed.end:
            budget.spend()
            into.append(_value(packed, described, tables, budget, depth))
        return
    _expect(wire_type, described)
    budget.spend()
    into.append(_value(reader, described, tables, budget, depth))


def _expect(wire_type: int, described: Field) -> None:
    if wire_type != described.kind.wire_type:
        raise SparkplugError("wire-type", f"{described.name} has {wire_type}, not {described.kind.wire_type}")


def _value(reader: _Reader, described: Field, tables: Tables, budget: Budget, depth: int) -> Any:
    match described.kind:
        case Kind.U32:
            return _u32(reader.varint(), described.name)
        case Kind.U64:
            return reader.varint()
        case Kind.BOOL:
            return reader.varint() != 0
        case Kind.FLOAT:
            return struct.unpack_from("<f", reader.data, reader.take(4))[0]
        case Kind.DOUBLE:
            return struct.unpack_from("<d", reader.data, reader.take(8))[0]
    size = reader.varint()
    start = reader.take(size)
    if described.kind is Kind.MESSAGE:
        inner = _Reader(reader.data, start, start + size)
        return _message(inner, described.message, tables, budget, depth - 1)
    raw = reader.data[start : start + size]
    return raw if described.kind is Kind.RAW else _text(raw, described.name)


def _u32(value: int, name: str) -> int:
    if value <= _U32:
        return value
    if value >= _U64 - (_U32 >> 1):  # a negative number that its sender stretched to 64 bits
        return value & _U32
    raise SparkplugError("range", f"{name} {value} has more than 32 bits")


def _text(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SparkplugError("utf8", f"{name}: {error.reason} at byte {error.start}") from None


# --- writing ----------------------------------------------------------------------------------------------------------


def encode_message(values: Mapping[str, Any], table: str, tables: Tables) -> bytes:
    """The bytes of a message, its fields in the order of their numbers; None is left out.

    Raises:
        SparkplugError: a value that its field cannot hold (range), a name that is no field (field), too large.
    """
    known = tables[table]
    unknown = set(values) - {described.name for described in known.values()}
    if unknown:
        raise SparkplugError("field", f"{table} has no {sorted(unknown)[0]}")
    parts: list[bytes] = []
    for number in sorted(known):
        described = known[number]
        value = values.get(described.name)
        if value is not None:
            for one in value if described.repeated else (value,):
                parts.append(_varint(number << 3 | described.kind.wire_type) + _written(one, described, tables))
    made = b"".join(parts)
    if len(made) > MAX_BYTES:
        raise SparkplugError("oversize", f"{len(made)} bytes, at most {MAX_BYTES} are written")
    return made


def _written(value: Any, described: Field, tables: Tables) -> bytes:
    match described.kind:
        case Kind.U32:
            return _varint(_within(value, _U32, described.name))
        case Kind.U64:
            return _varint(_within(value, _U64, described.name))
        case Kind.BOOL:
            return b"\1" if value else b"\0"
        case Kind.FLOAT:
            return _float(value, described.name)
        case Kind.DOUBLE:
            return struct.pack("<d", value)
        case Kind.MESSAGE:
            raw = encode_message(value, described.message, tables)
        case Kind.TEXT:
            raw = _utf8(value, described.name)
        case Kind.RAW:
            raw = bytes(value)
    return _varint(len(raw)) + raw


def _float(value: float, name: str) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        raise SparkplugError("range", f"{name} {value} does not fit into 32 bits") from None


def _utf8(value: str, name: str) -> bytes:
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SparkplugError("utf8", f"{name}: {error.reason}") from None


def _within(value: int, largest: int, name: str) -> int:
    if not 0 <= value <= largest:
        raise SparkplugError("range", f"{name} {value} is outside 0 to {largest}")
    return value


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
