"""Commands that change how the box inspects: ``recipe`` and ``config-reload``.

Everything is read and checked before anything is changed, and outside the transaction in which the reply is written.
A recipe that was chosen by a command is remembered: a restart does not end it.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from edge_agent.config import Configuration, load
from edge_agent.config.catalogue import load_catalogue
from edge_agent.config.load import InvalidConfiguration, Station, load_recipe
from edge_agent.contract import inbound, payloads
from edge_agent.contract.commands import INVALID_REQUEST, UNABLE, UNKNOWN_ID, CommandOutcome, Deed, Verb, refused
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.recipe import Recipe
from edge_agent.inspecting.in_use import RecipesInUse
from edge_agent.ports import UnitOfWork

log = structlog.get_logger(__name__)

MAX_LISTED = 50
"""Problems at most in one reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changeable:
    """A station whose recipes may be changed while it works.

    Attributes:
        fit: the recipe as the station can use it (its model's own limits, its golden image read); raises ConfigError
            when it cannot.
    """

    station: Station
    in_use: RecipesInUse
    fit: Callable[[Recipe], Recipe]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One recipe that is to be used from now on. ``chosen`` is what is remembered: None forgets an earlier choice."""

    at: Changeable
    product_id: str
    recipe: Recipe
    chosen: Mapping[str, Any] | None = None

    @property
    def subject(self) -> str:
        """For the audit log."""
        return f"recipe:{self.at.station.config.id}/{self.product_id}"

    def told(self) -> dict[str, Any]:
        """Before and after, for the reply."""
        before = self.at.in_use[self.product_id]
        names = {"stationId": self.at.station.config.id, "productId": self.product_id}
        return names | {"before": reference(before), "after": reference(self.recipe)}


class Refused(Exception):
    """It cannot be done; carries the reply."""

    def __init__(self, return_status: int, detail: str) -> None:
        super().__init__(detail)
        self.outcome = CommandOutcome.rejected(return_status, detail)


class Changes:
    """The two commands.

    Args:
        changed: called after a change took effect.
    """

    def __init__(
        self, configuration: Configuration, stations: Mapping[str, Changeable], *, changed: Callable[[], object]
    ) -> None:
        self._configuration = configuration
        self._stations = stations
        self._changed = changed
        self._files = dict(all_files(configuration))

    def verbs(self) -> dict[str, Verb]:
        """For the table of commands."""
        return {
            "recipe": Verb(run=refused, prepare=self.recipe),
            "config-reload": Verb(run=refused, prepare=self.reload),
        }

    # --- recipe -----------------------------------------------------------------------------------------------------

    def recipe(self, request: inbound.CommandRequest) -> Deed:
        """Another recipe for a product: found among the files beside the station's own, checked, then used."""
        try:
            args = inbound.args(payloads.RecipeArgs, request)
            change = self._asked(args, request.requested_by or "the plant")
        except inbound.InvalidMessage as error:
            return _only(CommandOutcome.rejected(INVALID_REQUEST, error.detail))
        except Refused as error:
            return _only(error.outcome)
        return lambda unit, _request: self._made(unit, [change], {}, self._files)

    def _asked(self, args: payloads.RecipeArgs, by: str) -> Change:
        at = self._meant(args.station_id)
        if args.product_id not in at.in_use:
            text = f"station {at.station.config.id!r} has no product {args.product_id!r}; it has {_list(at.in_use)}"
            raise Refused(UNKNOWN_ID, text)
        if args.recipe_id is None:
            recipe, chosen = self._configured(at, args.product_id), None
        else:
            file, recipe = _the_one(candidates(self._configuration, at.station), args)
            chosen = {"file": str(file), "sha256": recipe.ref.sha256, "by": by}
        return Change(at=at, product_id=args.product_id, recipe=_fitted(at, recipe), chosen=chosen)

    def _meant(self, station_id: str | None) -> Changeable:
        if station_id is None and len(self._stations) == 1:
            return next(iter(self._stations.values()))
        if station_id is None or station_id not in self._stations:
            raise Refused(UNKNOWN_ID, f"no station {station_id!r}; there are: {_list(self._stations)}")
        return self._stations[station_id]

    def _configured(self, at: Changeable, product_id: str) -> Recipe:
        try:
            return load_recipe(self._configuration.resolve(at.station.config.recipes[product_id]))
        except ConfigError as error:
            raise Refused(UNABLE, str(error)) from error

    # --- config-reload ----------------------------------------------------------------------------------------------

    def reload(self, request: inbound.CommandRequest) -> Deed:
        """Check all files as at a start; then use changed recipes, and say what needs a restart."""
        try:
            args = inbound.args(payloads.ReloadArgs, request)
            found = load(Path(next(iter(self._configuration.files))))
            load_catalogue(found.resolve(found.plant.diagnosis.catalogue))
            files = dict(all_files(found))
        except inbound.InvalidMessage as error:
            return _only(CommandOutcome.rejected(INVALID_REQUEST, error.detail))
        except InvalidConfiguration as error:
            return _only(_problems(error, self._configuration.folder))
        except (ConfigError, OSError) as error:
            return _only(CommandOutcome.rejected(UNABLE, str(error)))
        return lambda unit, _request: self._reloaded(unit, found, files, apply=args.apply)

    def _reloaded(
        self, unit: UnitOfWork, found: Configuration, files: Mapping[str, str], *, apply: bool
    ) -> CommandOutcome:
        touched = {name for name in files.keys() | self._files.keys() if files.get(name) != self._files.get(name)}
        try:
            changes, kept, live = self._changed_recipes(unit, found, touched)
        except Refused as error:
            return error.outcome
        restart = sorted(_named(name, self._configuration.folder) for name in touched - live)
        more = {"needsRestart": restart, "keptByCommand": kept, "checkedOnly": not apply}
        if not apply:
            told = f"no mistakes; {len(changes)} recipes could be used at once, {len(restart)} files need a restart"
            result = {"recipes": [change.told() for change in changes], **more}
            return CommandOutcome(status="done", detail=told, result=result)
        now = {name: sha256 for name, sha256 in files.items() if name in live}
        return self._made(unit, changes, more, self._files | now)

    def _changed_recipes(
        self, unit: UnitOfWork, found: Configuration, touched: set[str]
    ) -> tuple[list[Change], list[str], set[str]]:
        """What can be used at once, what a command's choice keeps away, and the files that need no restart."""
        changes: list[Change] = []
        kept: list[str] = []
        live: set[str] = set()
        for station in found.stations:
            at = self._stations.get(station.config.id)
            if at is None or str(station.file) in touched:
                continue  # a station that is new or was changed itself is built at the start
            for product, recipe in station.recipes.items():
                file = str(found.resolve(station.config.recipes[product]))
                if file not in touched:
                    continue
                live.add(file)
                if unit.facts.get(fact(station.config.id, product)):
                    kept.append(f"{station.config.id}/{product}")
                else:
                    changes.append(Change(at=at, product_id=product, recipe=_fitted(at, recipe)))
        return changes, kept, live

    # --- both -------------------------------------------------------------------------------------------------------

    def _made(
        self, unit: UnitOfWork, changes: list[Change], more: Mapping[str, Any], files: Mapping[str, str]
    ) -> CommandOutcome:
        told = [change.told() for change in changes]
        for change in changes:
            unit.facts.set(fact(change.at.station.config.id, change.product_id), change.chosen)
        restart = more.get("needsRestart", [])
        sentence = "; ".join(_sentence(one) for one in told) or "no recipe has changed"
        return CommandOutcome(
            status="done",
            detail=sentence + (f"; a restart is needed for {_list(restart)}" if restart else ""),
            result={"recipes": told, **more},
            subjects=tuple(change.subject for change in changes),
            then=lambda: self._apply(changes, files),
        )

    def _apply(self, changes: list[Change], files: Mapping[str, str]) -> None:
        self._files = dict(files)
        for change in changes:
            change.at.in_use.change({change.product_id: change.recipe})
            log.warning("recipe changed", subject=change.subject, recipe=reference(change.recipe))
        if changes:
            self._changed()


def recall(unit: UnitOfWork, configuration: Configuration, station: Station) -> tuple[dict[str, Recipe], str]:
    """The station's recipes as commands left them, and what is wrong (the configured ones stand in its place)."""
    recipes, wrong = dict(station.recipes), []
    for product in station.recipes:
        chosen = unit.facts.get(fact(station.config.id, product))
        if not chosen:
            continue
        try:
            recipe = load_recipe(Path(chosen["file"]))
        except ConfigError as error:
            wrong.append(f"{product}: {error}")
            continue
        if recipe.ref.sha256 != chosen["sha256"] or recipe.product_id != product:
            wrong.append(f"{product}: {chosen['file']} is another one than {chosen['by']} chose")
        else:
            recipes[product] = recipe
    text = "the recipe that was chosen by a command cannot be had: " + "; ".join(wrong)
    return recipes, text if wrong else ""


def candidates(configuration: Configuration, station: Station) -> Iterator[tuple[Path, Recipe]]:
    """Every sound recipe file beside those that the station's file names."""
    folders = {configuration.resolve(path).parent for path in station.config.recipes.values()}
    for file in sorted(file for folder in folders for file in folder.glob("*.yaml")):
        try:
            yield file, load_recipe(file)
        except ConfigError:  # another kind of file, or one that is being written: it cannot be chosen
            continue


def all_files(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """Every file that was read and its sha256, the catalogue among them.

    Raises:
        OSError: the catalogue cannot be read any more.
    """
    yield from configuration.files.items()
    catalogue = configuration.resolve(configuration.plant.diagnosis.catalogue)
    yield str(catalogue), hashlib.sha256(catalogue.read_bytes()).hexdigest()


def reference(recipe: Recipe) -> dict[str, Any]:
    """Which recipe, exactly; for replies."""
    return {"id": recipe.ref.recipe_id, "version": recipe.ref.version, "sha256": recipe.ref.sha256}


def fact(station_id: str, product_id: str) -> str:
    """Under which a choice is remembered."""
    return f"recipe:{station_id}:{product_id}"


def _the_one(found: Iterator[tuple[Path, Recipe]], args: payloads.RecipeArgs) -> tuple[Path, Recipe]:
    of_product = [(file, recipe) for file, recipe in found if recipe.product_id == args.product_id]
    known = _list({f"{recipe.ref.recipe_id}/{recipe.ref.version}" for _, recipe in of_product})
    fitting = [(file, recipe) for file, recipe in of_product if recipe.ref.recipe_id == args.recipe_id]
    version = args.version or max((recipe.ref.version for _, recipe in fitting), default=0)
    fitting = [(file, recipe) for file, recipe in fitting if recipe.ref.version == version]
    if not fitting:
        raise Refused(UNKNOWN_ID, f"no recipe {args.recipe_id}/{args.version or 'any'}; there are: {known or 'none'}")
    if len(fitting) > 1:
        raise Refused(UNABLE, f"{args.recipe_id}/{version} is in several files: {_list(f.name for f, _ in fitting)}")
    file, recipe = fitting[0]
    if args.sha256 not in (None, recipe.ref.sha256):
        raise Refused(UNABLE, f"{file.name} has another content: sha256 {recipe.ref.sha256}")
    return file, recipe


def _fitted(at: Changeable, recipe: Recipe) -> Recipe:
    try:
        return at.fit(recipe)
    except ConfigError as error:
        name = f"{recipe.ref.recipe_id}/{recipe.ref.version}"
        raise Refused(UNABLE, f"recipe {name} cannot be used at {at.station.config.id}: {error}") from error


def _problems(error: InvalidConfiguration, folder: Path) -> CommandOutcome:
    listed = [
        {"file": _named(str(one.file), folder), "line": one.line, "key": one.key, "message": one.message}
        for one in error.problems[:MAX_LISTED]
    ]
    return CommandOutcome(
        status="rejected",
        return_status=UNABLE,
        detail=f"the configuration has {len(error.problems)} problems; the box goes on as it was",
        result={"problems": listed},
    )


def _sentence(told: Mapping[str, Any]) -> str:
    before, after = (f"{one['id']}/{one['version']}" for one in (told["before"], told["after"]))
    return f"{told['stationId']}: {told['productId']} with {after} (was {before})"


def _named(file: str, folder: Path) -> str:
    """As the plant names it, not where it happens to lie."""
    path = Path(file)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name


def _list(names: Any) -> str:
    return ", ".join(sorted(map(str, names)))


def _only(outcome: CommandOutcome) -> Deed:
    return lambda _unit, _request: outcome
