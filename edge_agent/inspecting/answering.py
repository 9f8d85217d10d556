"""Answering: every shot gets one answer, recorded before the line is told."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import structlog

from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.frame import Glimpse
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.inspecting.challenge import ChallengeGate
from edge_agent.inspecting.inspector import Look
from edge_agent.inspecting.pause import Pause
from edge_agent.inspecting.record import Recorder
from edge_agent.observability import metrics
from edge_agent.observability.health import Condition, Health
from edge_agent.ports import Actuator, Clock
from edge_agent.runtime.sampler import Sampler

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
        glimpses: Sampler[Glimpse] | None = None,
        challenge: ChallengeGate | None = None,
    ) -> None:
        """
        Args:
            every_shot: owes an answer; False where the newest one replaces those that still wait.
            glimpses: takes some of the images, for those who watch what they look like.
            challenge: knows the challenge parts, where the station has any.
        """
        self.challenge = challenge
        self._glimpses = glimpses
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
        self._owed: set[UUID] = set()
        self._lock = threading.RLock()

    def answer(self, look: Look) -> Inspection:
        """Record and settle one inspection; what the line was told."""
        if self.challenge is not None:
            look = self.challenge.marked(look)
        with self._lock:
            try:
                inspection = self._recorder.record(look)
                self._in_hand.discard(inspection.shot.shot_id)
            except (Transient, ConfigError) as error:  # full, away, or turned read-only under way: all the same here
                inspection = self._hold_unrecorded(look, error)
            self._settle(inspection)
        self._owed.discard(inspection.shot.shot_id)
        if self.challenge is not None and inspection.shot.challenge:
            self.challenge.saw(inspection)
            log.info("challenge part inspected", part=inspection.shot.part_id, evaluation=inspection.evaluation)
            return inspection
        # Measured here, not taken from the inspection: recording it is part of the answer's time.
        self._count(inspection, answered_ms=(self._clock.monotonic_ns() - inspection.shot.triggered_ns) / 1e6)
        if self._glimpses is not None and look.frame is not None:
            self._glimpses.offer(
                Glimpse(product_id=inspection.shot.product_id, pixels=look.frame.pixels, at=inspection.ended_at)
            )
        return inspection

    def note(self, look: Look) -> Inspection:
        """Record an inspection that no part waits for: nobody is told but the store.

        Raises:
            Transient: it could not be written down.
        """
        inspection = self._recorder.record(look)
        if self.challenge is not None:
            self.challenge.saw(inspection)
        return inspection

    def refusal(self, shot: Shot) -> Reason | None:
        """Why the station holds this part without looking at it: it is paused, or its challenge was not passed."""
        return self.pause.reason or (self.challenge.refusal(shot) if self.challenge is not None else None)

    def expect(self, shot: Shot) -> Reason | None:
        """Note that a shot owes an answer; the reason why it cannot be noted, which refuses it."""
        if shot.shot_id in self._in_hand or not self._every_shot:
            return None
        self._in_hand.add(shot.shot_id)
        self._owed.add(shot.shot_id)
        try:
            self._recorder.expect(shot)
        except (Transient, ConfigError) as error:
            self._report(Condition.DOWN, str(error))
            return Reason(code="store.failed", text=f"the trigger could not be recorded: {error}")
        return None

    def owes(self) -> bool:
        """Is there a shot that was taken and is not answered yet?"""
        return bool(self._owed)

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
                self._tell_line()
            return True

    def ready(self, ready: bool) -> None:
        """Tell the line whether the camera is there: without one no part will be inspected."""
        with self._ready_lock:
            self._is_ready = ready
            self._tell_line()

    def heed_pause(self) -> None:
        """Withdraw ready when the station was paused or held by its challenge, give it back when it may work again."""
        with self._ready_lock:
            if self._is_withheld() != self._withdrawn:
                self._tell_line()

    def _is_withheld(self) -> bool:
        return self.pause.reason is not None or (self.challenge is not None and self.challenge.withdrawn)

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

    def _tell_line(self) -> None:
        """Ready: camera there, results can be written down, not paused or held by the challenge.

        Fault: one of the first two is missing.
        """
        with self._ready_lock:
            self._withdrawn = self._is_withheld()
            able = self._is_ready and not self._waiting
            for actuator in self._actuators:
                try:
                    actuator.ready(able and not self._withdrawn)
                    actuator.fault(not able)
                except Transient as error:
                    self._report(Condition.DEGRADED, f"actuator: {error}")

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
        if len(self._waiting) == 1:
            self._tell_line()
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
