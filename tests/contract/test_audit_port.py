"""The audit log on SQLite and on PostgreSQL: what was written stays, and whoever changes it shows."""

# ruff: noqa: F811  the fixtures come from the module of the store's own promises

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from edge_agent.adapters.store import audit
from edge_agent.adapters.store.database import FILE_NAME, Database, sqlite_url
from edge_agent.domain.audit import GENESIS, AuditEntry, ChainWalk, hash_of
from tests.contract.test_store_port import clock, empty_sqlite, postgres, store, url  # noqa: F401  fixtures
from tests.fakes.clock import START, FakeClock


def write(store: Database, count: int, subject: str = "recipe:a/1") -> list[AuditEntry]:
    with store.unit() as unit:
        made = [
            unit.audit.append(actor="box", action="recipe.loaded", subject=subject, after=f"{n:064x}", detail=f"ß {n}")
            for n in range(count)
        ]
        unit.commit()
    return made


def test_entries_are_chained_and_come_back_as_they_were(store: Database) -> None:
    made = write(store, 2) + write(store, 2, "model:b/1")
    with store.reader() as reader:
        assert reader.audit.rows() == made
        assert reader.audit.rows(after=1, limit=2) == made[1:3]
        assert reader.audit.latest(3) == made[:0:-1]
        assert reader.audit.latest(subject="recipe:a/1") == [made[1]]
        check = reader.audit.verify()
    assert [entry.seq for entry in made] == [1, 2, 3, 4]
    assert [entry.previous_hash for entry in made] == [GENESIS, *(entry.hash for entry in made[:3])]
    assert (check.entries, check.head, check.fault) == (4, made[-1].hash, "")


def test_an_empty_log_is_right(store: Database) -> None:
    with store.reader() as reader:
        check = reader.audit.verify()
    assert (check.entries, check.head, check.fault) == (0, GENESIS, "")


def test_what_is_rolled_back_leaves_no_gap(store: Database) -> None:
    write(store, 1)
    with store.unit() as unit:
        unit.audit.append(actor="a", action="b", subject="c")
        unit.rollback()
        unit.audit.append(actor="a", action="b", subject="d")
        unit.commit()
    with store.reader() as reader:
        assert [entry.subject for entry in reader.audit.rows()] == ["recipe:a/1", "d"]
        assert not reader.audit.verify().fault


def test_a_long_log_is_followed_page_by_page(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PAGE", 2)
    write(store, 5)
    with store.reader() as reader:
        assert reader.audit.verify().entries == 5


@pytest.mark.parametrize(
    "change", ["UPDATE audit SET actor = 'nobody' WHERE seq = 2", "DELETE FROM audit WHERE seq = 2"]
)
def test_the_database_refuses_to_change_what_was_written(store: Database, url: str, change: str) -> None:
    write(store, 3)
    engine = create_engine(url)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(change))
    engine.dispose()
    with store.reader() as reader:
        assert reader.audit.verify().entries == 3


# --- somebody with the file and a tool --------------------------------------------------------------------------------


@pytest.fixture
def tampered(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A log of four entries whose guards were taken away."""
    database = Database(sqlite_url(tmp_path), clock=FakeClock())
    database.migrate()
    write(database, 4)
    database.close()
    connection = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    connection.execute("DROP TRIGGER audit_refuses_update")
    connection.execute("DROP TRIGGER audit_refuses_delete")
    yield connection
    connection.close()


TAMPERING = {
    "UPDATE audit SET actor = 'nobody' WHERE seq = 2": "entry 2 was changed",
    "UPDATE audit SET at_us = at_us + 1 WHERE seq = 3": "entry 3 was changed",
    "UPDATE audit SET after = '', hash = 'ab' WHERE seq = 1": "entry 1 was changed",
    "DELETE FROM audit WHERE seq = 2": "entry 2 is missing",
    "DELETE FROM audit WHERE seq = 1": "entry 1 is missing",
    "DELETE FROM audit WHERE seq = 4": "entry 4 is missing: 4 were written",
    "DELETE FROM audit": "entry 1 is missing: 4 were written",
    "UPDATE audit SET seq = 5 WHERE seq = 4": "entry 4 is missing",
    "INSERT INTO audit SELECT 5, at_us, actor, action, subject, before, after, detail, previous_hash, hash FROM audit "
    "WHERE seq = 4": "entry 5 does not follow",
}


@pytest.mark.parametrize("statement", TAMPERING)
def test_tampering_shows(tampered: sqlite3.Connection, tmp_path: Path, statement: str) -> None:
    tampered.execute(statement)
    database = Database(sqlite_url(tmp_path), clock=FakeClock())
    with database.reader() as reader:
        assert reader.audit.verify().fault.startswith(TAMPERING[statement])
    database.close()


def test_a_changed_entry_with_a_new_hash_breaks_the_next_one() -> None:
    first = _entry(1, GENESIS)
    second = _entry(2, first.hash)
    forged = replace(first, actor="nobody")
    forged = replace(forged, hash=hash_of(forged))
    walk = ChainWalk()
    assert not walk.take([forged, second])
    assert (walk.result().entries, walk.fault) == (1, "entry 2 does not follow from the one before it")


def test_the_hash_is_the_documented_one() -> None:
    """Written out by hand, as docs/audit.md has it."""
    entry = AuditEntry(
        seq=1, at=START, actor="box-1", action="agent.started", subject="agent:box-1", detail="0.1.0",
        previous_hash=GENESIS, hash="",
    )  # fmt: skip
    at_us = int(START.timestamp() * 1_000_000)
    content = f'["{GENESIS}",1,{at_us},"box-1","agent.started","agent:box-1","","","0.1.0"]'
    assert hash_of(entry) == hashlib.sha256(content.encode()).hexdigest()


def _entry(seq: int, previous: str) -> AuditEntry:
    bare = AuditEntry(seq=seq, at=START, actor="a", action="b", subject="c", previous_hash=previous, hash="")
    return replace(bare, hash=hash_of(bare))
