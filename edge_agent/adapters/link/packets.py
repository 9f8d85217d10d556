"""PUBLISH packets in bytes, and the PUBACKs in a stream of bytes; after MQTT 5.0, sections 2.1.4, 3.3 and 3.4.

paho makes an object with a lock for every message and reads three times from the socket for every PUBACK. Here a whole
window is one piece of bytes, and whatever has come in is looked through at once.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from edge_agent.adapters.link.properties import USER_PROPERTY, encoded, length, text

_PUBLISH_QOS_1 = 0x32
_RETAIN = 0x01
_PUBACK = 0x40
_EXPIRY = struct.Struct("!BI")
_MID = struct.Struct("!H")
_MESSAGE_EXPIRY = 0x02
_FORBIDDEN = frozenset("+#\0")
_ID = USER_PROPERTY + text("id")
_SEQ = USER_PROPERTY + text("seq")
_LATE = USER_PROPERTY + text("late")


class Parcel(NamedTuple):
    """One message of the outbox, ready to be sent with QoS 1.

    Attributes:
        topic: absolute.
        late_s: said where it goes out late; 0 otherwise.
        properties: the user properties that all messages of this kind share.
    """

    message_id: str
    sequence: int
    topic: str
    body: bytes
    retain: bool = False
    content_type: str = ""
    correlation: str = ""
    response_topic: str = ""
    expiry_s: int | None = None
    properties: tuple[tuple[str, str], ...] = ()
    late_s: int = 0


def publish_packet(mid: int, parcel: Parcel) -> bytes:
    """The PUBLISH packet of a parcel.

    Raises:
        ValueError: see `unsendable`.
    """
    topic, shared = _prepared(
        parcel.topic, parcel.content_type, parcel.correlation, parcel.response_topic, parcel.properties
    )
    own = _ID + text(parcel.message_id) + _SEQ + text(str(parcel.sequence))
    if parcel.late_s:
        own += _LATE + text(str(parcel.late_s))
    if parcel.expiry_s is not None:
        own += _EXPIRY.pack(_MESSAGE_EXPIRY, parcel.expiry_s)
    properties = length(len(shared) + len(own)) + shared + own
    body = parcel.body
    rest = length(len(topic) + 2 + len(properties) + len(body))
    head = (_PUBLISH_QOS_1 | _RETAIN if parcel.retain else _PUBLISH_QOS_1).to_bytes(1)
    return b"".join((head, rest, topic, _MID.pack(mid), properties, body))


def unsendable(parcel: Parcel) -> str:
    """Why MQTT has no packet for it; empty: it has. Asked before a window is made, which one row must not spoil."""
    try:
        _prepared(parcel.topic, parcel.content_type, parcel.correlation, parcel.response_topic, parcel.properties)
        text(parcel.message_id)
    except ValueError as error:
        return str(error)
    return ""


@lru_cache(512)
def _prepared(
    topic: str, content_type: str, correlation: str, response_topic: str, properties: Iterable[tuple[str, str]]
) -> tuple[bytes, bytes]:
    """What messages of one kind share: the topic, and the properties that are always the same."""
    if not topic or not _FORBIDDEN.isdisjoint(topic):
        raise ValueError(f"{topic[:80]!r} is no topic to publish on")
    shared = encoded(
        content_type=content_type,
        correlation=correlation,
        response_topic=response_topic,
        expiry_s=None,
        user_properties=properties,
    )
    return text(topic), shared


class Sorted(NamedTuple):
    """A stream of packets, sorted.

    Attributes:
        pubacks: (mid, reason code) of PUBACKs to messages of ours.
        others: all other whole packets, as they came.
        rest: the beginning of a packet whose end has not come yet.
    """

    pubacks: list[tuple[int, int]]
    others: bytes
    rest: bytes


def sort_packets(stream: bytes, first_own: int) -> Sorted:
    """Take the PUBACKs with a mid from ``first_own`` on out of a stream; what cannot be understood is left in."""
    pubacks: list[tuple[int, int]] = []
    others: list[bytes] = []
    place, size = 0, len(stream)
    while place < size:
        body, end = _bounds(stream, place, size)
        if end == 0:
            return Sorted(pubacks, b"".join((*others, stream[place:])), b"")
        if end > size:
            break
        mid = (stream[body] << 8 | stream[body + 1]) if stream[place] == _PUBACK and end - body >= 2 else 0
        if mid >= first_own:
            pubacks.append((mid, stream[body + 2] if end - body > 2 else 0))
        else:
            others.append(stream[place:end])
        place = end
    return Sorted(pubacks, b"".join(others), stream[place:])


def _bounds(stream: bytes, place: int, size: int) -> tuple[int, int]:
    """Where a packet's body begins and ends; an end beyond the stream: not whole yet; 0: no MQTT."""
    value = shift = 0
    for at in range(place + 1, place + 5):
        if at >= size:
            return size, size + 1
        digit = stream[at]
        value |= (digit & 0x7F) << shift
        if digit < 0x80:
            return at + 1, at + 1 + value
        shift += 7
    return 0, 0
