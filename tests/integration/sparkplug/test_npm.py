"""Sparkplug with programs that nobody here wrote: another codec, an MQTT.js host, sparkplug-client's edge node."""

import base64
import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.link.mqtt import MqttLink
from edge_agent.adapters.store.database import Database
from edge_agent.bootstrap.telemetry import subscribe_telemetry
from edge_agent.config.plant import MqttSection, TelemetrySection
from edge_agent.contract.sparkplug.payload import DataType, Metric, Payload, decode, encode
from edge_agent.domain.plant import Sample
from edge_agent.simulation.broker import Broker
from tests.integration.sparkplug.scenario import CLOCK, GROUP, HOST, NODE, Box
from tests.peers import npm

pytestmark = pytest.mark.integration
D = DataType
AT_MS = 1_700_000_000_000


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    npm.install()


class Program:
    """A Node program that talks in JSON lines."""

    def __init__(self, script: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            ["node", script, *arguments], cwd=npm.FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lines: queue.Queue[Any] = queue.Queue()
        self.heard: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def tell(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def until(self, wanted: Callable[[dict[str, Any]], object], within_s: float = 30) -> dict[str, Any]:
        """The next line that is wanted; all lines up to it are in ``heard``."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not within {within_s} s; heard {self.heard[-5:]}") from None
            self.heard.append(line)
            if wanted(line):
                return dict(line)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)


@contextmanager
def program(script: str, broker: Broker, user: str, *arguments: str) -> Iterator[Program]:
    url = f"mqtt://{broker.host}:{broker.port}"
    made = Program(script, url, user, broker.passwords[user], *arguments)
    try:
        yield made
    finally:
        made.close()


# --- the codec --------------------------------------------------------------------------------------------------------

VALUES: dict[DataType, Any] = {
    D.INT8: -8,
    D.INT16: -1_600,
    D.INT32: -320_000,
    D.INT64: -(1 << 40),
    D.UINT8: 200,
    D.UINT16: 60_000,
    D.UINT32: 4_000_000_000,
    D.UINT64: 1 << 45,
    D.FLOAT: 0.5,
    D.DOUBLE: 20.25,
    D.BOOLEAN: True,
    D.STRING: "Größe",
    D.DATETIME: AT_MS,
    D.TEXT: "text",
}


def talk(**sides: Any) -> Any:
    done = subprocess.run(
        ["node", "sparkplug_payload.mjs"],
        cwd=npm.FOLDER,
        input=json.dumps(sides),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def name_of(kind: DataType) -> str:
    return {D.BOOLEAN: "Boolean", D.STRING: "String", D.DATETIME: "DateTime", D.TEXT: "Text"}.get(
        kind, kind.name.replace("UINT", "UInt").replace("INT", "Int").title().replace("Uint", "UInt")
    )


def test_every_type_is_read_by_the_other_codec_and_the_other_way_round() -> None:
    metrics = tuple(
        Metric(name=kind.name, alias=int(kind), timestamp_ms=AT_MS, datatype=kind, value=value)
        for kind, value in VALUES.items()
    )
    null = Metric(name="null", datatype=D.INT32, is_null=True)
    unit = Metric(name="unit", datatype=D.DOUBLE, value=1.0, properties={"engUnit": (D.STRING, "mm")})
    ours = encode(Payload(timestamp_ms=AT_MS, seq=255, metrics=(*metrics, null, unit)))
    theirs = {
        "timestamp": AT_MS,
        "seq": 255,
        "metrics": [
            {
                "name": kind.name,
                "alias": int(kind),
                "timestamp": AT_MS,
                "type": name_of(kind),
                "value": value,
            }
            for kind, value in VALUES.items()
        ],
    }
    answer = talk(decode={"ours": base64.b64encode(ours).decode()}, encode={"theirs": theirs})
    read = answer["decoded"]["ours"]
    assert (read["timestamp"], read["seq"]) == (AT_MS, 255)
    found = {one["name"]: one for one in read["metrics"]}
    assert {kind: found[kind.name]["value"] for kind in VALUES} == VALUES
    assert {kind: found[kind.name]["type"] for kind in VALUES} == {kind: name_of(kind) for kind in VALUES}
    assert {found[kind.name]["alias"] for kind in VALUES} == {int(kind) for kind in VALUES}
    assert found["null"]["value"] is None
    assert found["unit"]["properties"] == {"engUnit": {"type": "String", "value": "mm"}}
    back = decode(base64.b64decode(answer["encoded"]["theirs"]))
    assert back.metrics == metrics
    assert back.seq == 255


# --- out: a host of MQTT.js -------------------------------------------------------------------------------------------


def values(message: dict[str, Any]) -> dict[str, Any]:
    return {metric["name"]: metric["value"] for metric in message["metrics"]}


def test_a_foreign_host_sees_births_data_rebirth_death_and_history(tmp_path: Path) -> None:
    with Broker(tmp_path / "broker") as broker:
        box = Box(tmp_path, broker, broker.port, primary_host=HOST, types_in_data=True)
        box.inspect(good=False)
        with program("sparkplug_host.mjs", broker, "mes", GROUP, HOST) as host:
            host.until(lambda line: line.get("ready"))
            box.start()
            born = host.until(lambda line: line.get("verb") == "NBIRTH")
            assert values(born)["bdSeq"] == 0
            assert values(born)["Node Control/Rebirth"] is False
            device = host.until(lambda line: line.get("device") == "aoi-1")
            assert values(device)["Result"] == "NOT_OK"
            assert values(device)["Defects/Count"] == 2
            past = host.until(lambda line: line.get("verb") == "DDATA")
            assert all(metric["isHistorical"] for metric in past["metrics"])
            box.inspect()
            now = host.until(lambda line: line.get("verb") == "DDATA")
            assert values(now)["Result"] == "OK"
            assert values(now)["Count"] == 2
            assert values(now)["Yield"] == 50.0
            assert not any(metric["isHistorical"] for metric in now["metrics"])
            host.tell(f"rebirth {NODE}")
            again = host.until(lambda line: line.get("verb") == "NBIRTH")
            assert (again["seq"], values(again)["bdSeq"]) == (0, 0)
            host.tell("quit")
            host._process.wait(20)
        box.inspect(count=2)
        with program("sparkplug_host.mjs", broker, "mes", GROUP, HOST) as host:
            second = host.until(lambda line: line.get("verb") == "NBIRTH")
            assert values(second)["bdSeq"] == 1
            missed = [host.until(lambda line: line.get("verb") == "DDATA") for _ in range(2)]
            assert [values(one)["Count"] for one in missed] == [3, 4]
            assert all(metric["isHistorical"] for one in missed for metric in one["metrics"])
            box.stop()
            death = host.until(lambda line: line.get("verb") == "NDEATH")
            assert values(death) == {"bdSeq": 1}
        box.store.close()


# --- in: an edge node of sparkplug-client -----------------------------------------------------------------------------

SIGNALS = {
    "oven": {"sparkplug": {"group": "plant", "edge_node": "oven-1", "device": "zone-3", "metric": "Oven/Temperature"}},
    "running": {"sparkplug": {"group": "plant", "edge_node": "oven-1", "device": "zone-3", "metric": "Running"}},
    "count": {"sparkplug": {"group": "plant", "edge_node": "oven-1", "metric": "Count"}},
}


@contextmanager
def intake(broker: Broker, folder: Path) -> Iterator[Callable[[str], list[float | None]]]:
    """The box's telemetry, running; yields what gives a signal's stored values."""
    store = Database(f"sqlite:///{folder / 'box.sqlite3'}", clock=CLOCK)
    store.migrate()
    link = MqttLink(
        MqttSection(host=broker.host, port=broker.port, username="agent"),
        agent="box",
        topic_root="a/b/c/d/e/_inspect/v1/box",
        store=store,
        clock=CLOCK,
        state_body=lambda online: b"{}",
        password=broker.passwords["agent"],
    )
    signals = {name: one | {"unit": "x", "max_rate_hz": 1_000} for name, one in SIGNALS.items()}
    section = TelemetrySection.model_validate({"signals": signals, "sparkplug_rebirth": True})
    telemetry = subscribe_telemetry(section, link, store=store, clock=CLOCK, complain=lambda *_: None)
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.02):
            telemetry.step()

    worker = threading.Thread(target=work)
    link.start()
    worker.start()

    def series(signal: str) -> list[float | None]:
        with store.reader() as unit:
            found: list[Sample] = unit.plant.series(
                signal, datetime(2020, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
            )
        return [sample.value for sample in found]

    try:
        yield series
    finally:
        stop.set()
        worker.join(5)
        link.stop(2)
        store.close()


def until(condition: Callable[[], object], what: str, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_a_foreign_edge_node_s_metrics_become_samples(tmp_path: Path) -> None:
    with (
        Broker(tmp_path / "broker") as broker,
        program("sparkplug_edge.mjs", broker, "plant", "plant", "oven-1", "zone-3") as edge,
    ):
        edge.until(lambda line: line.get("born"))
        with intake(broker, tmp_path) as series:
            # The births were before our time: we ask for them, and get them.
            edge.until(lambda line: line.get("asked") == "rebirth")
            until(lambda: series("oven") == [20.5], "the birth's value")
            assert series("count") == [-5]
            assert series("running") == [1.0]
            # One after the other: of two values in the same millisecond one is kept.
            edge.tell("device 21.5")
            until(lambda: series("oven")[-1] == 21.5, "by name")
            edge.tell("alias 22.5")
            edge.tell("node -7")
            until(lambda: series("oven") == [20.5, 21.5, 22.5], "by name and by alias")
            until(lambda: series("count") == [-5, -7], "a negative count")
            # A gap: what comes by alias is not believed until the births came again.
            edge.tell("skip")
            edge.tell("alias 99.0")
            edge.until(lambda line: line.get("asked") == "rebirth")
            until(lambda: series("oven")[-1] == 20.5, "the second birth's value")
            edge.tell("alias 23.5")
            until(lambda: 23.5 in series("oven"), "after the rebirth")
            assert 99.0 not in series("oven")
            edge.tell("lost")
            until(lambda: series("oven")[-1] is None, "stale with the device's death")
            assert series("count")[-1] is not None
            edge.tell("die")
            until(lambda: series("count")[-1] is None, "stale with the node's death")
