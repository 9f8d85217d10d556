"""A message per part: the PLC's or MES's word that a part is in place."""

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog
from pydantic import ValidationError

from edge_agent.config.stations import MqttTriggerOptions
from edge_agent.contract import inbound, payloads, topics
from edge_agent.contract.complaints import Complain
from edge_agent.contract.signed import Signatures
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.ports import Clock, PlantLink

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 16 * 1024
MAX_WAITING = 64
"""Shots that wait for the station; the next one is refused. The station's own queue comes behind this one."""
MAX_REFUSED = 1_000
"""Refusals that wait to be answered; beyond it, the broker keeps the triggers."""
_REMEMBERED = 10_000
_FUTURE = timedelta(seconds=5)
"""Clocks of two machines differ; a message from later than this is not to be believed."""
_LATE_WINDOW = 1_000
"""A counter that steps back by more than this began anew (the PLC was restarted); by less, the message is late."""


class _Message(payloads.Trigger):
    """A trigger as it comes: the contract's payload, and when it was sent."""

    at: payloads.Instant | None = None


class MqttTrigger:
    """Implements ``ports.TriggerSource``. Subscribes when it is made, which must be before the link is started.

    A message is a bare ``Trigger`` payload, the ``args`` of a command, or either in a CloudEvent. What cannot be
    inspected any more (stale, out of order, more than can wait) is refused and handed out by `refusals`, so that the
    part gets its NOT_INSPECTED.

    Args:
        remember: notes a shot durably before the broker is thanked for its trigger, so that a crash loses none. False
            when another shot was made of this trigger (delivered again after a crash), which is ignored then. Raises
            Transient: not noted; the trigger stays with the broker and is tried again.
        signatures: whether triggers must be signed, and by whom; None: they need not be.
        complain: tells the plant of a message that is no trigger, or comes too late, too early or out of order.
    """

    patient = False

    def __init__(
        self,
        options: MqttTriggerOptions,
        *,
        station_id: str,
        strata: Mapping[str, str],
        clock: Clock,
        link: PlantLink | None = None,
        remember: Callable[[Shot], bool] = lambda _: True,
        signatures: Signatures | None = None,
        complain: Complain = lambda _message, _error: None,
    ) -> None:
        if link is None:
            raise ConfigError(f"station {station_id}: an mqtt trigger needs the plant link")
        self._options = options
        self._station_id = station_id
        self._strata = dict(strata)
        self._clock = clock
        self._remember = remember
        self._signatures, self._complain = signatures, complain
        self._closed = False
        self._taking = threading.Lock()
        self._shots: queue.Queue[Shot] = queue.Queue(MAX_WAITING)
        self._refused: queue.Queue[tuple[Shot, Reason]] = queue.Queue(MAX_REFUSED)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._last_sequence: int | None = None
        self._refusing = ""
        self._missed = 0
        self._unreadable = 0
        own = options.topic.startswith("/")
        topic = options.topic[1:] if own else topics.under(link.topic_root, options.topic)
        link.subscribe(topic, self._on_message)

    def open(self) -> None:
        """Take triggers again after a `close`; the link keeps its subscriptions."""
        self._closed = False

    def wait(self, timeout_s: float) -> Shot | None:
        """The next shot, in the order of arrival."""
        try:
            return self._shots.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def missed(self) -> int:
        """Gaps in the sender's counter, unreadable messages, and refusals nobody fetched."""
        return self._missed + self._unreadable

    def refusals(self) -> list[tuple[Shot, Reason]]:
        """Shots that will not be inspected, with the reason; each is returned once."""
        taken = []
        while True:
            try:
                taken.append(self._refused.get_nowait())
            except queue.Empty:
                return taken

    def close(self) -> None:
        """Hand out as refused what still waits; what comes from now on stays with the broker."""
        with self._taking:  # one that is being taken still gets into the queue, and out of it
            self._closed = True
        while not self._shots.empty():
            reason = Reason(code="agent.stopping", text="the agent was stopped before this part was inspected")
            self._refuse(self._shots.get_nowait(), reason)

    # --- on the link's thread -------------------------------------------------------------------------------------

    def _on_message(self, message: InboundMessage) -> None:
        try:
            asked = read_trigger(self._signatures.opened(message, "trigger")[0] if self._signatures else message)
        except inbound.InvalidMessage as error:
            self._complain(message, error)
            self._unreadable += 1
            log.warning("trigger refused", station=self._station_id, reason=error.reason, detail=error.detail)
            return
        if asked.station_id not in (None, self._station_id):
            return
        if (asked.trigger_id or "") in self._known:
            log.info("duplicate trigger ignored", station=self._station_id, trigger=asked.trigger_id)
            return
        with self._taking:
            self._take(asked, message)

    def _take(self, asked: _Message, message: InboundMessage) -> None:
        """Note the trigger, then queue its shot. Raises Transient: nothing has happened, it can be tried again."""
        if self._closed:
            raise Transient(f"station {self._station_id} is stopping; the broker keeps its triggers")
        if self._refused.full():
            text = f"{MAX_REFUSED} refusals wait to be answered; the broker keeps the rest"
            raise Transient(f"station {self._station_id}: {text}")
        shot = self._shot(asked, message.received_at)
        reason = self._too_old(asked, message) or self._out_of_order(asked)
        if reason is not None:
            self._complain(message, inbound.InvalidMessage(reason.code, reason.text))
        is_new = self._remember(shot)
        self._know(asked)
        if not is_new:
            log.info("trigger delivered again ignored", station=self._station_id, trigger=asked.trigger_id)
        elif reason is None:
            self._offer(shot)
        else:
            self._refuse(shot, reason)

    def _know(self, asked: _Message) -> None:
        self._known[asked.trigger_id or ""] = None
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        self._count(asked)

    def _too_old(self, asked: _Message, message: InboundMessage) -> Reason | None:
        if message.properties.get("mqtt.retain") == "1":
            return Reason(code="trigger.retained", text="the trigger was retained by the broker: it may be of any age")
        if asked.at is None:
            return None
        age = message.received_at - asked.at
        if age > timedelta(seconds=self._options.max_age_s):
            text = f"the trigger is {age.total_seconds():.1f} s old; at most {self._options.max_age_s:g} s are accepted"
            return Reason(code="trigger.stale", text=text)
        if age < -_FUTURE:
            text = f"the trigger is dated {-age.total_seconds():.1f} s in the future; check both clocks"
            return Reason(code="trigger.future", text=text)
        return None

    def _out_of_order(self, asked: _Message) -> Reason | None:
        """A late message: another part is in front of the camera by now."""
        if not self._is_late(asked.sequence):
            return None
        text = f"sequence {asked.sequence} came after {self._last_sequence}"
        return Reason(code="trigger.out_of_order", text=text)

    def _is_late(self, sequence: int | None) -> bool:
        last = self._last_sequence
        return sequence is not None and last is not None and 0 <= last - sequence < _LATE_WINDOW and sequence > 1

    def _count(self, asked: _Message) -> None:
        """Count the gap before this one."""
        sequence, last = asked.sequence, self._last_sequence
        if sequence is None or self._is_late(sequence):
            return
        self._last_sequence = sequence
        if last is not None and 1 < sequence - last <= _LATE_WINDOW:
            self._missed += sequence - last - 1
            log.warning("triggers missed", station=self._station_id, after=last, before=sequence)

    def _offer(self, shot: Shot) -> None:
        try:
            self._shots.put_nowait(shot)
            if self._shots.qsize() <= MAX_WAITING // 2:  # full, one out, full again is one flood
                self._refusing = ""
        except queue.Full:
            text = f"{MAX_WAITING} triggers wait already"
            self._refuse(shot, Reason(code="trigger.overrun", text=text))

    def _refuse(self, shot: Shot, reason: Reason) -> None:
        """The log hears of the first one of a kind until half the room is free; each part's answer is logged anyway."""
        if reason.code != self._refusing:
            log.warning(
                "triggers are refused", station=self._station_id, part=shot.part_id, reason=reason.code, why=reason.text
            )
        self._refusing = reason.code
        try:
            self._refused.put_nowait((shot, reason))
        except queue.Full:
            self._missed += 1

    def _shot(self, asked: _Message, received_at: datetime) -> Shot:
        return Shot(
            shot_id=self._clock.new_id(),
            station_id=self._station_id,
            part_id=asked.part_id,
            product_id=asked.product_id,
            trigger_id=asked.trigger_id or "",
            triggered_at=received_at,
            triggered_ns=self._clock.monotonic_ns(),
            lot_id=asked.lot_id,
            sequence=asked.sequence,
            image_path=asked.image_path,
            strata=self._strata | asked.strata,
        )


def read_trigger(message: InboundMessage) -> _Message:
    """What a message asks for.

    Raises:
        InvalidMessage: it is no trigger.
    """
    if len(message.body) > MAX_BODY_BYTES:
        text = f"at most {MAX_BODY_BYTES} bytes are read, this has {len(message.body)}"
        raise inbound.InvalidMessage("oversize", text)
    data = dict(inbound.open_event(message.body, message.properties).data)
    if "commandId" in data:
        command = inbound.command(message)
        data = {"triggerId": command.command_id, **command.args}
    try:
        asked = _Message.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise inbound.InvalidMessage("schema", f"{where}: {first['msg']}") from None
    if asked.trigger_id is None:
        raise inbound.InvalidMessage("schema", "triggerId: missing; without it a repetition cannot be told")
    return asked
