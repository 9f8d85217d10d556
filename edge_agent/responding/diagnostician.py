"""The inside of the diagnosis's own process: reads the store, works out a step, writes nothing.

Evidence is arithmetic in Python; in the agent's process it would share the interpreter with the inspection, and
parts would be answered late while an incident is diagnosed (docs/adr/0009).
"""

from collections.abc import Callable

from edge_agent.domain.cause import Catalogue
from edge_agent.ports import Clock, Store
from edge_agent.responding.settings import Settings
from edge_agent.responding.working_out import Step, WorkingOut


class Diagnostician:
    """Answers calls of `edge_agent.runtime.children.Child`.

    Args:
        open_store: makes the store from its URL; a class, because what comes here was pickled.
        clock: makes the clock.
        encode: a step as JSON text.
    """

    def __init__(
        self,
        *,
        open_store: Callable[..., Store],
        store_url: str,
        clock: Callable[[], Clock],
        catalogue: Catalogue,
        settings: Settings,
        encode: Callable[[Step], str],
    ) -> None:
        self._clock = clock()
        self._store = open_store(store_url, clock=self._clock)
        self._catalogue = catalogue
        self._settings = settings
        self._encode = encode

    def work_out(self) -> str | None:
        """The next step, or None when there is nothing new."""
        with self._store.reader() as uow:
            step = WorkingOut(uow, catalogue=self._catalogue, settings=self._settings, clock=self._clock).step()
        return None if step is None else self._encode(step)
