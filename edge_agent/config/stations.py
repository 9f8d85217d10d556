"""A station's file: where frames and triggers come from, who is told, how fast.

Each plug-point is a union discriminated by ``kind``; the word chooses the adapter (see ``bootstrap``).
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge_agent.config.section import Milliseconds, Name, Seconds, Section

# --- cameras --------------------------------------------------------------------------------------------------------


class FolderCameraOptions(Section):
    """Images that another machine drops into a folder or a share."""

    kind: Literal["folder"]
    path: Path
    """The folder; it may be read-only."""
    pattern: str = "*"
    """Only names that match (shell pattern), e.g. ``*_test.jpg``."""
    match: Literal["part_id", "trigger"] = "trigger"
    """``part_id``: the file whose stem is the part id; ``trigger``: the file the folder trigger names."""
    settle_ms: Milliseconds = 40
    """Size and modification time must be unchanged for this long."""
    recursive: bool = False


class VideoCameraOptions(Section):
    """Frames of a video file, one for each shot."""

    kind: Literal["video"]
    path: Path
    loop: bool = False


class RtspCameraOptions(Section):
    """An RTSP stream. It has no trigger: the newest frame wins, so it is second class for parts in motion."""

    kind: Literal["rtsp"]
    url: str = Field(pattern=r"^rtsps?://")
    transport: Literal["tcp", "udp"] = "tcp"
    stall_timeout_s: Seconds = 5
    """No frame for this long is a lost camera."""
    latency_ms: float = Field(default=150, ge=0, le=10_000)
    """Network and decoder delay: a frame that arrived sooner after the trigger may still show the part before."""
    frozen_after: int = Field(default=100, ge=0)
    """This many equal frames in a row are a frozen camera; 0 never. A compressed still scene can repeat by itself."""


class V4l2CameraOptions(Section):
    """A USB camera through V4L2."""

    kind: Literal["v4l2"]
    device: str = "/dev/video0"
    width_px: int | None = None
    height_px: int | None = None
    fourcc: str | None = Field(default=None, min_length=4, max_length=4)
    stall_timeout_s: Seconds = 5
    """No frame for this long is a lost camera."""
    latency_ms: float = Field(default=50, ge=0, le=10_000)
    """Exposure and transfer: a frame that arrived sooner after the trigger may still show the part before."""
    frozen_after: int = Field(default=10, ge=0)
    """This many equal frames in a row are a frozen camera; 0 never."""


class GigeCameraOptions(Section):
    """A GigE Vision camera through viva-genicam."""

    kind: Literal["gige"]
    device: str = ""
    """Serial, user name or IP address; empty takes the only one there is."""
    interface: str = ""
    """Network interface address to search on; empty searches all."""
    trigger: Literal["software", "line0", "free"] = "software"
    pixel_format: Literal["Mono8", "BayerRG8", "Mono12", "Mono16", "RGB8"] = "Mono8"
    exposure_us: float | None = Field(default=None, gt=0)
    gain_db: float | None = None
    settings: dict[str, str | int | float | bool] = {}
    """Further GenICam features, applied in order and read back."""
    timeouts_before_reconnect: int = Field(default=3, ge=1, le=100)
    """Frames missing in a row until the camera is closed, searched for and opened again."""
    frozen_after: int = Field(default=10, ge=0)
    """This many equal frames in a row are a frozen camera; 0 never."""


class GenicamCameraOptions(Section):
    """Any GenTL camera (USB3 Vision, CoaXPress, GigE) through Harvesters and the vendor's producer."""

    kind: Literal["genicam"]
    producer: Path
    """The vendor's .cti file."""
    device: str = ""
    """Serial or part of the display name; empty takes the first."""
    trigger: Literal["software", "line0", "free"] = "free"
    settings: dict[str, str | int | float | bool] = {}
    """GenICam features, applied in order and read back."""
    timeouts_before_reconnect: int = Field(default=3, ge=1, le=100)
    """Frames missing in a row until the camera is closed, searched for and opened again."""
    frozen_after: int = Field(default=10, ge=0)
    """This many equal frames in a row are a frozen camera; 0 never."""


class SimulatedCameraOptions(Section):
    """Rendered boards: no camera needed, for trying a configuration."""

    kind: Literal["simulated"]
    layout: str = "A"
    seed: int = 1
    defect_rate: float = Field(default=0.1, ge=0, le=1)


CameraOptions = Annotated[
    FolderCameraOptions
    | VideoCameraOptions
    | RtspCameraOptions
    | V4l2CameraOptions
    | GigeCameraOptions
    | GenicamCameraOptions
    | SimulatedCameraOptions,
    Field(discriminator="kind"),
]

# --- triggers -------------------------------------------------------------------------------------------------------


class MqttTriggerOptions(Section):
    """A JSON message per part: ``{"partId", "productId", "triggerId", "lotId"?, "sequence"?, "strata"?, "at"?}``."""

    kind: Literal["mqtt"]
    topic: str = "in/cmd/trigger"
    """Below the box's topic root, or absolute with a leading ``/``."""
    max_age_s: Seconds = 60
    """Older triggers are refused: the part has moved on."""


class FolderTriggerOptions(Section):
    """The arrival of a file is the trigger."""

    kind: Literal["folder"]
    path: Path
    pattern: str = "*"
    poll_ms: Milliseconds = 200
    settle_ms: Milliseconds = 200
    product_id: Name
    recursive: bool = False
    part_id: Literal["stem", "uuid"] = "stem"


class IntervalTriggerOptions(Section):
    """A shot every so often."""

    kind: Literal["interval"]
    every_ms: Milliseconds
    product_id: Name
    count: int | None = Field(default=None, gt=0)
    """Stop after this many; None goes on."""


class CameraTriggerOptions(Section):
    """The camera's own line: every frame the camera delivers is a part."""

    kind: Literal["camera"]
    product_id: Name


class ModbusTriggerOptions(Section):
    """A coil of a PLC (Modbus TCP), with part id and sequence in registers; see docs/plc.md."""

    kind: Literal["modbus"]
    host: str
    port: int = Field(default=502, ge=1, le=65_535)
    unit: int = Field(default=1, ge=0, le=247)
    poll_ms: Milliseconds = 5
    trigger_coil: int = 0
    sequence_register: int = 0
    part_id_register: int = 1
    part_id_words: int = Field(default=8, ge=1, le=32)
    product_register: int | None = None
    products: dict[int, Name] = {}
    """Product register value to product id."""
    product_id: Name | None = None
    """The product where there is no register for it."""
    byte_order: Literal["big", "little"] = "big"
    """Which character of a register word comes first in the part id."""
    heartbeat_register: int | None = None
    """A register that the PLC changes all the time; without it the PLC's heartbeat is not watched."""
    heartbeat_timeout_s: Seconds = 3
    """Unchanged for this long: the PLC has stopped, no part is asked for."""
    product_echo_register: int | None = None
    """Where the box says back the product that is ready for inspection; 0: the one in ``product_register`` is not."""
    while_busy: Literal["hold", "queue"] = "hold"
    """A trigger while an answer is owed: ``hold`` counts it as missed and holds that part; ``queue`` inspects it later,
    for lines with several parts between trigger and gate (see ``result_slots``)."""
    ack_timeout_s: Seconds = 5
    """A trigger that is still set this long after it was answered is reported."""
    timeout_ms: Milliseconds = 500

    @model_validator(mode="after")
    def _some_product(self) -> "ModbusTriggerOptions":
        if self.product_id is None and (self.product_register is None or not self.products):
            raise ValueError("set product_id, or product_register with products")
        return self


class OpcUaServer(Section):
    """How an OPC UA server is reached."""

    url: str = Field(pattern=r"^opc\.tcp://")
    namespace: str | int = 2
    """URI of the namespace the PLC's variables are in (its index may change with a restart), or the index."""
    prefix: str = "Inspect."
    """What all string identifiers begin with, e.g. ``MAIN.fbInspect.`` (TwinCAT) or ``"Inspect".`` (S7)."""
    username: str | None = None
    password_file: Path | None = None
    """A file that holds the password and nothing else."""
    security: Literal["none", "sign", "encrypt"] = "none"
    """``sign`` and ``encrypt`` use Basic256Sha256 and need the certificates."""
    certificate: Path | None = None
    private_key: Path | None = None
    server_certificate: Path | None = None
    """What the server must show; without it, any server is believed."""
    timeout_ms: Milliseconds = 1_000

    @model_validator(mode="after")
    def _certificates(self) -> "OpcUaServer":
        if self.security != "none" and not (self.certificate and self.private_key):
            raise ValueError("security sign and encrypt need certificate and private_key")
        if (self.username is None) != (self.password_file is None):
            raise ValueError("set both of username and password_file, or none")
        return self


class OpcUaTriggerOptions(OpcUaServer):
    """A variable of a PLC (OPC UA; needs the extra ``opcua``), with part id and sequence beside it; see docs/plc.md."""

    kind: Literal["opcua"]
    poll_ms: Milliseconds = 20
    trigger: str = "Trigger"
    sequence: str = "Sequence"
    part_id: str = "PartId"
    product: str | None = None
    """The product's number (see ``products``) or, where the variable is a string, its id."""
    product_echo: str | None = None
    """Where the box says back the product that is ready for inspection; 0 or empty: the one in ``product`` is not."""
    products: dict[int, Name] = {}
    product_id: Name | None = None
    """The product where there is no variable for it."""
    heartbeat: str | None = "PlcBeat"
    """A variable that the PLC changes all the time; without it the PLC's heartbeat is not watched."""
    heartbeat_timeout_s: Seconds = 3
    while_busy: Literal["hold", "queue"] = "hold"
    """As for Modbus."""
    ack_timeout_s: Seconds = 5

    @model_validator(mode="after")
    def _some_product(self) -> "OpcUaTriggerOptions":
        if self.product_id is None and self.product is None:
            raise ValueError("set product_id or product")
        return self


TriggerOptions = Annotated[
    MqttTriggerOptions
    | FolderTriggerOptions
    | IntervalTriggerOptions
    | CameraTriggerOptions
    | ModbusTriggerOptions
    | OpcUaTriggerOptions,
    Field(discriminator="kind"),
]

# --- actuators ------------------------------------------------------------------------------------------------------


class ModbusActuatorOptions(Section):
    """Result, ready, busy, fault and heartbeat in a PLC's coils and registers; see docs/plc.md."""

    kind: Literal["modbus"]
    host: str
    port: int = Field(default=502, ge=1, le=65_535)
    unit: int = Field(default=1, ge=0, le=247)
    ready_coil: int = 16
    busy_coil: int = 17
    fault_coil: int = 18
    heartbeat_coil: int = 19
    result_valid_coil: int = 20
    result_register: int = 32
    result_sequence_register: int = 33
    result_part_id_register: int = 34
    part_id_words: int = Field(default=8, ge=1, le=32)
    byte_order: Literal["big", "little"] = "big"
    """Which character of a register word comes first in the part id."""
    state_register: int | None = None
    """1 not ready, 2 ready, 3 inspecting, 4 result, 9 fault."""
    missed_register: int | None = None
    """Parts that were asked for while the box was not done with another, since its start; wraps at 65535."""
    result_slots: int = Field(default=1, ge=1, le=64)
    """Places for results, for lines with several parts between trigger and gate: a request's result is in place
    ``sequence % result_slots`` and stays there until that many requests later."""
    slot_stride: int | None = Field(default=None, ge=3, le=128)
    """Registers from one place to the next; default: code, sequence and part id without a gap."""
    timeout_ms: Milliseconds = 500

    @property
    def slot_registers(self) -> int:
        """Registers from one place to the next."""
        return self.slot_stride or 2 + self.part_id_words


class OpcUaActuatorOptions(OpcUaServer):
    """Result, ready, busy, fault and heartbeat in a PLC's variables (OPC UA, extra ``opcua``); see docs/plc.md."""

    kind: Literal["opcua"]
    ready: str = "Ready"
    busy: str = "Busy"
    fault: str = "Fault"
    heartbeat: str = "BoxBeat"
    result_valid: str = "ResultValid"
    result: str = "Result"
    result_sequence: str = "ResultSequence"
    result_part_id: str = "ResultPartId"
    result_id: str | None = None
    """The inspection's id (UUID as text), as the MES gets it."""
    state: str | None = None
    """1 not ready, 2 ready, 3 inspecting, 4 result, 9 fault."""
    missed: str | None = None
    """Parts that were asked for while the box was not done with another, since its start."""
    result_slots: int = Field(default=1, ge=1, le=64)
    """As for Modbus; with more than one, ``{slot}`` must stand in the four result names."""

    @model_validator(mode="after")
    def _slots(self) -> "OpcUaActuatorOptions":
        names = (self.result, self.result_sequence, self.result_part_id, self.result_id or "{slot}")
        if self.result_slots > 1 and not all("{slot}" in name for name in names):
            raise ValueError("with result_slots, {slot} must stand in the names of the result")
        return self


ActuatorOptions = Annotated[ModbusActuatorOptions | OpcUaActuatorOptions, Field(discriminator="kind")]

# --- the station ----------------------------------------------------------------------------------------------------


class DetectorOptions(Section):
    """How the model is run."""

    providers: list[Literal["cpu", "cuda", "tensorrt", "openvino"]] = Field(default=["cpu"], min_length=1)
    """In order of preference; the first one is demanded."""
    on_missing_provider: Literal["refuse", "degrade"] = "refuse"
    """What to do when the session did not get the demanded provider."""
    threads: int = Field(default=1, ge=1, le=64)
    """Intra-op threads; leave cores for the rest."""


class ShadowSection(Section):
    """A model that looks at the same parts after they were answered, in a process of its own that yields to
    everything else; see docs/models.md."""

    model: str | None = None
    """``name`` or ``name/version``; ``edge-agent models shadow`` chooses another while the agent runs."""
    instead_of: str | None = None
    """The model of the recipes in whose place it is imagined; needed where they name several."""
    queue: int = Field(default=4, ge=1, le=64)
    """Parts that may wait for it, with their images; one more drops the oldest."""
    providers: list[Literal["cpu", "cuda", "tensorrt", "openvino"]] = Field(default=["cpu"], min_length=1)
    """As ``detector.providers``. A GPU has no spare capacity that could be told apart: leave it to the live model."""
    threads: int = Field(default=1, ge=1, le=64)
    deadline_s: Seconds = 30
    """For one part; then it is killed, and the part counts as one it had no time for."""
    max_rss_mb: int = Field(default=1_500, ge=100)
    """Memory of its process; beyond it, it is killed."""


class DriftSection(Section):
    """Whether the inspection itself changes: the gate's figures, scores, what images look like. It raises an alarm and
    evidence; it changes nothing. See docs/drift.md."""

    enabled: bool = True
    reference_parts: int = Field(default=500, ge=100, le=5_000)
    """The first parts of a product: what is normal. They should show all that is (lots, shifts, the warm lamp)."""
    window_parts: int = Field(default=100, ge=40, le=1_000)
    """The last parts, which are compared with it."""
    embed_every: int = Field(default=5, ge=0, le=1_000)
    """One image in so many is looked at by the feature network, while no part waits; 0: none."""
    false_alarms_per_1000: float = Field(default=0.02, gt=0, le=1)
    """Budget of all figures of the station together, per 1000 parts."""


class ChallengePartSection(Section):
    """A part whose evaluation is known: a physical one by its id, or an image of one. Set one of the two."""

    part_id: str | None = Field(default=None, min_length=1, max_length=128)
    """As the trigger gives it. The id is reserved: such a part is never a product."""
    image: Path | None = None
    """Inspected by the agent itself in place of a part: shows that model and recipe are right, not that the camera is.
    Relative to the configuration folder."""
    product: Name | None = None
    """Of an image: chooses the recipe."""
    evaluation: Literal["OK", "NOT_OK", "NOT_DECIDABLE"]
    defects: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Defect class to how many must be found at least."""

    @model_validator(mode="after")
    def _one_kind(self) -> "ChallengePartSection":
        if (self.part_id is None) == (self.image is None):
            raise ValueError("set one of part_id and image")
        if (self.image is None) != (self.product is None):
            raise ValueError("product belongs to an image, and an image needs one")
        if self.defects and self.evaluation != "NOT_OK":
            raise ValueError(f"defects are counted on NOT_OK parts, this one is expected to be {self.evaluation}")
        return self


class ChallengeSection(Section):
    """Known parts that must be judged rightly at each shift start; failed or overdue, every part is held. See
    docs/behaviour.md."""

    parts: list[ChallengePartSection] = Field(min_length=1, max_length=50)
    every_h: float | None = Field(default=None, gt=0, le=24 * 31)
    """Due so long after the last one. Default: at each shift start (``reports.shift_ends``: one shift's end is the
    next one's start)."""
    grace_min: float = Field(default=30, ge=0, le=24 * 60)
    """So much later parts are held; so much earlier it may be done."""
    within_min: float = Field(default=15, gt=0, le=24 * 60)
    """All parts must have been shown so long after its beginning."""

    @model_validator(mode="after")
    def _different(self) -> "ChallengeSection":
        names = [part.part_id or f"challenge:{part.image.name if part.image else ''}" for part in self.parts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"challenge parts must differ, these occur twice: {', '.join(twice)}")
        return self


class StationConfig(Section):
    """One inspection station."""

    id: Name
    description: str = ""
    mode: Literal["triggered", "latest"] = "triggered"
    """``triggered``: every part is answered; ``latest``: the newest frame wins, drops are counted."""
    camera: CameraOptions
    trigger: TriggerOptions
    actuators: list[ActuatorOptions] = []
    detector: DetectorOptions = DetectorOptions()
    shadow: ShadowSection = ShadowSection()
    recipes: dict[Name, Path] = Field(min_length=1)
    """Product id to recipe file, relative to the configuration folder."""
    cycle_ms: Milliseconds = 2_000
    """Trigger to disposition; later is NOT_INSPECTED and HOLD."""
    queue: int = Field(default=8, ge=1, le=1_000)
    """Shots that may wait; one more is refused (NOT_INSPECTED, HOLD)."""
    drift: DriftSection = DriftSection()
    challenge: ChallengeSection | None = None
    strata: dict[str, str] = {}
    """Fixed strata of this station, e.g. ``{camera: AOI-2}``."""
