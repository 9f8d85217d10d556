"""Writes small GGUF headers: a model file that describes itself and holds nothing."""

import struct
from collections.abc import Mapping
from pathlib import Path


def write_gguf(path: Path, values: Mapping[str, str | int | list[str] | list[float]], *, version: int = 3) -> Path:
    """A file with this metadata and no tensors."""
    body = b"GGUF" + struct.pack("<IQQ", version, 0, len(values))
    for key, value in values.items():
        body += _text(key) + _entry(value)
    path.write_bytes(body)
    return path


def instruct_model(path: Path) -> Path:
    """What an instruct model says of itself."""
    return write_gguf(
        path,
        {
            "general.architecture": "llama",
            "general.name": "Tiny Instruct",
            "tokenizer.ggml.tokens": ["a", "b"],
            "tokenizer.ggml.scores": [0.5, 1.5],
            "llama.context_length": 2_048,
            "tokenizer.chat_template": "{% for message in messages %}{{ message }}{% endfor %}",
        },
    )


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _entry(value: str | int | list[str] | list[float]) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if value and isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_text(str(item)) for item in value)
    return struct.pack("<IIQ", 9, 6, len(value)) + b"".join(struct.pack("<f", item) for item in value)
