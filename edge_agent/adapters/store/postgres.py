"""PostgreSQL: connections, transactions, and what its errors mean for the caller."""

import re
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from edge_agent.domain.faults import ConfigError, Transient

LOCK_TIMEOUT = "30s"
READERS = 8

_BEGIN = (
    "SELECT set_config('lock_timeout', '{timeout}', true), set_config('synchronous_commit', '{commit}', true), "
    "pg_advisory_xact_lock(hashtext('edge-agent.store'), hashtext(current_schema()::text))"
)
"""One writer over all processes: numbers are given in the order of commits, so no cursor ever skips a row."""

_AWAY = (Transient, "the database cannot do it now: {}")
_REFUSED = (ConfigError, "the database refuses: {}; check the store url, the user's rights and the migration")
_MEANING: dict[str, tuple[type[ConfigError | Transient], str]] = {
    "25006": (ConfigError, "the database takes no writes: {}; use the primary server"),
    "XX": (ConfigError, "the database is damaged: {}; restore the last backup"),
    "53100": (Transient, "disk full, nothing was written: {}; free space on the server"),
    "08": _AWAY,  # connection
    "40": _AWAY,  # rolled back: deadlock, serialization
    "53": _AWAY,  # out of memory, connections
    "55": _AWAY,  # locked
    "57": _AWAY,  # shutting down, cancelled
    "58": _AWAY,  # input or output error
    "28": _REFUSED,  # password
    "3D": _REFUSED,  # no such database
    "3F": _REFUSED,  # no such schema
    "42": _REFUSED,  # no such table, no right
}
"""SQLSTATE or its class (first two characters) to what it means for the caller; the first match counts."""


def _state_of_refusal(text: str) -> str:
    """The SQLSTATE of an error without one: the driver gives none for a connection that was lost or never made."""
    if "authentication failed" in text or "no pg_hba.conf entry" in text or "no password supplied" in text:
        return "28"
    if re.search(r"FATAL: .*(database|role) .* does not exist", text):
        return "3D"
    return "08"


class Postgres:
    """A PostgreSQL database; its tables stand in the connection's current schema."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._durable = True

    @property
    def place(self) -> str:
        """Where it is, for people (no password)."""
        return self._url.render_as_string(hide_password=True)

    def prepare(self) -> None:
        """The database itself is the administrator's to make."""

    def writer(self) -> Engine:
        """The engine of the one writing connection."""
        engine = self._engine(pool_size=1)
        event.listen(engine, "begin", self._begin_writing)
        return engine

    def reader(self) -> Engine:
        """The engine of the reading connections; each transaction is a snapshot."""
        engine = self._engine(pool_size=READERS, isolation_level="REPEATABLE READ")
        return engine.execution_options(postgresql_readonly=True)

    def set_durable(self, connection: Connection, durable: bool) -> None:
        """Choose, before the transaction begins, whether its commit waits for the disk."""
        connection.info["durable"] = durable

    def is_lost(self, connection: Connection) -> bool:
        """PostgreSQL says so itself, at the next statement."""
        return False

    def fault(self, error: BaseException | None) -> Exception | None:
        """What an error of the driver means for the caller; None: a bug of ours."""
        import psycopg

        if not isinstance(error, psycopg.Error) or not (error.sqlstate or isinstance(error, psycopg.OperationalError)):
            return None
        text = f"{self.place}: {str(error).strip()}"
        state = error.sqlstate or _state_of_refusal(text)
        for prefix, (kind, meaning) in _MEANING.items():
            if state.startswith(prefix):
                return kind(meaning.format(text))
        return None

    def backup(self, target: Path) -> None:
        """Not ours to make.

        Raises:
            ConfigError: always; the server's own tools do it.
        """
        raise ConfigError(f"{self.place}: back up PostgreSQL with pg_dump or pg_basebackup, not to {target}")

    def _engine(self, **options: Any) -> Engine:
        return create_engine(
            self._url,
            max_overflow=0,
            hide_parameters=True,
            pool_timeout=10,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 5},
            **options,
        )

    @staticmethod
    def _begin_writing(connection: Connection) -> None:
        commit = "on" if connection.info.get("durable", True) else "off"
        connection.exec_driver_sql(_BEGIN.format(timeout=LOCK_TIMEOUT, commit=commit))
