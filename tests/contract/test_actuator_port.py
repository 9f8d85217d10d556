"""What every actuator does: the same tests against a PLC's Modbus memory and a PLC's OPC UA server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import pytest
from pymodbus.client import ModbusTcpClient

from edge_agent.adapters.actuators.modbus import ModbusActuator
from edge_agent.adapters.clock import SystemClock
from edge_agent.config.stations import ModbusActuatorOptions, OpcUaActuatorOptions
from edge_agent.domain.faults import Transient
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.ports import Actuator
from tests.fakes.station import shot
from tests.peers import plc as memory
from tests.peers.start import eventually, free_port, opcua_plc, plc

pytestmark = pytest.mark.integration
CLOCK = SystemClock()
DISPOSITIONS = {Evaluation.OK: Disposition.ACCEPT, Evaluation.NOT_OK: Disposition.REJECT}
COILS = {"ready": 16, "busy": 17, "fault": 18, "heartbeat": 19, "valid": 20}
NODES = {"ready": "Ready", "busy": "Busy", "fault": "Fault", "heartbeat": "BoxBeat", "valid": "ResultValid"}


class Line(Protocol):
    """The PLC's view."""

    longest_part: int

    def actuator(self) -> Actuator: ...

    def flag(self, name: str) -> bool: ...

    def set_flag(self, name: str) -> None: ...

    def result(self) -> tuple[int, int, str]:
        """Code, sequence, part."""
        ...

    def numbers(self) -> tuple[int, int]:
        """State and missed."""
        ...


class ModbusLine:
    longest_part = 16

    def __init__(self, port: int) -> None:
        self.port = port
        self.client = ModbusTcpClient("127.0.0.1", port=port)
        assert self.client.connect()

    def actuator(self) -> Actuator:
        options = ModbusActuatorOptions(
            kind="modbus", host="127.0.0.1", port=self.port, state_register=50, missed_register=51, timeout_ms=2_000
        )
        return ModbusActuator(options, station_id="s", clock=CLOCK)

    def flag(self, name: str) -> bool:
        return bool(self.client.read_coils(COILS[name]).bits[0])

    def set_flag(self, name: str) -> None:
        self.client.write_coil(COILS[name], True)

    def result(self) -> tuple[int, int, str]:
        code, sequence, *part = self.client.read_holding_registers(memory.RESULT, count=10).registers
        return code, sequence, b"".join(word.to_bytes(2, "big") for word in part).rstrip(b"\0").decode()

    def numbers(self) -> tuple[int, int]:
        state, missed = self.client.read_holding_registers(50, count=2).registers
        return state, missed


class OpcUaLine:
    longest_part = 40

    def __init__(self, port: int) -> None:
        from edge_agent.adapters.opcua import PlcVariables

        self.options = OpcUaActuatorOptions(
            kind="opcua",
            url=f"opc.tcp://127.0.0.1:{port}",
            namespace="urn:test:plc",
            state="State",
            missed="Missed",
            result_id="ResultId",
        )
        self.variables = PlcVariables(self.options, "line")
        names = [*NODES.values(), "Result", "ResultSequence", "ResultPartId", "State", "Missed"]
        eventually(lambda: self.variables.connect(names))

    def actuator(self) -> Actuator:
        from edge_agent.adapters.actuators.opcua import OpcUaActuator

        return OpcUaActuator(self.options, station_id="s", clock=CLOCK)

    def flag(self, name: str) -> bool:
        (value,) = self.variables.read([NODES[name]])
        return bool(value)

    def set_flag(self, name: str) -> None:
        self.variables.write({NODES[name]: True})

    def result(self) -> tuple[int, int, str]:
        code, sequence, part = self.variables.read(["Result", "ResultSequence", "ResultPartId"])
        return code, sequence, part

    def numbers(self) -> tuple[int, int]:
        state, missed = self.variables.read(["State", "Missed"])
        return state, missed


@contextmanager
def modbus_line() -> Iterator[Line]:
    port = free_port()
    with plc(port):
        made = ModbusLine(port)
        yield made
        made.client.close()


@contextmanager
def opcua_line() -> Iterator[Line]:
    pytest.importorskip("asyncua", reason="asyncua is missing: install the extra opcua")
    port = free_port()
    with opcua_plc(port):
        made = OpcUaLine(port)
        yield made
        made.variables.close()


@pytest.fixture(scope="module", params=[modbus_line, opcua_line], ids=["modbus", "opcua"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    with request.param() as made:
        yield made


@pytest.fixture
def actuator(line: Line) -> Iterator[Actuator]:
    made = line.actuator()
    made.open()
    yield made
    made.close()


def asked(sequence: int | None = 7, part: str = "PCB-7") -> Shot:
    return replace(shot(CLOCK, part), sequence=sequence)


def inspected(asked: Shot, evaluation: Evaluation = Evaluation.OK, reason: str = "test") -> Inspection:
    return Inspection(
        inspection_id=asked.shot_id,
        shot=asked,
        evaluation=evaluation,
        disposition=DISPOSITIONS.get(evaluation, Disposition.HOLD),
        reasons=(Reason(code=reason, text="test"),),
        defects=(),
        score=0.0,
        started_at=CLOCK.now(),
        ended_at=CLOCK.now(),
    )


@pytest.mark.parametrize(
    ("evaluation", "code"),
    [(Evaluation.OK, 1), (Evaluation.NOT_OK, 2), (Evaluation.NOT_DECIDABLE, 3), (Evaluation.NOT_INSPECTED, 3)],
)
def test_the_result_is_bound_to_the_request(actuator: Actuator, line: Line, evaluation: Evaluation, code: int) -> None:
    part = asked()
    actuator.busy(part)
    assert (line.flag("busy"), line.flag("valid")) == (True, False)
    actuator.settle(inspected(part, evaluation))
    assert line.result() == (code, 7, "PCB-7")
    assert (line.flag("busy"), line.flag("valid")) == (False, True)


def test_the_next_inspection_takes_the_result_away(actuator: Actuator, line: Line) -> None:
    actuator.settle(inspected(asked()))
    actuator.busy(asked(8, "PCB-8"))
    assert not line.flag("valid")


def test_a_late_answer_does_not_replace_a_later_one(actuator: Actuator, line: Line) -> None:
    first, second = asked(8, "PCB-8"), asked(9, "PCB-9")
    actuator.busy(first)
    actuator.settle(inspected(second, Evaluation.NOT_INSPECTED, "trigger.while_busy"))
    assert line.result() == (3, 9, "PCB-9")
    assert line.flag("busy")
    actuator.settle(inspected(first))
    assert line.result() == (3, 9, "PCB-9")
    assert (line.flag("busy"), line.flag("valid"), line.numbers()[1]) == (False, True, 1)


@pytest.mark.parametrize(("sequence", "shown"), [(None, 0), (65_535, 65_535), (65_536, 0), (70_000, 4_464)])
def test_the_sequence_wraps_as_the_plcs_does(actuator: Actuator, line: Line, sequence: int | None, shown: int) -> None:
    actuator.settle(inspected(asked(sequence)))
    assert line.result()[1] == shown


def test_a_part_id_that_is_too_long_is_cut(actuator: Actuator, line: Line) -> None:
    actuator.settle(inspected(asked(part="X" * 40)))
    assert line.result()[2] == "X" * line.longest_part


def test_ready_fault_state_and_heartbeat(actuator: Actuator, line: Line) -> None:
    assert line.numbers()[0] == 1
    actuator.ready(True)
    assert line.numbers()[0] == 2
    actuator.fault(True, "camera away")
    assert (line.flag("ready"), line.flag("fault"), line.numbers()[0]) == (True, True, 9)
    actuator.fault(False)
    beats = []
    for _ in range(3):
        actuator.beat()
        beats.append(line.flag("heartbeat"))
    assert not line.flag("fault")
    assert beats in ([True, False, True], [False, True, False])


def test_close_withdraws_ready(actuator: Actuator, line: Line) -> None:
    actuator.ready(True)
    actuator.close()
    actuator.close()
    assert not line.flag("ready")


def test_open_withdraws_what_a_dead_process_left(line: Line) -> None:
    flags = ("ready", "busy", "valid", "fault")
    for flag in flags:
        line.set_flag(flag)
    made = line.actuator()
    made.open()
    assert [line.flag(flag) for flag in flags] == [False] * 4
    made.close()


def actuators_of_nobody() -> list[Any]:
    from_modbus = ModbusActuatorOptions(kind="modbus", host="127.0.0.1", port=free_port(), timeout_ms=200)
    made: list[Any] = [ModbusActuator(from_modbus, station_id="s", clock=CLOCK)]
    pytest.importorskip("asyncua", reason="asyncua is missing: install the extra opcua")
    from edge_agent.adapters.actuators.opcua import OpcUaActuator

    url = f"opc.tcp://127.0.0.1:{free_port()}"
    options = OpcUaActuatorOptions(kind="opcua", url=url, timeout_ms=200)
    return [*made, OpcUaActuator(options, station_id="s", clock=CLOCK)]


def test_a_plc_that_is_away_is_transient() -> None:
    for made in actuators_of_nobody():
        calls = (
            made.open,
            made.beat,
            lambda made=made: made.ready(True),
            lambda made=made: made.settle(inspected(asked())),
        )
        for attempt in calls:
            with pytest.raises(Transient):
                attempt()
        made.close()
