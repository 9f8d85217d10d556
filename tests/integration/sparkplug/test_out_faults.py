"""The Sparkplug output when the broker dies, refuses, or is not there yet."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.contract.sparkplug.payload import decode
from edge_agent.observability.health import Condition
from edge_agent.simulation.broker import Broker
from tests.integration.sparkplug.scenario import Box, Host, Tap, plant

pytestmark = pytest.mark.integration


def until(condition: Callable[[], object], what: str, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def published(tap: Tap, verb: str) -> list[dict[str, object]]:
    return [each for each in tap.published() if str(each["topic"]).split("/")[2] == verb]


def test_parts_of_an_outage_are_sent_when_the_broker_is_back(tmp_path: Path) -> None:
    with plant(tmp_path) as (box, _host, tap, broker):
        box.start()
        until(lambda: len(published(tap, "DBIRTH")) == 2, "births")
        box.inspect()
        until(lambda: len(published(tap, "DDATA")) == 1, "the first part")
        broker.kill()
        until(lambda: box.told[-1][0] is Condition.DOWN, "it is told that the broker went away")
        box.inspect(count=60)
        time.sleep(0.3)
        broker.start()
        until(lambda: len(published(tap, "NBIRTH")) == 2, "born again")
        until(lambda: len(published(tap, "DDATA")) == 61, "all parts of the outage")
        past = [decode(bytes(each["body"])) for each in published(tap, "DDATA")[1:]]  # type: ignore[arg-type]
        assert all(metric.is_historical for payload in past for metric in payload.metrics)
        assert box.told[-1][0] is Condition.OK
        assert [connection[0].says["will"]["qos"] for connection in tap.connections if connection] == [1] * len(
            [connection for connection in tap.connections if connection]
        )


def test_a_refusal_is_told_and_tried_again_slowly(tmp_path: Path) -> None:
    with Broker(tmp_path / "broker") as broker:
        box = Box(tmp_path, broker, broker.port)
        box._password = "wrong"
        box.start()
        until(lambda: any("refused" in detail for _, detail in box.told), "the refusal is told")
        box.inspect()
        box.stop()
        box.store.close()


def test_a_broker_that_comes_later_is_found(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    box = Box(tmp_path, broker, broker.port)
    box.start()
    until(lambda: box.told and "cannot be reached" in box.told[-1][1], "it is told that nobody is there")
    with broker:
        host = Host(broker)
        until(lambda: [topic for topic, _ in host.heard if "NBIRTH" in topic], "births")
        box.stop()
        host.close()
    box.store.close()
