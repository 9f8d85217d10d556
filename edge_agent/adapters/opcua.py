"""A connection to a PLC's OPC UA server: variables by their names, types as the server has them. Needs ``asyncua``."""

import contextlib
from collections.abc import Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as TooSlow
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.sync import Client, ThreadLoop
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from edge_agent.config.stations import OpcUaServer
from edge_agent.domain.faults import ConfigError, Transient

_WRONG = frozenset(
    {
        StatusCodes.BadNodeIdUnknown,
        StatusCodes.BadNodeIdInvalid,
        StatusCodes.BadTypeMismatch,
        StatusCodes.BadNotWritable,
        StatusCodes.BadNotReadable,
        StatusCodes.BadIdentityTokenRejected,
        StatusCodes.BadUserAccessDenied,
    }
)
"""What does not go away by itself."""
_CONNECTS = 2.0
"""Connecting takes several messages: this many times the timeout, and a few seconds for the first of them."""


class PlcVariables:
    """Variables of one server, found by string identifiers ``{prefix}{name}`` in one namespace."""

    def __init__(self, options: OpcUaServer, name: str) -> None:
        self._options, self._name = options, name
        self._client: Any = None
        self._loop: ThreadLoop | None = None
        self._nodes: dict[str, Any] = {}
        self._types: dict[str, ua.VariantType] = {}

    def connect(self, names: Sequence[str]) -> None:
        """Connect and find these variables.

        Raises:
            Transient: the server does not answer.
            ConfigError: a variable that it has not, a password or certificate that it does not take.
        """
        self.close()
        try:
            self._connect(names)
        except BaseException:  # also what the configuration got wrong: the client's thread must not stay behind
            self.close()
            raise

    def _connect(self, names: Sequence[str]) -> None:
        timeout_s = self._options.timeout_ms / 1e3
        self._loop = loop = _loop(_CONNECTS * timeout_s + 5)
        self._client = client = Client(self._options.url, timeout=timeout_s, tloop=loop)
        self._identify(client)
        self._try(client.connect)
        index = self._index()
        self._nodes = {name: client.get_node(self._id(name, index)) for name in dict.fromkeys(names)}
        for name, node in self._nodes.items():
            self._types[name] = self._try(node.read_data_type_as_variant_type, name)

    def read(self, names: Sequence[str]) -> list[Any]:
        """Values, in one request."""
        nodes = [self._nodes[name] for name in names]
        return list(self._try(lambda: self._connected().read_values(nodes), ", ".join(names)))

    def write(self, values: dict[str, bool | int | str]) -> None:
        """Write values, in one request; the server may apply them in any order."""
        nodes = [self._nodes[name] for name in values]
        typed = [ua.DataValue(ua.Variant(self._fit(name, value), self._types[name])) for name, value in values.items()]
        self._try(lambda: self._connected().write_values(nodes, typed), ", ".join(values))

    def is_text(self, name: str) -> bool:
        """Is this variable a string?"""
        return self._types[name] == ua.VariantType.String

    def close(self) -> None:
        """Disconnect; safe to call twice and after a failure."""
        client, self._client = self._client, None
        loop, self._loop = self._loop, None
        if client is not None:
            with contextlib.suppress(UaError, OSError, TooSlow, CancelledError, RuntimeError):
                client.disconnect()
        if loop is not None:
            loop.stop()

    def _id(self, name: str, index: int) -> ua.NodeId:
        return ua.NodeId(ua.String(f"{self._options.prefix}{name}"), ua.Int16(index))

    def _fit(self, name: str, value: bool | int | str) -> bool | int | str:
        return str(value) if self.is_text(name) else value

    def _identify(self, client: Any) -> None:
        options = self._options
        if options.username is not None and options.password_file is not None:
            client.set_user(options.username)
            client.set_password(_secret(options.password_file))
        if options.security == "none":
            return
        mode = ua.MessageSecurityMode.Sign if options.security == "sign" else ua.MessageSecurityMode.SignAndEncrypt
        self._try(
            lambda: client.set_security(
                SecurityPolicyBasic256Sha256,
                str(options.certificate),
                str(options.private_key),
                server_certificate=str(options.server_certificate) if options.server_certificate else None,
                mode=mode,
            )
        )

    def _index(self) -> int:
        namespace = self._options.namespace
        if isinstance(namespace, int):
            return namespace
        known = self._try(self._connected().get_namespace_array)
        if namespace not in known:
            raise ConfigError(f"{self._name}: there is no namespace {namespace!r}; it has {', '.join(known)}")
        return int(known.index(namespace))

    def _connected(self) -> Any:
        if self._client is None:
            raise Transient(f"{self._name}: not connected")
        return self._client

    def _try(self, ask: Any, what: str = "") -> Any:
        try:
            return ask()
        except UaStatusCodeError as error:
            self.close()
            text = f"{self._name}: {what}: {error}"
            raise ConfigError(text) if error.code in _WRONG else Transient(text) from error
        except (UaError, OSError, TooSlow, CancelledError, RuntimeError) as error:  # RuntimeError: its thread is gone
            self.close()
            raise Transient(f"{self._name}: {what}: {error or type(error).__name__}") from error


def _loop(timeout_s: float) -> ThreadLoop:
    """The client's own thread, as a daemon: asyncua's would keep a process that is ending alive for ever."""
    loop = ThreadLoop(timeout_s)
    loop.daemon = True
    loop.start()
    return loop


def _secret(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"secret {file} cannot be read: {error}") from error
