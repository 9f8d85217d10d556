"""One transaction over all repositories."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from edge_agent.adapters.store.analyses import SqlAnalyses
from edge_agent.adapters.store.answers import SqlAnswers
from edge_agent.adapters.store.audit import SqlAudit
from edge_agent.adapters.store.documents import SqlDocuments, SqlFacts
from edge_agent.adapters.store.inbox import SqlInbox
from edge_agent.adapters.store.incidents import SqlIncidents
from edge_agent.adapters.store.inspections import SqlInspections
from edge_agent.adapters.store.orders import SqlOrders
from edge_agent.adapters.store.outbox import SqlOutbox
from edge_agent.adapters.store.plant import SqlPlantRecords
from edge_agent.adapters.store.session import Session
from edge_agent.adapters.store.shadow_looks import SqlShadowLooks
from edge_agent.adapters.store.steps import SqlSteps

if TYPE_CHECKING:
    from edge_agent.adapters.store.database import Database


class SqlUnit:
    """Implements ``ports.UnitOfWork``. Nothing touches the database before the block is entered."""

    def __init__(self, database: "Database", *, writing: bool, durable: bool) -> None:
        self._database = database
        self._writing = writing
        self._durable = durable
        self._entered: Session | None = None

    def __enter__(self) -> Self:
        if self._entered is not None:
            raise RuntimeError("a unit of work is entered once")
        self._entered = self._database.begin(writing=self._writing, durable=self._durable)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._entered = self._session, None
        self._database.end(session, writing=self._writing)

    def commit(self) -> None:
        """Raises Transient (disk full, database away): nothing was written."""
        if not self._writing:
            raise RuntimeError("a reader has nothing to commit")
        self._database.commit(self._session)

    def rollback(self) -> None:
        """Forget what was written since the block began or the last commit."""
        self._session.rollback()

    @property
    def _session(self) -> Session:
        if self._entered is None:
            raise RuntimeError("use a unit of work inside its with block")
        return self._entered

    @property
    def inspections(self) -> SqlInspections:
        return SqlInspections(self._session)

    @property
    def plant(self) -> SqlPlantRecords:
        return SqlPlantRecords(self._session, samples_per_signal=self._database.samples_per_signal)

    @property
    def incidents(self) -> SqlIncidents:
        return SqlIncidents(self._session)

    @property
    def analyses(self) -> SqlAnalyses:
        return SqlAnalyses(self._session)

    @property
    def orders(self) -> SqlOrders:
        return SqlOrders(self._session)

    @property
    def answers(self) -> SqlAnswers:
        return SqlAnswers(self._session)

    @property
    def outbox(self) -> SqlOutbox:
        return SqlOutbox(self._session)

    @property
    def inbox(self) -> SqlInbox:
        return SqlInbox(self._session)

    @property
    def documents(self) -> SqlDocuments:
        return SqlDocuments(self._session)

    @property
    def facts(self) -> SqlFacts:
        return SqlFacts(self._session)

    @property
    def steps(self) -> SqlSteps:
        return SqlSteps(self._session)

    @property
    def shadow_looks(self) -> SqlShadowLooks:
        return SqlShadowLooks(self._session)

    @property
    def audit(self) -> SqlAudit:
        return SqlAudit(self._session)
