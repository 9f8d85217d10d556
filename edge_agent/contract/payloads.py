"""The payloads, one model each: the single source of the JSON Schemas in ``schemas/`` and of the bytes on the wire.

What goes out is exact; what comes in is bounded in length and number, and unknown fields are ignored (a plant may be
newer than this box). Field names follow ISA-95 / B2MML where it has one.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, e.g. ``2030-01-02T03:04:05.678Z``."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[
    AwareDatetime,
    PlainSerializer(stamp, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An aware instant; RFC 3339 in UTC on the wire."""
Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Id = Annotated[str, Field(min_length=1, max_length=128)]
Line = Annotated[str, Field(max_length=256)]
Text = Annotated[str, Field(max_length=4_000)]


class Payload(BaseModel):
    """What every payload has in common: camelCase on the wire, frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )
    schema_name: ClassVar[str] = ""
    """Name of the schema file; empty for the parts of a payload."""

    def to_json_object(self) -> dict[str, Any]:
        """As it goes out; fields without a value are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


# --- what goes out --------------------------------------------------------------------------------------------------


class ImageReference(Payload):
    """An image by reference, with proof of its content."""

    role: str
    uri: str
    sha256: str
    media_type: str = "image/jpeg"


class OutboxFigures(Payload):
    """How far the box is behind."""

    pending: int
    oldest_age_s: Number | None = None


class AuditHead(Payload):
    """The newest entry of the audit log: kept elsewhere, it shows when the log was cut or made anew."""

    seq: int
    hash: str


class State(Payload):
    """Birth, changes, and (by the broker) the last will. ``sessionId`` tells an old will from a new birth."""

    schema_name: ClassVar[str] = "state"
    online: bool
    session_id: str
    boot_id: str | None = None
    version: str | None = None
    recipes: list[str] | None = None
    capabilities: list[str] | None = None
    outbox: OutboxFigures | None = None
    mode: Literal["running", "paused", "starting", "stopping", "degraded"] | None = None
    """``paused``: all stations are; ``degraded``: a camera or the recording of results is away, parts are held."""
    paused_stations: list[str] | None = None
    audit: AuditHead | None = None
    time_quality: Literal["synchronised", "unsynchronised", "unknown"] = "unknown"


class RecipeReference(Payload):
    """Which limits were used."""

    id: str
    version: int
    sha256: str


class ModelReference(Payload):
    """Which model was used."""

    name: str
    version: str
    sha256: str


class ReasonText(Payload):
    """Why: a stable code and a sentence."""

    code: str
    text: str


class Measurement(Payload):
    """A PropertyMeasurement (ISA-95)."""

    id: str
    value: Number
    uom: str | None = None
    lower: Number | None = None
    upper: Number | None = None
    evaluation: str | None = None


class Result(Payload):
    """A TestResult of an OperationsTest (ISA-95): what was found on one part. Key: the event's id."""

    schema_name: ClassVar[str] = "result"
    inspection_id: UUID
    station_id: str
    unit_id: str
    product_id: str
    lot_id: str | None = None
    trigger_id: str
    evaluation: Literal["OK", "NOT_OK", "NOT_DECIDABLE", "NOT_INSPECTED"]
    disposition: Literal["ACCEPT", "REJECT", "HOLD"]
    reasons: list[ReasonText]
    score: Share
    recipe: RecipeReference | None = None
    model: ModelReference | None = None
    measurements: list[Measurement]
    defects: list[UUID]
    defect_counts: dict[str, int]
    image_refs: list[ImageReference]
    started_at: Instant
    ended_at: Instant
    challenge: bool | None = None
    """A challenge part (the event's type is then ``challenge.inspected``): it is no product, do not count it."""


class ResultCount(Payload):
    """How many parts were good in a minute: stands for their single results, which a full outbox could not keep."""

    schema_name: ClassVar[str] = "result-count"
    station_id: str
    product_id: str
    evaluation: Literal["OK"] = "OK"
    disposition: str
    start: Instant
    end: Instant
    count: int
    """Parts."""
    sequences: list[list[int]]
    """The ``sequence`` numbers of the results it stands for, as unbroken runs [first, last]."""
    reason: Literal["quota"] = "quota"


class Defects(Payload):
    """An OperationsEvent (ISA-95): the defects of one class on one part. Needs a receipt."""

    schema_name: ClassVar[str] = "defect"
    event_id: UUID
    level: Literal["Event", "Alert", "Alarm"]
    category: Literal["Quality"] = "Quality"
    defect_class: str
    severity: Annotated[int, Field(ge=1, le=10)]
    unit_id: str
    product_id: str
    lot_id: str | None = None
    station_id: str
    inspection_id: UUID
    count: Annotated[int, Field(ge=1)]
    confidence: Share
    bbox: list[Number]
    """x0, y0, x1, y1 of the most certain one, in sensor pixels."""
    defect_ids: list[UUID]
    first_seen: Instant
    image_ref: ImageReference | None = None


class Contribution(Payload):
    """What one piece of evidence adds to a hypothesis (log-odds)."""

    evidence_id: str
    delta: Number


class HypothesisPayload(Payload):
    """One ranked cause."""

    cause_code: str
    text: str
    probability: Share
    grade: str
    rank: int
    evidence: list[Contribution]


class EvidencePayload(Payload):
    """One fact the analysis rests on."""

    id: str
    statement: str
    polarity: Literal["present", "absent", "unknown"]
    tool: str
    strength: Share


class Rca(Payload):
    """The analysis of one incident. ``rcaId`` is the incident's id; (rcaId, rev) is the key. Needs a receipt."""

    schema_name: ClassVar[str] = "rca"
    rca_id: UUID
    rev: int
    analysis_id: UUID
    incident_code: str
    line_id: str
    station_id: str
    opened_at: Instant
    parts: int
    defective_parts: int
    inspection_ids: list[UUID]
    decision: str
    unknown_score: Share
    hypotheses: list[HypothesisPayload]
    evidence: list[EvidencePayload]
    method: str
    model_version: dict[str, str]
    narrative: str | None = None
    narrative_source: str | None = None
    recommended_action: str | None = None
    wo_id: UUID | None = None


class Equipment(Payload):
    """An EquipmentRequirement (ISA-95)."""

    id: str
    role: str


class Parameter(Payload):
    """A JobOrderParameter (ISA-95)."""

    id: str
    value: str
    uom: str | None = None


class PartNeedPayload(Payload):
    """A MaterialRequirement (ISA-95): a spare part an action may need."""

    material_id: str
    qty: Number


class ActionPayload(Payload):
    """What removes a cause."""

    id: str
    text: str
    minutes: Number
    kind: str
    loto: bool
    parts: list[PartNeedPayload]


class CheckPayload(Payload):
    """What a technician looks at to tell causes apart, best first."""

    id: str
    text: str
    minutes: Number
    loto: bool
    criterion: str | None = None


class SuspectPayload(Payload):
    """A suspected cause with what speaks for and against it."""

    cause_code: str
    name: str
    grade: str
    speaks_for: list[str]
    speaks_against: list[str]
    actions: list[ActionPayload]


class ContainmentPayload(Payload):
    """What to set aside until the cause is known."""

    unit_ids: list[str]
    units_total: int
    """May be more than are listed."""
    lot_ids: list[str]
    since: Instant
    until: Instant | None = None


class CauseChoice(Payload):
    """A cause of the catalogue, by code and name."""

    cause_code: str
    name: str


class GatheredPayload(Payload):
    """An incident that waits for an order of its own, as the collecting order lists it."""

    rca_id: UUID
    priority: Annotated[int, Field(ge=1, le=5)]
    description: str
    station_id: str
    opened_at: Instant
    suspect: str | None = None
    """Name and grade of its first suspect."""


class JobOrder(Payload):
    """The full document of a work order (ISA-95 JobOrder). (jobOrderId, rev) is the key. Needs a receipt."""

    schema_name: ClassVar[str] = "workorder"
    job_order_id: UUID
    number: str
    rev: int
    verb: Literal["create", "update", "cancel"]
    work_type: Literal["Maintenance", "Quality"]
    priority: Annotated[int, Field(ge=1, le=5)]
    priority_reason: str
    description: str
    text: str
    text_source: str
    note: str | None = None
    start_time: Instant
    end_time: Instant
    equipment_requirement: list[Equipment]
    parameters: list[Parameter]
    rca_id: UUID
    expected_cause: str | None = None
    open_set: bool
    suspects: list[SuspectPayload]
    checks: list[CheckPayload]
    containment: ContainmentPayload
    image_refs: list[ImageReference]
    inspection_ids: list[UUID]
    recurrence_of: UUID | None = None
    gathered: list[GatheredPayload] | None = None
    """Of a collecting order: what is above the limit of orders, most urgent first (a hundred at most)."""
    gathered_total: int | None = None
    ranking_hidden: bool = False
    """Suspects and checks come with the next revision, once a response has named a ``suspicion``. Show none before."""
    cause_choices: list[CauseChoice] | None = None
    """While the ranking is hidden: causes to choose a suspicion from, in an order that suggests nothing."""
    mes_order_id: str | None = None
    state: str
    job_state: str
    """ISA-95 JobState."""
    dispatch_status: str
    """ISA-95 RequestState."""


class IndexEntry(Payload):
    """One order of the index."""

    job_order_id: UUID
    rev: int
    state: str
    has_response: bool


class OrderIndex(Payload):
    """All orders that are not done, for a MES that wants to compare; ``seq`` only grows."""

    schema_name: ClassVar[str] = "wo-index"
    seq: int
    orders: list[IndexEntry]


class ResponseAck(Payload):
    """What became of an answer."""

    schema_name: ClassVar[str] = "response-ack"
    response_id: str
    job_order_id: UUID
    status: Literal["applied", "ignored", "invalid"]
    learned_from: bool
    detail: str | None = None


class Period(Payload):
    """From (inclusive) to (exclusive)."""

    start: Instant
    end: Instant


class Report(Payload):
    """A document by reference. (reportId, sha256) is the key. Needs a receipt."""

    schema_name: ClassVar[str] = "report"
    report_id: UUID
    kind: str
    title: str
    rev: int
    period: Period | None = None
    media_type: Literal["application/pdf"] = "application/pdf"
    size: int
    sha256: str
    uri: str
    wo_id: UUID | None = None
    inspection_ids: list[UUID]


class Reply(Payload):
    """The outcome of a command."""

    schema_name: ClassVar[str] = "reply"
    command_id: str
    status: Literal["accepted", "done", "rejected", "failed", "expired"]
    return_status: int
    """The bitmap of OPC 10031-4. Bit 0 success, 1 unknown id, 2 invalid command, 3 invalid status, 4 unable to accept,
    32 invalid request."""
    detail: str | None = None
    result: dict[str, Any] | None = None
    """What was asked for (``status``, ``ping``)."""


ErrorClass = Literal["inbound-invalid", "publish-refused", "oversize", "expired", "security", "model", "inspection"]


class Error(Payload):
    """Something that could not be read or sent, or a model that was taken back, for the people who run the plant's
    network and models."""

    schema_name: ClassVar[str] = "error"
    error_class: Annotated[ErrorClass, Field(alias="class")]
    """``security`` and ``inspection`` are alarms: of the link, and of the inspection itself (it drifts, or holds all
    parts until a challenge is passed)."""
    topic: str
    reason_code: str
    detail: str
    original_sha256: str
    excerpt: Annotated[str, Field(max_length=4_096)]


class Metric(Payload):
    """One value, in the form of a United Manufacturing Hub historian message. Not in an envelope."""

    model_config = ConfigDict(alias_generator=None)
    schema_name: ClassVar[str] = "metric"
    value: Number
    timestamp_ms: int


# --- what comes in --------------------------------------------------------------------------------------------------


class UsedPart(Payload):
    """A material the technician used."""

    material_id: Id
    qty: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 1.0


class Actual(Payload):
    """What the technician found and did."""

    cause_code: Annotated[str, Field(max_length=64)] | None = None
    cause_text: Text = ""
    confirms: Literal["yes", "no", "partly", ""] = ""
    """Does it confirm the expected cause?"""
    rca_id: Id | None = None
    actions: Annotated[list[Id], Field(max_length=50)] = []
    parts: Annotated[list[UsedPart], Field(max_length=50)] = []
    minutes: Annotated[float, Field(ge=0, le=60_000, allow_inf_nan=False)] | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None
    personnel: Annotated[str, Field(max_length=64)] = ""
    """A pseudonym or role, never a name."""


class CheckOutcome(Payload):
    """A check of the order that was done."""

    check_id: Id
    found: bool
    """Did it find what it looks for?"""
    value: Line = ""


class JobResponsePayload(Payload):
    """What the MES says about an order (ISA-95 JobResponse)."""

    schema_name: ClassVar[str] = "response"
    response_id: Id
    job_order_id: UUID
    rev: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    event: Annotated[str, Field(min_length=1, max_length=32)]
    """received, accepted, rejected, started, held, completed, aborted or closed."""
    mes_order_id: Line = ""
    reason: Text = ""
    return_status: int | None = None
    suspicion: Annotated[str, Field(max_length=64)] = ""
    """The cause that a person suspects before they have seen a ranking (code, NONE or OTHER). An order with a hidden
    ranking shows it then; with any event."""
    checks: Annotated[list[CheckOutcome], Field(max_length=20)] = []
    """Checks that were done: they change the ranking, and the order is sent again; with any event."""
    actual: Actual | None = None


class Receipt(Payload):
    """The MES has these events."""

    schema_name: ClassVar[str] = "receipt"
    ids: Annotated[list[UUID], Field(min_length=1, max_length=5_000)]
    status: Literal["received", "duplicate", "rejected"] = "received"
    reason: Text = ""


class MesState(Payload):
    """Is the MES there?"""

    schema_name: ClassVar[str] = "mes-state"
    online: bool
    consumer: Line = ""


class Command(Payload):
    """A command. It is refused after ``notAfter``; a repeated ``commandId`` gets the first reply again."""

    schema_name: ClassVar[str] = "command"
    command_id: Id
    args: dict[Annotated[str, Field(max_length=64)], Any] = Field(default={}, max_length=50)
    not_after: Instant | None = None
    requested_by: Annotated[str, Field(max_length=64)] = ""


class StationArgs(Payload):
    """The arguments of ``in/cmd/pause`` and ``in/cmd/resume``."""

    schema_name: ClassVar[str] = "station-args"
    station_id: Annotated[str, Field(max_length=64)] | None = None
    """Left out: all stations of the box."""
    reason: Line = ""
    """Told with every part that is held meanwhile."""


class RecipeArgs(Payload):
    """The arguments of ``in/cmd/recipe``: with which recipe a station inspects a product from now on."""

    schema_name: ClassVar[str] = "recipe-args"
    product_id: Id
    station_id: Annotated[str, Field(max_length=64)] | None = None
    """May be left out where the box has one station."""
    recipe_id: Id | None = None
    """Left out: the recipe that the station's file names."""
    version: Annotated[int, Field(ge=1)] | None = None
    """Left out: the highest one there is on the box."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Of the recipe's file; another content is refused."""


class AckArgs(Payload):
    """The arguments of ``in/cmd/ack``: alarms that somebody has seen."""

    schema_name: ClassVar[str] = "ack-args"
    component: Annotated[str, Field(max_length=128)] | None = None
    """As ``status`` names it; left out: all that are not well."""
    note: Line = ""


class ChallengeArgs(Payload):
    """The arguments of ``in/cmd/challenge``; ``requestedBy`` must say who."""

    schema_name: ClassVar[str] = "challenge-args"
    action: Literal["start", "release"]
    """``start``: the challenge parts come now. ``release``: go on without, until the next challenge is due."""
    station_id: Annotated[str, Field(max_length=64)] | None = None
    """May be left out where one station has a challenge."""
    reason: Line = ""
    """Of a release, which needs one."""


class ReloadArgs(Payload):
    """The arguments of ``in/cmd/config-reload``."""

    schema_name: ClassVar[str] = "reload-args"
    apply: bool = True
    """False: only checked."""


class Trigger(Payload):
    """The arguments of ``in/cmd/trigger``: a part is in place."""

    schema_name: ClassVar[str] = "trigger"
    part_id: Id
    product_id: Id
    station_id: Annotated[str, Field(max_length=64)] | None = None
    """May be left out where the box has one station."""
    trigger_id: Id | None = None
    """Default: the command's id."""
    lot_id: Annotated[str, Field(max_length=128)] | None = None
    sequence: Annotated[int, Field(ge=0)] | None = None
    image_path: Annotated[str, Field(max_length=1_024)] | None = None
    strata: dict[Annotated[str, Field(max_length=64)], Line] = Field(default={}, max_length=20)


OUTBOUND: tuple[type[Payload], ...] = (
    State,
    Result,
    ResultCount,
    Defects,
    Rca,
    JobOrder,
    OrderIndex,
    ResponseAck,
    Report,
    Reply,
    Error,
    Metric,
)
INBOUND: tuple[type[Payload], ...] = (
    JobResponsePayload,
    Receipt,
    MesState,
    Command,
    StationArgs,
    RecipeArgs,
    AckArgs,
    ChallengeArgs,
    ReloadArgs,
    Trigger,
)
