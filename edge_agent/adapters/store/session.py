"""What the repositories of one unit of work share: the connection, the time and the counters."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Insert, Select, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping

from edge_agent.adapters.store import schema
from edge_agent.ports import Clock

_COUNTER = select(schema.counters.c.value).where(schema.counters.c.name == bindparam("counter"))
_SET_COUNTER = (
    schema.counters.update().where(schema.counters.c.name == bindparam("counter")).values(value=bindparam("last"))
)
_ADD_COUNTER = schema.counters.insert()


NOTHING_OUTGOING = 99
"""Higher than any lane."""


class Session:
    """One transaction's connection.

    Attributes:
        outgoing: the lowest lane that a row for the outbox was written to.
    """

    def __init__(self, connection: Connection, clock: Clock, *, writing: bool) -> None:
        self.connection = connection
        self.clock = clock
        self._writing = writing
        self._counters: dict[str, int] = {}
        self.outgoing = NOTHING_OUTGOING

    def rows(self, statement: Select[Any], values: Mapping[str, Any] | None = None) -> list[RowMapping]:
        """All rows of a query, by column name."""
        return list(self.connection.execute(statement, values or {}).mappings())

    def tuples(self, statement: Select[Any], values: Mapping[str, Any] | None = None) -> list[Any]:
        """All rows of a query, by place."""
        return list(self.connection.execute(statement, values or {}).all())

    def first(self, statement: Select[Any], values: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, or None."""
        return self.connection.execute(statement, values or {}).scalar()

    def write(self, statement: Any, values: Any = None) -> int:
        """Run a change; the number of rows it met.

        Raises:
            RuntimeError: this is a reader.
        """
        if not self._writing:
            raise RuntimeError("a reader cannot write; use Store.unit()")
        return int(self.connection.execute(statement, values or {}).rowcount)

    def insert_or_skip(self, table: Table) -> Insert:
        """An insert that leaves a row with the same key alone."""
        if self.connection.dialect.name == "postgresql":
            return postgresql.insert(table).on_conflict_do_nothing()
        return sqlite.insert(table).on_conflict_do_nothing()

    def take(self, counter: str) -> int:
        """The next number of a counter; in memory until `flush`, which nobody can tell: there is one writer."""
        last = self._counters.get(counter)
        if last is None:
            last = self.first(_COUNTER, {"counter": counter}) or 0
        self._counters[counter] = last + 1
        return last + 1

    def give_back(self, counter: str) -> None:
        """The number that was just taken is not needed."""
        self._counters[counter] -= 1

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.connection.dialect.name

    def flush(self) -> None:
        """Write the counters; belongs before the commit."""
        for counter, last in self._counters.items():
            if not self.write(_SET_COUNTER, {"counter": counter, "last": last}):
                self.write(_ADD_COUNTER, {"name": counter, "value": last})
        self._counters.clear()

    def rollback(self) -> None:
        """Forget what was written, the counters too."""
        self._counters.clear()
        self.outgoing = NOTHING_OUTGOING
        self.connection.rollback()
