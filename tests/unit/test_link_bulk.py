"""Our PUBLISH packets against paho's reader, our sorting of what comes in, and what is used of paho's inside."""

import struct
from itertools import pairwise
from typing import Any

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_agent.adapters.link.bulk import FIRST_OWN, BulkClient, ReadAhead
from edge_agent.adapters.link.packets import Parcel, publish_packet, sort_packets
from edge_agent.adapters.link.properties import length

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60)
TOPIC = st.from_regex(r"[a-z]{1,9}(/[a-z]{1,9}){0,5}", fullmatch=True)
PARCELS = st.builds(
    Parcel,
    message_id=TEXT,
    sequence=st.integers(0, 2**53),
    topic=TOPIC,
    body=st.binary(max_size=300),
    retain=st.booleans(),
    content_type=TEXT,
    correlation=TEXT,
    response_topic=TOPIC | st.just(""),
    expiry_s=st.none() | st.integers(0, 2**32 - 1),
    properties=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    late_s=st.integers(0, 2**40),
)


def _body_of(packet: bytes) -> bytes:
    """After the fixed header."""
    place = 1
    while packet[place] & 0x80:
        place += 1
    assert length(len(packet) - place - 1) == packet[1 : place + 1]
    return packet[place + 1 :]


@given(parcel=PARCELS, mid=st.integers(1, 0xFFFF))
def test_paho_reads_our_publish(parcel: Parcel, mid: int) -> None:
    packet = publish_packet(mid, parcel)
    read = _packet.decode_publish(packet[0], _body_of(packet), MQTTProtocolVersion.MQTTv5)
    assert (read.qos, read.dup, read.retain, read.mid) == (1, False, parcel.retain, mid)
    assert (read.topic.decode(), read.payload) == (parcel.topic, parcel.body)
    properties: Any = read.properties
    assert getattr(properties, "ContentType", "") == parcel.content_type
    assert getattr(properties, "CorrelationData", b"").decode() == parcel.correlation
    assert getattr(properties, "ResponseTopic", "") == parcel.response_topic
    assert getattr(properties, "MessageExpiryInterval", None) == parcel.expiry_s
    identity = [("id", parcel.message_id), ("seq", str(parcel.sequence))]
    late = [("late", str(parcel.late_s))] if parcel.late_s else []
    assert properties.UserProperty == [*parcel.properties, *identity, *late]


def test_a_large_body_has_a_long_length() -> None:
    packet = publish_packet(1, Parcel("i", 1, "t", b"x" * 300_000))
    assert len(_body_of(packet)) == len(packet) - 4


PUBACKS = st.tuples(st.integers(1, 0xFFFF), st.sampled_from([0, 0x10, 0x87]), st.booleans())
OTHERS = st.tuples(st.sampled_from([0x32, 0x90, 0xD0, 0x20]), st.binary(max_size=300))


def _puback(mid: int, code: int, long: bool) -> bytes:
    tail = bytes([code, 0]) if long else bytes([code]) if code else b""
    return bytes([0x40, 2 + len(tail)]) + struct.pack("!H", mid) + tail


@given(packets=st.lists(PUBACKS | OTHERS, max_size=20), cuts=st.lists(st.integers(0, 3_000), max_size=8))
def test_a_stream_is_sorted_wherever_it_is_cut(packets: list[Any], cuts: list[int]) -> None:
    wanted, others, stream = [], b"", b""
    for packet in packets:
        if len(packet) == 3:
            raw = _puback(*packet)
            if packet[0] >= FIRST_OWN:
                wanted.append(packet[:2])
            else:
                others += raw
        else:
            raw = bytes([packet[0]]) + length(len(packet[1])) + packet[1]
            others += raw
        stream += raw
    got, passed, rest = [], b"", b""
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for begin, end in pairwise(edges):
        found = sort_packets(rest + stream[begin:end], FIRST_OWN)
        got += found.pubacks
        passed += found.others
        rest = found.rest
    assert (got, passed, rest) == (wanted, others, b"")


def test_what_is_no_mqtt_is_left_to_paho() -> None:
    garbage = b"\x40\xff\xff\xff\xff\xff"
    assert sort_packets(garbage, FIRST_OWN) == ([], garbage, b"")


class Socket:
    """Gives pieces one after the other, then there is nothing."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def recv(self, most: int) -> bytes:
        if not self.pieces:
            raise BlockingIOError
        return self.pieces.pop(0)

    def fileno(self) -> int:
        return 7


def test_reading_ahead_keeps_what_paho_wants_and_tells_of_the_rest() -> None:
    told: list[tuple[int, int]] = []
    own = _puback(FIRST_OWN + 1, 0, False)
    sock = ReadAhead(Socket(own + b"\xd0\x00" + own[:3], own[3:], b""), told.extend)
    assert sock.recv(1) == b"\xd0"
    assert sock.pending() == 1
    assert (sock.recv(9), sock.pending()) == (b"\x00", 0)
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    assert told == [(FIRST_OWN + 1, 0)] * 2
    assert sock.recv(1) == b"", "the end"
    assert sock.fileno() == 7, "everything else is the socket's"


def _client() -> BulkClient:
    return BulkClient(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, on_own_pubacks=lambda _: None)


def test_the_two_ways_never_share_a_message_id() -> None:
    client = _client()
    client._last_mid = FIRST_OWN - 2
    assert [client._mid_generate() for _ in range(3)] == [FIRST_OWN - 1, 1, 2]
    client._last_own = 0xFFFE
    assert [client._own_mid() for _ in range(2)] == [0xFFFF, FIRST_OWN]


def test_without_a_connection_nothing_is_queued() -> None:
    client = _client()
    assert client.send_parcels([Parcel("i", 1, "t", b"x")]) == []
    assert not client._out_packet


def test_a_window_is_one_write() -> None:
    client = _client()
    client.on_socket_register_write = lambda *_: None
    client._sock = Socket()  # type: ignore[assignment]
    mids = client.send_parcels([Parcel("i", n, "t", b"x") for n in range(3)])
    (queued,) = client._out_packet
    client._sock = None
    assert mids == [FIRST_OWN, FIRST_OWN + 1, FIRST_OWN + 2]
    assert bytes(queued["packet"]).count(b"\x26\x00\x02id") == 3
    assert queued["to_process"] == len(queued["packet"])


def test_pahos_inside_is_as_we_know_it() -> None:
    for name in ("_create_socket", "_mid_generate", "_packet_queue"):
        assert callable(getattr(paho.Client, name)), f"paho {paho.__name__} has no {name} any more"
