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
USER_PROPERTY = b"\x26"
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
        body = encoded(
            content_type=content_type,
            correlation=correlation,
            response_topic=response_topic,
            expiry_s=expiry_s,
            user_properties=user_properties,
        )
        object.__setattr__(self, "_packed", length(len(body)) + body)

    def pack(self) -> bytes:
        """Length and properties, as they go on the wire."""
        packed: bytes = object.__getattribute__(self, "_packed")
        return packed

    def __str__(self) -> str:
        """For paho's log."""
        return f"{len(self.pack())} bytes of properties"


def encoded(
    *,
    content_type: str,
    correlation: str,
    response_topic: str,
    expiry_s: int | None,
    user_properties: Iterable[tuple[str, str]],
) -> bytes:
    """The properties without their length; empty ones are left out. Raises ValueError: a text is too long."""
    parts = [_MESSAGE_EXPIRY + struct.pack("!I", expiry_s)] if expiry_s is not None else []
    for identifier, value in (
        (_CONTENT_TYPE, content_type),
        (_RESPONSE_TOPIC, response_topic),
        (_CORRELATION, correlation),
    ):
        if value:
            parts.append(identifier + text(value))
    parts.extend(USER_PROPERTY + _name(name) + text(value) for name, value in user_properties)
    return b"".join(parts)


def text(value: str) -> bytes:
    """UTF-8 with its length (section 1.5.4). Raises ValueError: longer than 65,535 bytes."""
    raw = value.encode()
    if len(raw) > _LONGEST:
        raise ValueError(f"an MQTT text has at most {_LONGEST} bytes, this has {len(raw)}")
    return len(raw).to_bytes(2) + raw


_name = lru_cache(256)(text)
"""Names are few; values are not."""


def length(value: int) -> bytes:
    """Variable byte integer (section 1.5.5)."""
    encoded_digits = bytearray()
    while True:
        value, digit = divmod(value, 128)
        encoded_digits.append(digit | 0x80 if value else digit)
        if not value:
            return bytes(encoded_digits)
