"""Sparkplug's topics: ``spBv1.0/{group}/{verb}/{edge node}[/{device}]`` and ``spBv1.0/STATE/{host}``."""

import json
from dataclasses import dataclass

from edge_agent.contract.sparkplug.wire import SparkplugError

NAMESPACE = "spBv1.0"
NODE_VERBS = frozenset({"NBIRTH", "NDEATH", "NDATA", "NCMD"})
DEVICE_VERBS = frozenset({"DBIRTH", "DDEATH", "DDATA", "DCMD"})
_RESERVED = frozenset("+/#\0")
_MAX_STATE_BYTES = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Who a message is of or for. ``device`` is empty for the edge node itself."""

    group: str
    verb: str
    node: str
    device: str = ""

    def __str__(self) -> str:
        levels = [NAMESPACE, self.group, self.verb, self.node]
        return "/".join([*levels, self.device] if self.device else levels)


def address(group: str, verb: str, node: str, device: str = "") -> Address:
    """An address with valid ids.

    Raises:
        SparkplugError: an empty id, one with ``+``, ``/``, ``#`` or NUL, or a device where none belongs.
    """
    for name in (group, node, *([device] if device else [])):
        if not name or _RESERVED & set(name) or not _is_utf8(name):
            raise SparkplugError("id", f"{name!r} cannot stand in a topic")
    if verb not in (DEVICE_VERBS if device else NODE_VERBS):
        raise SparkplugError("verb", f"{verb} {'with' if device else 'without'} a device")
    return Address(group=group, verb=verb, node=node, device=device)


def parse(topic: str) -> Address:
    """The address in a topic.

    Raises:
        SparkplugError: it is none of this namespace.
    """
    levels = topic.split("/")
    if levels[0] != NAMESPACE or len(levels) not in (4, 5):
        raise SparkplugError("topic", f"{topic!r:.80} is not of {NAMESPACE}")
    if len(levels) == 5 and not levels[4]:
        raise SparkplugError("id", "an empty device id")
    return address(levels[1], levels[2], levels[3], levels[4] if len(levels) == 5 else "")


def state(host: str) -> str:
    """Where a host application says whether it is online."""
    if not host or _RESERVED & set(host):
        raise SparkplugError("id", f"{host!r} cannot stand in a topic")
    return f"{NAMESPACE}/STATE/{host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """What a host application said of itself."""

    online: bool
    timestamp_ms: int


def read_state(body: bytes) -> HostState:
    """A STATE message: ``{"online": bool, "timestamp": ms}``.

    Raises:
        SparkplugError: it is something else.
    """
    try:
        found = json.loads(body) if len(body) <= _MAX_STATE_BYTES else None
    except (ValueError, RecursionError):
        found = None
    online, at = (found.get("online"), found.get("timestamp")) if isinstance(found, dict) else (None, None)
    if not isinstance(online, bool) or isinstance(at, bool) or not isinstance(at, int) or at < 0:
        raise SparkplugError("state", f"{body[:60]!r}")
    return HostState(online=online, timestamp_ms=at)


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
