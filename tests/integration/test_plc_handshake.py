"""A PLC in a process of its own asks for parts; trigger and actuator answer it over Modbus TCP."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymodbus.client import ModbusTcpClient

from edge_agent.adapters.actuators.modbus import ModbusActuator
from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.triggers.modbus import ModbusTrigger
from edge_agent.config.stations import ModbusActuatorOptions, ModbusTriggerOptions
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from tests.peers import plc as memory
from tests.peers.start import eventually, free_port, plc, until_lost

pytestmark = pytest.mark.integration
CLOCK = SystemClock()
CYCLE = [
    (Evaluation.OK, Disposition.ACCEPT),
    (Evaluation.NOT_OK, Disposition.REJECT),
    (Evaluation.NOT_INSPECTED, Disposition.HOLD),
]


def trigger(port: int, **options: Any) -> ModbusTrigger:
    made = {"kind": "modbus", "host": "127.0.0.1", "port": port, "product_register": 9, "products": {1: "board-a"}}
    return ModbusTrigger(ModbusTriggerOptions.model_validate(made | options), station_id="s", strata={}, clock=CLOCK)


def inspected(shot: Shot) -> Inspection:
    """Accept, reject, hold, accept, ... by the sequence."""
    evaluation, disposition = CYCLE[((shot.sequence or 0) - 1) % 3]
    return Inspection(
        inspection_id=shot.shot_id,
        shot=shot,
        evaluation=evaluation,
        disposition=disposition,
        reasons=(Reason(code="test", text="test"),),
        defects=(),
        score=0.0,
        started_at=CLOCK.now(),
        ended_at=CLOCK.now(),
    )


@contextmanager
def station(port: int, *, silent_for: frozenset[int] = frozenset()) -> Iterator[list[Shot]]:
    """A station that answers every request but those in ``silent_for``."""
    source = trigger(port)
    actuator = ModbusActuator(
        ModbusActuatorOptions(kind="modbus", host="127.0.0.1", port=port), station_id="s", clock=CLOCK
    )
    source.open()
    actuator.open()
    actuator.ready(True)
    seen: list[Shot] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            shot = source.wait(0.1)
            if shot is None:
                continue
            seen.append(shot)
            actuator.busy(shot)
            if shot.sequence in silent_for:
                actuator.close()
                actuator.open()
            else:
                actuator.settle(inspected(shot))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield seen
    finally:
        stop.set()
        worker.join()
        source.close()
        actuator.close()


def outcomes(controller: subprocess.Popen[str], parts: int) -> list[tuple[int, str]]:
    assert controller.stdout is not None
    lines = [json.loads(controller.stdout.readline()) for _ in range(parts)]
    return [(line["sequence"], line["result"]) for line in lines]


def test_every_part_gets_its_own_answer() -> None:
    port = free_port()
    with plc(port, parts=9, timeout_ms=5_000) as controller, station(port) as seen:
        assert outcomes(controller, 9) == [
            (number, ("accept", "reject", "hold")[(number - 1) % 3]) for number in range(1, 10)
        ]
        assert [(shot.part_id, shot.product_id) for shot in seen] == [
            (f"PCB-{number:05d}", "board-a") for number in range(1, 10)
        ]


def test_no_answer_means_reject_and_the_next_part_is_answered() -> None:
    port = free_port()
    with plc(port, parts=3, timeout_ms=1_000) as controller, station(port, silent_for=frozenset({2})):
        assert outcomes(controller, 3) == [(1, "accept"), (2, "no-answer"), (3, "hold")]


def test_a_plc_that_is_killed_is_lost_and_found() -> None:
    port = free_port()
    source = trigger(port, timeout_ms=200)
    with plc(port) as controller:
        source.open()
        assert source.wait(0.02) is None
        controller.kill()
        until_lost(lambda: source.wait(0.05))
    source.close()
    with pytest.raises(Transient):
        source.open()
    with plc(port):
        eventually(source.open)
        assert source.wait(0.02) is None
        source.close()


@contextmanager
def line(port: int) -> Iterator[ModbusTcpClient]:
    with plc(port):
        client = ModbusTcpClient("127.0.0.1", port=port)
        assert client.connect()
        yield client
        client.close()


def ask(client: ModbusTcpClient, sequence: int, part: str = "P") -> None:
    client.write_registers(memory.SEQUENCE, [sequence, *memory.words(part), 1])
    client.write_coil(memory.TRIGGER, True)


def test_a_request_from_before_the_start_is_answered() -> None:
    port = free_port()
    with line(port) as client:
        ask(client, 41)
        source = trigger(port)
        source.open()
        shot = source.wait(1)
        assert shot
        assert shot.sequence == 41
        assert source.wait(0.05) is None
        source.close()


def test_gaps_in_the_sequence_are_missed_triggers() -> None:
    port = free_port()
    with line(port) as client:
        source = trigger(port)
        source.open()
        for sequence in (65_534, 65_535, 2, 3):
            ask(client, sequence)
            assert source.wait(2)
            client.write_coil(memory.TRIGGER, False)
            assert source.wait(0.05) is None
        assert source.missed() == 2
        source.close()


def test_an_unknown_product_is_a_shot_without_a_recipe() -> None:
    port = free_port()
    with line(port) as client:
        source = trigger(port, products={5: "board-e"})
        source.open()
        ask(client, 1, "")
        shot = source.wait(2)
        assert shot
        assert (shot.product_id, shot.part_id) == ("unknown-1", "s-1")
        source.close()


def test_a_register_that_the_plc_has_not_is_a_configuration_error() -> None:
    port = free_port()
    with line(port), pytest.raises(ConfigError, match="read_holding_registers at 500"):
        trigger(port, sequence_register=500, part_id_register=501).open()


def test_a_heartbeat_that_stops_is_a_lost_plc() -> None:
    """The peer counts up register 10; register 11 stands still."""
    port = free_port()
    with line(port):
        alive = trigger(port, heartbeat_register=memory.OWN_BEAT, heartbeat_timeout_s=0.5)
        alive.open()
        assert alive.wait(1) is None
        alive.close()
        dead = trigger(port, heartbeat_register=11, heartbeat_timeout_s=0.2)
        dead.open()
        with pytest.raises(Transient, match="heartbeat stopped"):
            dead.wait(2)
        dead.close()


def test_the_product_is_said_back_and_results_lie_in_places() -> None:
    port = free_port()
    with line(port) as client:
        source = trigger(port, product_echo_register=60, while_busy="queue")
        client.write_register(memory.PRODUCT, 1)
        source.open()
        assert client.read_holding_registers(60).registers == [1]
        client.write_register(memory.PRODUCT, 7)
        assert source.wait(0.4) is None
        assert client.read_holding_registers(60).registers == [0]
        source.close()
        options = ModbusActuatorOptions(
            kind="modbus", host="127.0.0.1", port=port, part_id_words=2, result_slots=3, result_register=32,
            result_sequence_register=33, result_part_id_register=34,
        )  # fmt: skip
        answer = ModbusActuator(options, station_id="s", clock=CLOCK)
        answer.open()
        for sequence in (1, 2, 3, 4):
            asked = Shot(
                shot_id=CLOCK.new_id(), station_id="s", part_id=f"P{sequence}", product_id="b", trigger_id="t",
                triggered_at=CLOCK.now(), triggered_ns=CLOCK.monotonic_ns(), sequence=sequence,
            )  # fmt: skip
            answer.busy(asked)
            answer.settle(inspected(asked))
        places = client.read_holding_registers(32, count=12).registers
        assert [places[at : at + 4] for at in (0, 4, 8)] == [
            [3, 3, *memory.words("P3", 2)],
            [1, 4, *memory.words("P4", 2)],
            [2, 2, *memory.words("P2", 2)],
        ]
        answer.close()
