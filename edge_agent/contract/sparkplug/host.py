"""What a Sparkplug host makes of what edge nodes say: values by name, stale ones, and who must be asked again.

Only the metrics that were asked for are followed, so what is remembered is bounded by the configuration and not by what
the senders make up. Whoever missed a message may have missed a birth with other aliases: after a gap in the sequence no
alias is believed until the next birth. No network here; see `edge_node` for the other side.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge_agent.contract.sparkplug.edge_node import BD_SEQ, NODE, REBIRTH, Publication
from edge_agent.contract.sparkplug.payload import (
    QUALITY_GOOD,
    DataType,
    Metric,
    Payload,
    decode,
    encode,
    typed,
)
from edge_agent.contract.sparkplug.topic import Address, address, parse
from edge_agent.contract.sparkplug.wire import SparkplugError

COMPRESSED = "SPBV1.0_COMPRESSED"
FIRST_RETRY_MS, LONGEST_RETRY_MS = 5_000, 300_000
"""A rebirth that does not come is asked for again, at growing intervals."""
_COUNTER = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A metric of an edge node (device is empty) or of one of its devices."""

    group: str
    node: str
    device: str = ""
    metric: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A value as it was said. ``value`` None: bad, null or stale. ``at_ms`` None: no time was given."""

    source: Source
    value: float | None
    at_ms: int | None


@dataclass(slots=True)
class _Edge:
    """One edge node, as far as it was heard."""

    wanted: dict[str, set[str]] = field(default_factory=dict)
    """Device to metric names."""
    types: dict[str, dict[str, DataType]] = field(default_factory=dict)
    aliases: dict[str, dict[int, str]] = field(default_factory=dict)
    """Device to alias to name, of the births that hold."""
    bd_seq: int | None = None
    next_seq: int | None = None
    """None: no birth that holds."""
    asked_at_ms: int | None = None
    retry_ms: int = FIRST_RETRY_MS
    unsure: bool = True


class HostView:
    """All edge nodes that metrics are wanted of."""

    def __init__(self, wanted: Iterable[Source]) -> None:
        self._edges: dict[tuple[str, str], _Edge] = {}
        for source in wanted:
            edge = self._edges.setdefault((source.group, source.node), _Edge())
            edge.wanted.setdefault(source.device, set()).add(source.metric)

    def filters(self) -> list[str]:
        """Topic filters to subscribe to."""
        return [f"spBv1.0/{group}/+/{node}/#" for group, node in self._edges]

    def take(self, topic: str, body: bytes) -> list[Reading]:
        """The readings of one message.

        Raises:
            SparkplugError: it cannot be read. Its place in the sequence counts as missed then.
        """
        at = parse(topic)
        edge = self._edges.get((at.group, at.node))
        if edge is None or at.verb in ("NCMD", "DCMD"):
            return []
        payload = decode(body)
        if payload.uuid == COMPRESSED:
            raise SparkplugError("compressed", f"{at} sends compressed payloads; switch that off")
        match at.verb:
            case "NBIRTH":
                return _born(edge, at, payload)
            case "NDEATH":
                return _died(edge, at, payload)
            case "DDEATH":
                _in_order(edge, payload)
                edge.aliases.pop(at.device, None)
                return list(_stale(edge, at, [at.device]))
            case "DBIRTH":
                _in_order(edge, payload)
                _learn(edge, at, payload)
        if at.verb in ("NDATA", "DDATA"):
            _in_order(edge, payload)
        return _readings(edge, at, payload)

    def rebirths(self, now_ms: int) -> list[Publication]:
        """The requests that are due to those whose births are not known, or no longer believed."""
        due = []
        for (group, node), edge in self._edges.items():
            if edge.unsure and (edge.asked_at_ms is None or now_ms - edge.asked_at_ms >= edge.retry_ms):
                if edge.asked_at_ms is not None:
                    edge.retry_ms = min(LONGEST_RETRY_MS, edge.retry_ms * 2)
                edge.asked_at_ms = now_ms
                due.append(_request(group, node, now_ms))
        return due

    def unsure(self) -> list[tuple[str, str]]:
        """Group and id of the edge nodes whose births are not known."""
        return [key for key, edge in self._edges.items() if edge.unsure]


def _request(group: str, node: str, now_ms: int) -> Publication:
    rebirth = Metric(name=REBIRTH, timestamp_ms=now_ms, datatype=DataType.BOOLEAN, value=True)
    body = encode(Payload(timestamp_ms=now_ms, metrics=(rebirth,)))
    return Publication(topic=str(address(group, "NCMD", node)), body=body)


def _born(edge: _Edge, at: Address, payload: Payload) -> list[Reading]:
    edge.aliases.clear()
    edge.types.clear()
    edge.bd_seq = _bd_seq(payload)
    edge.next_seq = ((payload.seq or 0) + 1) % _COUNTER
    edge.unsure, edge.asked_at_ms, edge.retry_ms = False, None, FIRST_RETRY_MS
    _learn(edge, at, payload)
    return _readings(edge, at, payload)


def _died(edge: _Edge, at: Address, payload: Payload) -> list[Reading]:
    """The death of the session that is known; that of an older one comes late and says nothing about this one."""
    bd_seq = _bd_seq(payload)
    if edge.next_seq is not None and None not in (edge.bd_seq, bd_seq) and bd_seq != edge.bd_seq:
        return []
    edge.aliases.clear()
    edge.next_seq = None
    edge.unsure = False  # there is nobody to ask; its next message is a birth
    return list(_stale(edge, at, edge.wanted))


def _bd_seq(payload: Payload) -> int | None:
    found = next((metric.value for metric in payload.metrics if metric.name == BD_SEQ), None)
    return found if isinstance(found, int) else None


def _in_order(edge: _Edge, payload: Payload) -> None:
    """Count this message; after a gap nothing that was learnt from births holds."""
    if edge.next_seq is not None and payload.seq == edge.next_seq:
        edge.next_seq = (edge.next_seq + 1) % _COUNTER
        return
    edge.next_seq = None
    edge.aliases.clear()
    edge.types.clear()
    edge.unsure = True


def _learn(edge: _Edge, at: Address, payload: Payload) -> None:
    """Aliases and types of a birth, of the metrics that are wanted."""
    wanted = edge.wanted.get(at.device, set())
    known = {m.name: m for m in payload.metrics if m.name in wanted and m.name is not None}
    edge.aliases[at.device] = {m.alias: name for name, m in known.items() if m.alias is not None}
    edge.types[at.device] = {name: m.datatype for name, m in known.items() if m.datatype is not None}


def _stale(edge: _Edge, at: Address, devices: Iterable[str]) -> Iterable[Reading]:
    for device in devices:
        for name in sorted(edge.wanted.get(device, ())):
            yield Reading(source=_source(at, device, name), value=None, at_ms=None)


def _readings(edge: _Edge, at: Address, payload: Payload) -> list[Reading]:
    wanted, found = edge.wanted.get(at.device, set()), []
    aliases: Mapping[int, str] = edge.aliases.get(at.device, {})
    types = edge.types.get(at.device, {})
    for metric in payload.metrics:
        name = metric.name if metric.name is not None else aliases.get(-1 if metric.alias is None else metric.alias)
        if name not in wanted or name is None:
            continue
        stamp = payload.timestamp_ms if metric.timestamp_ms is None else metric.timestamp_ms
        found.append(Reading(source=_source(at, at.device, name), value=_number(metric, types.get(name)), at_ms=stamp))
    return found


def _number(metric: Metric, born_as: DataType | None) -> float | None:
    """The value as a number; None where it is bad, null, text, or a whole number of a type that nobody told."""
    quality = (metric.properties or {}).get("Quality")
    if quality is not None and quality[1] != QUALITY_GOOD:
        return None
    value = metric.value
    if metric.datatype is None and born_as is not None:
        value = typed(value, born_as)
    elif metric.datatype is None and isinstance(value, int) and not isinstance(value, bool):
        return None  # it may be a negative one
    return float(value) if isinstance(value, int | float) else None


def _source(at: Address, device: str, name: str) -> Source:
    return Source(group=at.group, node=at.node, device=device or NODE, metric=name)
