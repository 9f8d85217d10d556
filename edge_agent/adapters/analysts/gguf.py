"""Reads what a GGUF file says about itself, without loading it.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (little-endian; versions 2 and 3).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edge_agent.domain.faults import Transient

_SCALARS: Mapping[int, str] = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_LONGEST = 1 << 26
_MOST_ENTRIES = 1 << 16

Value = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """What matters here of a model file's metadata."""

    name: str
    architecture: str
    chat_template: str
    context_tokens: int


def describe(path: Path) -> ModelFile:
    """Read the header.

    Raises:
        Transient: absent, unreadable, not a GGUF, or without a chat template of its own (a back end would silently
            use another model's).
    """
    try:
        with path.open("rb") as stream:
            values = _metadata(stream)
    except FileNotFoundError as error:
        raise Transient(f"no language model at {path} (the default one: scripts/fetch_llm)") from error
    except (OSError, ValueError, struct.error) as error:
        raise Transient(f"{path} is not a readable GGUF file: {error}") from error
    template = str(values.get("tokenizer.chat_template", ""))
    if not template:
        raise Transient(f"{path} has no chat template of its own: take an instruct model")
    architecture = str(values.get("general.architecture", ""))
    return ModelFile(
        name=str(values.get("general.name", path.stem)),
        architecture=architecture,
        chat_template=template,
        context_tokens=int(values.get(f"{architecture}.context_length", 0)),
    )


def _metadata(stream: BinaryIO) -> dict[str, Value]:
    if _exactly(stream, 4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version, _, entries = struct.unpack("<IQQ", _exactly(stream, 20))
    if version not in (2, 3) or entries > _MOST_ENTRIES:
        raise ValueError(f"version {version} with {entries} entries; expected version 2 or 3")
    values: dict[str, Value] = {}
    for _ in range(entries):
        key = _text(stream)
        value = _value(stream, _number(stream, "I"))
        if value is not None:
            values[key] = value
    return values


def _value(stream: BinaryIO, kind: int) -> Value | None:
    """One value; None for an array, which is skipped."""
    if kind == _STRING:
        return _text(stream)
    if kind == _ARRAY:
        _skip_array(stream)
        return None
    scalar: Value = struct.unpack("<" + _scalar(kind), _exactly(stream, struct.calcsize("<" + _scalar(kind))))[0]
    return scalar


def _skip_array(stream: BinaryIO) -> None:
    kind, length = _number(stream, "I"), _number(stream, "Q")
    if length > _LONGEST:
        raise ValueError(f"an array of {length} entries")
    if kind == _STRING:
        for _ in range(length):
            _text(stream)
    else:
        _exactly(stream, length * struct.calcsize("<" + _scalar(kind)))


def _text(stream: BinaryIO) -> str:
    return _exactly(stream, _number(stream, "Q")).decode("utf-8", "replace")


def _number(stream: BinaryIO, form: str) -> int:
    number: int = struct.unpack("<" + form, _exactly(stream, struct.calcsize("<" + form)))[0]
    return number


def _scalar(kind: int) -> str:
    if kind not in _SCALARS:
        raise ValueError(f"unknown value type {kind}")
    return _SCALARS[kind]


def _exactly(stream: BinaryIO, size: int) -> bytes:
    if size > _LONGEST:
        raise ValueError(f"an entry of {size} bytes")
    data = stream.read(size)
    if len(data) != size:
        raise ValueError("it ends in the middle of its header")
    return data
