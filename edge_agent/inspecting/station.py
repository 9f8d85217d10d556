"""A station at work: one thread waits for triggers, one inspects; a bounded channel between them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import structlog

from edge_agent.domain.faults import Transient
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.inspecting.answering import Answering
from edge_agent.inspecting.inspector import Inspector, Look
from edge_agent.observability import metrics
from edge_agent.observability.health import Condition, Health
from edge_agent.ports import Camera, Clock, TriggerSource
from edge_agent.runtime.channel import Channel

log = structlog.get_logger(__name__)

_WAIT_S = 0.2
_RETRY_RECORD = 200
"""Inspections kept in memory while the store cannot write; the line is told "not ready" meanwhile."""
_REDELIVERED_WITHIN = timedelta(minutes=10)
"""A trigger that comes again within this time is the same one; later, a sender may have begun to count anew."""


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
        if self._source.patient and not self._may_take():
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
        trouble = self._answering.expect(shot) or self._answering.refusal(shot)
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
        for refused, reason in self._source.refusals():
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
        afterwards: Callable[[Look], object] = lambda _: None,
        reconnect_every: timedelta = timedelta(seconds=1),
    ) -> None:
        """Args: ``afterwards`` is given each part after its answer; it keeps it or not, and returns at once."""
        self._station_id = station_id
        self._camera = camera
        self._channel = channel
        self._inspector = inspector
        self._answering = answering
        self._health = health
        self._clock = clock
        self._afterwards = afterwards
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
            return self._answering.retry_unrecorded() or self._examine()
        self._shot = shot
        self._answering.busy(shot)
        look = self._look(shot)
        answered = self._answering.answer(look)
        self._shot = None
        if not answered.shot.challenge:
            self._afterwards(replace(look, inspection=answered))
        if self._answering.challenge is not None and self._answering.challenge.presses:
            self._examine()
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

    def _examine(self) -> bool:
        """Inspect an image of the challenge, if one is due. Raises Transient: tried again."""
        gate = self._answering.challenge
        part = gate.next_image() if gate is not None else None
        if gate is None or part is None:
            return False
        try:
            self._answering.note(self._inspector.examine(part, self._station_id))
        except Transient:
            gate.again(part)
            raise
        return True

    def _look(self, shot: Shot) -> Look:
        gate = self._answering.challenge
        held = gate.refusal(shot) if gate is not None else None
        if held is not None:  # a challenge part failed while this one waited
            return self._inspector.refuse(shot, held)
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
            if self._report(Condition.DOWN, str(error)):
                self._answering.ready(False)  # away from the start: the line is told as if it had been lost
            return
        self._connected = True
        self._report(Condition.OK, "connected")
        self._answering.ready(True)

    def _lose(self, detail: str) -> None:
        self._connected = False
        self._camera.close()
        self._answering.ready(False)
        self._report(Condition.DOWN, detail)

    def _report(self, condition: Condition, detail: str) -> bool:
        return self._health.report(f"camera:{self._station_id}", condition, detail, at=self._clock.now())
