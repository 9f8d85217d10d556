"""The diagnosis, and the fit of its weights, each in a process of its own (docs/adr/0009)."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.sentences.minilm import MiniLm
from edge_agent.adapters.store.codec import decode, encode
from edge_agent.adapters.store.database import Database
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.faults import Transient
from edge_agent.learning.refit import Refit
from edge_agent.responding.settings import Settings
from edge_agent.responding.working_out import Step
from edge_agent.runtime.children import Child, ChildFault

log = structlog.get_logger(__name__)

DEADLINE_S = 30.0
"""For one step of the diagnosis; a hundred parts and their evidence take a fraction of a second."""
START_S = 120.0
"""On top, for its start: two seconds of imports, which take a minute where others use the processor and it is nice."""
FIT_DEADLINE_S = 120.0
NICE = 5
"""An order can wait a second; parts on the line cannot. Less nice than the printer: evidence comes first."""
MAX_RSS_MB = 700
"""It needs about 120 MB; an incident of 10,000 parts some more."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""The libraries' own threads would take the inspection's cores."""


class _Servant:
    """A child that can be closed and comes again with the next call, and whose bugs cost a try, not the agent."""

    def __init__(self, target: str, arguments: Mapping[str, Any], *, name: str) -> None:
        self._make: Callable[[], Child] = lambda: Child(
            target, arguments, name=name, nice=NICE, max_rss_mb=MAX_RSS_MB, environment=ONE_THREAD, start_s=START_S
        )
        self._name = name
        self._child: Child | None = None

    def ask(self, method: str, payload: Mapping[str, Any], timeout_s: float) -> Any:
        """Raises Transient: too late, died, or a bug in there, which is logged."""
        self._child = child = self._child or self._make()
        try:
            return child.call(method, payload, timeout_s)
        except ChildFault as error:
            log.error("bug in a process of its own", child=self._name, error=str(error))
            raise Transient(str(error).partition("\n")[0]) from error

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._child.pid if self._child is not None else None

    def close(self) -> None:
        """End it, also during a call (which raises Transient). Safe to call twice."""
        child, self._child = self._child, None
        if child is not None:
            child.close()


class DiagnosisProcess:
    """Works the responder's steps out. One call at a time.

    Args:
        store_url: the database; the process reads it with a connection of its own.
    """

    def __init__(self, *, store_url: str, catalogue: Catalogue, settings: Settings) -> None:
        self._servant = _Servant(
            "edge_agent.responding.diagnostician:Diagnostician",
            {
                "open_store": Database,
                "store_url": store_url,
                "clock": SystemClock,
                "catalogue": catalogue,
                "settings": settings,
                "encode": encode,
                "open_sentences": MiniLm if settings.sentence_model else None,
            },
            name="diagnosis",
        )

    def work_out(self) -> Step | None:
        """The next step after the store's cursor. Raises Transient: the process was late, died or made no sense."""
        text = self._servant.ask("work_out", {}, DEADLINE_S)
        step: Step | None = None if text is None else _understood(Step, text)
        return step

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._servant.pid

    def close(self) -> None:
        """End the process; a later call starts a new one."""
        self._servant.close()


class FittingProcess:
    """Refits the ranking's weights. The process lives for one fit: there are a few a day, and each takes seconds."""

    def __init__(self) -> None:
        self._servant = _Servant("edge_agent.learning.fitter:Fitter", {"encode": encode}, name="fit of weights")

    def refit(self, *arguments: Any, **named: Any) -> Refit:
        """`edge_agent.learning.refit.refit`. Raises Transient: the process was late or died."""
        try:
            payload = {"arguments": arguments, "named": named}
            fitted: Refit = _understood(Refit, self._servant.ask("refit", payload, FIT_DEADLINE_S))
            return fitted
        finally:
            self.close()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._servant.pid

    def close(self) -> None:
        """End a fit that is under way."""
        self._servant.close()


def _understood(kind: type[Any], text: Any) -> Any:
    try:
        return decode(kind, text)
    except (ValueError, TypeError) as error:
        raise Transient(f"the answer is no {kind.__name__}: {error}") from error
