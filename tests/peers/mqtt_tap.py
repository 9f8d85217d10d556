"""A wire tap: forwards a client's bytes to a real broker and reads the MQTT 5 packets that the client sends.

It knows nothing of the client's code or of paho: what it says about flags, wills and reason codes stood on the wire.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CONNECT, PUBLISH, SUBSCRIBE, DISCONNECT = 1, 3, 8, 14
_WIDTHS = {0x01: 1, 0x02: 4, 0x11: 4, 0x13: 2, 0x17: 1, 0x18: 4, 0x19: 1, 0x21: 2, 0x22: 2, 0x23: 2, 0x24: 1, 0x25: 1}
_TEXTS = frozenset({0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F})


@dataclass(frozen=True)
class Packet:
    """One packet from the client: its kind, when, and what was in it; `mark` notes have kind 0."""

    kind: int
    at: float
    says: dict[str, Any] = field(default_factory=dict)


class Tap:
    """Listens on ``port``; every accepted connection gets a list of its own in ``connections``."""

    def __init__(self, host: str, port: int) -> None:
        self._broker = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.connections: list[list[Packet]] = []
        self.open = 0
        self.most_open = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def mark(self, note: str) -> None:
        """Put a note where the test stands now."""
        with self._lock:
            if self.connections:
                self.connections[-1].append(Packet(0, time.monotonic(), {"note": note}))

    def published(self) -> list[dict[str, Any]]:
        """Everything that was published, over all connections."""
        with self._lock:
            return [packet.says for one in self.connections for packet in one if packet.kind == PUBLISH]

    def until(self, condition: Callable[[], object], what: str, within_s: float = 15) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
            time.sleep(0.01)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(self._broker)
            except OSError:
                client.close()  # the broker is away: so are we
                continue
            packets: list[Packet] = []
            with self._lock:
                self.connections.append(packets)
                self.open += 1
                self.most_open = max(self.most_open, self.open)
            threading.Thread(target=self._pump, args=(broker, client), daemon=True).start()
            threading.Thread(target=self._listen, args=(client, broker, packets), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            _shut(sink)

    def _listen(self, client: socket.socket, broker: socket.socket, packets: list[Packet]) -> None:
        waiting = b""
        try:
            while data := client.recv(65536):
                waiting += data
                while (size := _complete(waiting)) is not None:
                    packet, waiting = waiting[:size], waiting[size:]
                    with self._lock:
                        packets.append(_read(packet))
                broker.sendall(data)
        except OSError:
            pass
        finally:
            _shut(broker)
            with self._lock:
                self.open -= 1


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _varint(data: bytes, at: int) -> tuple[int, int] | None:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return None


def _complete(data: bytes) -> int | None:
    head = _varint(data, 1)
    return head[1] + head[0] if head and len(data) >= head[1] + head[0] else None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, width: int) -> int:
        self.at += width
        return int.from_bytes(self.data[self.at - width : self.at], "big")

    def blob(self) -> bytes:
        size = self.number(2)
        self.at += size
        return self.data[self.at - size : self.at]

    def properties(self) -> dict[int, Any]:
        found = _varint(self.data, self.at)
        assert found
        size, self.at = found
        end, made = self.at + size, dict[int, Any]()
        while self.at < end:
            name = self.number(1)
            if name in _WIDTHS:
                made[name] = self.number(_WIDTHS[name])
            elif name == 0x26:
                made[name] = (self.blob(), self.blob())
            elif name == 0x0B:
                value = _varint(self.data, self.at)
                assert value
                made[name], self.at = value
            else:
                assert name in _TEXTS, f"property 0x{name:02x}"
                made[name] = self.blob()
        return made


def _read(packet: bytes) -> Packet:
    kind, flags = packet[0] >> 4, packet[0] & 0x0F
    head = _varint(packet, 1)
    assert head
    reader = _Reader(packet[head[1] :])
    reading = {CONNECT: _connect, PUBLISH: _publish, SUBSCRIBE: _subscribe, DISCONNECT: _disconnect}.get(kind)
    return Packet(kind, time.monotonic(), reading(reader, flags) if reading else {})


def _connect(reader: _Reader, _: int) -> dict[str, Any]:
    reader.blob()
    says: dict[str, Any] = {"version": reader.number(1)}
    flags = reader.number(1)
    says |= {"clean_start": bool(flags & 2), "keepalive": reader.number(2), "properties": reader.properties()}
    says["client_id"] = reader.blob().decode()
    if flags & 4:
        reader.properties()
        topic, body = reader.blob().decode(), reader.blob()
        says["will"] = {"topic": topic, "body": body, "qos": flags >> 3 & 3, "retain": bool(flags & 32)}
    return says


def _publish(reader: _Reader, flags: int) -> dict[str, Any]:
    topic, qos = reader.blob().decode(), flags >> 1 & 3
    if qos:
        reader.number(2)
    reader.properties()
    return {"topic": topic, "qos": qos, "retain": bool(flags & 1), "body": reader.data[reader.at :]}


def _subscribe(reader: _Reader, _: int) -> dict[str, Any]:
    reader.number(2)
    reader.properties()
    wanted = {}
    while reader.at < len(reader.data):
        topic = reader.blob().decode()
        wanted[topic] = reader.number(1) & 3
    return {"filters": wanted}


def _disconnect(reader: _Reader, _: int) -> dict[str, Any]:
    return {"reason": reader.number(1) if reader.data else 0}
