"""The fleet's database: PostgreSQL 14 or newer; with TimescaleDB its large tables are hypertables.

A batch is one transaction. Whether a message is new is the primary key's to say; the boxes' rows are locked first, in
the order of their names, so that two workers never wait for each other in a circle.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event

from edge_agent.adapters.store.postgres import Postgres
from edge_agent.collecting.reading import Box, Event, Reading
from edge_agent.domain.faults import ConfigError

REVISION = "c0001"
VERSION_TABLE = "alembic_version_collect"
OLDEST_SERVER = 140_000
EXCERPT_BYTES = 4_096
DELETE_AT_ONCE = 5_000
CHUNK_DAYS = 7
_BEGIN = "SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = '120s'"

_LOCK = "SELECT source, upper(seen) FROM box WHERE source = ANY(%s) ORDER BY source FOR UPDATE"
_NEW_BOXES = (
    "INSERT INTO box (source, box, enterprise, site, area, line, cell) "
    "SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) "
    "ON CONFLICT DO NOTHING"
)
_EVENTS = (
    "INSERT INTO event (source, id, time, type, subject, topic, sequence, worker, data) "
    "SELECT s, i, t, k, j, p, n, %s, d::jsonb FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[], %s::text[], "
    "%s::text[], %s::text[], %s::bigint[], %s::text[]) AS one(s, i, t, k, j, p, n, d) "
    "ON CONFLICT DO NOTHING RETURNING source, id"
)
_REPEATED = (
    "SELECT b.source, count(*) FROM unnest(%s::text[], %s::bigint[]) AS one(source, n) "
    "JOIN box b ON b.source = one.source AND b.seen @> one.n GROUP BY b.source"
)
_BOX = (
    "UPDATE box SET enterprise = %s, site = %s, area = %s, line = %s, cell = %s, seen = seen + %s::int8multirange, "
    "duplicates = duplicates + %s, out_of_order = out_of_order + %s, repeated_numbers = repeated_numbers + %s, "
    "last_seen_at = now() WHERE source = %s"
)
_READINGS = (
    "INSERT INTO reading (source, name, time, value) "
    "SELECT s, n, to_timestamp(t / 1000.0), v FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::float8[]) "
    "AS one(s, n, t, v) ON CONFLICT DO NOTHING"
)
_DEAD = (
    "INSERT INTO dead_letter AS d (topic, sha256, reason, detail, size_bytes, excerpt) "
    "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (topic, sha256) DO UPDATE "
    "SET times = d.times + 1, last_at = now(), reason = EXCLUDED.reason, detail = EXCLUDED.detail"
)
_GAPS = (
    "SELECT site, line, box, first, last, missing, since FROM sequence_gap "
    "WHERE (%s::text IS NULL OR box = %s) AND (since IS NULL OR since < now() - make_interval(secs => %s)) "
    "ORDER BY site, line, box, first LIMIT %s"
)


class Unfit(Exception):
    """The database cannot take a value of the batch; nothing of it was written."""


class Gap(NamedTuple):
    """Numbers of a box that are not here."""

    site: str
    line: str
    box: str
    first: int
    last: int
    missing: int
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that cannot be a row."""

    topic: str
    body: bytes
    reason: str
    detail: str


@dataclass(slots=True, kw_only=True)
class Recorded:
    """What became of a batch."""

    new: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    repeated: int = 0


@dataclass(slots=True, kw_only=True)
class _Tally:
    """One box's part of a batch."""

    box: Box
    runs: list[tuple[int, int]] = field(default_factory=list)
    duplicates: int = 0
    late: int = 0


class FleetStore:
    """Reads and writes; driver errors come out as ConfigError, Transient or `Unfit`."""

    def __init__(self, url: URL) -> None:
        self._postgres = Postgres(url)
        self._engine = self._made(url)

    @property
    def place(self) -> str:
        """Where it is, for people (no password)."""
        return self._postgres.place

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def migrate(self) -> bool:
        """Bring the schema up to date; True: the large tables are hypertables.

        Raises:
            ConfigError: the server is too old, the schema too new, or there is no right to change it.
        """
        with self._engine.begin() as connection:
            version = _one(connection, "SELECT current_setting('server_version_num')::int")
            if version < OLDEST_SERVER:
                raise ConfigError(f"{self.place}: PostgreSQL {version // 10_000}; 14 or newer is needed")
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('edge-agent.collect'))")
            found = _revision(connection)
            if found not in (None, REVISION):
                raise ConfigError(f"{self.place}: schema revision {found} was made by a newer version")
            if found is None:
                _run_alembic(connection)
            return _make_hypertables(connection)

    def check(self) -> None:
        """Is the schema this program's? Raises ConfigError when it is not."""
        with self._engine.begin() as connection:
            found = _revision(connection)
        if found != REVISION:
            what = "is empty" if found is None else f"has schema revision {found}, this program needs {REVISION}"
            raise ConfigError(f"{self.place}: the database {what}; run edge-agent collect --provision")

    def record(
        self, worker: str, events: Sequence[Event], readings: Sequence[Reading] = (), dead: Sequence[DeadLetter] = ()
    ) -> Recorded:
        """Write a batch: all or nothing, and a second time without effect.

        Raises:
            Unfit: a value that cannot be stored (a NUL in a text, a number without bounds).
            Transient: the database is away or busy.
        """
        with self._engine.begin() as connection:
            connection.exec_driver_sql(_BEGIN)
            tallies, tops = _locked(connection, [*events, *readings])
            recorded = _write_events(connection, worker, events, tallies, tops) if events else Recorded()
            _write_readings(connection, readings)
            for letter in dead:
                connection.exec_driver_sql(_DEAD, _dead_row(letter))
        return recorded

    def gaps(self, *, older_than_s: float, box: str | None = None, limit: int = 1_000) -> list[Gap]:
        """Runs of missing numbers, those only that a later one has overtaken for so long."""
        with self._engine.begin() as connection:
            rows = connection.exec_driver_sql(_GAPS, (box, box, older_than_s, limit)).all()
        return [Gap(*row) for row in rows]

    def accept_gaps(self, box: str) -> int:
        """Stop telling of what is missing from a box now; the numbers that were missing."""
        with self._engine.begin() as connection:
            missing = _one(connection, "SELECT coalesce(sum(missing), 0) FROM sequence_gap WHERE box = %s", box)
            connection.exec_driver_sql(
                "UPDATE box SET seen = seen + int8multirange(int8range(1, upper(seen))) "
                "WHERE box = %s AND NOT isempty(seen)",
                (box,),
            )
        return int(missing)

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """What a query of the views finds."""
        with self._engine.begin() as connection:
            return [dict(row) for row in connection.exec_driver_sql(statement, values or None).mappings()]

    def delete_older(self, days: float) -> int:
        """Delete a part of what is older; how many rows went. Call again until there are none."""
        deleted = 0
        with self._engine.begin() as connection:
            for name, column in (("event", "time"), ("reading", "time"), ("dead_letter", "last_at")):
                chosen = f"SELECT ctid FROM {name} WHERE {column} < now() - make_interval(secs => %s) LIMIT %s"  # noqa: S608
                done = connection.exec_driver_sql(
                    f"DELETE FROM {name} WHERE ctid = ANY(ARRAY({chosen} FOR UPDATE SKIP LOCKED))",  # noqa: S608
                    (days * 86_400, DELETE_AT_ONCE),
                )
                deleted += done.rowcount
        return deleted

    def _made(self, url: URL) -> Engine:
        engine = create_engine(
            url,
            pool_size=2,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"connect_timeout": 5, "application_name": "edge-agent collect"},
        )
        event.listen(engine, "handle_error", self._translate)
        return engine

    def _translate(self, context: ExceptionContext) -> None:
        error = context.original_exception
        state = getattr(error, "sqlstate", None) or ""
        if state.startswith("22") or (type(error).__module__ == "psycopg" and type(error).__name__ == "DataError"):
            raise Unfit(str(error).strip()[:500]) from error
        fault = self._postgres.fault(error)
        if fault is not None:
            raise fault from error


def _one(connection: Connection, statement: str, *values: Any) -> Any:
    return connection.exec_driver_sql(statement, values or None).scalar_one()


def _revision(connection: Connection) -> str | None:
    if _one(connection, "SELECT to_regclass(%s) IS NULL", VERSION_TABLE):
        return None
    found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608
    return str(found) if found else None


def _run_alembic(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    command.upgrade(config, "head")


def _make_hypertables(connection: Connection) -> bool:
    """A hypertable's keys must hold its time; an event's time is as fixed as its id."""
    if not _one(connection, "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"):
        return False
    done = connection.exec_driver_sql("SELECT hypertable_name FROM timescaledb_information.hypertables").scalars()
    missing = {"event", "reading"} - set(done)
    if "event" in missing:
        connection.exec_driver_sql(
            "ALTER TABLE event DROP CONSTRAINT event_pkey; ALTER TABLE event ADD PRIMARY KEY (source, id, time)"
        )
    for name in sorted(missing):
        connection.exec_driver_sql(
            "SELECT create_hypertable(%s::regclass, 'time'::name, chunk_time_interval => make_interval(days => %s), "
            "migrate_data => true)",
            (name, CHUNK_DAYS),
        )
    return True


def _locked(connection: Connection, rows: Sequence[Event | Reading]) -> tuple[dict[str, _Tally], dict[str, int]]:
    """The boxes of a batch, locked, and the number after each one's highest."""
    tallies = {row.box.source: _Tally(box=row.box) for row in sorted(rows, key=lambda row: row.box.source)}
    if not tallies:
        return {}, {}
    found = _tops(connection, list(tallies))
    if len(found) < len(tallies):
        boxes = [tally.box for source, tally in tallies.items() if source not in found]
        columns = zip(*((b.source, b.name, b.enterprise, b.site, b.area, b.line, b.cell) for b in boxes), strict=True)
        connection.exec_driver_sql(_NEW_BOXES, tuple(list(column) for column in columns))
        found = _tops(connection, list(tallies))
    return tallies, found


def _tops(connection: Connection, sources: list[str]) -> dict[str, int]:
    return {source: top or 0 for source, top in connection.exec_driver_sql(_LOCK, (sources,))}


def _write_events(
    connection: Connection, worker: str, events: Sequence[Event], tallies: Mapping[str, _Tally], tops: dict[str, int]
) -> Recorded:
    fresh = _inserted(connection, worker, events)
    recorded = Recorded(new=len(fresh), duplicates=len(events) - len(fresh))
    numbered: list[Event] = []
    for one in events:
        source = one.box.source
        if (source, one.id) not in fresh:
            tallies[source].duplicates += 1
            continue
        fresh.discard((source, one.id))  # the second of the same batch is a duplicate
        numbered.extend([one] if one.sequence is not None else [])
        _count(one, tallies[source], tops)
    repeated = _repeated(connection, numbered)
    for source, tally in tallies.items():
        box, late = tally.box, tally.late
        recorded.out_of_order += late
        values = (box.enterprise, box.site, box.area, box.line, box.cell, _multirange(tally.runs))
        connection.exec_driver_sql(_BOX, (*values, tally.duplicates, late, repeated[source], source))
    recorded.repeated = repeated.total()
    return recorded


def _inserted(connection: Connection, worker: str, events: Sequence[Event]) -> set[tuple[str, UUID]]:
    ordered = sorted(events, key=lambda one: (one.box.source, one.id))
    columns = zip(
        *((e.box.source, e.id, e.time, e.type, e.subject, e.topic, e.sequence, e.data) for e in ordered), strict=True
    )
    return {(source, key) for source, key in connection.exec_driver_sql(_EVENTS, (worker, *map(list, columns)))}


def _count(one: Event, tally: _Tally, tops: dict[str, int]) -> None:
    tally.runs.extend(one.stands_for)
    if one.sequence is None:
        return
    source = one.box.source
    tally.runs.append((one.sequence, one.sequence))
    tally.late += one.sequence + 1 < tops.get(source, 0)
    tops[source] = max(tops.get(source, 0), one.sequence + 1)


def _repeated(connection: Connection, numbered: Sequence[Event]) -> Counter[str]:
    if not numbered:
        return Counter()
    sources, numbers = [one.box.source for one in numbered], [one.sequence for one in numbered]
    return Counter(dict(tuple(row) for row in connection.exec_driver_sql(_REPEATED, (sources, numbers))))


def _multirange(runs: Iterable[tuple[int, int]]) -> str:
    return "{" + ",".join(f"[{first},{last}]" for first, last in runs) + "}"


def _write_readings(connection: Connection, readings: Sequence[Reading]) -> None:
    if not readings:
        return
    latest: dict[tuple[str, str, int], float] = defaultdict(float)
    latest.update({(one.box.source, one.name, one.time_ms): one.value for one in readings})
    rows = sorted((*key, value) for key, value in latest.items())
    connection.exec_driver_sql(_READINGS, tuple(map(list, zip(*rows, strict=True))))


def _dead_row(letter: DeadLetter) -> tuple[Any, ...]:
    digest = hashlib.sha256(letter.body).hexdigest()
    topic = letter.topic.replace("\0", "")[:1_000]
    detail = letter.detail.replace("\0", "")[:1_000]
    return topic, digest, letter.reason, detail, len(letter.body), letter.body[:EXCERPT_BYTES]
