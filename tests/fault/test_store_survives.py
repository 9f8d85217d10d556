"""The store under kill -9, a full disk and a disk that became read-only."""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.ports import UnitOfWork
from tests.fakes.made import a_message, an_inspection

pytestmark = pytest.mark.fault

ROOT = Path(__file__).parents[2]


def start_writer(url: str, mode: str, *more: str, limit: Callable[[], None] | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.store_writer", url, mode, *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
    )


def finish(child: "subprocess.Popen[str]") -> list[str]:
    out, _ = child.communicate(timeout=60)
    return out.split("\n")[:-1]


def everything(store: Database) -> tuple[list[UUID], list[UUID], list[int]]:
    """Ids of the inspections and ids in the messages, both in the order of writing; the messages' numbers."""
    with store.reader() as reader:
        inspections = [inspection.inspection_id for _, inspection in reader.inspections.after(0, 100_000)]
        rows = reader.outbox.rows(limit=100_000)[::-1]
    return inspections, [UUID(json.loads(row.message.body)["inspection"]) for row in rows], [r.sequence for r in rows]


@pytest.mark.parametrize("mode", ["durable", "fast"])
def test_kill_9_at_any_moment_loses_nothing_that_was_committed(tmp_path: Path, mode: str) -> None:
    url, chance, told = sqlite_url(tmp_path), random.Random(mode), []
    for _ in range(6):
        child = start_writer(url, mode)
        assert child.stdout is not None
        told += [child.stdout.readline().strip() for _ in range(chance.randint(1, 40))]
        for _ in range(chance.randint(0, 20_000)):  # another moment within the transaction each time
            pass
        child.kill()
        told += finish(child)
    store = Database(url, clock=SystemClock())
    store.migrate()
    inspections, announced, sequences = everything(store)
    store.close()
    assert len(told) > 6
    assert set(map(UUID, told)) <= set(inspections)
    assert len(inspections) - len(told) <= 6, "at most the one under way at each kill may be there unsaid"
    assert announced == inspections
    assert sequences == list(range(1, len(sequences) + 1))


def test_two_programs_writing_at_once_take_turns(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    Database(url, clock=SystemClock()).migrate()
    children = [start_writer(url, "fast", "40") for _ in range(2)]
    told = [line for child in children for line in finish(child)]
    store = Database(url, clock=SystemClock())
    inspections, announced, sequences = everything(store)
    store.close()
    assert sorted(map(UUID, told)) == sorted(inspections)
    assert announced == inspections
    assert sequences == list(range(1, 81))


def test_a_file_size_limit_stops_the_writer_with_a_clear_word(tmp_path: Path) -> None:
    def no_more_than_a_megabyte() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    url = sqlite_url(tmp_path)
    *told, fault = finish(start_writer(url, "fast", limit=no_more_than_a_megabyte))
    assert fault.startswith("Transient: ")
    assert str(tmp_path) in fault
    store = Database(url, clock=SystemClock())
    inspections, announced, _ = everything(store)
    assert [str(key) for key in inspections] == told
    assert announced == inspections
    write_one(store)
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small disk needs root")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False).returncode:
        pytest.skip("this system lets no tmpfs be mounted")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def write_one(store: Database) -> None:
    clock = SystemClock()
    inspection = an_inspection(clock)
    with store.unit() as unit:
        unit.inspections.add(inspection)
        unit.outbox.add(a_message(clock, body=json.dumps({"inspection": str(inspection.inspection_id)}).encode()))
        unit.commit()


def fill(store: Database) -> int:
    """Write until the disk is full; the number written."""
    written = count()
    with pytest.raises(Transient, match=r"disk full, nothing was written.*MiB are free"):
        write_until_it_fails(store, written)
    return next(written) - 1


def write_until_it_fails(store: Database, written: Iterator[int]) -> None:
    while next(written) < 100_000:
        write_one(store)


def test_a_full_disk_costs_nothing_that_was_committed_and_writing_goes_on_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 2**20)
    store = Database(sqlite_url(small_disk), clock=SystemClock())
    store.migrate()
    written = fill(store)
    with pytest.raises(Transient, match="disk full"):
        write_one(store)
    inspections, announced, sequences = everything(store)
    assert len(inspections) == written
    assert announced == inspections
    ballast.unlink()
    write_one(store)
    inspections, announced, sequences = everything(store)
    store.close()
    assert len(inspections) == written + 1
    assert announced == inspections
    assert sequences == list(range(1, written + 2))


def test_a_unit_whose_commit_failed_stands_at_its_beginning(small_disk: Path) -> None:
    store = Database(sqlite_url(small_disk), clock=SystemClock())
    store.migrate()
    with store.unit() as unit:
        assert unit.orders.next_number() == "WO-0001"
        with pytest.raises(Transient, match="disk full"):
            set_and_commit(unit, "large", "x" * 4 * 2**20)
        assert unit.facts.get("large") is None
        assert unit.orders.next_number() == "WO-0001"
        set_and_commit(unit, "small", "x")
    with store.reader() as reader:
        assert (reader.facts.get("large"), reader.facts.get("small")) == (None, "x")
    store.close()


def test_a_unit_that_sqlite_has_rolled_back_cannot_be_committed(small_disk: Path) -> None:
    store = Database(sqlite_url(small_disk), clock=SystemClock())
    store.migrate()
    with store.unit() as unit:
        unit.facts.set("before", 1)
        unit._session.connection.connection.dbapi_connection.rollback()  # as SQLite does on some errors
        with pytest.raises(Transient, match="rolled the transaction back"):
            unit.commit()
    store.close()


def set_and_commit(unit: UnitOfWork, key: str, value: str) -> None:
    unit.facts.set(key, value)
    unit.commit()


def test_a_backup_onto_a_full_disk_says_so_and_leaves_nothing(tmp_path: Path, small_disk: Path) -> None:
    store = Database(sqlite_url(tmp_path), clock=SystemClock())
    store.migrate()
    with store.unit() as unit:
        unit.facts.set("large", "x" * 4 * 2**20)
        unit.commit()
    with pytest.raises(Transient, match=r"cannot write the backup.*full"):
        store.backup(small_disk / "backup.sqlite3")
    store.close()
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_became_read_only_is_for_a_person(small_disk: Path) -> None:
    url = sqlite_url(small_disk)
    store = Database(url, clock=SystemClock())
    store.migrate()
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(ConfigError, match=r"cannot be opened for writing.*mounted read-write"):
        Database(url, clock=SystemClock()).migrate()
