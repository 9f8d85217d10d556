"""What only a real PostgreSQL can show: lost servers, refusals, and writers in other processes."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from edge_agent.adapters.store.database import Database
from edge_agent.adapters.store.schema import metadata
from edge_agent.domain.faults import ConfigError, Transient
from tests.fakes.clock import FakeClock
from tests.fakes.made import a_message, an_inspection
from tests.fakes.postgres import PrivatePostgres, missing

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[PrivatePostgres]:
    if reason := missing():
        pytest.skip(reason)
    cluster = PrivatePostgres()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def url(server: PrivatePostgres) -> str:
    return server.url(server.new_database())


@pytest.fixture
def store(url: str) -> Iterator[Database]:
    database = Database(url, clock=FakeClock())
    database.migrate()
    yield database
    database.close()


def write_one(store: Database, clock: FakeClock) -> None:
    with store.unit() as unit:
        unit.inspections.add(an_inspection(clock, codes=("open",)))
        unit.outbox.add(a_message(clock))
        unit.commit()


def sequences(store: Database) -> tuple[list[int], list[int]]:
    with store.reader() as reader:
        return [n for n, _ in reader.inspections.after(0, 999)], [r.sequence for r in reader.outbox.rows(limit=999)][
            ::-1
        ]


def test_the_migrations_make_exactly_the_tables_of_the_program(store: Database, url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    store.migrate()


def test_a_server_that_dies_costs_nothing_and_is_found_again(server: PrivatePostgres, store: Database) -> None:
    clock = FakeClock()
    write_one(store, clock)
    server.halt()
    try:
        with pytest.raises(Transient, match="cannot do it now"):
            write_one(store, clock)
        with pytest.raises(Transient, match="cannot do it now"):
            sequences(store)
    finally:
        server.resume()
    write_one(store, clock)
    assert sequences(store) == ([1, 2], [1, 2])


def test_a_server_that_dies_inside_a_unit_takes_it_back(server: PrivatePostgres, store: Database) -> None:
    clock = FakeClock()
    with store.unit() as unit:
        unit.outbox.add(a_message(clock))
        server.halt()
        server.resume()
        with pytest.raises(Transient):
            unit.commit()
    write_one(store, clock)
    assert sequences(store) == ([1], [1])


def test_writers_in_two_programs_take_turns(store: Database, url: str) -> None:
    """Two stores share no lock in memory, as two processes would not."""
    other = Database(url, clock=FakeClock())
    threads = [
        threading.Thread(target=lambda s=s, n=n: [write_one(s, c) for c in [FakeClock(node=n)] for _ in range(20)])
        for n, s in enumerate((store, other))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.close()
    assert sequences(store) == (list(range(1, 41)), list(range(1, 41)))


@pytest.mark.parametrize(
    ("database", "user", "words"),
    [("no_such_database", "edge", "no_such_database"), ("postgres", "no_such_user", "no_such_user")],
)
def test_what_the_server_refuses_is_for_a_person(server: PrivatePostgres, database: str, user: str, words: str) -> None:
    store = Database(server.url(database, user), clock=FakeClock())
    with pytest.raises(ConfigError, match=rf"refuses: .*{words}.*check the store url"):
        store.migrate()


def test_a_server_that_is_not_there_is_waited_for() -> None:
    store = Database("postgresql+psycopg://edge:secret@/x?host=/nonexistent", clock=FakeClock())
    with pytest.raises(Transient, match="cannot do it now") as caught:
        store.migrate()
    assert "secret" not in str(caught.value)


def test_a_store_that_was_not_migrated_says_so(url: str) -> None:
    store = Database(url, clock=FakeClock())
    with pytest.raises(ConfigError, match="migration"):
        write_one(store, FakeClock())
    store.close()


def test_a_standby_takes_no_writes(server: PrivatePostgres, store: Database, url: str) -> None:
    name = url.split("@/")[1].split("?")[0]
    server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    store.close()
    with pytest.raises(ConfigError, match="use the primary server"):
        write_one(store, FakeClock())


def test_backups_are_left_to_the_servers_tools(store: Database, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pg_dump"):
        store.backup(tmp_path / "x")
