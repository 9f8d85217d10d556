"""The inside of the diagnosis's own process: reads the store, works out a step, writes nothing.

Evidence is arithmetic in Python; in the agent's process it would share the interpreter with the inspection, and
parts would be answered late while an incident is diagnosed (docs/adr/0009).
"""

from collections.abc import Callable
from pathlib import Path

import structlog

from edge_agent.domain.cause import Catalogue
from edge_agent.domain.faults import ConfigError
from edge_agent.ports import Clock, SentenceModel, Store
from edge_agent.responding.settings import Settings
from edge_agent.responding.similarity import BySentences, ByWords, Similar
from edge_agent.responding.working_out import Step, WorkingOut

log = structlog.get_logger(__name__)


class Diagnostician:
    """Answers calls of `edge_agent.runtime.children.Child`.

    Args:
        open_store: makes the store from its URL; a class, because what comes here was pickled.
        clock: makes the clock.
        encode: a step as JSON text.
        open_sentences: makes the sentence model from its folder; None: similar cases are found by their words.
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
        open_sentences: Callable[[Path], SentenceModel] | None = None,
    ) -> None:
        self._clock = clock()
        self._store = open_store(store_url, clock=self._clock)
        self._catalogue = catalogue
        self._settings = settings
        self._encode = encode
        self._similar = _similar(open_sentences, settings.sentence_model)

    def work_out(self) -> str | None:
        """The next step, or None when there is nothing new."""
        with self._store.reader() as uow:
            step = WorkingOut(
                uow,
                catalogue=self._catalogue,
                settings=self._settings,
                clock=self._clock,
                similar=self._similar,
            ).step()
        return None if step is None else self._encode(step)


def _similar(opened: Callable[[Path], SentenceModel] | None, folder: Path | None) -> Similar:
    """By meaning where there is a model; one that cannot be had costs its meaning, not the diagnosis."""
    if opened is None or folder is None:
        return ByWords()
    try:
        return BySentences(opened(folder))
    except ConfigError as error:
        log.error("similar cases are found by their words", error=str(error))
        return ByWords()
