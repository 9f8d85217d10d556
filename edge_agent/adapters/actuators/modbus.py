"""Result, ready, busy, fault and heartbeat in a PLC's coils and registers (Modbus TCP); see docs/plc.md."""

import threading
from collections.abc import Sequence
from typing import Any

import structlog
from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient

from edge_agent.config.stations import ModbusActuatorOptions
from edge_agent.domain.faults import Transient
from edge_agent.domain.inspection import Disposition, Inspection
from edge_agent.domain.part import Shot
from edge_agent.ports import Clock, Handshake

log = structlog.get_logger(__name__)

_CODES = {Disposition.ACCEPT: 1, Disposition.REJECT: 2, Disposition.HOLD: 3}


class ModbusActuator:
    """Implements ``ports.Actuator``.

    The order of the writes is the protocol: the result's registers, then ``result_valid``, then ``busy`` off. The
    result carries the sequence and the part id it answers, so that the PLC can tell it from an older one.
    """

    def __init__(self, options: ModbusActuatorOptions, *, station_id: str, clock: Clock) -> None:
        self._options = options
        self._station_id = station_id
        self._clock = clock
        self._lock = threading.RLock()
        self._client: Any = None
        self._beat = False
        self._ready = False
        self._fault = False

    def open(self) -> None:
        """Connect; withdraw whatever a process before this one has left, then say what was said last."""
        with self._lock:
            self._disconnect()
            options = self._options
            client: Any = ModbusTcpClient(options.host, port=options.port, timeout=options.timeout_ms / 1e3, retries=0)
            if not client.connect():
                client.close()
                raise Transient(f"{self._name}: no connection")
            self._client = client
            for coil in (options.result_valid_coil, options.busy_coil):
                self._coil(coil, False)
            self._coil(options.fault_coil, self._fault)
            self._coil(options.ready_coil, self._ready)

    def ready(self, ready: bool) -> None:
        """Tell the line whether parts will be inspected."""
        with self._lock:
            self._ready = ready
            self._coil(self._options.ready_coil, ready)

    def busy(self, shot: Shot) -> None:
        """An inspection has begun: the result that is shown is no longer valid."""
        with self._lock:
            self._coil(self._options.result_valid_coil, False)
            self._coil(self._options.busy_coil, True)

    def settle(self, inspection: Inspection) -> None:
        """Show the disposition, bound to the request it answers. Raises Transient; the PLC then rejects by itself."""
        answer = handshake_of(inspection)
        with self._lock:
            options = self._options
            self._coil(options.result_valid_coil, False)
            self._registers(options.result_part_id_register, words_of(answer.part_id, options))
            self._registers(options.result_sequence_register, [answer.sequence])
            self._registers(options.result_register, [answer.result_code])
            self._coil(options.result_valid_coil, True)
            self._coil(options.busy_coil, False)

    def fault(self, active: bool, text: str = "") -> None:
        """Raise or clear the fault signal."""
        with self._lock:
            self._fault = active
            self._coil(self._options.fault_coil, active)

    def beat(self) -> None:
        """Toggle the heartbeat coil."""
        with self._lock:
            if self._client is None:
                self.open()
            self._beat = not self._beat
            self._coil(self._options.heartbeat_coil, self._beat)

    def close(self) -> None:
        """Withdraw ready (as far as the PLC still listens) and disconnect."""
        with self._lock:
            if self._client is not None:
                try:
                    self._coil(self._options.ready_coil, False)
                    self._coil(self._options.busy_coil, False)
                except Transient as error:
                    log.warning("ready could not be withdrawn", station=self._station_id, error=str(error))
            self._disconnect()

    @property
    def _name(self) -> str:
        return f"station {self._station_id}: PLC {self._options.host}:{self._options.port}"

    def _coil(self, address: int, value: bool) -> None:
        self._write("write_coil", address, value)

    def _registers(self, address: int, words: Sequence[int]) -> None:
        self._write("write_registers", address, list(words))

    def _write(self, function: str, address: int, value: bool | list[int]) -> None:
        client = self._client
        if client is None:
            raise Transient(f"{self._name}: not connected")
        try:
            answer = getattr(client, function)(address, value, device_id=self._options.unit)
        except (ModbusException, OSError) as error:
            self._disconnect()
            raise Transient(f"{self._name}: {error}") from error
        if answer.isError():
            raise Transient(f"{self._name}: {function} at {address}: {answer}")

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def handshake_of(inspection: Inspection) -> Handshake:
    """What the PLC is told about an inspection. A request without a sequence is answered with 0."""
    shot = inspection.shot
    return Handshake(
        trigger_id=shot.trigger_id,
        part_id=shot.part_id,
        result_code=_CODES[inspection.disposition],
        sequence=(shot.sequence or 0) & 0xFFFF,
    )


def words_of(text: str, options: ModbusActuatorOptions) -> list[int]:
    """Characters packed two to a register, padded with NUL, cut to the length that the PLC has."""
    size = options.part_id_words * 2
    raw = text.encode("ascii", "replace")[:size].ljust(size, b"\0")
    order = options.byte_order
    return [int.from_bytes(raw[at : at + 2], order) for at in range(0, size, 2)]
