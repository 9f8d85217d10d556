"""An outbox near its quota: what it gives up and in which order, what it keeps, and how fast it empties itself."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge_agent.adapters.link import pace as pace_module
from edge_agent.adapters.link import quota as module
from edge_agent.adapters.link.pace import Pace
from edge_agent.adapters.link.quota import ROW_BYTES, Quota, limit_bytes
from edge_agent.adapters.store.database import Database
from edge_agent.config.plant import MqttSection
from edge_agent.contract import outbound, topics
from edge_agent.domain.inspection import Evaluation, ImageRef
from edge_agent.domain.message import Ack, Lane, OutboundMessage, OutboxRow
from tests.fakes.clock import FakeClock
from tests.fakes.made import a_message, an_inspection
from tests.fakes.plant_samples import SENDER

NOBODY: frozenset[int] = frozenset()
OVERLAY = ImageRef(role="overlay", path="2026/01/05/x.jpg", sha256="0" * 64, size_bytes=9)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'x.sqlite3'}", clock=clock)
    made.migrate()
    yield made
    made.close()


def results(clock: FakeClock, count: int, *, codes: tuple[str, ...] = ()) -> list[OutboundMessage]:
    """One each ten seconds."""
    made = []
    for _ in range(count):
        clock.advance(10)
        made.append(outbound.result(an_inspection(clock, codes=codes), sender=SENDER, clock=clock))
    return made


def write(store: Database, *messages: OutboundMessage) -> list[int]:
    with store.unit(durable=False) as unit:
        sequences = [unit.outbox.add(message) for message in messages]
        unit.commit()
    return sequences


def rows(store: Database) -> list[OutboxRow]:
    with store.reader() as reader:
        return reader.outbox.rows(limit=10_000)[::-1]


def quota_of(store: Database, clock: FakeClock, *, used: float) -> Quota:
    """A quota of which so much is in use now."""
    held = sum(len(row.message.body) + ROW_BYTES for row in rows(store))
    return Quota(store, limit_bytes=int(held / used), sender=SENDER, clock=clock)


def work(quota: Quota, flying: frozenset[int] = NOBODY) -> None:
    while quota.step(flying):
        pass


def test_below_four_fifths_nothing_is_touched(store: Database, clock: FakeClock) -> None:
    write(store, *results(clock, 20))
    quota = quota_of(store, clock, used=0.79)
    assert quota.step(NOBODY) == 0
    assert len(rows(store)) == 20
    assert quota.used == pytest.approx(0.79, abs=0.01)
    assert not quota.due(), "it looks again later"


def test_good_results_become_counts_by_minute_and_bad_ones_stay(store: Database, clock: FakeClock) -> None:
    good = write(store, *results(clock, 30))
    bad = write(store, *results(clock, 6, codes=("open",)))
    work(quota_of(store, clock, used=0.9))
    left = rows(store)
    counted = [json.loads(row.message.body)["data"] for row in left if row.message.topic == topics.RESULT_COUNT]
    assert [row.sequence for row in left if row.message.topic == topics.RESULT] == bad
    assert sum(each["count"] for each in counted) == len(good)
    assert sorted(n for each in counted for a, b in each["sequences"] for n in range(a, b + 1)) == good
    assert len(counted) == 6, "thirty parts in five minutes, from ten seconds after the hour on"
    assert {each["stationId"] for each in counted} == {"aoi-1"}


def test_the_counts_tell_the_minute(store: Database, clock: FakeClock) -> None:
    clock.set(clock.now().replace(second=0))
    write(store, *results(clock, 5))
    work(quota_of(store, clock, used=0.95))
    (row,) = rows(store)
    data = json.loads(row.message.body)["data"]
    assert (data["start"], data["end"], data["count"]) == ("2026-01-05T06:00:00.000Z", "2026-01-05T06:01:00.000Z", 5)
    assert row.message.lane is Lane.RESULTS
    assert not row.message.expendable, "a count is not counted again"


def defects(clock: FakeClock, count: int) -> list[OutboundMessage]:
    """One part with a defect of one class each ten seconds."""
    made = []
    for _ in range(count):
        clock.advance(10)
        found = replace(an_inspection(clock, codes=("open",)), images=(OVERLAY,))
        made += outbound.defects(found, sender=SENDER, clock=clock)
    return made


def images_of(store: Database) -> list[bool]:
    return ["imageRef" in json.loads(row.message.body)["data"] for row in rows(store)]


def test_at_the_quota_defects_lose_images_and_nothing_else(store: Database, clock: FakeClock) -> None:
    clock.set(clock.now().replace(second=0))
    sequences = write(store, *defects(clock, 9))
    before = {row.sequence: json.loads(row.message.body) for row in rows(store)}
    work(quota_of(store, clock, used=0.99))
    assert all(images_of(store)), "below the quota nothing is touched"
    quota = quota_of(store, clock, used=1.05)
    work(quota)
    assert images_of(store) == [True] + [False] * 4 + [True] + [False] * 3, "the first of each minute keeps its own"
    assert quota.used < 1.05
    for row in rows(store):
        now, then = json.loads(row.message.body), before[row.sequence]
        then["data"].pop("imageRef")
        now["data"].pop("imageRef", None)
        assert now == then
    assert [row.sequence for row in rows(store)] == sequences
    assert quota.step(NOBODY) == 0, "once is enough"


def test_what_is_on_its_way_is_left_alone(store: Database, clock: FakeClock) -> None:
    first, *others = write(store, *results(clock, 10))
    work(quota_of(store, clock, used=0.9), frozenset({first}))
    kept = [row.sequence for row in rows(store) if row.message.topic == topics.RESULT]
    assert kept == [first]
    assert len(others) == 9


def test_what_was_sent_goes_first(store: Database, clock: FakeClock) -> None:
    old = write(store, *results(clock, 10))
    with store.unit() as unit:
        unit.outbox.mark_sent(old, at=clock.now(), retry_at={})
        unit.commit()
    waiting = write(store, *results(clock, 10))
    clock.advance(1)
    work(quota_of(store, clock, used=0.9))
    assert [row.sequence for row in rows(store)] == waiting, "and then there was room enough"


def telemetry(clock: FakeClock, topic: str) -> OutboundMessage:
    return a_message(clock, topic=topic, lane=Lane.TELEMETRY, body=b"x" * 500)


def test_of_telemetry_the_newest_value_is_kept_until_the_quota_is_reached(store: Database, clock: FakeClock) -> None:
    write(store, *[telemetry(clock, f"out/metric/{name}") for name in "abcabcabc"])
    work(quota_of(store, clock, used=0.9))
    assert [row.sequence for row in rows(store)] == [7, 8, 9]


def test_at_the_quota_all_telemetry_goes_and_what_must_be_kept_is_kept(
    store: Database, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    write(store, *[telemetry(clock, f"out/metric/{name}") for name in "ab"])
    kept = write(
        store,
        a_message(clock, lane=Lane.ORDERS, ack=Ack.RECEIPT, body=b"x" * 9_000),
        a_message(clock, lane=Lane.FINDINGS, ack=Ack.RECEIPT, body=b"x" * 9_000),
        *results(clock, 3, codes=("open",)),
    )
    quota = quota_of(store, clock, used=1.5)
    work(quota)
    assert [row.sequence for row in rows(store)] == kept
    assert quota.used > 1.0, "over its quota: that is told, nothing else is given up"


def test_giving_up_stops_a_little_below_where_it_began(
    store: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 5)
    write(store, *results(clock, 200))
    quota = quota_of(store, clock, used=0.85)
    work(quota)
    assert 0.6 < quota.used <= 0.7
    assert sum(row.message.topic == topics.RESULT for row in rows(store)) > 100


def test_a_result_is_expendable_only_when_the_part_was_good(clock: FakeClock) -> None:
    made = {
        evaluation: outbound.result(an_inspection(clock, evaluation=evaluation), sender=SENDER, clock=clock).expendable
        for evaluation in Evaluation
    }
    assert made == {evaluation: evaluation is Evaluation.OK for evaluation in Evaluation}


def test_the_quota_is_the_smaller_of_the_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk:
        total = 1_000 * 2**20

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _folder: Disk)
    options = MqttSection(host="x", quota_mib=300, quota_disk_percent=20)
    assert limit_bytes(options, tmp_path) == 200 * 2**20
    assert limit_bytes(options, None) == 300 * 2**20


def test_the_pace_holds_over_time_and_keeps_little_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(pace_module.time, "monotonic", lambda: now[0])
    pace, sent = Pace(100.0), 0
    for _ in range(1_000):
        now[0] += 0.01
        allowed = pace.allowed(50)
        pace.spend(allowed)
        sent += allowed
    assert 990 <= sent <= 1_026
    now[0] += 3_600
    assert pace.allowed(1_000) == 25
    assert Pace(None).allowed(10_000) == 10_000
    assert Pace(0.5).allowed(10) <= 1


def test_expiry_is_left_as_it_was(store: Database, clock: FakeClock) -> None:
    """A count is worth longer than what it stands for."""
    write(store, *results(clock, 5))
    work(quota_of(store, clock, used=0.9))
    clock.advance(days=8)
    with store.unit() as unit:
        assert unit.outbox.expire(clock.now()) == 0
        unit.commit()
    assert rows(store)[0].message.expires_at == rows(store)[0].message.created_at + timedelta(days=30)
