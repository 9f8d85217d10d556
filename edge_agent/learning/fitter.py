"""The inside of the process that refits the weights: seconds of arithmetic, away from the inspection."""

from collections.abc import Callable
from typing import Any

from edge_agent.learning.refit import Refit, refit


class Fitter:
    """Answers calls of `edge_agent.runtime.children.Child`.

    Args:
        encode: a fit as JSON text.
    """

    def __init__(self, *, encode: Callable[[Refit], str]) -> None:
        self._encode = encode

    def refit(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> str:
        """`edge_agent.learning.refit.refit`."""
        return self._encode(refit(*arguments, **named))
