"""The recipes a station inspects with; they may be changed between two parts."""

from collections.abc import Iterator, Mapping

from edge_agent.domain.recipe import Recipe


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
