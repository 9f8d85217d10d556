"""A PLC's coil says that a part is in place (Modbus TCP); see docs/plc.md for the handshake."""

import threading
from collections.abc import Mapping
from typing import Any

import structlog
from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient

from edge_agent.config.stations import ModbusTriggerOptions
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.ports import Clock, PlantLink

log = structlog.get_logger(__name__)

_LONGEST_READ = 125
"""Registers that one request may read (Modbus application protocol 1.1b3, section 6.3)."""
_COUNTER = 0x10000
_LONGEST_GAP = 1_000
"""A larger step of the sequence is a counter that began anew."""


class ModbusTrigger:
    """Implements ``ports.TriggerSource``.

    A shot is the rising edge of the trigger coil. A coil that is already set when the connection is made counts as an
    edge: the PLC is waiting for an answer, perhaps since before a restart of this box.
    """

    patient = False

    def __init__(
        self,
        options: ModbusTriggerOptions,
        *,
        station_id: str,
        strata: Mapping[str, str],
        clock: Clock,
        link: PlantLink | None = None,
    ) -> None:
        self._options = options
        self._station_id = station_id
        self._strata = dict(strata)
        self._clock = clock
        self._client: Any = None
        self._closed = threading.Event()
        self._was_set = False
        self._last_sequence: int | None = None
        self._missed = 0
        self._beat: int | None = None
        self._beat_ns = 0

    def open(self) -> None:
        """Connect. Raises Transient when the PLC does not answer, ConfigError for registers that it has not."""
        self.close()
        self._closed.clear()
        client: Any = ModbusTcpClient(
            self._options.host, port=self._options.port, timeout=self._options.timeout_ms / 1e3, retries=0
        )
        if not client.connect():
            client.close()
            raise Transient(f"{self._name}: no connection")
        self._client = client
        self._was_set = False
        self._beat, self._beat_ns = None, self._clock.monotonic_ns()
        self._read_request()

    def wait(self, timeout_s: float) -> Shot | None:
        """Poll until the coil rises. Raises Transient when the connection or the PLC's heartbeat is lost."""
        deadline_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            self._watch_heartbeat()
            is_set = bool(self._coil())
            rose, self._was_set = is_set and not self._was_set, is_set
            if rose:
                return self._shot()
            if self._clock.monotonic_ns() >= deadline_ns or self._closed.wait(self._options.poll_ms / 1e3):
                return None

    def missed(self) -> int:
        """Gaps in the PLC's sequence."""
        return self._missed

    def refusals(self) -> list[tuple[Shot, Reason]]:
        """None: every request becomes a shot."""
        return []

    def close(self) -> None:
        """Disconnect."""
        self._closed.set()
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @property
    def _name(self) -> str:
        return f"station {self._station_id}: PLC {self._options.host}:{self._options.port}"

    # --- reading --------------------------------------------------------------------------------------------------

    def _coil(self) -> bool:
        return bool(self._ask("read_coils", self._options.trigger_coil, 1).bits[0])

    def _registers(self, address: int, count: int) -> list[int]:
        return list(self._ask("read_holding_registers", address, count).registers)

    def _ask(self, function: str, address: int, count: int) -> Any:
        client = self._client
        if client is None:
            raise Transient(f"{self._name}: not connected")
        try:
            answer = getattr(client, function)(address, count=count, device_id=self._options.unit)
        except (ModbusException, OSError) as error:
            raise Transient(f"{self._name}: {error}") from error
        if answer.isError():
            text = f"{self._name}: {function} at {address}, count {count}: {answer}"
            raise ConfigError(text) if getattr(answer, "exception_code", 0) == 2 else Transient(text)
        return answer

    def _read_request(self) -> tuple[int, str, str]:
        """Sequence, part id and product id, read in one request where they lie close together."""
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
        return sequence, text_of(part, options.byte_order), self._product()

    def _product(self) -> str:
        """A number that is in no table becomes a product without a recipe: the part is held, with that reason."""
        options = self._options
        if options.product_register is None:
            return options.product_id or ""
        number = self._registers(options.product_register, 1)[0]
        return options.products.get(number, options.product_id or f"unknown-{number}")

    def _watch_heartbeat(self) -> None:
        if self._options.heartbeat_register is None:
            return
        beat, now_ns = self._registers(self._options.heartbeat_register, 1)[0], self._clock.monotonic_ns()
        if beat != self._beat:
            self._beat, self._beat_ns = beat, now_ns
        elif now_ns - self._beat_ns > self._options.heartbeat_timeout_s * 1e9:
            raise Transient(f"{self._name}: its heartbeat stopped at {beat}")

    def _shot(self) -> Shot:
        triggered_ns, triggered_at = self._clock.monotonic_ns(), self._clock.now()
        sequence, part_id, product_id = self._read_request()
        self._count_gap(sequence)
        return Shot(
            shot_id=self._clock.new_id(),
            station_id=self._station_id,
            part_id=part_id or f"{self._station_id}-{sequence}",
            product_id=product_id,
            trigger_id=f"modbus-{sequence}",
            triggered_at=triggered_at,
            triggered_ns=triggered_ns,
            sequence=sequence,
            strata=self._strata,
        )

    def _count_gap(self, sequence: int) -> None:
        last, self._last_sequence = self._last_sequence, sequence
        gap = 0 if last is None else (sequence - last) % _COUNTER - 1
        if 0 < gap <= _LONGEST_GAP:
            self._missed += gap
            log.warning("triggers missed", station=self._station_id, after=last, before=sequence)


def text_of(words: list[int], byte_order: str) -> str:
    """Characters packed two to a register; ends at the first NUL. What is not printable ASCII becomes ``?``."""
    raw = b"".join(word.to_bytes(2, "big" if byte_order == "big" else "little") for word in words)
    text = raw.split(b"\0", 1)[0].strip()
    return "".join(chr(byte) if 0x20 < byte < 0x7F else "?" for byte in text)
