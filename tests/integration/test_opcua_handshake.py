"""A PLC with an OPC UA server, in a process of its own, asks for parts; trigger and actuator answer it."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.clock import SystemClock
from edge_agent.config.stations import OpcUaActuatorOptions, OpcUaTriggerOptions
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.part import Shot
from tests.integration.test_plc_handshake import inspected
from tests.peers import opcua_plc as memory
from tests.peers.start import eventually, free_port, opcua_plc, until_lost

asyncua = pytest.importorskip("asyncua", reason="asyncua is missing: install the extra opcua")

from edge_agent.adapters.actuators.opcua import OpcUaActuator  # noqa: E402
from edge_agent.adapters.opcua import PlcVariables  # noqa: E402
from edge_agent.adapters.triggers.opcua import OpcUaTrigger  # noqa: E402

pytestmark = pytest.mark.integration
CLOCK = SystemClock()
PRODUCTS = {"product": "Product", "product_echo": "ProductReady", "products": {1: "board-a", 2: "board-b"}}


def reach(port: int, **more: Any) -> dict[str, Any]:
    return {"kind": "opcua", "url": f"opc.tcp://127.0.0.1:{port}", "namespace": memory.URI, "timeout_ms": 1_000} | more


def trigger(port: int, *, owes: Any = lambda: False, **options: Any) -> OpcUaTrigger:
    made = OpcUaTriggerOptions.model_validate(reach(port, **(PRODUCTS | {"poll_ms": 5} | options)))
    return OpcUaTrigger(made, station_id="s", strata={}, clock=CLOCK, owes=owes, recipes=["board-a"])


def actuator(port: int, **options: Any) -> OpcUaActuator:
    made = OpcUaActuatorOptions.model_validate(
        reach(port, result_id="ResultId", state="State", missed="Missed", **options)
    )
    return OpcUaActuator(made, station_id="s", clock=CLOCK)


@contextmanager
def line(port: int) -> Iterator[PlcVariables]:
    """The PLC's own view of its memory."""
    with opcua_plc(port):
        made = PlcVariables(OpcUaTriggerOptions.model_validate(reach(port, product_id="b")), "test")
        eventually(lambda: made.connect(list(memory.VARIABLES)))
        yield made
        made.close()


def test_every_part_gets_its_own_answer() -> None:
    port, seen, stop = free_port(), list[Shot](), threading.Event()
    with opcua_plc(port, parts=6, timeout_ms=8_000) as controller:
        source, answer = trigger(port), actuator(port)
        eventually(source.open)
        eventually(answer.open)
        answer.ready(True)

        def work() -> None:
            while not stop.is_set():
                shot = source.wait(0.1)
                if shot is not None:
                    seen.append(shot)
                    answer.busy(shot)
                    answer.settle(inspected(shot))

        worker = threading.Thread(target=work)
        worker.start()
        outcomes = heard(controller, 6)
        stop.set()
        worker.join()
        source.close()
        answer.close()
    expected = [(number, ("accept", "reject", "hold")[(number - 1) % 3]) for number in range(1, 7)]
    assert [(one["sequence"], one["result"]) for one in outcomes] == expected
    assert [one["id"] for one in outcomes] == [str(shot.shot_id) for shot in seen]
    assert [(shot.part_id, shot.product_id) for shot in seen] == [(f"PCB-{n:05d}", "board-a") for n in range(1, 7)]


def heard(controller: subprocess.Popen[str], parts: int) -> list[dict[str, Any]]:
    assert controller.stdout is not None
    return [json.loads(controller.stdout.readline()) for _ in range(parts)]


def ask(plc: PlcVariables, sequence: int, part: str = "P") -> None:
    plc.write({"Sequence": sequence, "PartId": part})
    plc.write({"Trigger": True})


def test_one_connection_in_all_its_moods() -> None:
    """Product read-back, a request while an answer is owed, the state word, a request from before a lost connection."""
    port, owed = free_port(), [False]
    with line(port) as plc:
        source, answer = trigger(port, owes=lambda: owed[0]), actuator(port)
        source.open()
        assert plc.read(["ProductReady"]) == [1]
        plc.write({"Product": 2})  # configured, but this station has no recipe for it
        deadline = CLOCK.monotonic_ns() + int(5e9)
        while plc.read(["ProductReady"]) != [0]:
            assert source.wait(0.05) is None
            assert CLOCK.monotonic_ns() < deadline
        plc.write({"Product": 1})

        answer.open()
        assert plc.read(["State", "Missed"]) == [1, 0]
        answer.ready(True)
        assert plc.read(["State"]) == [2]
        ask(plc, 5, "P5")
        first = source.wait(5)
        assert first
        answer.busy(first)
        assert plc.read(["State", "Busy", "ResultValid"]) == [3, True, False]

        # The PLC gave up and asks for the next one: that one is held, and it is told so.
        owed[0] = True
        plc.write({"Trigger": False})
        assert source.wait(0.1) is None
        ask(plc, 6, "P6")
        assert source.wait(0.5) is None
        ((second, reason),) = source.refusals()
        assert (second.sequence, reason.code, source.missed()) == (6, "trigger.while_busy", 1)
        held = inspected(second)
        answer.settle(held)
        answer.settle(inspected(first))  # comes late, and does not replace the answer that is waited for
        assert plc.read(["Result", "ResultSequence", "ResultPartId"])[1:] == [6, "P6"]
        assert plc.read(["ResultId", "Busy", "State"]) == [str(held.inspection_id), False, 4]

        # Connected anew while the trigger is still set: the same request is not taken twice.
        owed[0] = False
        source.close()
        source.open()
        assert source.wait(0.1) is None
        answer.fault(True, "camera away")
        assert plc.read(["State", "Fault"]) == [9, True]
        before = plc.read(["BoxBeat"])
        answer.beat()
        assert plc.read(["BoxBeat"]) != before
        answer.close()
        assert plc.read(["Ready", "State"]) == [False, 1]
        source.close()


def test_a_server_that_is_killed_is_lost_and_found() -> None:
    port = free_port()
    source, answer = trigger(port), actuator(port)
    with opcua_plc(port) as controller:
        eventually(source.open)
        eventually(answer.open)
        controller.kill()
        until_lost(lambda: source.wait(0.05))
        until_lost(answer.beat)
    with pytest.raises(Transient):
        source.open()
    with opcua_plc(port):
        eventually(source.open)
        eventually(answer.open)
        assert source.wait(0.02) is None
        source.close()
        answer.close()


def test_what_the_server_has_not_is_a_configuration_error() -> None:
    port = free_port()
    with opcua_plc(port):
        with pytest.raises(ConfigError, match="Nowhere"):
            trigger(port, trigger="Nowhere").open()
        with pytest.raises(ConfigError, match="urn:test:plc"):
            trigger(port, namespace="urn:other").open()
        dead = trigger(port, heartbeat="Still", heartbeat_timeout_s=0.2)
        dead.open()
        with pytest.raises(Transient, match="heartbeat stopped"):
            dead.wait(3)
        dead.close()


def keys(folder: Path) -> dict[str, Any]:
    """Self-signed certificates of both sides; the box's options for them."""
    for name in ("server", "box"):
        subject = f"/CN={name}"
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject]
        words += ["-addext", f"subjectAltName=URI:urn:{name},DNS:localhost", "-outform", "DER"]
        words += ["-keyout", str(folder / f"{name}.pem"), "-out", str(folder / f"{name}.der")]
        subprocess.run(words, check=True, capture_output=True, timeout=60)
    (folder / "password").write_text("secret\n")
    return {
        "security": "encrypt",
        "certificate": str(folder / "box.der"),
        "private_key": str(folder / "box.pem"),
        "server_certificate": str(folder / "server.der"),
        "username": "box",
        "password_file": str(folder / "password"),
    }


def test_an_encrypted_connection_with_a_password(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    port, secure = free_port(), keys(tmp_path)
    with opcua_plc(port, keys=tmp_path):
        source = trigger(port, timeout_ms=4_000, **secure)
        eventually(source.open)
        assert source.wait(0.1) is None
        source.close()
        (tmp_path / "password").write_text("wrong")
        with pytest.raises((ConfigError, Transient)):
            trigger(port, timeout_ms=4_000, **secure).open()
        with pytest.raises((ConfigError, Transient)):
            trigger(port, timeout_ms=4_000).open()


def test_a_wrong_configuration_leaves_no_thread_behind(tmp_path: Path) -> None:
    before = threading.active_count()
    port = free_port()
    with opcua_plc(port):
        source = trigger(port)
        eventually(source.open)
        source.close()
        with pytest.raises(ConfigError):
            trigger(port, namespace="urn:other").open()
        with pytest.raises(ConfigError):
            trigger(port, username="box", password_file=str(tmp_path / "missing")).open()
    assert threading.active_count() == before
