"""Models on disk: ``<models>/<name>/<version>/`` with ``model.onnx``, ``card.json`` and ``golden.json``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_agent.domain.faults import ConfigError
from edge_agent.domain.recipe import ClassLimit

Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class InputCard(_Section):
    """One input tensor, row-major NCHW."""

    name: str
    shape: tuple[int, int, int, int]
    dtype: Literal["uint8", "float32"]


class Calibration(_Section):
    """Platt scaling: the reported score is ``sigmoid(slope * logit(raw) + offset)``."""

    slope: float = Field(default=1.0, gt=0)
    offset: float = 0.0
    fitted_on: str = ""


class Quantization(_Section):
    """How the weights became integers."""

    format: str
    activations: str
    weights: str
    method: str
    calibration_set: str
    """What it was calibrated with, for people."""
    calibration_sha256: str
    """sha256 over the calibration images' bytes, in order."""


class Gate(_Section):
    """What quantizing cost, measured before the model was let into its folder."""

    data: str
    map_33_fp32: float
    map_33_int8: float
    precision_lost_most: float
    """Average precision, by the class that lost most."""
    recall_lost_most: float
    """By the class that lost most, at a score of 0.5; negative where every class gained."""


class Cost(_Section):
    """Measured on one machine."""

    file_bytes: int
    latency_ms: float
    """Median of bare runs; processor time from version 3 on."""
    latency_ms_fastest: float
    memory_mib: float
    """What loading and running it added to a process."""
    threads: int
    machine: str


class HalfPrecision(_Section):
    """The same network with 16-bit floats, for GPUs; not yet chosen by itself."""

    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Training(_Section):
    """How long it was trained and with what settings."""

    steps: int
    log: list[dict[str, str]] = []


class Accuracy(_Section):
    """A measured figure and the command that measured it."""

    data: str
    figures: dict[str, float]
    command: str


class TeachingCard(_Section):
    """What a taught model (``decode: taught``) learned from, and where its thresholds come from."""

    images: int
    """Good images it learned from."""
    good_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """sha256 over the sorted sha256 of these images: the content, whatever the names."""
    size_wh: tuple[int, int]
    """Of the good images, in pixels; frames of another shape are refused."""
    working_wh: tuple[int, int]
    """At which an image is looked at."""
    accept_distance: float
    """Further away than this is not accepted."""
    reject_distance: float
    """Further away than this is rejected (score 0.5); between the two a person looks."""
    wanted_rate: Share
    """Share of good parts that may be stopped, as asked for."""
    promised_rate: Share
    """The share that is promised; larger than what was asked for where the images are too few."""
    threshold_from: str
    """How the thresholds were found, for people."""
    parity_distance: float
    """Of the parity picture, see ``taught.parity_picture``."""
    backbone: str
    """The feature network inside: name and sha256."""


class ModelCard(_Section):
    """What a model is, takes, gives, may be used for, and was measured to do."""

    name: str
    version: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    description: str
    decode: Literal["golden_pair", "yolo", "taught", "features"]
    inputs: list[InputCard] = Field(min_length=1, max_length=2)
    """The image first, then the golden image where the model takes one."""
    needs_golden: bool
    classes: list[str]
    """Empty for a feature network (``decode: features``), which finds nothing by itself."""
    min_score: Share = 0.2
    """Calibrated scores below this are not reported."""
    nms_iou: Share = 0.5
    """Of two boxes that overlap by more, the one with the lower score is dropped, whatever its class."""
    naming: Literal["network", "copper"] = "network"
    """Who names a defect: the network, or topology (`naming`), where copper is the darker of two materials."""
    calibration: Calibration = Calibration()
    licence: str
    restrictions: str = ""
    data: list[str] = []
    """What it was trained on."""
    opset: int
    quantization: Quantization | None = None
    teaching: TeachingCard | None = None
    gate: Gate | None = None
    cost: Cost | None = None
    fp16: HalfPrecision | None = None
    training: Training | None = None
    accuracy: list[Accuracy] = []
    parity: bool = True
    """There is a golden.json, checked at every load; a model without one is used unchecked, and the log says so."""

    @model_validator(mode="after")
    def _inputs_fit(self) -> "ModelCard":
        if len(self.inputs) != 1 + self.needs_golden:
            raise ValueError(f"needs_golden is {self.needs_golden}, so {1 + self.needs_golden} input(s) are expected")
        if (self.decode == "taught") != (self.teaching is not None):
            raise ValueError("decode taught and a teaching section come together")
        if self.decode == "golden_pair" and not self.needs_golden:
            raise ValueError("decode golden_pair takes a golden image")
        if self.naming == "copper" and self.decode != "golden_pair":
            raise ValueError("naming copper needs decode golden_pair: it compares with the golden image")
        if not self.classes and self.decode != "features":
            raise ValueError("classes: at least one is expected")
        if self.decode == "yolo" and self.needs_golden:
            raise ValueError("decode yolo takes no golden image")
        return self


def resolve(models_dir: Path, name: str, *more: Path) -> Path:
    """The folder of a model: ``board`` is its newest version, ``board/1`` that version.

    Args:
        more: folders that are searched after ``models_dir``; the first that has the name wins.

    Raises:
        ConfigError: there is none; the message lists what there is.
    """
    family, _, version = name.partition("/")
    for folder in (models_dir, *more):
        wanted = version or next(iter(reversed(versions(folder / family))), None)
        if wanted and (folder / family / wanted / "card.json").is_file():
            return folder / family / wanted
    places = ", ".join(f"{folder} (there: {', '.join(all_models(folder)) or 'none'})" for folder in (models_dir, *more))
    raise ConfigError(f"model {name!r} is not in {places}")


def versions(family_dir: Path) -> list[str]:
    """Versions of a model, oldest first: numbers by value, then names."""
    found = [entry.name for entry in family_dir.glob("*") if (entry / "card.json").is_file()]
    return sorted(found, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def all_models(models_dir: Path) -> list[str]:
    """Every ``name/version`` there is."""
    families = sorted(entry for entry in models_dir.glob("*") if entry.is_dir())
    return [f"{family.name}/{version}" for family in families for version in versions(family)]


def own_limits(card: ModelCard) -> tuple[ClassLimit, ...]:
    """A taught model's thresholds, for recipes that set none for its class; others are judged by the recipe alone."""
    if card.teaching is None:
        return ()
    return tuple(ClassLimit(code=code, reject_score=0.5, doubt_score=card.min_score) for code in card.classes)


def read_card(model_dir: Path) -> ModelCard:
    """The card of a model folder.

    Raises:
        ConfigError: missing, or wrong (each wrong key with what was expected).
    """
    return read_card_file(model_dir / "card.json")


def read_card_file(file: Path) -> ModelCard:
    """The same from any file.

    Raises:
        ConfigError: missing, or wrong.
    """
    try:
        return ModelCard.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"model card {file}: {error.strerror}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'card'}: {one['msg']}" for one in error.errors())
        raise ConfigError(f"model card {file}: {wrong}") from error
