"""What only the SQLite store promises: its file, its schema, and clear words when either is not as it should be."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, event

from edge_agent.adapters.store import database as database_module
from edge_agent.adapters.store import sqlite as sqlite_module
from edge_agent.adapters.store.database import FILE_NAME, Database, sqlite_url
from edge_agent.adapters.store.schema import REVISIONS, metadata
from edge_agent.adapters.store.unit import SqlUnit
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.message import Lane
from tests.fakes.clock import START, FakeClock
from tests.fakes.made import a_message, an_inspection


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Database]:
    database = Database(sqlite_url(tmp_path), clock=clock)
    database.migrate()
    yield database
    database.close()


def set_fact(store: Database, value: int = 1) -> None:
    with store.unit() as unit:
        unit.facts.set("a", value)
        unit.commit()


def pragma(path: Path, name: str) -> object:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]
    finally:
        connection.close()


# --- schema -----------------------------------------------------------------------------------------------------------


def test_the_migrations_make_exactly_the_tables_of_the_program(store: Database, tmp_path: Path) -> None:
    engine = create_engine(sqlite_url(tmp_path))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISIONS[-1]
    engine.dispose()


def test_every_known_revision_has_a_migration() -> None:
    files = (Path(database_module.__file__).parent / "migrations" / "versions").glob("r*.py")
    assert sorted(file.name[1:5] for file in files) == list(REVISIONS)


def test_the_content_of_an_older_outbox_is_kept(tmp_path: Path, clock: FakeClock) -> None:
    """Revision 0002 had bodies and fates in one table."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option(
        "script_location", str(Path(database_module.__file__).parent / "migrations").replace("%", "%%")
    )
    config.set_main_option("path_separator", "os")
    engine = create_engine(sqlite_url(tmp_path))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.exec_driver_sql(
            "INSERT INTO outbox (sequence, message_id, topic, body, lane, ack, created_us, retain, order_key,"
            " content_type, correlation, response_topic, properties, state, attempts, next_attempt_us, detail)"
            " VALUES (7, ?, 'out/x',"
            " x'6162', 1, 'receipt', 5, 1, 'key', 'ct', 'co', 'rt', '{\"a\": \"b\"}', 'sent', 2, 9, 'why')",
            (UUID(int=3).hex,),
        )
    engine.dispose()
    store = Database(sqlite_url(tmp_path), clock=clock)
    store.migrate()
    with store.reader() as reader:
        row = reader.outbox.get(7)
        (usage,) = reader.outbox.usage()
    store.close()
    assert row is not None
    message = row.message
    assert (message.message_id, message.topic, message.body, message.retain) == (UUID(int=3), "out/x", b"ab", True)
    assert (message.content_type, message.correlation, message.response_topic) == ("ct", "co", "rt")
    assert (dict(message.properties), message.order_key, message.expendable) == ({"a": "b"}, "key", False)
    assert (row.state.value, row.attempts, row.detail, usage.size_bytes) == ("sent", 2, "why", 2)


def test_migrating_again_changes_nothing_and_loads_no_alembic(store: Database, tmp_path: Path) -> None:
    set_fact(store)
    store.close()
    program = (
        "import sys\n"
        "from edge_agent.adapters.clock import SystemClock\n"
        "from edge_agent.adapters.store.database import Database\n"
        "store = Database(sys.argv[1], clock=SystemClock())\n"
        "store.migrate()\n"
        "with store.reader() as reader: assert reader.facts.get('a') == 1\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'alembic'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, sqlite_url(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_schema_of_a_newer_program_is_left_alone(store: Database, tmp_path: Path) -> None:
    store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(ConfigError, match=r"9999 is not known.*newer version"):
        store.migrate()


def test_a_database_of_another_program_is_left_alone(tmp_path: Path, clock: FakeClock) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(ConfigError, match=r"not ours \(songs\)"):
        Database(sqlite_url(tmp_path), clock=clock).migrate()


def test_a_failed_migration_leaves_an_empty_database(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    store = Database(sqlite_url(tmp_path), clock=clock)
    with monkeypatch.context() as patch:
        patch.setattr(Operations, "create_index", lambda *_args, **_options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.migrate()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()
    store.migrate()
    set_fact(store)
    store.close()


def test_a_store_that_was_not_migrated_says_so(tmp_path: Path, clock: FakeClock) -> None:
    store = Database(sqlite_url(tmp_path), clock=clock)
    with pytest.raises(ConfigError, match="run the migration"):
        set_fact(store)
    store.close()


# --- settings ---------------------------------------------------------------------------------------------------------


def test_the_file_is_in_wal_mode_and_durability_is_chosen_for_each_unit(store: Database, tmp_path: Path) -> None:
    assert pragma(tmp_path / FILE_NAME, "journal_mode") == "wal"
    for durable, level in ((True, 2), (False, 1), (True, 2)):
        with store.unit(durable=durable) as unit:
            connection = unit._session.connection
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == level
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://x/y", "nonsense", "postgresql://x/y"])
def test_an_url_that_cannot_be_used_is_refused_at_once(url: str, clock: FakeClock) -> None:
    with pytest.raises(ConfigError, match="store url"):
        Database(url, clock=clock)


# --- speed ------------------------------------------------------------------------------------------------------------


def plans(store: Database, ask: Callable[[SqlUnit], object]) -> list[str]:
    """How SQLite runs the queries of ``ask``, a line for each step."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        asked.append((statement, values))

    event.listen(store._reader, "before_cursor_execute", note)
    with store.reader() as reader:
        ask(reader)
        event.remove(store._reader, "before_cursor_execute", note)
        raw = reader._session.connection
        return [
            str(step[-1])
            for statement, values in asked
            if statement.startswith("SELECT")
            for step in raw.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]


@pytest.mark.parametrize(
    "ask",
    [
        lambda unit: unit.inspections.after(5, 9),
        lambda unit: unit.inspections.after(5, 9, station_id="s"),
        lambda unit: unit.inspections.latest(9),
        lambda unit: unit.inspections.latest(9, station_id="s"),
        lambda unit: unit.inspections.between(START, START, limit=9),
        lambda unit: unit.inspections.between(START, START, station_id="s", limit=9),
        lambda unit: unit.outbox.due(START, 9),
        lambda unit: unit.outbox.departures(START, 9),
        lambda unit: unit.outbox.unsent(Lane.TELEMETRY, 9),
        lambda unit: unit.outbox.oldest_pending(),
        lambda unit: unit.inbox.unprocessed(9),
        lambda unit: unit.plant.series("temp", START, START),
        lambda unit: unit.plant.events(START, START),
        lambda unit: unit.orders.list(open_only=True),
        lambda unit: unit.answers.responses(UUID(int=1)),
    ],
)
def test_no_hot_query_sorts_or_scans_what_it_does_not_return(store: Database, ask: Callable[[SqlUnit], object]) -> None:
    steps = plans(store, ask)
    assert steps
    assert [step for step in steps if "TEMP B-TREE FOR ORDER BY" in step] == []  # of ties ("RIGHT PART OF") is fine
    assert [step for step in steps if step.startswith("SCAN") and step != "SCAN inspections"] == []


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_database(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is not a database, and long enough to be looked at" * 100)
    with pytest.raises(ConfigError, match=rf"damaged: {tmp_path}.*last backup"):
        Database(sqlite_url(tmp_path), clock=clock).migrate()


def test_a_damaged_page(store: Database, tmp_path: Path, clock: FakeClock) -> None:
    with store.unit() as unit:
        for _ in range(400):
            unit.inspections.add(an_inspection(clock, codes=("open",)))
        unit.commit()
    store.close()
    path = tmp_path / FILE_NAME
    pragma(path, "wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="damaged"), store.reader() as reader:
        reader.inspections.after(0, 1_000)


def test_a_folder_that_cannot_be_made(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot make the folder"):
        Database(sqlite_url(tmp_path / "file" / "state"), clock=clock).migrate()


def test_another_program_that_writes_for_too_long(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "_PRAGMAS", ("PRAGMA busy_timeout = 20",))
    store = Database(sqlite_url(tmp_path), clock=clock)
    store.migrate()
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="another program holds the database"):
        set_fact(store)
    with store.reader() as reader:
        assert reader.facts.get("a") is None
    other.execute("COMMIT")
    other.close()
    set_fact(store)
    store.close()


def test_a_unit_that_never_ends_is_named(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(database_module, "WRITER_TIMEOUT_S", 0.05)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with store.unit():
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(30)
    with pytest.raises(Transient, match="another unit of work has been writing"):
        set_fact(store)
    leave.set()
    thread.join(30)
    set_fact(store)


def test_the_message_bodies_stay_out_of_errors(store: Database, clock: FakeClock) -> None:
    with store.unit() as unit:
        unit._session.connection.exec_driver_sql("ALTER TABLE outbox RENAME TO gone")
        with pytest.raises(ConfigError, match="outbox") as caught:
            unit.outbox.add(a_message(clock, body=b"secret", topic="secret"))
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"


# --- backup -----------------------------------------------------------------------------------------------------------


def test_a_backup_is_a_whole_store(store: Database, tmp_path: Path, clock: FakeClock) -> None:
    inspection = an_inspection(clock, codes=("open",))
    with store.unit() as unit:
        unit.inspections.add(inspection)
        unit.commit()
        unit.facts.set("not", "committed")
        target = tmp_path / "backups" / FILE_NAME
        store.backup(target)
        store.backup(target)
    assert os.listdir(target.parent) == [FILE_NAME]
    copy = Database(sqlite_url(target.parent), clock=clock)
    copy.migrate()
    with copy.reader() as reader:
        assert reader.inspections.after(0, 9) == [(1, inspection)]
        assert reader.facts.get("not") is None
    copy.close()


def test_a_backup_that_fails_leaves_the_last_one(store: Database, tmp_path: Path) -> None:
    target = tmp_path / "backup.sqlite3"
    store.backup(target)
    before = target.read_bytes()
    (tmp_path / "backup.sqlite3.part").mkdir()
    with pytest.raises(Transient, match="cannot write the backup"):
        store.backup(target)
    assert target.read_bytes() == before
