"""What every actuator does. There is one kind so far, against a PLC's memory."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pymodbus.client import ModbusTcpClient

from edge_agent.adapters.actuators.modbus import ModbusActuator
from edge_agent.adapters.clock import SystemClock
from edge_agent.config.stations import ModbusActuatorOptions
from edge_agent.domain.faults import Transient
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from tests.fakes.station import shot
from tests.peers import plc as memory
from tests.peers.start import free_port, plc

pytestmark = pytest.mark.integration
CLOCK = SystemClock()
DISPOSITIONS = {Evaluation.OK: Disposition.ACCEPT, Evaluation.NOT_OK: Disposition.REJECT}


class Line:
    """The PLC's view."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.client = ModbusTcpClient("127.0.0.1", port=port)
        assert self.client.connect()

    def coil(self, address: int) -> bool:
        return bool(self.client.read_coils(address).bits[0])

    def result(self) -> tuple[int, int, list[int]]:
        code, sequence, *part = self.client.read_holding_registers(memory.RESULT, count=10).registers
        return code, sequence, part


@pytest.fixture
def line() -> Iterator[Line]:
    port = free_port()
    with plc(port):
        made = Line(port)
        yield made
        made.client.close()


@pytest.fixture
def actuator(line: Line) -> Iterator[ModbusActuator]:
    made = ModbusActuator(
        ModbusActuatorOptions(kind="modbus", host="127.0.0.1", port=line.port), station_id="s", clock=CLOCK
    )
    made.open()
    yield made
    made.close()


def asked(sequence: int | None = 7, part: str = "PCB-7") -> Shot:
    return replace(shot(CLOCK, part), sequence=sequence)


def inspected(asked: Shot, evaluation: Evaluation = Evaluation.OK) -> Inspection:
    return Inspection(
        inspection_id=asked.shot_id,
        shot=asked,
        evaluation=evaluation,
        disposition=DISPOSITIONS.get(evaluation, Disposition.HOLD),
        reasons=(Reason(code="test", text="test"),),
        defects=(),
        score=0.0,
        started_at=CLOCK.now(),
        ended_at=CLOCK.now(),
    )


@pytest.mark.parametrize(
    ("evaluation", "code"),
    [(Evaluation.OK, 1), (Evaluation.NOT_OK, 2), (Evaluation.NOT_DECIDABLE, 3), (Evaluation.NOT_INSPECTED, 3)],
)
def test_the_result_is_bound_to_the_request(
    actuator: ModbusActuator, line: Line, evaluation: Evaluation, code: int
) -> None:
    part = asked()
    actuator.busy(part)
    assert (line.coil(memory.BUSY), line.coil(memory.VALID)) == (True, False)
    actuator.settle(inspected(part, evaluation))
    assert line.result() == (code, 7, memory.words("PCB-7"))
    assert (line.coil(memory.BUSY), line.coil(memory.VALID)) == (False, True)


def test_the_next_inspection_takes_the_result_away(actuator: ModbusActuator, line: Line) -> None:
    actuator.settle(inspected(asked()))
    actuator.busy(asked(8, "PCB-8"))
    assert not line.coil(memory.VALID)


@pytest.mark.parametrize(("sequence", "shown"), [(None, 0), (65_535, 65_535), (65_536, 0), (70_000, 4_464)])
def test_the_sequence_wraps_as_the_plcs_does(
    actuator: ModbusActuator, line: Line, sequence: int | None, shown: int
) -> None:
    actuator.settle(inspected(asked(sequence)))
    assert line.result()[1] == shown


def test_a_part_id_that_is_too_long_is_cut(actuator: ModbusActuator, line: Line) -> None:
    actuator.settle(inspected(asked(part="X" * 40)))
    assert line.result()[2] == memory.words("X" * 16)


def test_ready_fault_and_heartbeat(actuator: ModbusActuator, line: Line) -> None:
    actuator.ready(True)
    actuator.fault(True, "camera away")
    assert (line.coil(memory.READY), line.coil(memory.FAULT)) == (True, True)
    actuator.fault(False)
    beats = []
    for _ in range(3):
        actuator.beat()
        beats.append(line.coil(memory.HEARTBEAT))
    assert not line.coil(memory.FAULT)
    assert beats in ([True, False, True], [False, True, False])


def test_close_withdraws_ready(actuator: ModbusActuator, line: Line) -> None:
    actuator.ready(True)
    actuator.close()
    actuator.close()
    assert not line.coil(memory.READY)


def test_open_withdraws_what_a_dead_process_left(line: Line) -> None:
    for coil in (memory.READY, memory.BUSY, memory.VALID, memory.FAULT):
        line.client.write_coil(coil, True)
    options = ModbusActuatorOptions(kind="modbus", host="127.0.0.1", port=line.port)
    made = ModbusActuator(options, station_id="s", clock=CLOCK)
    made.open()
    assert [line.coil(coil) for coil in (memory.READY, memory.BUSY, memory.VALID, memory.FAULT)] == [False] * 4
    made.close()


def test_a_plc_that_is_away_is_transient() -> None:
    options = ModbusActuatorOptions(kind="modbus", host="127.0.0.1", port=free_port(), timeout_ms=200)
    made = ModbusActuator(options, station_id="s", clock=CLOCK)
    for attempt in (made.open, made.beat, lambda: made.ready(True), lambda: made.settle(inspected(asked()))):
        with pytest.raises(Transient):
            attempt()
    made.close()
