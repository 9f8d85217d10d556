"""SQLite: connections, transactions, and what its errors mean for the caller."""

import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from edge_agent.domain.faults import ConfigError, Transient

BUSY_TIMEOUT_MS = 5_000
READERS = 8

_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -2000",  # KiB for each connection: the pages are in the system's cache anyway
    "PRAGMA journal_size_limit = 67108864",
)
_PRIMARY_CODE = 0xFF
_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL}


class Sqlite:
    """A database file: one writing connection, a few reading ones."""

    def __init__(self, url: URL) -> None:
        """Raises ConfigError: no file is named (each connection would have a database of its own)."""
        if url.database in (None, "", ":memory:"):
            raise ConfigError(f"store url {url}: a file is needed, e.g. sqlite:///state/edge-agent.sqlite3")
        self.path = Path(str(url.database)).absolute()
        self._url = url.set(database=str(self.path))

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return str(self.path)

    def prepare(self) -> None:
        """Make the folder. Raises ConfigError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make the folder of the database {self.path}: {error}") from error

    def writer(self) -> Engine:
        """The engine of the one writing connection."""
        engine = self._engine(readers=0)
        event.listen(engine, "connect", _set_up_writer)
        event.listen(engine, "begin", _begin_writing)
        return engine

    def reader(self) -> Engine:
        """The engine of the reading connections; each transaction is a snapshot."""
        engine = self._engine(readers=READERS)
        event.listen(engine, "connect", _set_up_reader)
        event.listen(engine, "begin", _begin_reading)
        return engine

    def set_durable(self, connection: Connection, durable: bool) -> None:
        """Choose, before the transaction begins, whether its commit waits for the disk."""
        raw = connection.connection
        level = "FULL" if durable else "NORMAL"
        if raw.info.get("synchronous") != level:
            raw.cursor().execute(f"PRAGMA synchronous = {level}")
            raw.info["synchronous"] = level

    def is_lost(self, connection: Connection) -> bool:
        """Has SQLite rolled the transaction back by itself (it does on some errors)?"""
        raw: Any = connection.connection.dbapi_connection
        return connection.in_transaction() and not raw.in_transaction

    def fault(self, error: BaseException | None) -> Exception | None:
        """What an error of the driver means for the caller; None: a bug of ours."""
        if not isinstance(error, sqlite3.Error):
            return None
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            return None
        return self._fault(code & _PRIMARY_CODE, f"{self.path}: {error} ({error.sqlite_errorname})")

    def backup(self, target: Path) -> None:
        """A consistent, compacted and checked copy, while others write.

        Raises:
            Transient: the copy cannot be made now (disk full).
        """
        part = target.with_name(target.name + ".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            self._copy(part)
            _sync(part)
            part.replace(target)
            _sync(target.parent)
        except OSError as error:
            raise Transient(f"cannot write the backup {target}: {error}") from error
        except sqlite3.Error as error:
            raise self._backup_fault(error, target) from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _copy(self, part: Path) -> None:
        source = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            source.execute("VACUUM INTO ?", (str(part),))
        finally:
            source.close()
        copy = sqlite3.connect(part)
        try:
            (answer,) = copy.execute("PRAGMA quick_check").fetchone()
        finally:
            copy.close()
        if answer != "ok":
            raise ConfigError(f"the backup of {self.path} fails its check: {answer}; the database is damaged")

    def _backup_fault(self, error: sqlite3.Error, target: Path) -> Exception:
        fault = self.fault(error)
        if isinstance(fault, ConfigError):
            return fault
        return Transient(f"cannot write the backup {target} of {self.path}: {error}; is there room on its disk?")

    def _engine(self, *, readers: int) -> Engine:
        return create_engine(
            self._url,
            poolclass=QueuePool,
            pool_size=max(readers, 1),
            max_overflow=0,
            hide_parameters=True,
            pool_timeout=10,
            connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1_000},
        )

    def _fault(self, code: int, text: str) -> Exception | None:
        if code == sqlite3.SQLITE_FULL:
            return Transient(f"disk full, nothing was written: {text}; {self._free()}; free space on this disk")
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
            return Transient(f"the database could not be read or written: {text}; {self._free()}; check the disk")
        if code in _BUSY:
            return Transient(f"another program holds the database: {text}")
        if code in _READ_ONLY:
            return ConfigError(
                f"the database cannot be opened for writing: {text}; the file and its folder must be writable by "
                "this user, and the disk mounted read-write"
            )
        if code in _BROKEN:
            return ConfigError(
                f"the database is damaged: {text}; stop the agent, move the file away (keep it), "
                "and put the last backup in its place"
            )
        if "no such table" in text:
            return ConfigError(f"the database has no tables yet, or not ours: {text}; run the migration first")
        return None

    def _free(self) -> str:
        try:
            return f"{shutil.disk_usage(self.path.parent).free / 2**20:.1f} MiB are free"
        except OSError as error:
            return f"free space unknown: {error}"


def _sync(path: Path) -> None:
    """VACUUM INTO leaves the writing to the operating system; a backup must survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_up(raw: sqlite3.Connection) -> None:
    raw.isolation_level = None  # we say BEGIN ourselves
    for pragma in _PRAGMAS:
        raw.execute(pragma)


def _set_up_writer(raw: Any, record: Any) -> None:
    _set_up(raw)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    record.info["synchronous"] = "FULL"


def _set_up_reader(raw: Any, _record: Any) -> None:
    _set_up(raw)
    raw.execute("PRAGMA query_only = ON")


def _begin_writing(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
