"""Result, ready, busy, fault and heartbeat in a PLC's variables (OPC UA); see docs/plc.md."""

from uuid import UUID

from edge_agent.adapters.actuators.plc import PlcActuator
from edge_agent.adapters.opcua import PlcVariables
from edge_agent.config.stations import OpcUaActuatorOptions
from edge_agent.ports import Clock, Handshake


class OpcUaActuator(PlcActuator):
    """Implements ``ports.Actuator``; see `PlcActuator`."""

    def __init__(self, options: OpcUaActuatorOptions, *, station_id: str, clock: Clock) -> None:
        name = f"station {station_id}: PLC {options.url}"
        signals = OpcUaSignals(options, name)
        super().__init__(signals, name=name, station_id=station_id, clock=clock, slots=options.result_slots)


class OpcUaSignals:
    """Implements ``Signals``: variables of the PLC's server."""

    def __init__(self, options: OpcUaActuatorOptions, name: str) -> None:
        self._options = options
        self._variables = PlcVariables(options, name)
        self._flags = {
            "ready": options.ready,
            "busy": options.busy,
            "fault": options.fault,
            "heartbeat": options.heartbeat,
            "valid": options.result_valid,
        }
        self._numbers = {"state": options.state, "missed": options.missed}

    def connect(self) -> None:
        """Raises Transient when the server does not answer, ConfigError for variables that it has not."""
        numbers = [name for name in self._numbers.values() if name]
        slots = [name for slot in range(self._options.result_slots) for name in self._names(slot) if name]
        self._variables.connect([*self._flags.values(), *numbers, *slots])

    def flag(self, name: str, value: bool) -> None:
        """A Boolean."""
        self._variables.write({self._flags[name]: value})

    def number(self, name: str, value: int) -> None:
        """A whole number, where a variable is configured."""
        variable = self._numbers[name]
        if variable:
            self._variables.write({variable: int(value)})

    def result(self, slot: int, answer: Handshake, result_id: UUID) -> None:
        """Part, code and id first, the sequence last: whoever finds his own sequence finds his own result."""
        code, sequence, part_id, id_name = self._names(slot)
        more = {id_name: str(result_id)} if id_name else {}
        self._variables.write({part_id: answer.part_id, code: answer.result_code, **more})
        self._variables.write({sequence: answer.sequence})

    def close(self) -> None:
        """Disconnect."""
        self._variables.close()

    def _names(self, slot: int) -> tuple[str, str, str, str]:
        options = self._options
        names = (options.result, options.result_sequence, options.result_part_id, options.result_id or "")
        code, sequence, part_id, result_id = (name.replace("{slot}", str(slot)) for name in names)
        return code, sequence, part_id, result_id
