"""The properties of a PUBLISH, encoded by hand: paho's class costs as much as the rest of a publish together.

Encoding after MQTT 5.0, sections 1.5 and 2.2.2; the identifiers are those of its table 2-4.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache

from paho.mqtt.properties import Properties

_MESSAGE_EXPIRY = b"\x02"
_CONTENT_TYPE = b"\x03"
_RESPONSE_TOPIC = b"\x08"
_CORRELATION = b"\x09"
_USER_PROPERTY = b"\x26"
_LONGEST = 65_535


class PublishProperties(Properties):
    """What paho wants of properties when it publishes: `pack`."""

    def __init__(
        self,
        *,
        content_type: str = "",
        correlation: str = "",
        response_topic: str = "",
        expiry_s: int | None = None,
        user_properties: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Empty ones are left out.

        Raises:
            ValueError: a text is longer than 65,535 bytes.
        """
        parts = [_MESSAGE_EXPIRY + struct.pack("!I", expiry_s)] if expiry_s is not None else []
        for identifier, text in (
            (_CONTENT_TYPE, content_type),
            (_RESPONSE_TOPIC, response_topic),
            (_CORRELATION, correlation),
        ):
            if text:
                parts.append(identifier + _text(text))
        parts.extend(_USER_PROPERTY + _name(name) + _text(value) for name, value in user_properties)
        body = b"".join(parts)
        object.__setattr__(self, "_packed", _length(len(body)) + body)

    def pack(self) -> bytes:
        """Length and properties, as they go on the wire."""
        packed: bytes = object.__getattribute__(self, "_packed")
        return packed

    def __str__(self) -> str:
        """For paho's log."""
        return f"{len(self.pack())} bytes of properties"


def _text(value: str) -> bytes:
    raw = value.encode()
    if len(raw) > _LONGEST:
        raise ValueError(f"an MQTT text has at most {_LONGEST} bytes, this has {len(raw)}")
    return struct.pack("!H", len(raw)) + raw


_name = lru_cache(256)(_text)
"""Names are few; values are not."""


def _length(value: int) -> bytes:
    """Variable byte integer (section 1.5.5)."""
    encoded = bytearray()
    while True:
        value, digit = divmod(value, 128)
        encoded.append(digit | 0x80 if value else digit)
        if not value:
            return bytes(encoded)
