"""The store: units of work over one database."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, ExceptionContext, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from edge_agent.adapters.store.plant import SAMPLES_PER_SIGNAL
from edge_agent.adapters.store.postgres import Postgres
from edge_agent.adapters.store.session import NOTHING_OUTGOING, Session
from edge_agent.adapters.store.sqlite import Sqlite
from edge_agent.adapters.store.unit import SqlUnit
from edge_agent.adapters.store.writer_lock import WriterLock
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.ports import Clock

WRITER_TIMEOUT_S = 30.0
FILE_NAME = "edge-agent.sqlite3"


class Backend(Protocol):
    """What differs between databases."""

    @property
    def place(self) -> str: ...
    def prepare(self) -> None: ...
    def writer(self) -> Engine: ...
    def reader(self) -> Engine: ...
    def set_durable(self, connection: Connection, durable: bool) -> None: ...
    def is_lost(self, connection: Connection) -> bool: ...
    def fault(self, error: BaseException | None) -> Exception | None: ...
    def backup(self, target: Path) -> None: ...


def sqlite_url(state_dir: Path) -> str:
    """The URL of the default database in the state folder."""
    return f"sqlite:///{state_dir.absolute() / FILE_NAME}"


class Database:
    """Implements ``ports.Store``.

    One writer: units wait their turn, first come, first served. Readers see the snapshot of their first query and
    never wait for the writer. Driver errors come out as ConfigError or Transient; what remains is a bug.
    """

    def __init__(self, url: str, *, clock: Clock, samples_per_signal: int = SAMPLES_PER_SIGNAL) -> None:
        """Connects to nothing yet. Raises ConfigError: the URL is not one of ours."""
        self.samples_per_signal = samples_per_signal
        self._clock = clock
        self._backend = _backend(url)
        self._lock = WriterLock()
        self._when_outgoing: list[Callable[[int], None]] = []
        self._writer = self._listened(self._backend.writer())
        self._reader = self._listened(self._backend.reader())

    @property
    def place(self) -> str:
        """Where the rows are, for people (no password)."""
        return self._backend.place

    def migrate(self) -> None:
        """Bring the schema up to date. Raises ConfigError (made by a newer version, read-only)."""
        from edge_agent.adapters.store.migrate import upgrade

        self._backend.prepare()
        session = self.begin(writing=True, durable=True)
        try:
            if upgrade(session.connection, self.place):
                session.connection.commit()
        finally:
            self.end(session, writing=True)

    def unit(self, *, durable: bool = True) -> SqlUnit:
        """A writing transaction. ``durable`` waits for the disk; else a power cut may lose the last ones."""
        return SqlUnit(self, writing=True, durable=durable)

    def reader(self) -> SqlUnit:
        """A reading snapshot; `commit` on it raises."""
        return SqlUnit(self, writing=False, durable=False)

    def when_outgoing(self, wake: Callable[[int], None]) -> None:
        """Call this after each commit of this process that added to the outbox, with the lowest lane it added to."""
        self._when_outgoing.append(wake)

    def backup(self, target: Path) -> None:
        """A consistent copy, while others write. Raises Transient (disk full), ConfigError (not with this database)."""
        self._backend.backup(target)

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._reader.dispose()
        self._writer.dispose()

    def begin(self, *, writing: bool, durable: bool) -> Session:
        """For `SqlUnit`: wait for the turn (when writing) and begin."""
        if not writing:
            return Session(_connect(self._reader), self._clock, writing=False)
        if not self._lock.acquire(WRITER_TIMEOUT_S):
            raise Transient(f"{self.place}: another unit of work has been writing for {WRITER_TIMEOUT_S:.0f} s")
        try:
            return Session(self._begin_writing(durable), self._clock, writing=True)
        except BaseException:
            self._lock.release()
            raise

    def commit(self, session: Session) -> None:
        """For `SqlUnit`: all or nothing; after a failure the unit stands at its beginning."""
        try:
            if self._backend.is_lost(session.connection):
                raise Transient(f"{self.place}: an earlier error has rolled the transaction back; nothing was written")
            session.flush()
            session.connection.commit()
        except BaseException:
            session.rollback()
            raise
        lane, session.outgoing = session.outgoing, NOTHING_OUTGOING
        if lane != NOTHING_OUTGOING:
            for wake in self._when_outgoing:
                wake(lane)

    def end(self, session: Session, *, writing: bool) -> None:
        """For `SqlUnit`: roll back what was not committed, and let the next one write."""
        try:
            session.connection.close()
        finally:
            if writing:
                self._lock.release()

    def _begin_writing(self, durable: bool) -> Connection:
        connection = _connect(self._writer)
        try:
            self._backend.set_durable(connection, durable)
            connection.begin()
        except BaseException:
            connection.close()
            raise
        return connection

    def _listened(self, engine: Engine) -> Engine:
        event.listen(engine, "handle_error", self._translate)
        return engine

    def _translate(self, context: ExceptionContext) -> None:
        fault = self._backend.fault(context.original_exception)
        if fault is not None:
            raise fault from context.original_exception


def _connect(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except PoolTimeout as error:
        raise Transient(f"all connections to the database are busy: {error}") from error


def _backend(url: str) -> Backend:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(f"store url: {error}") from error
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return Sqlite(parsed)
    if parsed.drivername == "postgresql+psycopg":
        return Postgres(parsed)
    raise ConfigError(f"store url: {parsed.drivername} is not known; use sqlite:///FILE or postgresql+psycopg://...")
