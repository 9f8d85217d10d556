"""Real kills: of the broker, of the box, of the MES. Whatever was committed arrives; nothing is acted upon twice."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from edge_agent.contract import outbound, topics
from edge_agent.domain.message import InboundMessage, OutboxState
from edge_agent.domain.work_order import WorkOrder
from edge_agent.simulation.broker import Broker
from tests.fakes import plant_samples as sample
from tests.integration.link.conftest import _mosquitto, broker  # noqa: F401  fixtures
from tests.integration.link.plant import CLOCK, ROOT, SENDER, Mes, box, mes, message, until

pytestmark = [pytest.mark.fault, pytest.mark.integration]


def test_the_broker_is_killed_again_and_again_while_the_relay_works(broker: Broker, tmp_path: Path) -> None:  # noqa: F811
    """mosquitto forgets what it has PUBACKed when it is killed; the receipts find out."""
    random = Random(5)
    with mes(broker, receipts=True) as plant, box(broker, tmp_path, receipt_retry_s=0.5) as agent:
        for wave in range(5):
            agent.add(*[message(wave * 100 + n) for n in range(100)])
            time.sleep(random.uniform(0.0, 0.15))
            broker.kill()
            broker.start()
        until(lambda: agent.counts()[OutboxState.CONFIRMED] == 500, "every row has its receipt", 60)
        assert set(plant.numbers()) == set(range(500))
        assert agent.counts()[OutboxState.QUARANTINED] == 0


@pytest.mark.slow
def test_the_broker_says_so_when_the_box_dies(broker: Broker, tmp_path: Path) -> None:  # noqa: F811
    with mes(broker) as plant:
        process = _process(_settings(broker, tmp_path, total=1, per_s=0.001))
        until(lambda: _online(plant) == [True], "the birth", 30)
        process.kill()
        process.wait(10)
        until(lambda: _online(plant) == [True, False], "the will, after its delay", 30)
    with mes(broker, client_id="late") as late:
        until(lambda: _online(late) == [False], "the retained state")


def _online(plant: Mes) -> list[bool]:
    return [json.loads(each.payload)["online"] for each in plant.on(topics.STATE)]


def _settings(broker: Broker, folder: Path, *, total: int, per_s: float) -> Path:  # noqa: F811
    path = folder / "settings.json"
    path.write_text(
        json.dumps(
            {
                "root": ROOT,
                "host": broker.host,
                "port": broker.port,
                "password": broker.passwords["agent"],
                "url": f"sqlite:///{folder / 'box.sqlite3'}",
                "total": total,
                "per_s": per_s,
            }
        )
    )
    return path


def test_the_box_is_killed_again_and_again(broker: Broker, tmp_path: Path) -> None:  # noqa: F811
    total = 600
    settings = _settings(broker, tmp_path, total=total, per_s=150)
    random = Random(3)
    with mes(broker, receipts=True) as plant:
        for _ in range(4):
            process = _process(settings)
            seen = len(plant.got)
            until(lambda seen=seen: len(plant.got) > seen + 20, "it is at work", 30)
            time.sleep(random.uniform(0.0, 0.3))
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        last = _process(settings)
        assert last.wait(60) == 0
        assert set(plant.numbers()) == set(range(total))


def _process(settings: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.fault.relay_process", str(settings)])


def test_the_mes_is_killed_and_neither_forgets_nor_acts_twice(broker: Broker, tmp_path: Path) -> None:  # noqa: F811
    truth, repairs = tmp_path / "truth.jsonl", tmp_path / "repairs.jsonl"
    truth.write_text(json.dumps({"at": "2020-01-01T00:00:00+00:00", "causeId": "ETCH-1", "causeText": "hot"}) + "\n")
    orders = [_order(number) for number in range(6)]
    answers: dict[str, list[tuple[str, str]]] = {}
    lock = threading.Lock()

    def heard(got: InboundMessage) -> None:
        event = json.loads(got.body)
        with lock:
            answers.setdefault(event["data"]["jobOrderId"], []).append((event["id"], event["data"]["event"]))

    with box(broker, tmp_path / "box", receipt_retry_s=1.0, heard=heard) as agent:
        process = _mes(broker, tmp_path, truth, repairs)
        try:
            for order in orders:
                agent.add(outbound.work_order(order, None, "create", sender=SENDER, clock=CLOCK))
                count = len(answers)
                until(lambda count=count: len(answers) > count or len(answers) == len(orders), "the order is answered")
                process.kill()
                process.wait(10)
                process = _mes(broker, tmp_path, truth, repairs)
            until(lambda: sum(_closed(each) for each in answers.values()) == 6, "all are closed", 60)
            until(lambda: agent.counts()[OutboxState.CONFIRMED] == 6, "all are receipted")
        finally:
            process.terminate()
            process.wait(10)
    for heard in answers.values():
        by_event = Counter(event for _, event in dict.fromkeys(heard))
        assert by_event == {"accepted": 1, "started": 1, "completed": 1, "closed": 1}
    told = [json.loads(line)["orderId"] for line in repairs.read_text().splitlines()]
    assert sorted(told) == sorted(str(order.order_id) for order in orders)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["orders opened"], summary["orders closed"]) == (6, 6)


def _closed(heard: list[tuple[str, str]]) -> bool:
    return any(event == "closed" for _, event in heard)


def _order(number: int) -> WorkOrder:
    now = datetime.now(UTC)
    return replace(
        sample.ORDER, order_id=CLOCK.new_id(), key=f"key-{number}", number=f"WO-{number}", revision=1, created_at=now
    )


def _mes(broker: Broker, folder: Path, truth: Path, repairs: Path) -> subprocess.Popen[bytes]:  # noqa: F811
    command = [
        *(sys.executable, "-m", "edge_agent.simulation.mes", "--host", broker.host, "--port", str(broker.port)),
        *("--username", "mes", "--password-file", str(broker.password_file("mes"))),
        *("--topic-root-filter", ROOT.rsplit("/", 1)[0] + "/+", "--state", str(folder / "mes.sqlite3")),
        *("--truth", str(truth), "--repairs", str(repairs), "--summary", str(folder / "summary.json")),
        *("--seed", "1", "--speed", "2400", "--ideal"),
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONUNBUFFERED": "1"})
