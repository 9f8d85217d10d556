"""Result, ready, busy, fault and heartbeat in a PLC's coils and registers (Modbus TCP); see docs/plc.md."""

from typing import Any
from uuid import UUID

from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient

from edge_agent.adapters.actuators.plc import PlcActuator
from edge_agent.config.stations import ModbusActuatorOptions
from edge_agent.domain.faults import Transient
from edge_agent.ports import Clock, Handshake


class ModbusActuator(PlcActuator):
    """Implements ``ports.Actuator``; see `PlcActuator`."""

    def __init__(self, options: ModbusActuatorOptions, *, station_id: str, clock: Clock) -> None:
        name = f"station {station_id}: PLC {options.host}:{options.port}"
        signals = ModbusSignals(options, name)
        super().__init__(signals, name=name, station_id=station_id, clock=clock, slots=options.result_slots)


class ModbusSignals:
    """Implements ``Signals``: coils and holding registers."""

    def __init__(self, options: ModbusActuatorOptions, name: str) -> None:
        self._options, self._name = options, name
        self._client: Any = None
        self._coils = {
            "ready": options.ready_coil,
            "busy": options.busy_coil,
            "fault": options.fault_coil,
            "heartbeat": options.heartbeat_coil,
            "valid": options.result_valid_coil,
        }
        self._numbers = {"state": options.state_register, "missed": options.missed_register}

    def connect(self) -> None:
        """Raises Transient when the PLC does not answer."""
        options = self._options
        client: Any = ModbusTcpClient(options.host, port=options.port, timeout=options.timeout_ms / 1e3, retries=0)
        if not client.connect():
            client.close()
            raise Transient(f"{self._name}: no connection")
        self._client = client

    def flag(self, name: str, value: bool) -> None:
        """A coil."""
        self._write("write_coil", self._coils[name], value)

    def number(self, name: str, value: int) -> None:
        """A register, where one is configured."""
        address = self._numbers[name]
        if address is not None:
            self._write("write_registers", address, [value])

    def result(self, slot: int, answer: Handshake, result_id: UUID) -> None:
        """Part id and code first, the sequence last: whoever finds his own sequence finds his own result."""
        options = self._options
        offset = slot * options.slot_registers
        self._write("write_registers", options.result_part_id_register + offset, words_of(answer.part_id, options))
        self._write("write_registers", options.result_register + offset, [answer.result_code])
        self._write("write_registers", options.result_sequence_register + offset, [answer.sequence])

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _write(self, function: str, address: int, value: bool | list[int]) -> None:
        client = self._client
        if client is None:
            raise Transient(f"{self._name}: not connected")
        try:
            answer = getattr(client, function)(address, value, device_id=self._options.unit)
        except (ModbusException, OSError) as error:
            raise Transient(f"{self._name}: {error}") from error
        if answer.isError():
            raise Transient(f"{self._name}: {function} at {address}: {answer}")


def words_of(text: str, options: ModbusActuatorOptions) -> list[int]:
    """Characters packed two to a register, padded with NUL, cut to the length that the PLC has."""
    size = options.part_id_words * 2
    raw = text.encode("ascii", "replace")[:size].ljust(size, b"\0")
    order = options.byte_order
    return [int.from_bytes(raw[at : at + 2], order) for at in range(0, size, 2)]
