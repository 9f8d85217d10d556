"""What every trigger does, whatever it is."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.triggers.camera import CameraTrigger
from edge_agent.adapters.triggers.folder import FolderTrigger
from edge_agent.adapters.triggers.interval import IntervalTrigger
from edge_agent.adapters.triggers.modbus import ModbusTrigger
from edge_agent.adapters.triggers.mqtt import MqttTrigger
from edge_agent.config.stations import (
    CameraTriggerOptions,
    FolderTriggerOptions,
    IntervalTriggerOptions,
    ModbusTriggerOptions,
    MqttTriggerOptions,
    OpcUaTriggerOptions,
)
from edge_agent.domain.part import Shot
from edge_agent.ports import TriggerSource
from tests.fakes.trigger_link import TriggerLink
from tests.peers import plc as memory
from tests.peers.start import eventually, free_port, opcua_plc, plc

CLOCK = SystemClock()
STRATA = {"camera": "AOI-1"}


@dataclass(frozen=True)
class Case:
    """A trigger, and how the line asks for a part."""

    trigger: TriggerSource
    ask: Callable[[int], None]


@contextmanager
def mqtt(tmp_path: Path) -> Iterator[Case]:
    link = TriggerLink(CLOCK)
    trigger = MqttTrigger(MqttTriggerOptions(kind="mqtt"), station_id="s", strata=STRATA, clock=CLOCK, link=link)

    def ask(number: int) -> None:
        link.send(json.dumps({"partId": f"P-{number}", "productId": "b", "triggerId": f"T-{number}"}))

    yield Case(trigger, ask)


@contextmanager
def folder(tmp_path: Path) -> Iterator[Case]:
    options = FolderTriggerOptions(kind="folder", path=tmp_path, product_id="b", poll_ms=1, settle_ms=1)
    trigger = FolderTrigger(options, station_id="s", strata=STRATA, clock=CLOCK)
    yield Case(trigger, lambda number: (tmp_path / f"P-{number}.png").write_bytes(b"x") and None)


@contextmanager
def interval(tmp_path: Path) -> Iterator[Case]:
    options = IntervalTriggerOptions(kind="interval", every_ms=20, product_id="b")
    yield Case(IntervalTrigger(options, station_id="s", strata=STRATA, clock=CLOCK), lambda _: None)


@contextmanager
def camera(tmp_path: Path) -> Iterator[Case]:
    frames = threading.Semaphore(0)
    count = iter(range(1, 100))

    def await_frame(timeout_s: float) -> int | None:
        return next(count) if frames.acquire(timeout=timeout_s) else None

    options = CameraTriggerOptions(kind="camera", product_id="b")
    trigger = CameraTrigger(options, station_id="s", strata=STRATA, clock=CLOCK, await_frame=await_frame)
    yield Case(trigger, lambda _: frames.release())


@contextmanager
def modbus(tmp_path: Path) -> Iterator[Case]:
    port = free_port()
    with plc(port):
        line = ModbusTcpClient("127.0.0.1", port=port)
        line.connect()

        def ask(number: int) -> None:
            line.write_coil(memory.TRIGGER, False)
            threading.Event().wait(0.05)
            line.write_registers(memory.SEQUENCE, [number, *memory.words(f"P-{number}")])
            line.write_coil(memory.TRIGGER, True)

        options = ModbusTriggerOptions(kind="modbus", host="127.0.0.1", port=port, product_id="b")
        yield Case(ModbusTrigger(options, station_id="s", strata=STRATA, clock=CLOCK), ask)
        line.close()


@pytest.fixture(scope="module")
def opcua_url() -> Iterator[str]:
    """One server for all tests: it takes seconds to start."""
    pytest.importorskip("asyncua", reason="asyncua is missing: install the extra opcua")
    port = free_port()
    with opcua_plc(port):
        yield f"opc.tcp://127.0.0.1:{port}"


@contextmanager
def opcua(url: str) -> Iterator[Case]:
    from edge_agent.adapters.opcua import PlcVariables
    from edge_agent.adapters.triggers.opcua import OpcUaTrigger

    options = OpcUaTriggerOptions(
        kind="opcua", url=url, namespace="urn:test:plc", product_id="b", heartbeat=None, poll_ms=5
    )
    line = PlcVariables(options, "line")
    eventually(lambda: line.connect(["Trigger", "Sequence", "PartId"]))

    def ask(number: int) -> None:
        line.write({"Trigger": False})
        threading.Event().wait(0.1)
        line.write({"Sequence": number, "PartId": f"P-{number}"})
        line.write({"Trigger": True})

    yield Case(OpcUaTrigger(options, station_id="s", strata=STRATA, clock=CLOCK), ask)
    line.write({"Trigger": False})
    line.close()


KINDS = [pytest.param(make, id=make.__name__) for make in (mqtt, folder, interval, camera)]
KINDS += [pytest.param(make, id=make.__name__, marks=pytest.mark.integration) for make in (modbus, opcua)]


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    where = request.getfixturevalue("opcua_url") if request.param is opcua else tmp_path
    with request.param(where) as made:
        eventually(made.trigger.open)
        yield made
        made.trigger.close()


def shots(case: Case, numbers: range) -> list[Shot]:
    """Ask for parts one by one, each after the answer to the one before."""
    found = []
    for number in numbers:
        asker = threading.Thread(target=case.ask, args=(number,))
        asker.start()
        shot = next(filter(None, (case.trigger.wait(1) for _ in range(10))))
        asker.join()
        found.append(shot)
    return found


def test_each_request_is_one_shot(case: Case) -> None:
    found = shots(case, range(1, 5))
    assert len({shot.shot_id for shot in found}) == 4
    assert len({shot.trigger_id for shot in found}) == 4
    assert len({shot.part_id for shot in found}) == 4
    assert [shot.shot_id.version for shot in found] == [7] * 4
    assert [shot.shot_id for shot in found] == sorted(shot.shot_id for shot in found)


def test_shots_say_who_was_asked_and_when(case: Case) -> None:
    before_ns = CLOCK.monotonic_ns()
    (shot,) = shots(case, range(1, 2))
    assert (shot.station_id, shot.product_id) == ("s", "b")
    assert shot.strata == STRATA
    assert shot.triggered_at.utcoffset() is not None
    assert before_ns <= shot.triggered_ns <= CLOCK.monotonic_ns()


def test_it_can_be_closed_at_any_time_and_opened_again(case: Case) -> None:
    case.trigger.close()
    case.trigger.close()
    eventually(case.trigger.open)
    assert len(shots(case, range(1, 3))) == 2


def test_no_request_is_no_shot(case: Case, request: pytest.FixtureRequest) -> None:
    if "interval" in request.node.name:
        pytest.skip("an interval needs no request")
    assert case.trigger.wait(0.02) is None
