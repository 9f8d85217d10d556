"""``edge-agent models shadow | promote | rollback``: which model stands where, and which one looks beside it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.store.database import Database
from edge_agent.bootstrap.changes import recall
from edge_agent.bootstrap.model_keeper import the_word
from edge_agent.bootstrap.parts import goldens, model_trust, models_folder
from edge_agent.bootstrap.station_models import StationModels
from edge_agent.commands.stored import State, open_store, person, state_folder
from edge_agent.config import Configuration, load
from edge_agent.config.load import Station
from edge_agent.datasets.sources.verdicts import found_by_people
from edge_agent.domain.defect import ModelRef
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.promotion import Beside, GateResult, Gates, Promotion, beside, judge
from edge_agent.inspecting.in_use import RecipesInUse
from edge_agent.inspecting.promoting import (
    choose_shadow,
    end_shadow,
    in_force,
    named,
    promotions,
    shadow_choice,
    take_back,
)
from edge_agent.inspecting.promoting import promote as write_down
from edge_agent.inspecting.shadowing import dropped
from edge_agent.observability import logs
from edge_agent.ports import Detector, UnitOfWork

Plant = Annotated[Path, typer.Option(help="plant.yaml, or the folder that holds it.")]
StationId = Annotated[str, typer.Option("--station", help="The station's id; not needed where there is one.")]
InsteadOf = Annotated[str, typer.Option(help="The model of the recipes that is meant, where they name several.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class StationOf:
    """A station of a plant as the store has it, for a command at the terminal."""

    store: Database
    configuration: Configuration
    station: Station
    models: StationModels

    @property
    def id(self) -> str:
        return self.station.config.id

    def live(self, unit: UnitOfWork, word: str) -> ModelRef:
        """What stands where recipes say ``word``, whether the station has taken it yet or not."""
        standing = in_force(promotions(unit, self.id)).get(word)
        return standing.model if standing else self.models.ref(word)


def shadow(
    name: Annotated[str, typer.Argument(help="name or name/version; without one: what is the case now.")] = "",
    station: StationId = "",
    instead_of: InsteadOf = "",
    off: Annotated[bool, typer.Option("--off", help="None looks any more.")] = False,
    why: Annotated[str, typer.Option(help="Why, for the audit log.")] = "",
    config: Plant = Path("plant_config"),
    state: State = None,
) -> None:
    """Let a model look beside the live one, at the same parts, after they were answered. The agent follows within a
    second; it uses what the processor has to spare, and no part waits for it.

    Examples:

    edge-agent models shadow board/3 --station aoi-1 --why "new solder mask" --config plant_config

    edge-agent models shadow --station aoi-1 --config plant_config
    """
    at = station_of(config, state, station)
    if name or off:
        _choose(at, name, instead_of, off, why)
    with at.store.reader() as unit:
        for line in _case(unit, at):
            typer.echo(line)
    at.store.close()


def promote(
    name: Annotated[str, typer.Argument(help="name/version of the model that shall stand there.")],
    why: Annotated[str, typer.Option(help="Why; it is kept in the audit log.")],
    station: StationId = "",
    instead_of: InsteadOf = "",
    force: Annotated[bool, typer.Option("--force", help="Although a gate refuses it; noted as such.")] = False,
    config: Plant = Path("plant_config"),
    state: State = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Let a model stand where the recipes of a station name another.

    It must have looked beside the live one and passed the gates (``models.gates`` in plant.yaml). The agent loads and
    verifies it within seconds and exchanges the two between two parts; a restart does not end it. Afterwards it is
    watched, and taken back by itself when the station does worse (``models.watch``).

    Example: edge-agent models promote board/3 --station aoi-1 --why "12 weeks of shadow, 0 escapes"

    Exit codes: 0 promoted, 1 a gate refused it (the figures say which), 78 there is no such model or station.
    """
    logs.configure(level="warning", style="console")
    if not why.strip():
        raise typer.BadParameter("a reason is needed", param_hint="--why")
    at = station_of(config, state, station)
    with at.store.reader() as unit:
        made, found, results = _weighed(unit, at, name, instead_of, why)
    refused = [one for one in results if not one.passed]
    done = not refused or force
    if done:
        _promote(at, replace(made, forced=bool(refused)), results)
    at.store.close()
    typer.echo(_as_json(made, found, results, done) if as_json else "\n".join(_lines(made, found, results, done)))
    if not done:
        raise typer.Exit(1)


def rollback(
    why: Annotated[str, typer.Option(help="Why; it is kept in the audit log.")],
    station: StationId = "",
    config: Plant = Path("plant_config"),
    state: State = None,
) -> None:
    """Take the newest promotion of a station back: what stood there before stands there again, within a second.

    Example: edge-agent models rollback --station aoi-1 --why "misses scratches at the rim"

    Exit codes: 0 taken back, 1 nothing was promoted there.
    """
    if not why.strip():
        raise typer.BadParameter("a reason is needed", param_hint="--why")
    at = station_of(config, state, station)
    with at.store.unit() as unit:
        taken = take_back(unit, at.id, by=person(), action="model.rolled-back", why=why)
        unit.commit()
    at.store.close()
    if taken is None:
        typer.echo(f"nothing was promoted at {at.id}: the recipes' own models are in use", err=True)
        raise typer.Exit(1)
    typer.echo(f"{at.id}: {taken.word} is {named(taken.earlier)} again (was {named(taken.model)})")


# --- the station ----------------------------------------------------------------------------------------------------


def station_of(config: Path, state: Path | None, station_id: str) -> StationOf:
    """Raises ConfigError: no such plant, station or store."""
    configuration = load(config)
    station = _station(configuration, station_id)
    plant = configuration.plant
    store = open_store(state, None if state and not plant.store.url else config)
    with store.reader() as unit:
        recipes, _ = recall(unit, configuration, station)
    models = StationModels(
        recipes=RecipesInUse(recipes),
        folders=(models_folder(plant), own_models(state, config)),
        trusted=model_trust(configuration).check,
        load=_not_here,
        goldens=goldens(),
    )
    return StationOf(store=store, configuration=configuration, station=station, models=models)


def own_models(state: Path | None, config: Path | None = None) -> Path:
    """Models that were taught on this box or added to it: searched after the product's."""
    return state_folder(state, config).resolve() / "models"


def _station(configuration: Configuration, station_id: str) -> Station:
    there = {station.config.id: station for station in configuration.stations}
    if not station_id and len(there) == 1:
        return next(iter(there.values()))
    if station_id not in there:
        raise ConfigError(f"no station {station_id!r} in {configuration.folder}; there are: {', '.join(there)}")
    return there[station_id]


def _not_here(folder: Path) -> Detector:
    raise RuntimeError(f"{folder}: no model is loaded at the terminal")


# --- shadow ---------------------------------------------------------------------------------------------------------


def _choose(at: StationOf, name: str, instead_of: str, off: bool, why: str) -> None:
    if name and off:
        raise typer.BadParameter("a model or --off, not both")
    word = the_word(at.models, instead_of)
    ref = at.models.ref(name) if name else None
    with at.store.unit() as unit:
        live = at.live(unit, word)
        if ref == live:
            raise ConfigError(f"model {named(live)} is the one that is live at {at.id}")
        choose_shadow(unit, at.id, model=ref, word=word, by=person(), why=why, live=live)
        unit.commit()


def _case(unit: UnitOfWork, at: StationOf) -> list[str]:
    """What is live, what looks, and what it has seen."""
    lines = [f"{at.id}: {word} is {named(at.live(unit, word))}" for word in at.models.words]
    chosen = shadow_choice(unit, at.id)
    name = at.station.config.shadow.model if chosen is None else chosen["model"]
    if not name:
        return [*lines, "no model looks beside it"]
    ref = at.models.ref(name)
    counts = unit.shadow_looks.count(at.id, shadow=ref)
    same = sum(count for (live, other), count in counts.items() if live == other)
    total, missed = sum(counts.values()), dropped(unit, at.id, ref)
    return [*lines, f"{named(ref)} looks beside it: {same} of {total} parts judged alike, {missed} missed"]


# --- promote --------------------------------------------------------------------------------------------------------


def _weighed(
    unit: UnitOfWork, at: StationOf, name: str, instead_of: str, why: str
) -> tuple[Promotion, Beside, tuple[GateResult, ...]]:
    """The promotion that is asked for, what its model has shown beside the live one, and what the gates say."""
    word, model = the_word(at.models, instead_of), at.models.ref(name)
    live = at.live(unit, word)
    if model == live:
        raise ConfigError(f"model {named(model)} is live at {at.id} already")
    looks = unit.shadow_looks.list(at.id, shadow=model, live=live)
    found = beside(looks, found_by_people(unit))
    gates = Gates(**at.configuration.plant.models.gates.model_dump())
    results = judge(found, gates, at.station.config.cycle_ms)
    made = Promotion(word=word, model=model, earlier=live, by=person(), why=why, at=SystemClock().now())
    return made, found, results


def _promote(at: StationOf, made: Promotion, results: Sequence[GateResult]) -> None:
    """Write it down, unless somebody else was faster. Its looks were read before: that takes long, and others write."""
    figures = "; ".join(f"{one.name} {'passed' if one.passed else 'REFUSED'}: {one.text}" for one in results)
    with at.store.unit() as unit:
        if at.live(unit, made.word) != made.earlier:
            raise Transient(f"another model has come into use at {at.id} meanwhile; nothing was changed")
        write_down(unit, at.id, made, figures=figures)
        chosen = shadow_choice(unit, at.id)
        looking = at.station.config.shadow.model if chosen is None else chosen["model"]
        if looking and at.models.ref(looking) == made.model:
            end_shadow(unit, at.id)
        unit.commit()


def _lines(made: Promotion, found: Beside, results: Sequence[GateResult], done: bool) -> list[str]:
    lines = [
        f"{named(made.model)} beside {named(made.earlier)}: {found.parts} parts, {found.disagreements} judged "
        f"otherwise, {found.failed} failed; people have judged {found.judged_by_people} of them"
    ]
    lines += [f"  {'passed ' if one.passed else 'REFUSED'}  {one.name}: {one.text}" for one in results]
    if found.judged_by_people:
        lines.append(
            f"  the live model on the same parts: {found.live_escapes} of {found.defective} escaped, "
            f"{found.live_false_rejects} of {found.good} good ones not accepted"
        )
    verdict = (
        f"promoted: {made.word} becomes {named(made.model)}" if done else "not promoted (--force overrides the gates)"
    )
    return [*lines, verdict]


def _as_json(made: Promotion, found: Beside, results: Sequence[GateResult], done: bool) -> str:
    told: dict[str, Any] = {
        "promoted": done,
        "word": made.word,
        "model": asdict(made.model),
        "before": asdict(made.earlier),
        "beside": asdict(found),
        "gates": [asdict(one) for one in results],
    }
    return json.dumps(told)
