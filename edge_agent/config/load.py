"""Load a configuration folder: every file, every error at once, each with file, line, value and expectation."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from edge_agent.config.explained import explain
from edge_agent.config.located import Located, Problem, UnreadableFile, read
from edge_agent.config.plant import PlantFile
from edge_agent.config.recipes import DifferenceJudge, GaugeJudge, LimitSection, ModelJudge, RecipeFile
from edge_agent.config.stations import StationConfig
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.recipe import (
    ClassLimit,
    DifferenceRule,
    GaugeRule,
    GoldenRule,
    ImageLimits,
    JudgeRule,
    ModelRule,
    Recipe,
    RecipeRef,
    Zone,
)
from edge_agent.signing.keys import read_public_keys

M = TypeVar("M", bound=BaseModel)
C = TypeVar("C", list[str], dict[str, str])


class InvalidConfiguration(ConfigError):
    """All problems of a configuration."""

    def __init__(self, problems: list[Problem]) -> None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{len(problems)} problem{'s' * (len(problems) != 1)} in the configuration:\n{lines}")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A station's file and its recipes by product id."""

    config: StationConfig
    recipes: Mapping[str, Recipe]
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything that was configured, checked.

    Attributes:
        folder: the configuration folder; relative paths in it start here.
        files: every file that was read, with its sha256.
    """

    folder: Path
    plant: PlantFile
    stations: tuple[Station, ...]
    files: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, path: Path) -> Path:
        """A path of the configuration: relative ones start at the configuration folder."""
        return path if path.is_absolute() else (self.folder / path).resolve()


def load(path: Path) -> Configuration:
    """Load ``plant.yaml`` (or the folder that holds it) and everything it names.

    Raises:
        InvalidConfiguration: with all problems found.
    """
    file = path / "plant.yaml" if path.is_dir() else path
    return _Loader(file.resolve()).run()


def load_recipe(path: Path) -> Recipe:
    """One recipe file by itself (`edge-agent inspect`); its paths start at the folder that holds plant.yaml, if any.

    Raises:
        InvalidConfiguration: with all problems found.
    """
    file = path.resolve()
    try:
        located = read(file)
        parsed = RecipeFile.model_validate(located.data)
    except UnreadableFile as error:
        raise InvalidConfiguration([error.problem]) from error
    except ValidationError as error:
        raise InvalidConfiguration(list(explain(located, error))) from error
    folder = next((parent for parent in file.parents if (parent / "plant.yaml").is_file()), file.parent)
    return as_recipe(parsed, sha256=hashlib.sha256(located.raw).hexdigest(), folder=folder)


class _Loader:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.folder = file.parent
        self.problems: list[Problem] = []
        self.files: dict[str, str] = {}

    def run(self) -> Configuration:
        located, plant = self._parse(self.file, PlantFile)
        stations = self._stations(located) if located else ()
        if plant and located:
            self._check_plant(plant, located)
        if self.problems or plant is None:
            raise InvalidConfiguration(self.problems)
        anchored = _anchored_plant(plant, self.folder)
        return Configuration(folder=self.folder, plant=anchored, stations=stations, files=self.files)

    def _parse(self, file: Path, model: type[M]) -> tuple[Located | None, M | None]:
        try:
            located = read(file)
        except UnreadableFile as error:
            self.problems.append(error.problem)
            return None, None
        self.files[str(file)] = hashlib.sha256(located.raw).hexdigest()
        try:
            return located, model.model_validate(located.data)
        except ValidationError as error:
            self.problems.extend(explain(located, error))
            return located, None

    def _stations(self, located: Located) -> tuple[Station, ...]:
        """Follows the file's own text, so that a mistake elsewhere in plant.yaml hides none in a station."""
        stations: list[Station] = []
        for index, relative in enumerate(_strings(located.data, "stations", list)):
            path = self._existing(Path(relative), located, ("stations", index))
            if path is None:
                continue
            source, config = self._parse(path, StationConfig)
            recipes = self._recipes(source) if source else {}
            if source and config:
                self._check_station(config, source, stations)
                stations.append(Station(config=_anchored(config, self.folder), recipes=recipes, file=path))
        return tuple(stations)

    def _recipes(self, source: Located) -> dict[str, Recipe]:
        recipes: dict[str, Recipe] = {}
        for product, relative in _strings(source.data, "recipes", dict).items():
            path = self._existing(Path(relative), source, ("recipes", product))
            if path is None:
                continue
            located, parsed = self._parse(path, RecipeFile)
            image = _golden_image(located.data) if located else None
            if located and image:
                self._existing(Path(image), located, ("golden", "image"))
            if located is None or parsed is None:
                continue
            if parsed.product != product:
                message = f"{product!r} is mapped to a recipe for product {parsed.product!r}"
                self._complain(source, ("recipes", product), message)
            recipes[product] = as_recipe(parsed, sha256=self.files[str(path)], folder=self.folder)
        return recipes

    def _check_station(self, config: StationConfig, source: Located, earlier: list[Station]) -> None:
        for other in earlier:
            if other.config.id == config.id:
                self._complain(source, ("id",), f"station {config.id!r} is already defined in {other.file}")
            if _device(other.config) is not None and _device(other.config) == _device(config):
                message = f"the same camera as station {other.config.id!r} ({_device(config)})"
                self._complain(source, ("camera",), message)
        for index, part in enumerate(config.challenge.parts if config.challenge else ()):
            if part.image is not None:
                self._existing(part.image, source, ("challenge", "parts", index, "image"))
            if part.product is not None and part.product not in config.recipes:
                message = f"no recipe for product {part.product!r}; there are: {', '.join(config.recipes)}"
                self._complain(source, ("challenge", "parts", index, "product"), message)
        if config.camera.kind == "folder" and config.camera.match == "trigger" and config.trigger.kind != "folder":
            message = f"match: trigger needs a folder trigger, this station's is {config.trigger.kind!r}"
            self._complain(source, ("camera", "match"), message)

    def _check_plant(self, plant: PlantFile, located: Located) -> None:
        for key, path in _named_files(plant):
            if path is not None:
                self._existing(path, located, key)
        if plant.mqtt.tls:
            for name, path in plant.mqtt.tls:
                if isinstance(path, Path) and not _comes_with_the_service(path):
                    self._existing(path, located, ("mqtt", "tls", name))
        if plant.models_dir and not (self.folder / plant.models_dir).is_dir():
            self._complain(located, ("models_dir",), f"no such folder: {self.folder / plant.models_dir}")
        self._check_keys(plant, located)
        self._check_signals(plant, located)

    def _check_signals(self, plant: PlantFile, located: Located) -> None:
        for name, signal in plant.telemetry.signals.items():
            if signal.lower is not None and signal.upper is not None and signal.lower >= signal.upper:
                message = f"lower {signal.lower} must be below upper {signal.upper}"
                self._complain(located, ("telemetry", "signals", name), message)

    def _check_keys(self, plant: PlantFile, located: Located) -> None:
        for holder, path in plant.security.trusted_keys.items():
            key = ("security", "trusted_keys", holder)
            file = self._existing(path, located, key)
            try:
                if file is not None:
                    read_public_keys(file)
            except ConfigError as error:
                self._complain(located, key, str(error))

    def _existing(self, relative: Path, source: Located, key: tuple[str | int, ...]) -> Path | None:
        path = relative if relative.is_absolute() else (self.folder / relative).resolve()
        if path.is_file():
            return path
        self._complain(source, key, f"no such file: {path}")
        return None

    def _complain(self, source: Located, key: tuple[str | int, ...], message: str) -> None:
        dotted = ".".join(str(part) for part in key)
        self.problems.append(Problem(file=source.file, line=source.line_of(key), key=dotted, message=message))


def _named_files(plant: PlantFile) -> Iterator[tuple[tuple[str, ...], Path | None]]:
    """Files that plant.yaml names and that must be there."""
    yield ("diagnosis", "catalogue"), plant.diagnosis.catalogue
    yield ("diagnosis", "priority_table"), plant.diagnosis.priority_table
    yield ("mqtt", "password_file"), plant.mqtt.password_file
    yield ("security", "signing_key_file"), plant.security.signing_key_file
    yield from ((("security", "model_keys", name), path) for name, path in plant.security.model_keys.items())
    if plant.analyst.kind == "local":
        yield ("analyst", "model"), plant.analyst.model
        yield ("analyst", "adapter"), plant.analyst.adapter
    if plant.diagnosis.describer.kind == "llama_cpp":
        yield ("diagnosis", "describer", "model"), plant.diagnosis.describer.model
        yield ("diagnosis", "describer", "projector"), plant.diagnosis.describer.projector


def _strings(data: Any, key: str, kind: type[C]) -> C:
    """The file names under ``key``, where they are there at all; anything else has been complained about."""
    found = data.get(key) if isinstance(data, dict) else None
    if not isinstance(found, kind):
        return kind()
    names = found.values() if isinstance(found, dict) else found
    return found if all(isinstance(name, str) for name in names) else kind()


def _comes_with_the_service(path: Path) -> bool:
    """A credential that systemd lays down when the service starts, looked at from outside the service."""
    return path.is_relative_to("/run/credentials") and "CREDENTIALS_DIRECTORY" not in os.environ


def _golden_image(data: Any) -> str | None:
    """The golden image's name in a recipe's text, so that a mistake elsewhere does not hide that it is missing."""
    golden = data.get("golden") if isinstance(data, dict) else None
    image = golden.get("image") if isinstance(golden, dict) else None
    return image if isinstance(image, str) else None


def _anchored(config: StationConfig, folder: Path) -> StationConfig:
    """The station with the paths of its parts made absolute: relative ones start at the folder."""
    changed: dict[str, Any] = {
        "camera": _absolute(config.camera, folder),
        "trigger": _absolute(config.trigger, folder),
        "actuators": [_absolute(actuator, folder) for actuator in config.actuators],
    }
    if config.challenge is not None:
        parts = [_absolute(part, folder) for part in config.challenge.parts]
        changed["challenge"] = config.challenge.model_copy(update={"parts": parts})
    return config.model_copy(update=changed)


def _anchored_plant(plant: PlantFile, folder: Path) -> PlantFile:
    """plant.yaml with the paths that are used without the folder made absolute."""
    tls = plant.mqtt.tls and _absolute(plant.mqtt.tls, folder)
    changed = {"mqtt": plant.mqtt.model_copy(update={"tls": tls})}
    anchored = {name: folder / path for name in ("state_dir", "models_dir") if (path := getattr(plant, name))}
    return plant.model_copy(update=changed | anchored)


def _absolute(section: M, folder: Path) -> M:
    paths = {name: (folder / value).resolve() for name, value in section if isinstance(value, Path)}
    return section.model_copy(update=paths)


def _device(config: StationConfig) -> str | None:
    camera = config.camera
    match camera.kind:
        case "v4l2":
            return f"v4l2 {camera.device}"
        case "rtsp":
            return f"rtsp {camera.url}"
        case "gige" | "genicam":
            return f"{camera.kind} {camera.device or 'the only one'}"
        case _:
            return None


def as_recipe(parsed: RecipeFile, *, sha256: str, folder: Path) -> Recipe:
    """The domain's recipe of a recipe file; the golden image's path becomes absolute."""
    golden = None
    if parsed.golden:
        image = parsed.golden.image
        path = None if image is None else str(image if image.is_absolute() else (folder / image).resolve())
        golden = GoldenRule(image_path=path, replace=parsed.golden.replace)
    limits: list[ClassLimit] = []
    for code, section in parsed.limits.items():
        limits.extend(_limit(code, one) for one in (section if isinstance(section, list) else [section]))
    return Recipe(
        ref=RecipeRef(recipe_id=parsed.id, version=parsed.version, sha256=sha256),
        product_id=parsed.product,
        model=parsed.model,
        image=ImageLimits(**parsed.image.model_dump()),
        golden=golden,
        limits=tuple(limits),
        default_limit=_limit("*", parsed.default),
        zones=tuple(Zone(name=zone.name, xyxy_px=zone.xyxy_px, ignore=zone.ignore) for zone in parsed.zones),
        px_per_mm=parsed.px_per_mm,
        judges=tuple(_judge(judge) for judge in parsed.judges),
        doubts_reject=parsed.doubts_reject,
    )


def _judge(section: ModelJudge | DifferenceJudge | GaugeJudge) -> JudgeRule:
    values = section.model_dump(exclude={"kind"})
    match section:
        case ModelJudge():
            return ModelRule(**values)
        case DifferenceJudge():
            return DifferenceRule(**values)
        case GaugeJudge():
            return GaugeRule(**values)


def _limit(code: str, section: LimitSection) -> ClassLimit:
    values = section.model_dump()
    values["doubt_score"] = section.reject_score if section.doubt_score is None else section.doubt_score
    return ClassLimit(code=code, **values)
