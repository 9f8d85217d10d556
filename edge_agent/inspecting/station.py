"""A station at work: one thread waits for triggers, one inspects; a bounded channel between them."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import structlog

from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.inspecting.inspector import Inspector, Look
from edge_agent.inspecting.pause import Pause
from edge_agent.inspecting.record import Recorder
from edge_agent.observability import metrics
from edge_agent.observability.health import Condition, Health
from edge_agent.ports import Actuator, Camera, Clock, TriggerSource
from edge_agent.runtime.channel import Channel

log = structlog.get_logger(__name__)

_WAIT_S = 0.2
_RETRY_RECORD = 200
"""Inspections kept in memory while the store cannot write; the line is told "not ready" meanwhile."""
_REDELIVERED_WITHIN = timedelta(minutes=10)
"""A trigger that comes again within this time is the same one; later, a sender may have begun to count anew."""


class Answering:
    """Records inspections and tells the line, in this order; shared by the station's two workers.

    A part whose inspection cannot be recorded is held, whatever was seen: a result that nobody can find later is not
    a result.
    """

    def __init__(
        self,
        *,
        station_id: str,
        recorder: Recorder,
        actuators: Sequence[Actuator],
        health: Health,
        clock: Clock,
        pause: Pause | None = None,
        every_shot: bool = True,
    ) -> None:
        """Args: ``every_shot`` owes an answer; False where the newest one replaces those that still wait."""
        self.station_id = station_id
        self._every_shot = every_shot
        self.pause = pause or Pause()
        self._is_ready = False
        self._withdrawn = False
        self._ready_lock = threading.RLock()
        self._recorder = recorder
        self._actuators = actuators
        self._health = health
        self._clock = clock
        self._waiting: deque[Look] = deque()
        self._in_hand: set[UUID] = set()
        self._lock = threading.RLock()

    def answer(self, look: Look) -> Inspection:
        """Record and settle one inspection; what the line was told."""
        with self._lock:
            try:
                inspection = self._recorder.record(look)
                self._in_hand.discard(inspection.shot.shot_id)
            except (Transient, ConfigError) as error:  # full, away, or turned read-only under way: all the same here
                inspection = self._hold_unrecorded(look, error)
            self._settle(inspection)
        # Measured here, not taken from the inspection: recording it is part of the answer's time.
        self._count(inspection, answered_ms=(self._clock.monotonic_ns() - inspection.shot.triggered_ns) / 1e6)
        return inspection

    def expect(self, shot: Shot) -> Reason | None:
        """Note that a shot owes an answer; the reason why it cannot be noted, which refuses it."""
        if shot.shot_id in self._in_hand or not self._every_shot:
            return None
        self._in_hand.add(shot.shot_id)
        try:
            self._recorder.expect(shot)
        except (Transient, ConfigError) as error:
            self._report(Condition.DOWN, str(error))
            return Reason(code="store.failed", text=f"the trigger could not be recorded: {error}")
        return None

    def remember(self, shot: Shot, *, once_within: timedelta = _REDELIVERED_WITHIN) -> bool:
        """The same for a source that repeats what it was not thanked for: False for a repetition, which is ignored.

        Args:
            once_within: for how long the source's name for a trigger is not used for another one.

        Raises:
            Transient: it could not be noted; the source shall keep it.
        """
        if not self._every_shot:
            return True
        self._in_hand.add(shot.shot_id)  # first: once noted, it must not look like one that an earlier process left
        try:
            is_new = self._recorder.expect(shot, once_within=once_within)
        except (Transient, ConfigError) as error:
            self._in_hand.discard(shot.shot_id)
            self._report(Condition.DOWN, str(error))
            raise Transient(f"the trigger could not be recorded: {error}") from error
        if not is_new:
            self._in_hand.discard(shot.shot_id)
        return is_new

    def unanswered(self) -> list[Shot]:
        """Shots that an earlier process took and never answered; not those that this one has in hand."""
        left = self._recorder.unanswered(self.station_id)
        return [shot for shot in left if shot.shot_id not in self._in_hand]

    def retry_unrecorded(self) -> bool:
        """Write down what could not be written before; True when something was."""
        with self._lock:
            if not self._waiting:
                return False
            try:
                self._recorder.record(self._waiting[0])
            except (Transient, ConfigError):
                return False
            self._in_hand.discard(self._waiting.popleft().inspection.shot.shot_id)
            if not self._waiting:
                self._report(Condition.OK, "recording again")
            return True

    def ready(self, ready: bool) -> None:
        """Tell the line whether parts will be inspected."""
        with self._ready_lock:
            self._is_ready, self._withdrawn = ready, self.pause.reason is not None
            for actuator in self._actuators:
                try:
                    actuator.ready(ready and not self._waiting and not self._withdrawn)
                    actuator.fault(not ready)
                except Transient as error:
                    self._report(Condition.DEGRADED, f"actuator: {error}")

    def heed_pause(self) -> None:
        """Withdraw ready when the station was paused, give it back when it was resumed."""
        with self._ready_lock:
            if (self.pause.reason is not None) != self._withdrawn:
                self.ready(self._is_ready)

    def beat(self) -> None:
        """Toggle the heartbeat of every actuator; reconnect those that are away."""
        for actuator in self._actuators:
            try:
                actuator.beat()
            except Transient as error:
                self._report(Condition.DEGRADED, f"actuator: {error}")
                _reopen(actuator)

    def busy(self, shot: Shot) -> None:
        """An inspection has begun."""
        for actuator in self._actuators:
            try:
                actuator.busy(shot)
            except Transient as error:
                self._report(Condition.DEGRADED, f"actuator: {error}")

    def close(self) -> None:
        """Withdraw ready."""
        for actuator in self._actuators:
            actuator.close()

    def _hold_unrecorded(self, look: Look, error: Exception) -> Inspection:
        reason = Reason(code="store.failed", text=f"the result could not be recorded: {error}")
        held = replace(
            look.inspection,
            evaluation=Evaluation.NOT_INSPECTED,
            disposition=Disposition.HOLD,
            reasons=(reason, *(one for one in look.inspection.reasons if one.code != reason.code)),
        )
        self._report(Condition.DOWN, reason.text)
        if len(self._waiting) >= _RETRY_RECORD:
            lost = self._waiting.popleft()
            self._in_hand.discard(lost.inspection.shot.shot_id)
            log.error("inspection dropped, the store has been away too long", part=lost.inspection.shot.part_id)
        self._waiting.append(Look(inspection=held))
        return held

    def _settle(self, inspection: Inspection) -> None:
        for actuator in self._actuators:
            try:
                actuator.settle(inspection)
            except Transient as error:
                self._report(Condition.DEGRADED, f"actuator: {error}")

    def _report(self, condition: Condition, detail: str) -> None:
        self._health.report(f"recording:{self.station_id}", condition, detail, at=self._clock.now())

    def _count(self, inspection: Inspection, *, answered_ms: float) -> None:
        station = self.station_id
        metrics.PARTS.labels(station, inspection.evaluation, inspection.disposition).inc()
        for defect in inspection.defects:
            metrics.DEFECTS.labels(station, defect.code).inc()
        for stage, spent_ms in inspection.timings_ms.items():
            if stage != "total":
                metrics.STAGE_MS.labels(station, stage).observe(spent_ms)
        metrics.INSPECTION_MS.labels(station).observe(answered_ms)
        log.info(
            "part inspected",
            station=station,
            part=inspection.shot.part_id,
            evaluation=inspection.evaluation,
            disposition=inspection.disposition,
            ms=round(answered_ms, 1),
            reasons=[reason.code for reason in inspection.reasons],
        )


def _reopen(actuator: Actuator) -> None:
    try:
        actuator.close()
        actuator.open()
    except Transient:
        return


class TriggerWorker:
    """Waits for triggers and offers shots to the channel; a refused shot is answered at once."""

    def __init__(
        self,
        *,
        source: TriggerSource,
        channel: Channel[Shot],
        inspector: Inspector,
        answering: Answering,
        health: Health,
        clock: Clock,
    ) -> None:
        self._source = source
        self._channel = channel
        self._inspector = inspector
        self._answering = answering
        self._health = health
        self._clock = clock
        self._open = False
        self._next_beat_ns = 0

    def setup(self) -> None:
        """Nothing yet: the source is opened by the first step, so that a PLC that is away does not stop the box."""

    def step(self) -> bool:
        """Wait for one trigger and hand its shot over. Raises Transient while the source is away."""
        self._beat()
        self._answering.heed_pause()
        if not self._open:
            self._connect()
        if getattr(self._source, "patient", False) and not self._may_take():
            return False
        try:
            shot = self._source.wait(_WAIT_S)
        except Transient as error:
            self._disconnect(str(error))
            raise
        self._answer_refusals()
        metrics.MISSED_TRIGGERS.labels(self._answering.station_id).set(self._source.missed())
        if shot is None:
            return False
        self._hand_over(shot)
        return True

    def teardown(self) -> None:
        """Stop taking triggers, and answer those that the source still had."""
        self._answering.ready(False)
        self._source.close()
        self._answer_refusals()

    def _may_take(self) -> bool:
        """What can wait is left where it is while the queue is not empty or the station is paused."""
        return self._answering.pause.wait_lifted(_WAIT_S) and self._channel.await_empty(_WAIT_S)

    def _connect(self) -> None:
        try:
            self._source.open()
        except Transient as error:
            self._report(Condition.DOWN, str(error))
            raise
        self._open = True
        self._report(Condition.OK, "waiting for triggers")

    def _disconnect(self, detail: str) -> None:
        self._open = False
        self._source.close()
        self._report(Condition.DOWN, detail)

    def _hand_over(self, shot: Shot) -> None:
        trouble = self._answering.expect(shot) or self._answering.pause.reason
        if trouble is not None:
            self._refuse(shot, trouble.code, trouble.text)
        elif not self._channel.offer(shot):
            self._refuse(shot, "station.overrun", "the station's queue is full")
        ledger = self._channel.ledger
        station = self._answering.station_id
        metrics.CHANNEL_OFFERED.labels(station).set(ledger.offered)
        metrics.CHANNEL_DROPPED.labels(station).set(ledger.dropped)
        metrics.CHANNEL_REFUSED.labels(station).set(ledger.refused)

    def _answer_refusals(self) -> None:
        for refused, reason in _refusals(self._source):
            self._refuse(refused, reason.code, reason.text)
            self._beat()

    def _refuse(self, shot: Shot, code: str, text: str) -> None:
        self._answering.answer(self._inspector.refuse(shot, Reason(code=code, text=text)))

    def _beat(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._next_beat_ns:
            self._next_beat_ns = now_ns + 500_000_000
            self._answering.beat()

    def _report(self, condition: Condition, detail: str) -> None:
        self._health.report(f"trigger:{self._answering.station_id}", condition, detail, at=self._clock.now())


def _refusals(source: TriggerSource) -> list[tuple[Shot, Reason]]:
    """Requests that the source itself has refused (overrun, stale, out of order) and that are owed an answer."""
    refusals = getattr(source, "refusals", None)
    return refusals() if refusals else []


class InspectionWorker:
    """Takes shots from the channel, inspects and answers them; keeps the camera connected."""

    def __init__(
        self,
        *,
        station_id: str,
        camera: Camera,
        channel: Channel[Shot],
        inspector: Inspector,
        answering: Answering,
        health: Health,
        clock: Clock,
        reconnect_every: timedelta = timedelta(seconds=1),
    ) -> None:
        self._station_id = station_id
        self._camera = camera
        self._channel = channel
        self._inspector = inspector
        self._answering = answering
        self._health = health
        self._clock = clock
        self._reconnect_ns = int(reconnect_every.total_seconds() * 1e9)
        self._next_try_ns = 0
        self._connected = False
        self._shot: Shot | None = None

    def setup(self) -> None:
        """Answer for what an earlier process left; connect the camera (ConfigError stops the start, absence not)."""
        for shot in self._answering.unanswered():
            reason = Reason(code="agent.restarted", text="the agent was restarted before this part was inspected")
            self._answering.answer(self._inspector.refuse(shot, reason))
        self._connect()

    def step(self) -> bool:
        """Inspect one shot, or keep the house: reconnect the camera, write down what could not be written."""
        if not self._connected:
            self._connect()
        shot = self._channel.take(_WAIT_S)
        if shot is None:
            return self._answering.retry_unrecorded()
        self._shot = shot
        self._answering.busy(shot)
        self._answering.answer(self._look(shot))
        self._shot = None
        return True

    def teardown(self) -> None:
        """Answer for every shot that is left, then let go of the camera."""
        if self._shot is not None:
            reason = Reason(code="agent.failed", text="the inspection of this part failed; the agent's log says why")
            self._answering.answer(self._inspector.refuse(self._shot, reason))
        for shot in self._channel.drain():
            reason = Reason(code="agent.stopping", text="the agent was stopped before this part was inspected")
            self._answering.answer(self._inspector.refuse(shot, reason))
        self._answering.close()
        self._camera.close()

    def _look(self, shot: Shot) -> Look:
        if not self._connected:
            return self._inspector.refuse(shot, Reason(code="camera.away", text="the camera is not connected"))
        try:
            return self._inspector.inspect(shot)
        except Transient as error:
            self._lose(str(error))
            return self._inspector.refuse(shot, Reason(code="camera.lost", text=str(error)))

    def _connect(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._next_try_ns:
            return
        self._next_try_ns = now_ns + self._reconnect_ns
        try:
            self._camera.open()
        except Transient as error:
            self._report(Condition.DOWN, str(error))
            return
        self._connected = True
        self._report(Condition.OK, "connected")
        self._answering.ready(True)

    def _lose(self, detail: str) -> None:
        self._connected = False
        self._camera.close()
        self._answering.ready(False)
        self._report(Condition.DOWN, detail)

    def _report(self, condition: Condition, detail: str) -> None:
        self._health.report(f"camera:{self._station_id}", condition, detail, at=self._clock.now())
