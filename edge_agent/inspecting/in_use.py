"""The recipes and models a station inspects with; they may be changed between two parts."""

from collections.abc import Iterable, Iterator, Mapping

from edge_agent.domain.recipe import Recipe
from edge_agent.ports import Detector


class RecipesInUse(Mapping[str, Recipe]):
    """Product id to recipe. A change is one assignment: a part is inspected with the old recipe or with the new one.

    The products stay the same: triggers and PLC handshakes were told of them at the start.
    """

    def __init__(self, recipes: Mapping[str, Recipe]) -> None:
        self._recipes = dict(recipes)

    def __getitem__(self, product_id: str) -> Recipe:
        return self._recipes[product_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)

    def change(self, recipes: Mapping[str, Recipe]) -> None:
        """From the next part on these are used in place of the ones for the same products."""
        self._recipes = self._recipes | dict(recipes)


class DetectorsInUse(Mapping[str, Detector]):
    """Model name to its detector, loaded and warmed up. One is here before the first recipe that needs it is used."""

    def __init__(self, detectors: Mapping[str, Detector] | None = None) -> None:
        self._detectors = dict(detectors or {})

    def __getitem__(self, name: str) -> Detector:
        return self._detectors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._detectors)

    def __len__(self) -> int:
        return len(self._detectors)

    def add(self, name: str, detector: Detector) -> None:
        """From now on recipes may name it."""
        self._detectors = self._detectors | {name: detector}

    def keep(self, names: Iterable[str], *, most_others: int) -> None:
        """Let go of what is not among these names, but for the newest few: a recipe may just be on its way to one."""
        named = frozenset(names)
        others = [name for name in self._detectors if name not in named]
        gone = frozenset(others[: max(0, len(others) - most_others)])
        self._detectors = {name: one for name, one in self._detectors.items() if name not in gone}
