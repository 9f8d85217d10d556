"""The answer to a PLC, whatever the protocol: ready, busy, result, fault, heartbeat, in an order that fails safe."""

import threading
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol
from uuid import UUID

import structlog

from edge_agent.domain.faults import Transient
from edge_agent.domain.inspection import Disposition, Inspection
from edge_agent.domain.part import Shot
from edge_agent.ports import Clock, Handshake

log = structlog.get_logger(__name__)

_CODES = {Disposition.ACCEPT: 1, Disposition.REJECT: 2, Disposition.HOLD: 3}
_MISSED = frozenset({"trigger.while_busy", "trigger.overrun", "station.overrun"})
"""Reasons of parts that were asked for and not looked at, because the box was not done with another."""


class State(IntEnum):
    """The box in one word, for PLCs that are programmed as a state machine. 0 is never written: nobody is there."""

    NOT_READY = 1
    READY = 2
    INSPECTING = 3
    RESULT = 4
    FAULT = 9


class Signals(Protocol):
    """The PLC's memory, as the actuator sees it. All raise Transient when the PLC is away."""

    def connect(self) -> None: ...

    def flag(self, name: str, value: bool) -> None:
        """Write ready, busy, fault, heartbeat or valid."""
        ...

    def number(self, name: str, value: int) -> None:
        """Write state or missed, where there is a place for it."""
        ...

    def result(self, slot: int, answer: Handshake, result_id: UUID) -> None:
        """Write part and code, and what binds them to the request last."""
        ...

    def close(self) -> None:
        """Safe to call twice and after a failure."""
        ...


class PlcActuator:
    """Implements ``ports.Actuator``.

    The order of the writes is the protocol: the result, then ``valid``, then ``busy`` off. The result carries the
    sequence and the part id it answers, so that the PLC can tell it from an older one. With one place for results, the
    answer to a request is not shown any more once a later request was answered: the PLC has given that part up.
    """

    def __init__(self, signals: Signals, *, name: str, station_id: str, clock: Clock, slots: int = 1) -> None:
        """Args: ``slots`` places for results; the one of a request is its sequence modulo their number."""
        self._signals, self._name, self._station_id, self._clock = signals, name, station_id, clock
        self._slots = slots
        self._lock = threading.RLock()
        self._connected = False
        self._beat = self._ready = self._fault = self._valid = False
        self._inspecting: set[UUID] = set()
        self._newest_ns = -1
        self._missed = 0
        self._state: State | None = None

    def open(self) -> None:
        """Connect; withdraw whatever a process before this one has left, then say what was said last."""
        with self._lock:
            self._disconnect()
            self._signals.connect()
            self._connected = True
            self._state = None
            self._inspecting.clear()
            self._show_valid(False)
            self._flag("busy", False)
            self._flag("fault", self._fault)
            self._flag("ready", self._ready)
            self._number("missed", self._missed & 0xFFFF)
            self._show_state()

    def ready(self, ready: bool) -> None:
        """Tell the line whether parts will be inspected."""
        with self._lock:
            self._ready = ready
            self._flag("ready", ready)
            self._show_state()

    def busy(self, shot: Shot) -> None:
        """An inspection has begun: the result that is shown is no longer valid."""
        with self._lock:
            self._inspecting.add(shot.shot_id)
            if self._slots == 1:
                self._show_valid(False)
            self._flag("busy", True)
            self._show_state()

    def settle(self, inspection: Inspection) -> None:
        """Show the disposition, bound to the request it answers. Raises Transient; the PLC then rejects by itself."""
        with self._lock:
            self._inspecting.discard(inspection.shot.shot_id)
            if self._slots == 1 and inspection.shot.triggered_ns < self._newest_ns:
                log.info("answer not shown, a later one was", station=self._station_id, part=inspection.shot.part_id)
            else:
                self._show(inspection)
            self._flag("busy", bool(self._inspecting))
            if any(reason.code in _MISSED for reason in inspection.reasons):
                self._missed += 1
                self._number("missed", self._missed & 0xFFFF)
            self._show_state()

    def fault(self, active: bool, text: str = "") -> None:
        """Raise or clear the fault signal."""
        with self._lock:
            self._fault = active
            self._flag("fault", active)
            self._show_state()

    def beat(self) -> None:
        """Toggle the heartbeat."""
        with self._lock:
            if not self._connected:
                self.open()
            self._beat = not self._beat
            self._flag("heartbeat", self._beat)

    def close(self) -> None:
        """Withdraw ready (as far as the PLC still listens) and disconnect."""
        with self._lock:
            if self._connected:
                try:
                    self._flag("ready", False)
                    self._flag("busy", False)
                    self._number("state", State.NOT_READY)
                except Transient as error:
                    log.warning("ready could not be withdrawn", station=self._station_id, error=str(error))
            self._disconnect()

    def _show(self, inspection: Inspection) -> None:
        answer = handshake_of(inspection)
        self._show_valid(False)
        self._newest_ns = max(self._newest_ns, inspection.shot.triggered_ns)
        self._checked(lambda: self._signals.result(answer.sequence % self._slots, answer, inspection.inspection_id))
        self._show_valid(True)

    def _show_valid(self, valid: bool) -> None:
        self._valid = valid
        self._flag("valid", valid)

    def _show_state(self) -> None:
        state = self._now()
        if state is not self._state:
            self._number("state", state)
            self._state = state

    def _now(self) -> State:
        if self._fault:
            return State.FAULT
        if self._inspecting:
            return State.INSPECTING
        if not self._ready:
            return State.NOT_READY
        return State.RESULT if self._valid else State.READY

    def _flag(self, name: str, value: bool) -> None:
        self._checked(lambda: self._signals.flag(name, value))

    def _number(self, name: str, value: int) -> None:
        self._checked(lambda: self._signals.number(name, value))

    def _checked(self, write: Callable[[], None]) -> None:
        if not self._connected:
            raise Transient(f"{self._name}: not connected")
        try:
            write()
        except Transient:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        self._connected = False
        self._signals.close()


def handshake_of(inspection: Inspection) -> Handshake:
    """What the PLC is told about an inspection. A request without a sequence is answered with 0."""
    shot = inspection.shot
    return Handshake(
        trigger_id=shot.trigger_id,
        part_id=shot.part_id,
        result_code=_CODES[inspection.disposition],
        sequence=(shot.sequence or 0) & 0xFFFF,
    )
