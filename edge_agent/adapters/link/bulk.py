"""paho's client with a second, fast way for what the relay sends: whole windows out, all PUBACKs of a read in.

Message ids are shared out: paho has the lower half, what is sent here the upper one. paho never sees the PUBACKs of
these; it keeps the connection, the session, everything that is subscribed, and its own few publishes. What is used of
its inside (``_create_socket``, ``_mid_generate``, ``_packet_queue``) is held by tests/unit/test_link_bulk.py.
"""

from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

from edge_agent.adapters.link.packets import Parcel, publish_packet, sort_packets

FIRST_OWN = 0x8000
_LAST = 0xFFFF
_READ_BYTES = 65_536
_PUBLISH = 0x30

Tell = Callable[[Sequence[tuple[int, int]]], None]


class BulkClient(paho.Client):
    """paho's client, and `send_parcels`.

    Attributes:
        on_own_pubacks: told of (mid, reason code) on the network thread.
    """

    def __init__(self, *args: Any, on_own_pubacks: Tell, **options: Any) -> None:
        super().__init__(*args, **options)
        self.on_own_pubacks = on_own_pubacks
        self._last_own = _LAST

    def send_parcels(self, parcels: Sequence[Parcel]) -> list[int]:
        """Queue all of them as one write; their mids, none when there is no connection.

        One thread only.
        """
        if self._sock is None:
            return []
        mids = [self._own_mid() for _ in parcels]
        packets = b"".join(map(publish_packet, mids, parcels))
        queued = self._packet_queue(_PUBLISH, memoryview(packets), 0, 1)  # type: ignore[arg-type]
        return mids if queued == MQTTErrorCode.MQTT_ERR_SUCCESS else []

    def _own_mid(self) -> int:
        self._last_own = FIRST_OWN if self._last_own == _LAST else self._last_own + 1
        return self._last_own

    def _mid_generate(self) -> int:
        mid = super()._mid_generate()
        if mid < FIRST_OWN:
            return mid
        with self._mid_generate_mutex:
            self._last_mid = 1
        return 1

    def _create_socket(self) -> Any:
        return ReadAhead(super()._create_socket(), lambda pubacks: self.on_own_pubacks(pubacks))


class ReadAhead:
    """A non-blocking socket, read in large pieces; PUBACKs of our own are taken out on the way.

    ``pending`` tells paho's loop that there is something to read although the socket's own buffer is empty (it asks
    TLS sockets for the same reason).
    """

    def __init__(self, sock: Any, tell: Tell) -> None:
        self._sock, self._tell = sock, tell
        self._ready = b""
        self._rest = b""

    def recv(self, most: int) -> bytes:
        """As a socket's.

        Raises:
            BlockingIOError: there is nothing (ssl.SSLWantReadError with TLS).
        """
        if not self._ready:
            self._fill()
        taken, self._ready = self._ready[:most], self._ready[most:]
        return taken

    def pending(self) -> int:
        """Bytes that can be read without the network."""
        inner = getattr(self._sock, "pending", None)
        return len(self._ready) + (inner() if inner is not None else 0)

    def _fill(self) -> None:
        piece = self._sock.recv(_READ_BYTES)
        if not piece:
            self._ready, self._rest = self._rest, b""  # the end; half a packet is paho's to judge
            return
        pubacks, self._ready, self._rest = sort_packets(self._rest + piece if self._rest else piece, FIRST_OWN)
        if pubacks:
            self._tell(pubacks)
        if not self._ready:
            raise BlockingIOError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
