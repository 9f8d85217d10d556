"""Suspicions about the link: tried once a day, told once, shown until they are gone."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.link.canary import EVERY_S, TRIES, Canary, forbidden
from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.bootstrap.alarms import AlarmWatch
from edge_agent.contract import topics
from edge_agent.observability.health import Condition, Health
from edge_agent.ports import LinkAlarm, LinkStatus
from tests.fakes.clock import FakeClock
from tests.fakes.plant_samples import SENDER

OWN, NEIGHBOUR = forbidden("acme/n/s/l/c/_inspect/v1/box-1")


class Broker:
    """Answers each probe with the code for its topic; None hangs up."""

    def __init__(self, **codes: int | None) -> None:
        self.codes = codes
        self.asked: list[str] = []

    def probe(self, message: Any, epoch: int, heard: Any) -> None:
        self.asked.append(message.topic)
        heard(self.codes["own" if message.topic == OWN else "neighbour"])


@pytest.mark.parametrize(
    ("own", "neighbour", "active", "named"),
    [(0x87, 0x87, False, []), (0x00, 0x87, True, [OWN]), (0x10, 0x00, True, [OWN, NEIGHBOUR])],
)
def test_what_the_broker_lets_through_is_an_alarm(own: int, neighbour: int, active: bool, named: list[str]) -> None:
    canary = Canary(Broker(own=own, neighbour=neighbour), "acme/n/s/l/c/_inspect/v1/box-1")
    assert canary.alarms() == []
    canary.tick(1)
    (alarm,) = canary.alarms()
    assert alarm.active is active
    assert [topic for topic in (OWN, NEIGHBOUR) if topic in alarm.detail] == named


def test_it_is_tried_once_a_day_and_well_again_when_the_rules_are() -> None:
    now, broker = [0.0], Broker(own=0x00, neighbour=0x87)
    canary = Canary(broker, "acme/n/s/l/c/_inspect/v1/box-1", now_s=lambda: now[0])
    for _ in range(5):
        canary.tick(1)
    assert len(broker.asked) == 2
    broker.codes["own"] = 0x87
    now[0] = EVERY_S + 1
    canary.tick(2)
    assert [alarm.active for alarm in canary.alarms()] == [False]


def test_a_broker_that_hangs_up_is_tried_a_few_times_only() -> None:
    broker = Broker(own=None, neighbour=None)
    canary = Canary(broker, "acme/n/s/l/c/_inspect/v1/box-1", now_s=lambda: 0.0)
    for _ in range(10):
        canary.tick(1)
    assert len(broker.asked) <= 2 * TRIES
    assert [alarm.active for alarm in canary.alarms()] == [False]


def test_an_alarm_is_written_once_and_shown_until_it_is_gone(tmp_path: Path) -> None:
    class Link:
        alarm = LinkAlarm(component="client id", active=True, detail="another one")

        def status(self) -> LinkStatus:
            return LinkStatus(connected=True, broker="b", since=None, alarms=(self.alarm,))

    link, clock, health = Link(), FakeClock(), Health()
    store = Database(sqlite_url(tmp_path), clock=clock)
    store.migrate()
    watch = AlarmWatch(link=link, store=store, sender=SENDER, health=health, clock=clock)
    watch.look()
    watch.look()
    assert [(one.component, one.condition) for one in health.alarms()] == [("client id", Condition.DEGRADED)]
    link.alarm = LinkAlarm(component="client id", active=False, detail="nobody")
    watch.look()
    assert health.alarms() == []
    with store.reader() as unit:
        errors = [json.loads(row.message.body)["data"] for row in unit.outbox.rows()]
        audited = [(entry.action, entry.subject) for entry in unit.audit.rows()]
        assert [row.message.topic for row in unit.outbox.rows()] == [topics.ERROR]
    assert [(error["class"], error["reasonCode"]) for error in errors] == [("security", "client-id")]
    assert audited == [("alarm.raised", "alarm:client id")]
    store.close()
