"""The collector with a real broker and a real PostgreSQL: killed workers, poison, a database that goes away."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import make_url

from edge_agent.adapters.clock import SystemClock
from edge_agent.collecting import sessions
from edge_agent.collecting.fleet_store import FleetStore
from edge_agent.collecting.settings import CollectFile
from edge_agent.collecting.worker import Worker
from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender, with_sequence
from edge_agent.domain.faults import ConfigError
from edge_agent.simulation.broker import Broker, find_program
from tests.fakes.made import an_inspection
from tests.fakes.postgres import PrivatePostgres, missing

ROOT = Path(__file__).resolve().parents[2]
CLOCK = SystemClock()
SENDER = Sender(
    agent="box-1", topic_root="acme/north/smt/l1/aoi/_inspect/v1/box-1", uri_base="http://b", software_version="1"
)
DEADLINE_S = 60.0


def _why_not() -> str:
    try:
        find_program("mosquitto")
    except ConfigError as error:
        return str(error)
    return missing()


pytestmark = [pytest.mark.fault, pytest.mark.skipif(bool(_why_not()), reason=_why_not())]


def test_killed_workers_lose_nothing_and_a_hole_is_told(tmp_path: Path) -> None:
    figures = tmp_path / "fleet.json"
    size = ["--boxes", "8", "--messages", "6", "--workers", "2", "--kills", "2", "--timeout-s", "60"]
    command = [str(ROOT / "scripts" / "bench" / "bench_fleet"), *size, "--json", str(figures)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text("utf-8"))
    assert (found["stored"], found["kills"], found["hole_told"], found["false_gaps"]) == (48, 2, True, 0)


class Site:
    """A broker, a database, a box, and one worker in this process."""

    def __init__(self, broker: Broker, server: PrivatePostgres) -> None:
        self.server = server
        self.store = FleetStore(make_url(server.url(server.new_database())))
        self.store.migrate()
        mqtt = {"host": broker.host, "port": broker.port, "username": "mes"}
        self.settings = CollectFile.model_validate({"mqtt": mqtt, "database": "unused"})
        self.password = broker.passwords["mes"]
        sessions.provision(self.settings, "1", self.password)
        self.receipts: list[dict[str, Any]] = []
        up = threading.Event()
        self.box = paho.Client(CallbackAPIVersion.VERSION2, client_id="box-1", protocol=paho.MQTTv5)
        self.box.username_pw_set("agent", broker.passwords["agent"])
        self.box.on_message = lambda _c, _u, message: self.receipts.append(json.loads(message.payload))
        self.box.on_subscribe = lambda *_: up.set()
        self.box.on_connect = lambda client, *_: client.subscribe(f"{SENDER.topic_root}/in/receipt", 1)
        self.box.connect(broker.host, broker.port)
        self.box.loop_start()
        assert up.wait(DEADLINE_S)

    def a_worker(self) -> Worker:
        return Worker(self.settings, name="1", store=self.store, clock=CLOCK, password=self.password)

    def send(self, body: bytes, topic: str = "out/defect") -> None:
        self.box.publish(f"{SENDER.topic_root}/{topic}", body, 1).wait_for_publish(DEADLINE_S)

    def stored(self) -> int:
        return int(self.store.rows("SELECT count(*) AS n FROM event")[0]["n"])

    def close(self) -> None:
        self.box.disconnect()
        self.box.loop_stop()
        self.store.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    server = PrivatePostgres()
    server.start()
    with Broker(tmp_path_factory.mktemp("broker"), users=("agent", "mes")) as broker:
        made = Site(broker, server)
        yield made
        made.close()
    server.stop()


def a_defect(sequence: int) -> tuple[str, bytes]:
    (message,) = outbound.defects(an_inspection(CLOCK, codes=("open",)), sender=SENDER, clock=CLOCK)
    return str(message.message_id), with_sequence(message.body, sequence)


def step_until(worker: Worker, done: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < until
        worker.step()


def test_poison_is_put_aside_and_what_stands_behind_it_is_stored(site: Site) -> None:
    good, poison = a_defect(1), a_defect(2)
    unfit = json.loads(poison[1])
    unfit["data"]["unitId"] = "\0"  # JSON takes it, the database does not
    site.send(b"{not json", "out/result")
    site.send(json.dumps(unfit).encode())
    site.send(good[1])
    worker = site.a_worker()
    worker.start()
    step_until(worker, lambda: site.stored() == 1 and len(site.receipts) == 2)
    worker.stop()
    said = {receipt["status"]: receipt["ids"] for receipt in site.receipts}
    assert said == {"received": [good[0]], "rejected": [poison[0]]}
    reasons = site.store.rows("SELECT reason FROM dead_letter ORDER BY reason")
    assert [row["reason"] for row in reasons] == ["database", "not-json"]


def test_while_the_database_is_away_the_broker_keeps_what_comes(site: Site) -> None:
    before = site.stored()
    site.server.halt()
    key, body = a_defect(3)
    site.send(body)
    worker, stop = site.a_worker(), threading.Event()
    worker.start()
    thread = threading.Thread(target=lambda: [worker.step(stop.is_set) for _ in iter(stop.is_set, True)])
    thread.start()
    site.send(a_defect(4)[1])
    assert not any(key in receipt["ids"] for receipt in site.receipts)  # nothing is confirmed that is not stored
    site.server.resume()
    until = time.monotonic() + DEADLINE_S
    while not any(key in receipt["ids"] for receipt in site.receipts) and time.monotonic() < until:
        time.sleep(0.05)
    stop.set()
    thread.join(DEADLINE_S)
    worker.stop()
    assert any(key in receipt["ids"] for receipt in site.receipts)
    assert site.stored() >= before + 1


def test_a_session_can_be_ended(site: Site) -> None:
    assert sessions.provision(site.settings, "9", site.password) is False
    assert sessions.provision(site.settings, "9", site.password) is True
    sessions.remove(site.settings, "9", site.password)
    assert sessions.provision(site.settings, "9", site.password) is False
    sessions.remove(site.settings, "9", site.password)
