"""What a Sparkplug edge node says, and when: births, deaths, data, rebirth, and the primary host. No network here.

The caller owns the connection. It makes each CONNECT with `will`, subscribes to `subscriptions`, tells `connected` and
`disconnected`, gives `take` what arrives and does what that asks for, and publishes whatever is returned, in order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from edge_agent.contract.sparkplug.payload import DataType, Metric, Payload, Value, decode, encode
from edge_agent.contract.sparkplug.topic import address, parse, read_state, state
from edge_agent.contract.sparkplug.wire import SparkplugError

BD_SEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"
_COUNTER = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A metric that is going to be reported: declared in every birth."""

    name: str
    datatype: DataType
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A message to publish."""

    topic: str
    body: bytes
    qos: int = 0
    retain: bool = False


class Asked(Enum):
    """What a message from the host asks of the caller."""

    NOTHING = "nothing"
    BIRTH = "birth"
    """Publish `births` now."""
    LEAVE = "leave"
    """Publish `death`, disconnect, and begin anew with the next CONNECT."""


@dataclass(slots=True)
class _Reported:
    """A tag with its alias and what is known of it."""

    tag: Tag
    alias: int
    value: Value = None
    at_ms: int | None = None


NODE = ""
"""The edge node itself, where a device is asked for."""


class EdgeNode:
    """One edge node with its devices, in one thread.

    Attributes:
        bd_seq: the number of the CONNECT in progress; the caller keeps it across restarts.
    """

    def __init__(
        self,
        *,
        group: str,
        node: str,
        tags: Sequence[Tag],
        devices: Mapping[str, Sequence[Tag]],
        primary_host: str = "",
        bd_seq: int = -1,
        types_in_data: bool = False,
    ) -> None:
        """Args:
        bd_seq: of the last CONNECT, -1 before the first.
        types_in_data: repeat the types of the births in data, for hosts that do not remember them.

        Raises:
            SparkplugError: an id that cannot stand in a topic, names that differ only in case.
        """
        self._group, self._node, self._primary_host = group, node, primary_host
        address(group, "NBIRTH", node)
        for device in devices:
            address(group, "DBIRTH", node, device)
        _distinct(devices, "device")
        aliases = iter(range(1, 1 << 32))  # 0 is left to bdSeq
        self._tags: dict[str, dict[str, _Reported]] = {}
        for device, listed in {NODE: tags, **devices}.items():
            _distinct((tag.name for tag in listed), "metric")
            self._tags[device] = {tag.name: _Reported(tag, next(aliases)) for tag in listed}
        self.bd_seq, self._types_in_data = bd_seq, types_in_data
        self._seq = 0
        self._born = False
        self._lost: set[str] = set()
        self._host_online = False
        self._host_said_ms = -1

    @property
    def born(self) -> bool:
        """Were the births of this connection published? Only then there is data."""
        return self._born

    @property
    def devices(self) -> list[str]:
        """All of them, whether there or lost."""
        return [device for device in self._tags if device]

    def is_lost(self, device: str) -> bool:
        """Is this device away?"""
        return device in self._lost

    # --- the connection ---------------------------------------------------------------------------------------------

    def will(self, now_ms: int) -> Publication:
        """For the next CONNECT, which gets the next bdSeq."""
        self.bd_seq = (self.bd_seq + 1) % _COUNTER
        return self._death(now_ms)

    def subscriptions(self) -> list[tuple[str, int]]:
        """Topics and QoS, to subscribe to after CONNACK and before anything is published."""
        wanted = [(str(address(self._group, "NCMD", self._node)), 1)]
        return [*wanted, (state(self._primary_host), 1)] if self._primary_host else wanted

    def connected(self) -> Asked:
        """The subscriptions are made: BIRTH, unless a primary host is waited for."""
        self._born = self._host_online = False
        return Asked.NOTHING if self._primary_host else Asked.BIRTH

    def disconnected(self) -> None:
        """No data until the next birth."""
        self._born = self._host_online = False

    def take(self, topic: str, body: bytes) -> Asked:
        """A message of the subscriptions.

        Raises:
            SparkplugError: it cannot be read; nothing has happened.
        """
        if self._primary_host and topic == state(self._primary_host):
            return self._heed(body)
        if parse(topic) != address(self._group, "NCMD", self._node):
            return Asked.NOTHING
        wants = any(metric.name == REBIRTH and metric.value is True for metric in decode(body).metrics)
        if not wants or not self._may_speak():
            return Asked.NOTHING
        self._born = False  # no data until the births are out
        return Asked.BIRTH

    def _heed(self, body: bytes) -> Asked:
        """What the primary host said of itself; an older word than the last one is not believed."""
        said = read_state(body)
        if said.timestamp_ms < self._host_said_ms:
            return Asked.NOTHING
        self._host_said_ms, self._host_online = said.timestamp_ms, said.online
        if said.online:
            return Asked.NOTHING if self._born else Asked.BIRTH
        return Asked.LEAVE if self._born else Asked.NOTHING

    def _may_speak(self) -> bool:
        return self._host_online or not self._primary_host

    # --- births and deaths ------------------------------------------------------------------------------------------

    def births(self, now_ms: int) -> list[Publication]:
        """NBIRTH, then the DBIRTH of each device that is there.

        Raises:
            SparkplugError: the primary host is not online.
        """
        if not self._may_speak():
            raise SparkplugError("host", f"the primary host {self._primary_host} is not online")
        self._seq = -1
        control = [
            Metric(name=BD_SEQ, alias=0, timestamp_ms=now_ms, datatype=DataType.INT64, value=self.bd_seq),
            Metric(name=REBIRTH, timestamp_ms=now_ms, datatype=DataType.BOOLEAN, value=False),
        ]
        made = [self._say("NBIRTH", NODE, [*control, *self._all(NODE, now_ms)], now_ms)]
        made += [self._device_birth(device, now_ms) for device in self.devices if device not in self._lost]
        self._born = True
        return made

    def death(self, now_ms: int) -> Publication:
        """Before leaving on purpose. The same as the will of this connection."""
        self._born = False
        return self._death(now_ms)

    def device_lost(self, device: str, now_ms: int) -> list[Publication]:
        """DDEATH, once; from now on the device has no data."""
        if device in self._lost:
            return []
        self._lost.add(device)
        return [self._say("DDEATH", device, [], now_ms)] if self._born else []

    def device_back(self, device: str, now_ms: int) -> list[Publication]:
        """DBIRTH of a device that was lost."""
        if device not in self._lost:
            return []
        self._lost.discard(device)
        return [self._device_birth(device, now_ms)] if self._born else []

    def _device_birth(self, device: str, now_ms: int) -> Publication:
        return self._say("DBIRTH", device, list(self._all(device, now_ms)), now_ms)

    def _death(self, now_ms: int) -> Publication:
        bd_seq = Metric(name=BD_SEQ, timestamp_ms=now_ms, datatype=DataType.INT64, value=self.bd_seq)
        body = encode(Payload(timestamp_ms=now_ms, metrics=(bd_seq,)))
        return Publication(topic=str(address(self._group, "NDEATH", self._node)), body=body, qos=1)

    # --- data -------------------------------------------------------------------------------------------------------

    def update(self, device: str, values: Mapping[str, Value], *, at_ms: int, now_ms: int) -> list[Publication]:
        """Note current values; the DATA message with those that changed, where one may be sent.

        Raises:
            KeyError: a tag that was not declared.
            SparkplugError: a value that its type cannot hold.
        """
        tags, changed = self._tags[device], list[_Reported]()
        for name, value in values.items():
            reported = tags[name]
            if reported.at_ms is None or reported.value != value:
                reported.value, reported.at_ms = value, at_ms
                changed.append(reported)
        if not changed or not self._born or device in self._lost:
            return []
        metrics = [_data_metric(one, one.value, at_ms) for one in changed]
        return [self._say("DDATA" if device else "NDATA", device, metrics, now_ms)]

    def history(self, device: str, values: Mapping[str, Value], *, at_ms: int, now_ms: int) -> list[Publication]:
        """A DATA message with values of the past, which leaves the current ones as they are."""
        if not values or not self._born or device in self._lost:
            return []
        tags = self._tags[device]
        metrics = [_data_metric(tags[name], value, at_ms, historical=True) for name, value in values.items()]
        return [self._say("DDATA" if device else "NDATA", device, metrics, now_ms)]

    def _all(self, device: str, now_ms: int) -> Iterable[Metric]:
        """Every tag with its current value, as births declare them."""
        for one in self._tags[device].values():
            yield Metric(
                name=one.tag.name,
                alias=one.alias,
                timestamp_ms=now_ms if one.at_ms is None else one.at_ms,
                datatype=one.tag.datatype,
                value=one.value,
                is_null=one.value is None,
                properties={"engUnit": (DataType.STRING, one.tag.unit)} if one.tag.unit else None,
            )

    def _say(self, verb: str, device: str, metrics: Sequence[Metric], now_ms: int) -> Publication:
        self._seq = (self._seq + 1) % _COUNTER
        payload = Payload(timestamp_ms=now_ms, metrics=tuple(metrics), seq=self._seq)
        topic = address(self._group, verb, self._node, device)
        return Publication(
            topic=str(topic), body=encode(payload, with_datatypes=verb.endswith("BIRTH") or self._types_in_data)
        )


def _data_metric(one: _Reported, value: Value, at_ms: int, *, historical: bool = False) -> Metric:
    """By alias alone, as data must where births give aliases."""
    return Metric(
        alias=one.alias,
        timestamp_ms=at_ms,
        datatype=one.tag.datatype,
        value=value,
        is_null=value is None,
        is_historical=historical,
    )


def _distinct(names: Iterable[str], what: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        twin = seen.setdefault(name.lower(), "")
        if twin or not name:
            raise SparkplugError("id", f"{what} {name!r} is {twin!r} again" if name else f"a {what} has no name")
        seen[name.lower()] = name
