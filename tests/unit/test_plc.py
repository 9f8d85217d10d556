"""The PLC's handshake without a PLC: what trigger and actuator do with its memory, whatever the protocol."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from edge_agent.adapters.actuators.plc import PlcActuator, State
from edge_agent.adapters.triggers.plc import PlcTrigger, Product, Request, Terms
from edge_agent.config.stations import ModbusActuatorOptions, OpcUaActuatorOptions, OpcUaTriggerOptions
from edge_agent.domain.faults import Transient
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.ports import Handshake
from tests.fakes.clock import FakeClock


class FakeMemory:
    """A PLC's memory; time passes with each look at it."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.set = False
        self.beat: object = None
        self.asked = Request(sequence=1, part_id="P1", product=1)
        self.echoed: list[Product] = []
        self.away = False
        self.then: list[Any] = []

    def connect(self) -> None:
        if self.away:
            raise Transient("away")

    def poll(self) -> tuple[bool, object]:
        self.clock.advance(0.1)
        if self.then:
            self.then.pop(0)()
        return self.set, self.beat

    def request(self) -> Request:
        return self.asked

    def product(self) -> Product:
        return self.asked.product

    def echo(self, product: Product) -> None:
        self.echoed.append(product)

    def close(self) -> None: ...


TERMS = Terms(
    name="PLC",
    protocol="test",
    poll_s=0.0,
    heartbeat_timeout_s=3.0,
    ack_timeout_s=5.0,
    hold_while_busy=True,
    echoes_product=True,
    products={1: "board-a", 2: "board-b"},
    product_id=None,
)


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory(FakeClock())


def made(memory: FakeMemory, *, owes: Any = lambda: False, terms: Terms = TERMS, **more: Any) -> PlcTrigger:
    trigger = PlcTrigger(memory, terms, station_id="s", strata={}, clock=memory.clock, owes=owes, **more)
    trigger.open()
    return trigger


def ask(memory: FakeMemory, trigger: PlcTrigger, sequence: int) -> Shot | None:
    """One request, after the one before was taken back."""
    memory.set = False
    assert trigger.wait(0.2) is None
    memory.set, memory.asked = True, Request(sequence=sequence, part_id=f"P{sequence}", product=1)
    return trigger.wait(0.2)


def test_a_trigger_while_an_answer_is_owed_is_counted_and_held(memory: FakeMemory) -> None:
    owed = [False]
    trigger = made(memory, owes=lambda: owed[0])
    assert ask(memory, trigger, 1)
    owed[0] = True
    assert ask(memory, trigger, 2) is None
    ((shot, reason),) = trigger.refusals()
    assert (shot.part_id, shot.sequence, reason.code) == ("P2", 2, "trigger.while_busy")
    assert trigger.refusals() == []
    assert trigger.missed() == 1
    owed[0] = False
    assert ask(memory, trigger, 3)
    assert trigger.missed() == 1


def test_a_line_with_several_parts_under_way_is_queued(memory: FakeMemory) -> None:
    trigger = made(memory, owes=lambda: True, terms=replace(TERMS, hold_while_busy=False))
    shots = [ask(memory, trigger, number) for number in (1, 2, 3)]
    assert [shot and shot.trigger_id for shot in shots] == ["test-1", "test-2", "test-3"]
    assert (trigger.missed(), trigger.refusals()) == (0, [])


def test_a_request_is_not_taken_twice_over_a_lost_connection(memory: FakeMemory) -> None:
    trigger = made(memory)
    assert ask(memory, trigger, 7)
    trigger.open()
    assert trigger.wait(0.3) is None
    memory.asked = Request(sequence=8, part_id="P8", product=1)
    trigger.open()
    shot = trigger.wait(0.3)
    assert shot
    assert shot.sequence == 8


def test_gaps_are_missed_and_a_counter_may_wrap_or_begin_anew(memory: FakeMemory) -> None:
    trigger = made(memory)
    for sequence, missed in ((65_535, 0), (0, 0), (3, 2), (40_000, 2), (1, 2)):
        assert ask(memory, trigger, sequence)
        assert trigger.missed() == missed


def test_the_product_that_is_ready_is_said_back(memory: FakeMemory) -> None:
    trigger = made(memory, recipes=["board-a"])
    assert memory.echoed == [1]
    for product in (2, 9, 1):
        memory.asked = replace(memory.asked, product=product)
        assert trigger.wait(0.6) is None
    assert memory.echoed == [1, None, None, 1]
    trigger.open()
    assert memory.echoed[-1] == 1
    assert len(memory.echoed) == 5


@pytest.mark.parametrize(
    ("product", "expected"), [(1, "board-a"), (9, "unknown-9"), ("board-x", "board-x"), (None, "")]
)
def test_products_have_names(memory: FakeMemory, product: Product, expected: str) -> None:
    trigger = made(memory)
    memory.set, memory.asked = True, Request(sequence=1, part_id="", product=product)
    shot = trigger.wait(0.1)
    assert shot
    assert (shot.product_id, shot.part_id) == (expected, "s-1")


def test_a_heartbeat_that_stands_still_is_a_lost_plc(memory: FakeMemory) -> None:
    memory.beat = 4
    trigger = made(memory)
    assert trigger.wait(2.5) is None
    memory.then = [lambda: setattr(memory, "beat", 5)]
    assert trigger.wait(2.5) is None
    with pytest.raises(Transient, match="heartbeat stopped at 5"):
        trigger.wait(1.5)


def test_an_answer_that_is_not_taken_is_reported_once(memory: FakeMemory, capsys: pytest.CaptureFixture[str]) -> None:
    trigger = made(memory)
    assert ask(memory, trigger, 1)
    assert trigger.wait(20) is None
    assert capsys.readouterr().out.count("did not take the answer") == 1


# --- the answer -------------------------------------------------------------------------------------------------------


class FakeSignals:
    """Notes every write in its order."""

    def __init__(self) -> None:
        self.writes: list[tuple[Any, ...]] = []
        self.now: dict[str, Any] = {}
        self.slots: dict[int, Handshake] = {}
        self.away = False

    def connect(self) -> None:
        self._there()

    def flag(self, name: str, value: bool) -> None:
        self._write(name, value)

    def number(self, name: str, value: int) -> None:
        self._write(name, value)

    def result(self, slot: int, answer: Handshake, result_id: UUID) -> None:
        self._write("result", answer.sequence)
        self.slots[slot] = answer

    def close(self) -> None: ...

    def _write(self, name: str, value: Any) -> None:
        self._there()
        self.writes.append((name, value))
        self.now[name] = value

    def _there(self) -> None:
        if self.away:
            raise Transient("away")


CLOCK = FakeClock()


def actuator(signals: FakeSignals, slots: int = 1) -> PlcActuator:
    made = PlcActuator(signals, name="PLC", station_id="s", clock=CLOCK, slots=slots)
    made.open()
    made.ready(True)
    return made


def shot(sequence: int) -> Shot:
    CLOCK.advance(0.01)
    return Shot(
        shot_id=CLOCK.new_id(),
        station_id="s",
        part_id=f"P{sequence}",
        product_id="b",
        trigger_id=f"t-{sequence}",
        triggered_at=CLOCK.now(),
        triggered_ns=CLOCK.monotonic_ns(),
        sequence=sequence,
    )


def inspected(asked: Shot, reason: str = "ok") -> Inspection:
    return Inspection(
        inspection_id=asked.shot_id,
        shot=asked,
        evaluation=Evaluation.OK if reason == "ok" else Evaluation.NOT_INSPECTED,
        disposition=Disposition.ACCEPT if reason == "ok" else Disposition.HOLD,
        reasons=(Reason(code=reason, text=reason),),
        defects=(),
        score=0.0,
        started_at=CLOCK.now(),
        ended_at=CLOCK.now(),
    )


def test_the_order_of_the_writes_is_the_protocol() -> None:
    signals = FakeSignals()
    answer, part = actuator(signals), shot(1)
    signals.writes.clear()
    answer.busy(part)
    answer.settle(inspected(part))
    assert signals.writes == [
        ("valid", False),
        ("busy", True),
        ("state", State.INSPECTING),
        ("valid", False),
        ("result", 1),
        ("valid", True),
        ("busy", False),
        ("state", State.RESULT),
    ]


def test_the_states() -> None:
    signals = FakeSignals()
    answer = actuator(signals)
    assert signals.now["state"] == State.READY
    answer.fault(True)
    assert signals.now["state"] == State.FAULT
    answer.fault(False)
    answer.ready(False)
    assert signals.now["state"] == State.NOT_READY
    answer.ready(True)
    answer.close()
    assert (signals.now["state"], signals.now["ready"]) == (State.NOT_READY, False)
    assert 0 not in [value for name, value in signals.writes if name == "state"]


def test_a_late_answer_does_not_replace_a_later_one() -> None:
    """Also where the PLC began to count anew in between."""
    signals = FakeSignals()
    answer, old, new = actuator(signals), shot(500), shot(1)
    answer.busy(old)
    answer.settle(inspected(new, "trigger.while_busy"))
    assert (signals.now["result"], signals.now["busy"], signals.now["missed"]) == (1, True, 1)
    answer.settle(inspected(old))
    assert (signals.now["result"], signals.now["busy"], signals.now["valid"]) == (1, False, True)
    again = shot(2)
    answer.busy(again)
    answer.settle(inspected(again))
    assert (signals.now["result"], signals.now["missed"]) == (2, 1)


def test_places_for_results_keep_them_for_a_while() -> None:
    signals = FakeSignals()
    answer, parts = actuator(signals, slots=4), [shot(number) for number in range(1, 7)]
    for part in parts:
        answer.busy(part)
    for part in reversed(parts[:4]):
        answer.settle(inspected(part))
    assert {slot: one.part_id for slot, one in signals.slots.items()} == {1: "P1", 2: "P2", 3: "P3", 0: "P4"}
    assert signals.now["busy"]
    for part in parts[4:]:
        answer.settle(inspected(part))
    assert {slot: one.part_id for slot, one in signals.slots.items()} == {1: "P5", 2: "P6", 3: "P3", 0: "P4"}
    assert not signals.now["busy"]


def test_a_plc_that_went_away_is_told_again_what_holds() -> None:
    signals = FakeSignals()
    answer, part = actuator(signals), shot(1)
    answer.busy(part)
    signals.away = True
    with pytest.raises(Transient):
        answer.settle(inspected(part))
    with pytest.raises(Transient):
        answer.beat()
    signals.away = False
    answer.beat()
    assert (signals.now["ready"], signals.now["busy"], signals.now["valid"]) == (True, False, False)
    assert "result" not in signals.now


# --- the options ------------------------------------------------------------------------------------------------------


def test_places_lie_one_after_the_other() -> None:
    plain = ModbusActuatorOptions(kind="modbus", host="h")
    assert (plain.slot_registers, plain.model_copy(update={"slot_stride": 16}).slot_registers) == (10, 16)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"result_slots": 4}, "{slot}"),
        ({"security": "sign"}, "certificate"),
        ({"username": "u"}, "password_file"),
        ({"url": "http://plc"}, "url"),
    ],
)
def test_what_does_not_fit_together_is_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        OpcUaActuatorOptions.model_validate({"kind": "opcua", "url": "opc.tcp://plc:4840"} | wrong)


def test_some_product_must_be_known() -> None:
    with pytest.raises(ValueError, match="product"):
        OpcUaTriggerOptions.model_validate({"kind": "opcua", "url": "opc.tcp://plc:4840"})
