"""Every plug-point of the agent. Adapters implement these; nothing below `bootstrap` knows an adapter.

Errors cross a port by what the caller can do about them (see `edge_agent.domain.faults`): ``ConfigError`` (stop and
tell the person), ``Transient`` (try again later), ``PartFault`` (this part: HOLD, go on). Anything else is a bug and
ends in a restart of the worker.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import UUID

import numpy as np
import numpy.typing as npt

from edge_agent.domain.analysis import Analysis
from edge_agent.domain.audit import AuditCheck, AuditEntry
from edge_agent.domain.defect import ModelRef, Sighting
from edge_agent.domain.document import Document
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.domain.incident import Incident
from edge_agent.domain.inspection import Evaluation, ImageRef, Inspection
from edge_agent.domain.message import (
    Departure,
    InboundMessage,
    Lane,
    LaneUsage,
    OutboundMessage,
    OutboxRow,
    OutboxState,
)
from edge_agent.domain.part import Shot
from edge_agent.domain.plant import PlantEvent, Sample
from edge_agent.domain.reason import Reason
from edge_agent.domain.shadow import ShadowLook
from edge_agent.domain.step import Step
from edge_agent.domain.verdict import ConfirmedCase, JobResponse
from edge_agent.domain.work_order import WorkOrder

# --- time -----------------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """The only reader of time, and so the maker of UUIDv7 ids."""

    def now(self) -> datetime:
        """Wall clock, aware UTC."""
        ...

    def monotonic_ns(self) -> int:
        """For durations; never goes back."""
        ...

    def new_id(self) -> UUID:
        """A UUIDv7; two calls never return the same and, in one process, never a smaller one."""
        ...


# --- the part's path ------------------------------------------------------------------------------------------------


class TriggerSource(Protocol):
    """Says when a part is in place."""

    @property
    def patient(self) -> bool:
        """Its parts can wait: it is asked for the next one only when the station is free (a folder, not a PLC)."""
        ...

    def open(self) -> None:
        """Connect. Raises Transient when the peer is away; the caller tries again."""
        ...

    def wait(self, timeout_s: float) -> Shot | None:
        """The next shot, or None when none came in time. Raises Transient when the connection is lost."""
        ...

    def missed(self) -> int:
        """Triggers known to be lost since `open` (gaps in the source's counter, overruns)."""
        ...

    def refusals(self) -> list[tuple[Shot, Reason]]:
        """Shots that the source itself refused (stale, out of order, too many) and that are owed an answer; once."""
        ...

    def close(self) -> None:
        """Release everything; safe to call twice and after a failure."""
        ...


class Camera(Protocol):
    """Delivers one complete frame for each shot."""

    def open(self) -> None:
        """Connect and apply all settings. Raises Transient (absent) or ConfigError (wrong settings)."""
        ...

    def grab(self, shot: Shot, timeout_s: float) -> Frame:
        """The frame of this shot.

        Raises:
            PartFault: no, incomplete or unreadable frame for this part; the camera itself is fine.
            Transient: the camera is gone; close it and open it again.
        """
        ...

    def close(self) -> None:
        """Release everything; safe to call twice and after a failure."""
        ...


class Detector(Protocol):
    """Finds defects in a frame, given a known-good image where the model takes one."""

    @property
    def ref(self) -> ModelRef:
        """Which model this is."""
        ...

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers the session really got."""
        ...

    def warm_up(self) -> None:
        """Load, verify (sha256, input shape, golden parity) and run once. Raises ConfigError."""
        ...

    def detect(self, frame: Frame, golden: Pixels | None, shift_xy_px: tuple[float, float] | None) -> Sighting:
        """Defects in sensor coordinates. Raises PartFault; never returns empty for a failure."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondSight:
    """What a second detector saw, and the processor time it took for that."""

    sighting: Sighting
    processor_ms: float


class SecondDetector(Protocol):
    """A detector in a process of its own that yields to everything else: a shadow model."""

    def look(self, frame: Frame, golden: Pixels | None, shift_xy_px: tuple[float, float] | None) -> SecondSight:
        """As `Detector.detect`; the first call loads and verifies the model.

        Raises:
            PartFault: it could not judge this part, or died of it.
            Transient: it got no answer ready in time and was killed: nobody knows what it would have said. A later call
                starts it again.
            ConfigError: the model cannot be used.
        """
        ...

    def close(self) -> None:
        """End it, also during a look (which raises Transient). Safe to call twice."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """What the PLC is told about one part. ``trigger_id`` binds the answer to the question."""

    trigger_id: str
    part_id: str
    result_code: int
    """1 accept, 2 reject, 3 hold; 0 is never sent (no answer means reject, on the PLC's side)."""
    sequence: int


class Actuator(Protocol):
    """Acts on the part: reject gate, stack light, PLC result word."""

    def open(self) -> None:
        """Connect. Raises Transient."""
        ...

    def ready(self, ready: bool) -> None:
        """Tell the line whether parts will be inspected."""
        ...

    def busy(self, shot: Shot) -> None:
        """An inspection has begun."""
        ...

    def settle(self, inspection: Inspection) -> None:
        """Report the disposition. Raises Transient; the PLC then rejects by itself."""
        ...

    def fault(self, active: bool, text: str = "") -> None:
        """Raise or clear the fault signal."""
        ...

    def beat(self) -> None:
        """Toggle the heartbeat; called at least once a second."""
        ...

    def close(self) -> None:
        """Withdraw ready and release everything; safe to call twice."""
        ...


class ImageStore(Protocol):
    """Images on disk, for people. Paths are relative and content-hashed."""

    def put(self, pixels: Pixels, *, inspection_id: UUID, role: str, at: datetime) -> ImageRef:
        """Encode (JPEG) and write durably under a temporary name first. Raises Transient (disk full).

        ``role`` may end in ``.ok`` (``frame.ok``) for an OK part: `prune` then removes it first. The reference's role
        is without it.
        """
        ...

    def path(self, ref: ImageRef) -> Path:
        """Where the file is."""
        ...

    def get(self, ref: ImageRef) -> npt.NDArray[np.uint8]:
        """The decoded pixels. Raises FileNotFoundError (thinned by retention)."""
        ...

    def prune(self, *, now: datetime) -> int:
        """Apply retention (age, size, OK images first); the number of files removed."""
        ...


# --- the store ------------------------------------------------------------------------------------------------------


class Inspections(Protocol):
    """All inspections, in the order they were recorded. ``seq`` is the store's own counter, growing by commit.

    Challenge parts are found by `get` and `challenges` only: whoever lists or counts parts gets products.
    """

    def expect(self, shot: Shot, *, once_within: timedelta | None = None) -> bool:
        """Note that this shot was taken and owes an answer. Idempotent on shot_id.

        Args:
            once_within: refuse the shot when another one of the same station and trigger_id was taken (answered or
                not) less than this long ago: the same trigger, delivered again.

        Returns:
            False when it was refused; nothing was noted then.
        """
        ...

    def unanswered(self, station_id: str) -> list[Shot]:
        """Shots that were taken and have no inspection (the process died), oldest first."""
        ...

    def add(self, inspection: Inspection) -> None:
        """Answers the shot it is of. Idempotent on inspection_id."""
        ...

    def get(self, inspection_id: UUID) -> Inspection | None: ...

    def challenges(self, station_id: str, since: datetime) -> list[Inspection]:
        """Challenge parts of a station that ended since then, oldest first."""
        ...

    def newest(self) -> int:
        """The seq of the one recorded last; 0 when there is none."""
        ...

    def after(self, seq: int, limit: int, *, station_id: str | None = None) -> list[tuple[int, Inspection]]:
        """The next ones with a larger seq, oldest first: how responding follows inspecting."""
        ...

    def between(
        self, start: datetime, end: datetime, *, station_id: str | None = None, limit: int = 100_000
    ) -> list[Inspection]:
        """Ended in [start, end), oldest first."""
        ...

    def latest(self, limit: int, *, station_id: str | None = None) -> list[Inspection]:
        """Newest first."""
        ...

    def count(
        self, start: datetime | None = None, end: datetime | None = None, *, station_id: str | None = None
    ) -> Mapping[str, int]:
        """Number by evaluation of inspections that ended in [start, end); every evaluation is there."""
        ...

    def count_defects(
        self, start: datetime | None = None, end: datetime | None = None, *, station_id: str | None = None
    ) -> Mapping[str, int]:
        """Number of defects by class in inspections that ended in [start, end), most frequent first (Pareto)."""
        ...

    def prune(self, before: datetime) -> int:
        """Delete inspections that ended before this, a bounded batch: commit and call again until it returns 0."""
        ...


class PlantRecords(Protocol):
    """Telemetry ring and plant events."""

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Idempotent on (signal, at)."""
        ...

    def series(self, signal: str, start: datetime, end: datetime) -> list[Sample]:
        """Samples in [start, end), oldest first."""
        ...

    def signals(self) -> list[str]:
        """Names seen so far."""
        ...

    def add_event(self, event: PlantEvent) -> None:
        """Idempotent on event_id."""
        ...

    def events(self, start: datetime, end: datetime, *, kind: str | None = None) -> list[PlantEvent]:
        """Events in [start, end), oldest first."""
        ...

    def prune(self, before: datetime) -> int:
        """Delete older samples, a bounded batch: commit and call again until it returns 0."""
        ...


class Incidents(Protocol):
    """Incidents; a save with a known id replaces the current revision and keeps the history."""

    def save(self, incident: Incident) -> None: ...

    def get(self, incident_id: UUID) -> Incident | None: ...

    def open(self) -> list[Incident]:
        """All open ones, oldest first."""
        ...

    def recent(self, limit: int) -> list[Incident]:
        """Newest first, open and closed."""
        ...


class Analyses(Protocol):
    """Analyses; every revision is kept."""

    def save(self, analysis: Analysis) -> None:
        """Idempotent on (incident_id, revision); a later save of the same revision replaces it (added narrative)."""
        ...

    def get(self, analysis_id: UUID) -> Analysis | None: ...

    def latest(self, incident_id: UUID) -> Analysis | None: ...


class Orders(Protocol):
    """Work orders; every revision is kept."""

    def save(self, order: WorkOrder) -> None:
        """Idempotent on (order_id, revision, state)."""
        ...

    def get(self, order_id: UUID) -> WorkOrder | None:
        """The newest revision."""
        ...

    def history(self, order_id: UUID) -> list[WorkOrder]:
        """All saved versions, oldest first."""
        ...

    def with_key(self, key: str, *, since: datetime | None = None) -> WorkOrder | None:
        """The newest order with this key (updated since then, where given)."""
        ...

    def for_incident(self, incident_id: UUID) -> WorkOrder | None: ...

    def list(self, *, open_only: bool = False, limit: int = 200) -> list[WorkOrder]:
        """Newest first."""
        ...

    def next_number(self) -> str:
        """``WO-0001``, ... for this box."""
        ...


class Answers(Protocol):
    """What the plant answered, and the confirmed cases made of it."""

    def add_response(self, response: JobResponse) -> bool:
        """False when (source, response_id) is known already."""
        ...

    def responses(self, order_id: UUID) -> list[JobResponse]:
        """Oldest first."""
        ...

    def save_case(self, case: ConfirmedCase) -> None:
        """One per order; a later one replaces it."""
        ...

    def cases(self, *, limit: int = 2000) -> list[ConfirmedCase]:
        """Newest first."""
        ...


class Outbox(Protocol):
    """Messages to the plant, written in the transaction that made the fact."""

    def add(self, message: OutboundMessage) -> int:
        """The per-box sequence number it was given. Idempotent on message_id."""
        ...

    def due(self, now: datetime, limit: int, *, exclude: frozenset[int] = frozenset()) -> list[OutboxRow]:
        """Rows to send now: by lane, then sequence; unreceipted ones again when their retry is due.

        A row whose ``order_key`` has an older row without PUBACK is not returned.
        """
        ...

    def departures(self, now: datetime, limit: int, *, exclude: frozenset[int] = frozenset()) -> list[Departure]:
        """The same rows as `due`, as the relay wants them."""
        ...

    def mark_sent(self, sequences: Sequence[int], *, at: datetime, retry_at: Mapping[int, datetime]) -> None:
        """PUBACKed. PUBACK-class rows are confirmed; receipt-class rows wait, to be sent again at ``retry_at``."""
        ...

    def confirm(self, message_ids: Sequence[UUID], *, at: datetime) -> int:
        """Receipts: how many rows became confirmed by it."""
        ...

    def settle(self, order_key: str, *, at: datetime) -> int:
        """Nothing with this key has to be sent any more (its order is over): confirm what is left of it; how many."""
        ...

    def retry(self, sequence: int, *, at: datetime, detail: str) -> None:
        """Try this row again at ``at``."""
        ...

    def quarantine(self, sequence: int, *, detail: str) -> None:
        """Stop sending this row until a person says otherwise."""
        ...

    def expire(self, now: datetime) -> int:
        """Mark rows past ``expires_at``; how many."""
        ...

    def resend_unreceipted(self, now: datetime) -> int:
        """Make all receipt-class rows without receipt due now (the MES came back)."""
        ...

    def counts(self) -> Mapping[OutboxState, int]: ...

    def oldest_pending(self) -> datetime | None: ...

    def counts_by_lane(self) -> Mapping[tuple[Lane, OutboxState], int]:
        """Only pairs that occur."""
        ...

    def usage(self) -> Sequence[LaneUsage]:
        """What is not finished, by lane; only lanes that hold something."""
        ...

    def finished(self) -> tuple[int, int]:
        """Rows that are kept for people only, and the bytes of their bodies."""
        ...

    def expendable(self, lane: Lane, limit: int, *, exclude: frozenset[int] = frozenset()) -> list[OutboxRow]:
        """Unsent rows of a lane for which something smaller will do, oldest first."""
        ...

    def slim(self, bodies: Mapping[int, bytes]) -> None:
        """Unsent rows get these bodies, by sequence number, and are not expendable any more."""
        ...

    def outdated(self, lane: Lane, limit: int, *, exclude: frozenset[int] = frozenset()) -> list[int]:
        """Unsent rows of a lane that a later one on the same topic has made old."""
        ...

    def unsent(self, lane: Lane, limit: int, *, exclude: frozenset[int] = frozenset()) -> list[int]:
        """Unsent rows of a lane, oldest first."""
        ...

    def forget(self, sequences: Sequence[int]) -> int:
        """Delete rows, whatever became of them; how many. What they said is said elsewhere, or worth nothing."""
        ...

    def get(self, sequence: int) -> OutboxRow | None: ...

    def drop(self, sequence: int, *, detail: str) -> bool:
        """A person gives a quarantined row up: it expires. False when it is not quarantined."""
        ...

    def rows(self, *, state: OutboxState | None = None, limit: int = 100) -> list[OutboxRow]:
        """Newest first, for people."""
        ...

    def prune(self, before: datetime) -> int:
        """Delete confirmed and expired rows older than this, a bounded batch: commit and call again until 0."""
        ...


class Inbox(Protocol):
    """Messages from the plant, committed before they are acknowledged."""

    def add(self, message: InboundMessage, *, outcome: str | None = None) -> bool:
        """False for a duplicate of (source, message_id). With ``outcome`` it is processed already."""
        ...

    def outcome(self, source: str, message_id: str) -> str | None:
        """What became of a message; None for one that is not known, or not processed yet."""
        ...

    def unprocessed(self, limit: int) -> list[tuple[int, InboundMessage]]:
        """Oldest first, with the store's row number."""
        ...

    def mark_processed(self, row: int, *, outcome: str) -> None: ...

    def prune(self, before: datetime) -> int:
        """Delete processed messages received before this, a bounded batch: commit and call again until it returns 0.

        A duplicate of a deleted one is taken for new: keep them for longer than the broker keeps the session.
        """
        ...


class Documents(Protocol):
    """Printed documents."""

    def add(self, document: Document) -> None:
        """Idempotent on document_id."""
        ...

    def list(self, *, kind: str | None = None, subject_id: UUID | None = None, limit: int = 100) -> list[Document]:
        """Newest first."""
        ...


class Facts(Protocol):
    """Small named values (cursors, CUSUM states, learned weights): JSON under a key."""

    def get(self, key: str) -> Any:
        """The value, or None."""
        ...

    def set(self, key: str, value: Any) -> None: ...


class Steps(Protocol):
    """What the language model was asked about an incident, and what became of its answers; bounded per incident."""

    def add(self, step: Step) -> None:
        """Idempotent on step_id."""
        ...

    def list(self, incident_id: UUID) -> list[Step]:
        """Oldest first."""
        ...

    def prune(self, before: datetime) -> int:
        """Delete older ones, a bounded batch: commit and call again until it returns 0."""
        ...


class ShadowLooks(Protocol):
    """What shadow models would have said of parts that were answered."""

    def add(self, look: ShadowLook) -> None:
        """Idempotent on inspection_id."""
        ...

    def list(
        self, station_id: str, *, shadow: ModelRef, live: ModelRef | None = None, limit: int = 100_000
    ) -> list[ShadowLook]:
        """Newest first."""
        ...

    def count(self, station_id: str, *, shadow: ModelRef) -> Mapping[tuple[Evaluation, Evaluation], int]:
        """Looks by what the live model said and what the shadow said; only pairs that occur."""
        ...

    def prune(self, before: datetime) -> int:
        """Delete older ones, a bounded batch: commit and call again until it returns 0."""
        ...


class Audit(Protocol):
    """Who changed what, and when. Entries are only added, and chained by their hashes."""

    def append(
        self, *, actor: str, action: str, subject: str, before: str = "", after: str = "", detail: str = ""
    ) -> AuditEntry:
        """Write an entry down in this transaction. See `edge_agent.domain.audit.AuditEntry` for the words."""
        ...

    def verify(self) -> AuditCheck:
        """Follow the whole chain: entries that were changed, taken out, or put in show."""
        ...

    def rows(self, *, after: int = 0, limit: int = 1_000) -> list[AuditEntry]:
        """Entries with a larger seq, oldest first."""
        ...

    def latest(self, limit: int = 1, *, subject: str | None = None) -> list[AuditEntry]:
        """Newest first; only those about ``subject`` where it is given."""
        ...


class UnitOfWork(Protocol):
    """One transaction over all repositories. Leaving the block without `commit` rolls back."""

    @property
    def inspections(self) -> Inspections: ...
    @property
    def plant(self) -> PlantRecords: ...
    @property
    def incidents(self) -> Incidents: ...
    @property
    def analyses(self) -> Analyses: ...
    @property
    def orders(self) -> Orders: ...
    @property
    def answers(self) -> Answers: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def inbox(self) -> Inbox: ...
    @property
    def documents(self) -> Documents: ...
    @property
    def facts(self) -> Facts: ...
    @property
    def steps(self) -> Steps: ...
    @property
    def shadow_looks(self) -> ShadowLooks: ...
    @property
    def audit(self) -> Audit: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def commit(self) -> None:
        """Raises Transient (disk full, database away): nothing was written."""
        ...

    def rollback(self) -> None: ...


class Store(Protocol):
    """Where units of work come from. One writer: units wait their turn, readers never do."""

    def migrate(self) -> None:
        """Bring the schema up to date. Raises ConfigError (made by a newer version, read-only)."""
        ...

    def unit(self, *, durable: bool = True) -> UnitOfWork:
        """A writing transaction. ``durable`` waits for the disk (FULL); else a power cut may lose the last ones."""
        ...

    def reader(self) -> UnitOfWork:
        """A reading snapshot; `commit` on it raises."""
        ...

    def when_outgoing(self, wake: Callable[[int], None]) -> None:
        """Call this after each commit of this process that added to the outbox, with the lowest lane it added to.

        It runs on the committing thread: it sets a flag and returns.
        """
        ...

    def close(self) -> None: ...


# --- the plant link -------------------------------------------------------------------------------------------------

InboundHandler = Callable[[InboundMessage], None]
"""Called on the link's own dispatch thread. It must commit what it keeps before it returns: the return acknowledges.
A raised Transient leaves the message unacknowledged; the broker sends it again after a reconnect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAlarm:
    """Something about the link that a person should look at, or that it is well again."""

    component: str
    active: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatus:
    """How the link is doing."""

    connected: bool
    broker: str
    since: datetime | None
    detail: str = ""
    reconnects: int = 0
    last_puback_at: datetime | None = None
    quota_used: float = 0.0
    """Share of the outbox's quota that is in use; 1 and above: full, only what must be kept is kept."""
    alarms: tuple[LinkAlarm, ...] = ()


class PlantLink(Protocol):
    """The connection to the plant's broker. Subscriptions are made before `start` and renewed by themselves."""

    @property
    def topic_root(self) -> str:
        """``{enterprise}/{site}/{area}/{line}/{cell}/_inspect/v1/{agent}``."""
        ...

    def subscribe(self, topic_filter: str, handler: InboundHandler, *, qos: int = 1, keep: bool = True) -> None:
        """Deliver matching messages to ``handler``. ``keep=False``: bounded newest-first queue, may be dropped."""
        ...

    def start(self) -> None:
        """Begin connecting in the background; returns at once. Raises ConfigError (bad address, unreadable secret)."""
        ...

    def relay(self, max_wait_s: float) -> int:
        """Send what the outbox has due, within the window, and book the acknowledgements; rows sent."""
        ...

    def publish_state(
        self, body: bytes, topic: str, *, retain: bool = True, qos: int = 0, expiry_s: int | None = None
    ) -> None:
        """Best-effort telemetry or state, outside the outbox; dropped when offline."""
        ...

    def status(self) -> LinkStatus: ...

    def stop(self, timeout_s: float) -> None:
        """Say offline, flush within the time, disconnect."""
        ...


# --- responding -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingTask:
    """What an analyst (a language model) is asked: a prompt and the JSON schema its answer must satisfy."""

    system: str
    """The constant part: cached as a prefix."""
    prompt: str
    schema: Mapping[str, Any]
    grammar: str = ""
    """GBNF of the same schema, for back ends that take one."""
    max_tokens: int = 160
    seed: int = 7
    image: bytes = b""
    """A picture (JPEG) to look at; for models that see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What came back: unchecked text that claims to be JSON."""

    text: str
    model_sha256: str
    model_name: str
    prompt_tokens: int
    output_tokens: int
    latency_ms: float


class SentenceModel(Protocol):
    """Says how alike sentences are."""

    @property
    def name(self) -> str:
        """Name and version."""
        ...

    def vectors(self, sentences: Sequence[str]) -> npt.NDArray[np.float32]:
        """A row of unit length for each sentence; the product of two says how alike they are. Raises Transient."""
        ...


class Analyst(Protocol):
    """A language model that writes. It decides nothing, and nothing it writes is used unchecked."""

    @property
    def name(self) -> str: ...

    def write(self, task: WritingTask, timeout_s: float) -> Written:
        """Raises Transient: not there, too slow, died, hung (and was killed)."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintJob:
    """A document to print: template name and the data it shows."""

    template: str
    data: Mapping[str, Any]
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    """File name to content, embedded in the PDF (the record's JSON)."""


class DocumentPrinter(Protocol):
    """Turns a template and data into a PDF."""

    def print(self, job: PrintJob, target: Path, timeout_s: float) -> None:
        """Write the PDF to ``target`` (complete or not at all). Raises Transient (too slow, died)."""
        ...

    def close(self) -> None: ...


# --- workers --------------------------------------------------------------------------------------------------------


class Worker(Protocol):
    """A loop with a beginning and an end, run in a thread of its own by the supervisor.

    ``step`` does a bounded piece of work, or waits at most about half a second for some, and returns whether it did
    anything. A raised Transient is logged and the step repeated with back-off; any other exception restarts the
    worker as a new object (setup included), within the restart budget.
    """

    def setup(self) -> None: ...

    def step(self) -> bool: ...

    def teardown(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """A row of the worker table.

    Attributes:
        build: makes a fresh worker (a restart is a new object).
        max_silence: without a finished step for this long the watchdog is no longer fed.
        stop_order: workers with a smaller number are stopped first (triggers, then the rest, then the link).
        needed_for_ready: READY waits for the setup of this worker.
        interrupt: called when the worker is asked to stop, from another thread: cuts a step short that may take
            longer than the stop may (a language model, a printer).
    """

    name: str
    build: Callable[[], Worker]
    max_silence: timedelta
    stop_order: int = 50
    needed_for_ready: bool = False
    interrupt: Callable[[], object] | None = None
