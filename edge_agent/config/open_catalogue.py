"""Catalogues from elsewhere: the same fields, read as tolerantly as their meaning allows.

The daemon's own catalogue is read strictly (`catalogue.load_catalogue`): a token that no tool finds is a mistake there.
Here the vocabulary is the file's own, most fields have a default, a signature may be a list of tokens, and a cause may
have ``symptoms`` instead of signatures.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from edge_agent.config.catalogue import BackgroundFile, CatalogueFile, CauseSection, SignatureSection, as_catalogue
from edge_agent.config.explained import explain
from edge_agent.config.load import InvalidConfiguration
from edge_agent.config.located import Located, Problem, UnreadableFile, read
from edge_agent.domain.cause import NONE, OTHER, Catalogue

GRADED = {"S": 0.8, "M": 0.5, "W": 0.25, "STRONG": 0.8, "MEDIUM": 0.5, "WEAK": 0.25}
USUAL = {"all": 0.8, "any": 0.5, "none": 0.05}
"""Probability of a token that is named without one."""
SYMPTOM = 0.5
"""The same in a flat list of symptoms: such a list holds what was ever seen, and no incident shows all of it."""
SUREST = 0.02
"""No expectation is surer than this far from 0 and 1."""
SUFFIXES = {".yaml", ".yml", ".json"}
DEFAULT_SEVERITY = 5


def _probability(value: Any, usual: float) -> float:
    """A number, a grade (S, M, W) or nothing.

    Raises:
        ValueError: none of these.
    """
    if value is None or value is True:
        return usual
    if isinstance(value, str) and value.strip().upper() in GRADED:
        return GRADED[value.strip().upper()]
    if isinstance(value, Mapping) and "p" in value:
        value = value["p"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"found {value!r}, expected a probability from 0 to 1 or a grade S, M or W")
    return min(max(float(value), SUREST), 1 - SUREST)


def _expectations(value: Any, usual: float) -> dict[str, float]:
    """``{token: p}``, ``[token, ...]``, ``[{token: ..., p: ...}, ...]`` or one token."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {value: usual}
    if isinstance(value, Mapping):
        if "token" in value:
            return {str(value["token"]): _probability(value.get("p"), usual)}
        return {str(token): _probability(p, usual) for token, p in value.items()}
    if isinstance(value, list):
        return {token: p for one in value for token, p in _expectations(one, usual).items()}
    raise ValueError(f"found {value!r}, expected tokens")


def _flat(symptoms: Any) -> Any:
    """A flat list of symptoms as one signature; anything that is more than a list stays as it is."""
    plain = isinstance(symptoms, list) or (isinstance(symptoms, Mapping) and not symptoms.keys() & USUAL.keys())
    return {"all": _expectations(symptoms, SYMPTOM)} if plain else symptoms


class OpenSignature(SignatureSection):
    """One way a cause shows itself; a plain list of tokens is ``all``."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _shapes(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.keys() & USUAL.keys():
            return {part: _expectations(data.get(part), usual) for part, usual in USUAL.items()}
        return {"all": _expectations(data, USUAL["all"])}


class OpenCause(CauseSection):
    """One cause; what is not said gets a middle value."""

    model_config = ConfigDict(extra="ignore")

    id: str = Field(min_length=1, max_length=128)
    name: str = ""
    category: str = ""  # type: ignore[assignment]
    step: str = ""
    occurrence: int = Field(default=5, ge=1, le=10)
    detection: int = Field(default=6, ge=1, le=10)
    classes: dict[str, Any] = {}
    signatures: list[OpenSignature] = Field(min_length=1)  # type: ignore[assignment]

    @model_validator(mode="before")
    @classmethod
    def _symptoms(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and not data.get("signatures"):
            for name in ("signature", "symptoms"):
                if data.get(name):
                    return {**data, "signatures": [_flat(data[name])]}
        return data

    @field_validator("id", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("classes", mode="before")
    @classmethod
    def _grades(cls, value: Any) -> Any:
        return _expectations(value, GRADED["S"])


class OpenCatalogue(CatalogueFile):
    """A catalogue; only its causes are needed."""

    model_config = ConfigDict(extra="ignore")

    domain: str = "catalogue"
    version: str = "0"
    severity: dict[str, Any] = {}
    causes: list[OpenCause] = Field(min_length=1)  # type: ignore[assignment]

    @field_validator("version", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return str(value)


def load_catalogues(path: Path) -> dict[str, Catalogue]:
    """All catalogues of a file or a folder, by domain; files of one domain are one catalogue.

    Raises:
        InvalidConfiguration: with all problems found, each with file, line, value and expectation.
    """
    problems: list[Problem] = []
    parsed = [one for file in _files(path, problems) if (one := _parsed(file, problems))]
    catalogues: dict[str, Catalogue] = {}
    for domain in dict.fromkeys(section.domain for _, section in parsed):
        same = [one for one in parsed if one[1].domain == domain]
        problems.extend(_repeated(same))
        catalogues[domain] = _merged([_as_catalogue(located, section, problems) for located, section in same])
    if not parsed and not problems:
        problems.append(Problem(file=path, line=0, key="", message="no catalogue here: expected YAML with `causes`"))
    if problems:
        raise InvalidConfiguration(problems)
    return catalogues


def _files(path: Path, problems: list[Problem]) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if not path.is_file():
        problems.append(Problem(file=path, line=0, key="", message="no such file or folder"))
        return []
    return [path]


def _parsed(file: Path, problems: list[Problem]) -> tuple[Located, OpenCatalogue] | None:
    """The catalogue in a file; None for a file without causes that lies beside one, and for a faulty one."""
    try:
        located = read(file)
        data = located.data
        if isinstance(data, list):
            data = {"causes": data}
        if isinstance(data, Mapping) and "causes" not in data:
            return None
        return located, OpenCatalogue.model_validate(data)
    except UnreadableFile as error:
        problems.append(error.problem)
    except ValidationError as error:
        problems.extend(explain(read(file), error))
    return None


def _repeated(same: list[tuple[Located, OpenCatalogue]]) -> Iterator[Problem]:
    seen: set[str] = {NONE, OTHER}
    for located, section in same:
        for index, cause in enumerate(section.causes):
            if cause.id in seen:
                message = f"cause {cause.id!r} is already defined, or reserved"
                line = located.line_of(("causes", index, "id"))
                yield Problem(file=located.file, line=line, key=f"causes.{index}.id", message=message)
            seen.add(cause.id)


def _as_catalogue(located: Located, section: OpenCatalogue, problems: list[Problem]) -> Catalogue:
    measured: dict[str, float] = {}
    digest = hashlib.sha256(located.raw)
    if section.background_file:
        file = located.file.parent / section.background_file
        try:
            beside = read(file)
            measured = dict(BackgroundFile.model_validate(beside.data).background)
            digest.update(beside.raw)
        except UnreadableFile as error:
            problems.append(error.problem)
        except ValidationError as error:
            problems.extend(explain(read(file), error))
    codes = {code for cause in section.causes for code in cause.classes}
    severity = dict.fromkeys(sorted(codes), DEFAULT_SEVERITY) | dict(section.severity)
    complete = section.model_copy(update={"severity": severity})
    return as_catalogue(complete, measured, version=f"{section.version}+{digest.hexdigest()[:8]}")


def _merged(parts: list[Catalogue]) -> Catalogue:
    if len(parts) == 1:
        return parts[0]
    return Catalogue(
        domain=parts[0].domain,
        version="/".join(part.version for part in parts),
        causes=tuple(cause for part in parts for cause in part.causes),
        severity={code: rating for part in parts for code, rating in part.severity.items()},
        background={token: rate for part in parts for token, rate in part.background.items()},
        families={name: codes for part in parts for name, codes in part.families.items()},
    )
