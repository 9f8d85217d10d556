"""The models of one station: loaded, named by its recipes, and exchanged between two parts."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from edge_agent.adapters.detectors.catalogue import own_limits, read_card, resolve
from edge_agent.domain.defect import ModelRef
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.recipe import Recipe
from edge_agent.inspecting.golden import Goldens
from edge_agent.inspecting.in_use import DetectorsInUse, RecipesInUse
from edge_agent.ports import Detector

log = structlog.get_logger(__name__)

MOST_IDLE = 2
"""Models that stay loaded without a recipe that names them: the way back is short, and memory bounded."""


class StationModels:
    """What stands where at one station.

    Args:
        recipes: in use; each change of a model is one change of these.
        folders: of models; the first that has a name wins.
        trusted: raises ConfigError for a model's folder that is not signed as it must be.
        load: the model in a folder, verified and warmed up.
    """

    def __init__(
        self,
        *,
        recipes: RecipesInUse,
        folders: tuple[Path, ...],
        trusted: Callable[[Path], object],
        load: Callable[[Path], Detector],
        goldens: Goldens,
    ) -> None:
        self.recipes = recipes
        self.detectors = DetectorsInUse()
        self._folders = folders
        self._trusted = trusted
        self._load = load
        self._goldens = goldens
        self._stand_ins: dict[str, str] = {}

    @property
    def stand_ins(self) -> Mapping[str, str]:
        """Word of the recipes to the model that stands in its place."""
        return dict(self._stand_ins)

    @property
    def words(self) -> list[str]:
        """Models as the recipes name them."""
        return sorted({recipe.model for recipe in self.recipes.values()})

    def start(self, stand_ins: Mapping[str, str]) -> None:
        """Load what the recipes and the stand-ins need. Raises ConfigError: one cannot be had."""
        for recipe in self.recipes.values():
            self._goldens.check(recipe.golden)
        self.stand(stand_ins)

    def stand(self, stand_ins: Mapping[str, str]) -> None:
        """From the next part on these models stand where the recipes name others.

        Everything is loaded first; then the recipes are exchanged in one assignment: a part is inspected with the old
        models and limits or with the new ones.

        Raises:
            ConfigError: one cannot be had; nothing has changed.
        """
        changed = {product: self._dressed(recipe, stand_ins) for product, recipe in self.recipes.items()}
        needed = {name for recipe in changed.values() for name in recipe.models}
        for name in sorted(needed - set(self.detectors)):
            self.detectors.add(name, self._loaded(name))
        self._stand_ins = dict(stand_ins)
        self.recipes.change(changed)
        self.detectors.keep(needed, most_others=MOST_IDLE)

    def is_in_order(self) -> bool:
        """Do all recipes look with what stands for them? One that was changed meanwhile may not."""
        return all(recipe.stand_in == self._stand_ins.get(recipe.model, "") for recipe in self.recipes.values())

    def fit(self, recipe: Recipe) -> Recipe:
        """A recipe as the station at work can use it: with the models it has loaded, its golden image read.

        Raises:
            ConfigError: it needs another model or version, or its golden image cannot be used.
        """
        dressed = self._dressed(recipe, self._stand_ins)
        for name in dressed.models:
            if name not in self.detectors:
                there = ", ".join(self.detectors)
                raise ConfigError(f"model {name!r} is not loaded; there are: {there}; a restart loads it")
            found, loaded = self.ref(name), self.detectors[name].ref
            if found.version != loaded.version:
                text = f"model {name!r} is now version {found.version}, {loaded.version} is loaded; restart"
                raise ConfigError(text)
        self._goldens.check(recipe.golden)
        return dressed

    def imagined(self, recipe: Recipe, name: str) -> Recipe:
        """A recipe as it would be with this model in place of its own."""
        return self._dressed(recipe, {recipe.model: name})

    def live(self, word: str) -> ModelRef:
        """The model that looks where recipes say ``word``."""
        return self.detectors[self._stand_ins.get(word, word)].ref

    def folder(self, name: str) -> Path:
        """Where a model is. Raises ConfigError: nowhere, or it is not signed as it must be."""
        found = resolve(self._folders[0], name, *self._folders[1:])
        self._trusted(found)
        return found

    def ref(self, name: str) -> ModelRef:
        """Which model a name means now. Raises ConfigError: none."""
        card = read_card(self.folder(name))
        return ModelRef(name=card.name, version=card.version, sha256=card.sha256)

    def _loaded(self, name: str) -> Detector:
        """The very model whose signature was checked: its card could have been changed since."""
        ref, made = self.ref(name), self._load(self.folder(name))
        if made.ref != ref:
            raise ConfigError(f"model {name} was changed while it was loaded: {ref} became {made.ref}")
        return made

    def _dressed(self, recipe: Recipe, stand_ins: Mapping[str, str]) -> Recipe:
        """With the stand-in, and the thresholds that its models bring (taught ones do) where it sets none itself."""
        found = with_stand_in(recipe, stand_ins.get(recipe.model, ""))
        for name in found.models:
            found = found.completed(own_limits(read_card(self.folder(name))))
        return found


def with_stand_in(recipe: Recipe, name: str) -> Recipe:
    """The recipe as it was written, with this model in place of its own."""
    return replace(recipe.as_written, stand_in=name)
