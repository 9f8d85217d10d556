"""plant.yaml: the box, the plant around it, and everything that is not one station's own."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge_agent.config.section import Level, Name, Seconds, Section


class PlantSection(Section):
    """Where the box stands: the levels of the topic root (ISA-95)."""

    enterprise: Level
    site: Level
    area: Level
    line: Level
    cell: Level


class TlsSection(Section):
    """TLS to the broker."""

    ca_file: Path
    cert_file: Path | None = None
    key_file: Path | None = None
    at_least: Literal["1.2", "1.3"] = "1.2"
    """Older versions of TLS are refused."""


class MqttSection(Section):
    """The plant's broker (MQTT 5)."""

    host: str
    port: int = Field(default=1883, ge=1, le=65_535)
    username: str | None = None
    password_credential: str | None = None
    """Name of a file below $CREDENTIALS_DIRECTORY (systemd LoadCredential)."""
    password_file: Path | None = None
    tls: TlsSection | None = None
    keepalive_s: int = Field(default=20, ge=2, le=3_600)
    session_expiry_h: float = Field(default=72, gt=0, le=24 * 365)
    window: int = Field(default=200, ge=1, le=5_000)
    """Unacknowledged messages at most (the broker's Receive Maximum may lower it)."""
    max_payload_kib: int = Field(default=256, ge=4, le=65_536)
    receipt_retry_s: Seconds = 30
    """First retry of a message without receipt; it doubles up to ten minutes."""
    late_after_s: Seconds = 60
    """Messages that go out longer than this after they were written say so (``late``, in seconds)."""
    drain_per_s: float | None = Field(default=500, gt=0)
    """Messages a second at most, so that a MES that was away is not drowned; orders are exempt. ``null``: no limit."""
    quota_mib: int = Field(default=2_048, ge=1)
    """The outbox's share of the disk, ..."""
    quota_disk_percent: float = Field(default=20, gt=0, le=100)
    """... or this part of it, whichever is less. From 80 % on, good results become counts; see docs/behaviour.md."""


class SparkplugSignalSection(Section):
    """A metric of a Sparkplug B edge node, or of a device behind it."""

    group: Level
    edge_node: Level
    device: Level | None = None
    """None: a metric of the edge node itself."""
    metric: str = Field(min_length=1, max_length=256)
    """Its name, e.g. ``Oven/Zone 3/Temperature``."""


class SignalSection(Section):
    """One process signal and where it comes from: ``topic`` or ``sparkplug``."""

    topic: str | None = None
    """Topic (no wildcards); the payload is a number, ``{value, timestamp_ms}``, or JSON with ``path``."""
    sparkplug: SparkplugSignalSection | None = None
    unit: str
    path: str | None = None
    """Dotted path of the value in a JSON payload."""
    description: str = ""
    """What people call it, e.g. ``Etchant temperature``: work orders and notes use it in place of the signal's key."""
    process_step: str = ""
    lower: float | None = None
    upper: float | None = None
    max_rate_hz: float = Field(default=10, gt=0, le=1_000)
    """Readings kept in a second at most; what comes faster is thinned, so that the store stays bounded."""

    @model_validator(mode="after")
    def _one_source(self) -> "SignalSection":
        if (self.topic is None) == (self.sparkplug is None):
            raise ValueError("set one of topic and sparkplug")
        return self


class TelemetrySection(Section):
    """Process signals and plant events that come in over MQTT."""

    signals: dict[Name, SignalSection] = {}
    events_topic: str | None = None
    """JSON events: ``{"kind", "at", "subject"?, "attributes"?, "id"?}``."""
    retention_days: float = Field(default=14, gt=0)
    sparkplug_rebirth: bool = False
    """May ask an edge node to be born again (writes ``Node Control/Rebirth`` to its NCMD topic) when messages were
    missed. Without it, metrics that come by alias only are unknown until the node is born again by itself."""


class SparkplugSection(Section):
    """Sparkplug B out, on a connection of its own: this box as an edge node, its stations as devices."""

    group: Level
    edge_node: Level | None = None
    """Default: the agent's name."""
    primary_host: Level | None = None
    """Host id of a SCADA system to wait for: nothing is published while it is offline, and sent as history later."""
    client_id: Name | None = None
    """MQTT client id; default: the agent's name with ``-sparkplug``."""
    history_hours: float = Field(default=72, ge=0, le=24 * 365)
    """Inspections older than this are not sent later."""
    types_in_data: bool = False
    """Repeat each metric's type in data messages, which the specification advises against: for hosts that do not
    remember the types of the births (all that read with the npm package sparkplug-payload)."""


class TriggerSection(Section):
    """When defects become an incident (Bernoulli CUSUM per line and class; see docs/diagnosis.md)."""

    baseline_rate: dict[str, float] = {}
    """Defect class to its normal rate per part; others use ``default_rate`` until they are measured."""
    default_rate: float = Field(default=0.005, gt=0, lt=1)
    increase: float = Field(default=2.5, gt=1)
    """The rate increase the chart is designed for."""
    false_alarms_per_1000: float = Field(default=0.05, gt=0)
    """Budget for the whole family of charts."""
    min_defective: int = Field(default=3, ge=1)
    close_after_good_factor: float = Field(default=3, gt=0)
    """Hysteresis: the incident ends after this many expected defect intervals without excess."""


class NoDescriberOptions(Section):
    """Pictures are not described."""

    kind: Literal["none"]


class LocalDescriberOptions(Section):
    """A multimodal GGUF model on this box, in a child process; see docs/llm.md."""

    kind: Literal["llama_cpp"]
    backend: Literal["auto", "llama-cpp", "xllamacpp"] = "auto"
    """``auto``: llama-cpp-python where it is installed, else xllamacpp."""
    model: Path
    projector: Path
    """The model's eyes: the GGUF called ``mmproj``."""
    threads: int = Field(default=1, ge=1, le=64)
    context_tokens: int = Field(default=4_096, ge=1_024, le=131_072)
    crops: int = Field(default=3, ge=1, le=10)
    """Pictures of an incident at most."""
    deadline_s: Seconds = 120
    """For each picture."""


class ServerDescriberOptions(Section):
    """An OpenAI-compatible server in the plant's own network, with a model that sees."""

    kind: Literal["server"]
    url: str = Field(pattern=r"^https?://")
    model: str
    api_key_credential: str | None = None
    crops: int = Field(default=3, ge=1, le=10)
    """Pictures of an incident at most."""
    deadline_s: Seconds = 60
    """For each picture."""


DescriberOptions = Annotated[
    NoDescriberOptions | LocalDescriberOptions | ServerDescriberOptions, Field(discriminator="kind")
]


class DiagnosisSection(Section):
    """The catalogue and how an order is written."""

    catalogue: Path
    """FMEA file, relative to the configuration folder."""
    priority_table: Path | None = None
    trigger: TriggerSection = TriggerSection()
    sentence_model: Path | None = None
    """Folder of the model that finds similar cases by meaning (`scripts/fetch_sentences`); default: by their words."""
    describer: DescriberOptions = NoDescriberOptions(kind="none")
    """A model that sees describes the defects' pictures in fixed words, for people; it moves no cause."""
    storm_keys: int = Field(default=3, ge=1)
    """More new incidents than this in 15 minutes share one collecting order."""
    orders_per_shift: int = Field(default=6, ge=1)
    """Orders at most in a shift (``reports.shift_ends``). What is above it waits in one collecting order, released
    by priority; incidents of severity 9 and 10 pass."""
    blind_share: float = Field(default=0.1, ge=0, le=1)
    """Share of orders that hide the ranking until somebody has said what they suspect, against anchoring."""


class NoAnalystOptions(Section):
    """Rules only."""

    kind: Literal["none"]


class LocalAnalystOptions(Section):
    """A GGUF model on this box, in a child process."""

    kind: Literal["local"]
    backend: Literal["auto", "llama-cpp", "xllamacpp"] = "auto"
    """``auto``: llama-cpp-python where it is installed, else xllamacpp."""
    model: Path
    adapter: Path | None = None
    """A low-rank adapter (GGUF) to lay over the model. Its exam is its own."""
    threads: int = Field(default=1, ge=1, le=64)
    context_tokens: int = Field(default=2_048, ge=256, le=131_072)
    deadline_s: Seconds = 60
    max_tokens: int = Field(default=160, ge=16, le=4_096)


class ServerAnalystOptions(Section):
    """An OpenAI-compatible server in the plant's own network."""

    kind: Literal["server"]
    url: str = Field(pattern=r"^https?://")
    model: str
    api_key_credential: str | None = None
    deadline_s: Seconds = 60
    max_tokens: int = Field(default=160, ge=16, le=4_096)


AnalystOptions = Annotated[NoAnalystOptions | LocalAnalystOptions | ServerAnalystOptions, Field(discriminator="kind")]


class StoreSection(Section):
    """Where rows live."""

    url: str | None = None
    """SQLAlchemy URL; default: SQLite in the state folder. ``postgresql+psycopg://...`` works too."""


class GatesSection(Section):
    """What a model must have shown beside the live one before ``edge-agent models promote`` lets it take its place."""

    min_parts: int = Field(default=300, ge=1)
    """Parts that both have seen."""
    max_escapes: float = Field(default=0.05, gt=0, le=1)
    """Upper confidence limit on the share of defective parts that it would accept."""
    max_false_rejects: float = Field(default=0.02, gt=0, le=1)
    """Upper confidence limit on the share of good parts that it would not accept."""
    max_cycle_share: float = Field(default=0.8, gt=0, le=1)
    """Share of the station's ``cycle_ms`` that 99 of 100 answers may take."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Of both limits, one-sided."""


class WatchSection(Section):
    """When a promoted model is taken back by itself. Only what a model can be to blame for counts."""

    window_parts: int = Field(default=100, ge=10, le=10_000)
    """The newest parts that are looked at."""
    min_parts: int = Field(default=20, ge=5, le=10_000)
    """Fewer say nothing, unless the model failed on three of them."""
    parts: int = Field(default=1_000, ge=10, le=1_000_000)
    """It is watched for so many parts."""
    confirm_parts: int = Field(default=5, ge=0, le=1_000)
    """So many parts more must say the same before it is taken back."""
    worse_by: float = Field(default=0.02, ge=0, lt=1)
    """What the share of parts that failed, were not inspected or were held may be above the share before."""
    slower_by: float = Field(default=1.25, ge=1)
    """What p99 may be as a multiple of p99 before, once it is beyond ``max_cycle_share``."""
    max_cycle_share: float = Field(default=0.8, gt=0, le=1)
    """Share of the station's ``cycle_ms`` below which p99 is nobody's trouble."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Of the shares before and after, one-sided."""


class ModelsSection(Section):
    """The life cycle of models; see docs/models.md."""

    gates: GatesSection = GatesSection()
    watch: WatchSection = WatchSection()


class RetentionSection(Section):
    """How long images and rows are kept."""

    images_days: float = Field(default=30, gt=0)
    images_gib: float = Field(default=20, gt=0)
    keep_ok_share: float = Field(default=0.05, ge=0, le=1)
    """Share of OK parts whose image is kept."""
    rows_days: float = Field(default=365, gt=0)
    sent_messages_days: float = Field(default=30, gt=0)
    """Messages that the plant has, for ``edge-agent outbox``; fewer when the outbox comes near its quota."""


class WebSection(Section):
    """The operator page and /metrics."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65_535)
    """0 takes a free one."""
    enabled: bool = True


class ReportSection(Section):
    """Documents."""

    templates: Path | None = None
    """Folder of templates; default: the product's own."""
    shift_ends: list[Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]] = ["06:00", "14:00", "22:00"]
    """Local times at which the shift report is made."""
    timezone: str = "UTC"
    deadline_s: Seconds = 60


Code = Annotated[str, Field(min_length=1, max_length=64)]


class CodesSection(Section):
    """What the plant calls things of ours: used in what goes out, and read in what comes back. Checked at start."""

    assets: dict[str, Code] = {}
    """Station, or ``equipment`` of the catalogue's causes, to the plant's id."""
    defect_classes: dict[str, Code] = {}
    causes: dict[str, Code] = {}
    actions: dict[str, Code] = {}


SignedVerb = Literal["trigger", "pause", "resume", "recipe", "ack", "challenge", "config-reload", "ping", "status"]


class SecuritySection(Section):
    """What the box insists on; see docs/security.md."""

    reply_topics: list[str] = []
    """Topic filters (absolute) of response topics on which commands may ask to be answered; others are answered on
    ``out/reply``."""
    model_keys: dict[Name, Path] = {}
    """Who may sign models: a name to a file with public keys (Ed25519, PEM). A signature that is there is checked."""
    signed_models: bool = False
    """Refuse models that none of ``model_keys`` has signed; see docs/models.md."""
    acl_canary: bool | None = None
    """Publish, after the start and each day, where the broker must refuse this box, and raise an alarm when it does
    not. Default: where the box shows a client certificate."""
    signed_commands: bool = False
    """The commands in ``signed_verbs`` are done only when one of ``trusted_keys`` has signed them."""
    signed_verbs: list[SignedVerb] = Field(default=["recipe"], min_length=1)
    """``trigger`` means what comes on a station's MQTT trigger topic, whatever its name."""
    trusted_keys: dict[Name, Path] = {}
    """Who may sign, and the PEM file with the public Ed25519 keys: several while one replaces another. Read again when
    it changes. Where there are any, a signature that is wrong is refused, also on what needs none."""
    signing_key_file: Path | None = None
    """The box's own key (``edge-agent keys new``): work orders and reports are signed with it."""
    signing_key_credential: str | None = None
    """The same as the name of a file below $CREDENTIALS_DIRECTORY (systemd LoadCredential)."""

    @model_validator(mode="after")
    def _whose_signature(self) -> "SecuritySection":
        if self.signed_commands and not self.trusted_keys:
            raise ValueError("signed_commands needs trusted_keys: whose signatures count")
        if self.signing_key_file and self.signing_key_credential:
            raise ValueError("set one of signing_key_file and signing_key_credential, not both")
        return self

    @model_validator(mode="after")
    def _somebody_may_sign(self) -> "SecuritySection":
        if self.signed_models and not self.model_keys:
            raise ValueError("signed_models needs model_keys: whose signatures count")
        return self


class PlantFile(Section):
    """plant.yaml."""

    agent: Name
    """Id of this box: MQTT client id and certificate name; must be unique in the plant."""
    plant: PlantSection
    mqtt: MqttSection
    state_dir: Path | None = None
    """Default: $STATE_DIRECTORY (systemd), else ``state`` below the working directory."""
    models_dir: Path | None = None
    """Default: the product's own models."""
    models: ModelsSection = ModelsSection()
    stations: list[Path] = Field(min_length=1)
    """Station files, relative to this folder."""
    store: StoreSection = StoreSection()
    telemetry: TelemetrySection = TelemetrySection()
    sparkplug: SparkplugSection | None = None
    diagnosis: DiagnosisSection
    analyst: AnalystOptions = NoAnalystOptions(kind="none")
    retention: RetentionSection = RetentionSection()
    web: WebSection = WebSection()
    reports: ReportSection = ReportSection()
    codes: CodesSection = CodesSection()
    security: SecuritySection = SecuritySection()
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _one_secret(self) -> "PlantFile":
        if self.mqtt.password_file and self.mqtt.password_credential:
            raise ValueError("mqtt: set one of password_file and password_credential, not both")
        return self
