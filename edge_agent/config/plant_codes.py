"""``codes`` in plant.yaml, checked against what there is to be called."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_agent.config.load import Configuration, InvalidConfiguration
from edge_agent.config.located import Problem, read
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.plant_codes import PlantCodes


def plant_codes(configuration: Configuration, catalogue: Catalogue) -> PlantCodes:
    """The plant's codes.

    Raises:
        InvalidConfiguration: a code of ours that there is not, one of the plant's that is used twice, or one that is
            already the name of something else of ours.
    """
    section = configuration.plant.codes
    found = PlantCodes(**section.model_dump())
    problems: list[Problem] = []
    if any(mapping for _, mapping in section):
        located = read(Path(next(iter(configuration.files))))
        known = _known(configuration, catalogue)
        for kind, mapping in section:
            for own, message in _wrong(mapping, known[kind]):
                line = located.line_of(("codes", kind, own))
                problems.append(Problem(file=located.file, line=line, key=f"codes.{kind}.{own}", message=message))
    if problems:
        raise InvalidConfiguration(problems)
    return found


def _known(configuration: Configuration, catalogue: Catalogue) -> dict[str, set[str]]:
    stations = {station.config.id for station in configuration.stations}
    return {
        "assets": stations | {cause.equipment for cause in catalogue.causes if cause.equipment},
        "defect_classes": set(catalogue.severity),
        "causes": {cause.cause_id for cause in catalogue.causes},
        "actions": {action.action_id for cause in catalogue.causes for action in cause.actions},
    }


def _wrong(mapping: Mapping[str, str], known: set[str]) -> Iterator[tuple[str, str]]:
    first: dict[str, str] = {}
    for own, theirs in mapping.items():
        if own not in known:
            yield own, f"there is no {own!r}; known: {', '.join(sorted(known)[:20])}"
        if theirs in first:
            yield own, f"{theirs!r} is already the code of {first[theirs]!r}"
        elif theirs in known and theirs != own and mapping.get(theirs, theirs) == theirs:
            yield own, f"{theirs!r} is the name of another one of ours, which has no code"
        first.setdefault(theirs, own)
