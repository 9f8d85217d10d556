"""A worker: takes its share from the broker, writes it, confirms it to the boxes, and only then to the broker.

Killed anywhere in between, it loses nothing: what is not acknowledged comes again, what is there already is a
duplicate, and a duplicate is confirmed to its box as well.
"""

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from edge_agent.adapters.link.connection import Arrived, Connection, Outgoing
from edge_agent.collecting import figures
from edge_agent.collecting.fleet_store import DeadLetter, FleetStore, Gap, Recorded, Unfit
from edge_agent.collecting.reading import Event, Reading, Refused, read
from edge_agent.collecting.settings import CollectFile
from edge_agent.contract import topics
from edge_agent.contract.envelope import TYPE_PREFIX, compact
from edge_agent.domain.faults import Transient
from edge_agent.ports import Clock

log = structlog.get_logger(__name__)

BATCH = 100
QUEUE = 1_000
"""Messages in memory; when there are so many, the worker stops reading."""
FULL_S = 0.02
WAIT_S = 0.2
AGAIN_S = 1.0
PUBACK_WAIT_S = 5.0
LOOK_S = 60.0
PRUNE_S = 600.0
STOP_S = 5.0
_CLASSES = {
    "defect.found": "defect",
    "rca.made": "rca",
    "report.made": "report",
    "workorder.created": "workorder",
    "workorder.updated": "workorder",
    "workorder.cancelled": "workorder",
}
_FULL_NAMES = {f"{TYPE_PREFIX}.{name}.v1": kind for name, kind in _CLASSES.items()}

Answers = dict[tuple[str, str], list[UUID]]
"""(box's topic root, status) to event ids."""


@dataclass(slots=True)
class Batch:
    """What was taken from the broker together."""

    letters: list[Arrived]
    events: list[Event] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    answers: Answers = field(default_factory=lambda: defaultdict(list))


class Worker:
    """One process' share of the fleet's messages."""

    def __init__(
        self, settings: CollectFile, *, name: str, store: FleetStore, clock: Clock, password: str | None
    ) -> None:
        """Prepare; nothing is connected before `start`. Raises ConfigError: TLS files that cannot be used."""
        self.name = name
        self._settings, self._store = settings, store
        self._largest = settings.mqtt.max_payload_kib * 1024
        self._confirmed = frozenset(settings.receipts)
        self._arrived: queue.Queue[Arrived] = queue.Queue()
        self._reads_on = threading.Event()
        self._away, self._stopping = "", False
        self._next_look = self._next_prune = 0.0
        self._told: dict[str, int] = {}
        self._connection = Connection(
            settings.mqtt,
            client_id=settings.client_id(name),
            password=password,
            clock=clock,
            will=lambda: self._state(False),
            on_ready=self._greet,
            on_message=self._offer,
        )

    def start(self) -> None:
        """Connect in the background, for ever."""
        self._connection.start()

    def stop(self) -> None:
        """Say offline and go; what is not acknowledged stays with the broker."""
        self._stopping = True
        self._reads_on.set()
        limits = self._connection.limits
        if limits is not None:
            self._connection.publish(self._state(False), limits.epoch)
            self._await_pubacks(limits.epoch, 1, time.monotonic() + 1.0)
        self._connection.stop(STOP_S)

    def step(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Take, write, confirm, acknowledge; how many messages.

        Args:
            stopping: asked while the database is away; True gives the batch back to the broker.
        """
        self._connection.raise_bug()
        limits = self._connection.limits
        figures.CONNECTED.set(limits is not None)
        letters = self._take()
        if letters:
            batch = self._read(letters)
            if not self._write(batch, stopping):
                return 0
            self._answer(batch.answers, letters[-1].epoch)
            for letter in letters:
                self._connection.acknowledge(letter)
        self._forget_pubacks()
        self._look_after()
        return len(letters)

    # --- the network's thread ---------------------------------------------------------------------------------------

    def _greet(self) -> None:
        limits = self._connection.limits
        if limits is None:
            return
        if not limits.session_present:
            log.warning("the broker had kept no session: what was sent meanwhile went to other workers, or nowhere")
        self._connection.subscribe([(self._settings.subscription, 1)])
        self._connection.publish(self._state(True), limits.epoch)

    def _offer(self, arrived: Arrived) -> bool:
        """Wait while the queue is full: nothing is read from the broker then, whatever it makes of our limit.

        mosquitto 2.0.11 keeps to Receive Maximum until the first acknowledgement, then it sends all it has. Readings
        (QoS 0) do not wait. Not while the worker waits for PUBACKs: those stand behind what is not read.
        """
        if arrived.qos == 0 and self._arrived.qsize() >= QUEUE // 2:
            figures.DROPPED.inc()
            return False
        while self._arrived.qsize() >= QUEUE and not self._reads_on.wait(FULL_S):
            pass
        self._arrived.put_nowait(arrived)
        return False

    def _state(self, online: bool) -> Outgoing:
        body = compact({"online": online, "consumer": self._settings.client_id(self.name)})
        return Outgoing(
            topic=self._settings.state_topic(self.name), body=body, retain=True, content_type="application/json"
        )

    # --- the worker's thread ----------------------------------------------------------------------------------------

    def _take(self) -> list[Arrived]:
        found: list[Arrived] = []
        try:
            found.append(self._arrived.get(timeout=WAIT_S))
            while len(found) < BATCH:
                found.append(self._arrived.get_nowait())
        except queue.Empty:
            pass
        return found

    def _read(self, letters: Sequence[Arrived]) -> Batch:
        batch = Batch(list(letters))
        for letter in letters:
            try:
                one = read(letter.topic, letter.body, largest=self._largest)
            except Refused as error:
                self._bury(batch, letter, error)
                continue
            if isinstance(one, Event):
                batch.events.append(one)
                if _FULL_NAMES.get(one.type) in self._confirmed:
                    batch.answers[one.box.root, "received"].append(one.id)
            elif one is not None:
                batch.readings.append(one)
        return batch

    def _bury(self, batch: Batch, letter: Arrived, error: Refused) -> None:
        log.warning("a message cannot be stored", topic=letter.topic, reason=error.reason, detail=error.detail)
        figures.DEAD.labels(error.reason).inc()
        batch.dead.append(DeadLetter(topic=letter.topic, body=letter.body, reason=error.reason, detail=error.detail))
        root, found, _ = letter.topic.partition("/out/")
        if error.message_id is not None and found and self._needs_answer(letter.topic):
            batch.answers[root, "rejected"].append(error.message_id)

    def _needs_answer(self, topic: str) -> bool:
        kinds = {"defect": "defect", "rca": "rca", "report": "report", "wo": "workorder"}
        level = topic.partition("/out/")[2].partition("/")[0]
        return kinds.get(level) in self._confirmed

    def _write(self, batch: Batch, stopping: Callable[[], bool]) -> bool:
        """Until the database has it; False: told to stop before."""
        while True:
            try:
                recorded = self._recorded(batch)
            except Transient as error:
                if not self._away:
                    log.error("the database is away, the broker keeps what comes", error=str(error))
                self._away = str(error)
            else:
                if self._away:
                    log.info("the database is back")
                self._away = ""
                figures.STORED.inc(recorded.new)
                figures.DUPLICATES.inc(recorded.duplicates)
                figures.OUT_OF_ORDER.inc(recorded.out_of_order)
                return True
            if stopping():
                return False
            time.sleep(AGAIN_S)

    def _recorded(self, batch: Batch) -> Recorded:
        try:
            return self._store.record(self.name, batch.events, batch.readings, batch.dead)
        except Unfit:
            return self._one_by_one(batch)

    def _one_by_one(self, batch: Batch) -> Recorded:
        """One of them cannot be stored: find it, store the others."""
        total = Recorded()
        for letter in batch.letters:
            alone = self._read_again(letter)
            try:
                part = self._store.record(self.name, alone.events, alone.readings, alone.dead)
            except Unfit as error:
                key = alone.events[0].id if alone.events else None
                self._unanswer(batch, key)
                buried = Batch([letter])
                self._bury(buried, letter, Refused("database", str(error), key))
                self._store.record(self.name, [], [], buried.dead)
                for where, ids in buried.answers.items():
                    batch.answers[where].extend(ids)
            else:
                total.new += part.new
                total.duplicates += part.duplicates
                total.out_of_order += part.out_of_order
        return total

    def _read_again(self, letter: Arrived) -> Batch:
        batch = Batch([letter])
        try:
            one = read(letter.topic, letter.body, largest=self._largest)
        except Refused as error:
            letter_ = DeadLetter(topic=letter.topic, body=letter.body, reason=error.reason, detail=error.detail)
            batch.dead.append(letter_)
            return batch
        batch.events.extend([one] if isinstance(one, Event) else [])
        batch.readings.extend([one] if isinstance(one, Reading) else [])
        return batch

    @staticmethod
    def _unanswer(batch: Batch, key: UUID | None) -> None:
        for ids in batch.answers.values():
            if key in ids:
                ids.remove(key)

    def _answer(self, answers: Answers, epoch: int) -> None:
        """Receipts, a message for each box, never more than the broker takes at once."""
        limits = self._connection.limits
        window = limits.receive_maximum if limits is not None else 1
        flying = 0
        for (root, status), ids in answers.items():
            if not ids:
                continue
            if flying >= window:
                self._await_pubacks(epoch, flying, time.monotonic() + PUBACK_WAIT_S)
                flying = 0
            body = compact({"ids": [str(one) for one in dict.fromkeys(ids)], "status": status})
            message = Outgoing(topic=topics.under(root, topics.RECEIPT), body=body, content_type="application/json")
            if self._connection.publish(message, epoch) is None:
                return  # the connection is gone: all of it comes again, and is confirmed then
            flying += 1
            figures.RECEIPTS.inc(len(ids))
        self._await_pubacks(epoch, flying, time.monotonic() + PUBACK_WAIT_S)

    def _await_pubacks(self, epoch: int, count: int, until: float) -> None:
        """Wait for so many, for the connection's end, or until it is too late."""
        came = 0
        self._reads_on.set()
        while came < count and time.monotonic() < until:
            self._connection.changed.clear()
            came += self._forget_pubacks()
            limits = self._connection.limits
            if limits is None or limits.epoch != epoch:
                break
            if came < count:
                self._connection.changed.wait(0.1)
        if not self._stopping:
            self._reads_on.clear()

    def _forget_pubacks(self) -> int:
        came = 0
        while self._connection.pubacks:
            code = self._connection.pubacks.popleft().code
            came += 1
            if code >= 0x80:
                figures.RECEIPTS_REFUSED.inc()
                self._tell_once("receipt", f"0x{code:02x}")
        return came

    def _tell_once(self, what: str, code: str) -> None:
        if what not in self._told:
            log.error("the broker refuses receipts; check its access rules for in/receipt", code=code)
            self._told[what] = 1

    # --- now and then -----------------------------------------------------------------------------------------------

    def _look_after(self) -> None:
        now = time.monotonic()
        try:
            if now >= self._next_look:
                self._next_look = now + LOOK_S
                self._tell_gaps(self._store.gaps(older_than_s=self._settings.gap_after_s))
            if self._settings.retention_days is not None and now >= self._next_prune:
                more = self._store.delete_older(self._settings.retention_days)
                self._next_prune = now + (WAIT_S if more else PRUNE_S)
        except Transient as error:
            log.warning("the database is away", error=str(error))

    def _tell_gaps(self, gaps: Sequence[Gap]) -> None:
        """Log a box when it begins to miss more; the metric has the present state."""
        missing: dict[str, int] = defaultdict(int)
        for gap in gaps:
            missing[gap.box] += gap.missing
        figures.GAPS.set(len(gaps))
        figures.MISSING.clear()
        for box, count in missing.items():
            figures.MISSING.labels(box).set(count)
            if count > self._told.get(f"gap:{box}", 0):
                log.warning("messages of a box are missing", box=box, missing=count)
            self._told[f"gap:{box}"] = count


def run(worker: Worker, stop: threading.Event) -> None:
    """Serve until told to stop."""
    worker.start()
    try:
        while not stop.is_set():
            worker.step(stop.is_set)
    finally:
        worker.stop()
