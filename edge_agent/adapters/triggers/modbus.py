"""A PLC's coil says that a part is in place (Modbus TCP); see docs/plc.md for the handshake."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient

from edge_agent.adapters.triggers.plc import PlcTrigger, Product, Request, Terms
from edge_agent.config.stations import ModbusTriggerOptions
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.ports import Clock, PlantLink

_LONGEST_READ = 125
"""Registers that one request may read (Modbus application protocol 1.1b3, section 6.3)."""


class ModbusTrigger(PlcTrigger):
    """Implements ``ports.TriggerSource``; see `PlcTrigger`."""

    def __init__(
        self,
        options: ModbusTriggerOptions,
        *,
        station_id: str,
        strata: Mapping[str, str],
        clock: Clock,
        link: PlantLink | None = None,
        owes: Callable[[], bool] = lambda: False,
        recipes: Collection[str] | None = None,
    ) -> None:
        """See `PlcTrigger`."""
        name = f"station {station_id}: PLC {options.host}:{options.port}"
        terms = Terms(
            name=name,
            protocol="modbus",
            poll_s=options.poll_ms / 1e3,
            heartbeat_timeout_s=options.heartbeat_timeout_s,
            ack_timeout_s=options.ack_timeout_s,
            hold_while_busy=options.while_busy == "hold",
            echoes_product=options.product_register is not None and options.product_echo_register is not None,
            products=options.products,
            product_id=options.product_id,
        )
        memory = ModbusMemory(options, name)
        super().__init__(memory, terms, station_id=station_id, strata=strata, clock=clock, owes=owes, recipes=recipes)


class ModbusMemory:
    """Implements ``Memory``: coils and holding registers."""

    def __init__(self, options: ModbusTriggerOptions, name: str) -> None:
        self._options, self._name = options, name
        self._client: Any = None

    def connect(self) -> None:
        """Raises Transient when the PLC does not answer, ConfigError for registers that it has not."""
        options = self._options
        client: Any = ModbusTcpClient(options.host, port=options.port, timeout=options.timeout_ms / 1e3, retries=0)
        if not client.connect():
            client.close()
            raise Transient(f"{self._name}: no connection")
        self._client = client
        self.request()

    def poll(self) -> tuple[bool, object]:
        """The trigger coil and the heartbeat register."""
        register = self._options.heartbeat_register
        beat = None if register is None else self._registers(register, 1)[0]
        bits = self._ask("read_coils", self._options.trigger_coil, count=1).bits
        if not bits:
            raise Transient(f"{self._name}: read_coils at {self._options.trigger_coil}: an answer without content")
        return bool(bits[0]), beat

    def request(self) -> Request:
        """Sequence and part id are read in one request where they lie close together."""
        options = self._options
        last = options.part_id_register + options.part_id_words - 1
        first = min(options.sequence_register, options.part_id_register)
        end = max(options.sequence_register, last)
        if end - first < _LONGEST_READ:
            words = self._registers(first, end - first + 1)
            sequence = words[options.sequence_register - first]
            at = options.part_id_register - first
            part = words[at : at + options.part_id_words]
        else:
            sequence = self._registers(options.sequence_register, 1)[0]
            part = self._registers(options.part_id_register, options.part_id_words)
        return Request(sequence=sequence, part_id=text_of(part, options.byte_order), product=self.product())

    def product(self) -> Product:
        """The product register."""
        register = self._options.product_register
        return None if register is None else self._registers(register, 1)[0]

    def echo(self, product: Product) -> None:
        """The number again, or 0."""
        if self._options.product_echo_register is not None:
            number = product if isinstance(product, int) else 0
            self._ask("write_register", self._options.product_echo_register, value=number)

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _registers(self, address: int, count: int) -> list[int]:
        found = list(self._ask("read_holding_registers", address, count=count).registers)
        if len(found) != count:
            raise Transient(f"{self._name}: {count} registers asked for at {address}, {len(found)} answered")
        return found

    def _ask(self, function: str, address: int, **arguments: int) -> Any:
        client = self._client
        if client is None:
            raise Transient(f"{self._name}: not connected")
        try:
            answer = getattr(client, function)(address, device_id=self._options.unit, **arguments)
        except (ModbusException, OSError) as error:
            raise Transient(f"{self._name}: {error}") from error
        if answer.isError():
            text = f"{self._name}: {function} at {address} {arguments}: {answer}"
            raise ConfigError(text) if getattr(answer, "exception_code", 0) == 2 else Transient(text)
        return answer


def text_of(words: list[int], byte_order: str) -> str:
    """Characters packed two to a register; ends at the first NUL. What is not printable ASCII becomes ``?``."""
    raw = b"".join(word.to_bytes(2, "big" if byte_order == "big" else "little") for word in words)
    text = raw.split(b"\0", 1)[0].strip()
    return "".join(chr(byte) if 0x20 < byte < 0x7F else "?" for byte in text)
