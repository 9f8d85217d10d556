"""The whole plant in processes, to be killed: mosquitto, the agent, the line, the MES; and what they wrote down."""

import importlib.metadata
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psycopg
import pytest
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.adapters.analysts.local import BACKENDS
from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.store.database import FILE_NAME, Database, sqlite_url
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.message import OutboxRow
from edge_agent.domain.work_order import OrderState, WorkOrder
from edge_agent.simulation.broker import Broker
from edge_agent.simulation.demo import configuration
from edge_agent.simulation.demo.configuration import BrokerAddress, Places
from tests.fakes.made import an_order
from tests.fakes.seeded_analyses import seeded, shipped_catalogue

PATIENCE_S = 60.0
"""For anything that a loaded machine has to do; never waited for in full when all is well."""


def missing() -> str:
    """What these tests need and is not here."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return "" if shutil.which("mosquitto", path=path) else "mosquitto is not installed"


def until(true: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"did not happen within {timeout_s:.0f} s: {what}"
        time.sleep(0.03)


PRODUCT = "PCB-A"
MODEL = Path(__file__).parents[2] / ".cache" / "models" / "smollm2-135m-instruct-q4.gguf"
MODEL_OPTIONS = {"kind": "local", "model": str(MODEL), "threads": 1}


def watch_the_share(station: dict[str, Any]) -> None:
    """Every file on the camera's share is a part."""
    path = station["camera"]["path"]
    station["camera"] |= {"match": "trigger"}
    station["trigger"] = {"kind": "folder", "path": path, "product_id": PRODUCT, "poll_ms": 20, "settle_ms": 20}


def need_a_model() -> None:
    """Skip without the language model and a library that runs it."""
    if not MODEL.exists():
        pytest.skip(f"no model at {MODEL} (scripts/fetch_llm)")
    installed = {one.metadata["Name"] for one in importlib.metadata.distributions()}
    if not installed & {backend.distribution for backend in BACKENDS.values()}:
        pytest.skip("neither llama-cpp-python nor xllamacpp is installed")


def write_incidents(box: "Box", count: int) -> list[WorkOrder]:
    """Put incidents, analyses and issued orders without a note into the agent's store, before it starts."""
    clock, catalogue = SystemClock(), shipped_catalogue()
    box.store.migrate()
    orders = []
    with box.store.unit() as unit:
        for seed in range(count):
            analysis, incident = seeded(catalogue, seed, clock)
            order = an_order(
                clock,
                number=unit.orders.next_number(),
                incident_id=incident.incident_id,
                analysis_id=analysis.analysis_id,
                state=OrderState.ISSUED,
                key=f"L1|etch|{seed}",
            )
            unit.incidents.save(incident)
            unit.analyses.save(analysis)
            unit.orders.save(order)
            orders.append(order)
        unit.commit()
    return orders


class Process:
    """One Python process with its log; started again as often as wanted."""

    def __init__(self, words: list[str], log_file: Path) -> None:
        self.words = words
        self.log_file = log_file
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        with self.log_file.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, *self.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            )

    @property
    def running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def kill(self) -> None:
        """kill -9, and its children with it, as the kernel does at a power cut."""
        assert self.popen is not None
        self.popen.kill()
        self.popen.wait(10)

    def terminate(self, timeout_s: float = 20.0) -> tuple[int, float]:
        """SIGTERM: its exit status and how long it took."""
        assert self.popen is not None
        asked = time.monotonic()
        self.popen.terminate()
        return self.popen.wait(timeout_s), time.monotonic() - asked

    def end(self) -> None:
        """Whatever it takes."""
        if self.running and self.popen is not None:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait(10)

    @property
    def said(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def log(self) -> list[dict[str, Any]]:
        """Its JSON lines; other lines as ``{"raw": ...}``."""
        return [_entry(line) for line in self.said.splitlines() if line.strip()]

    def events(self, sentence: str) -> list[dict[str, Any]]:
        """The log's entries with this sentence."""
        return [entry for entry in self.log() if entry.get("event") == sentence]

    def child_pids(self, name: str) -> list[int]:
        """Its child processes of this name that live."""
        started = [entry["pid"] for entry in self.events("child started") if entry["child"] == name]
        return [pid for pid in started if pid in self.children()]

    def children(self) -> list[int]:
        """Its child processes that live."""
        assert self.popen is not None
        return [pid for pid, parent, state in _processes() if parent == self.popen.pid and state != "Z"]


class Box:
    """A plant on the demo's configuration, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = Places(state=folder / "state")
        for place in (self.places.logs, self.places.hidden, self.places.share):
            place.mkdir(parents=True, exist_ok=True)
        self.broker = Broker(self.places.broker, settings={"autosave_interval": "1", "autosave_on_changes": "true"})
        self.state = self.places.state
        self.url = ""
        self.root = ""
        self.agent = self._process("agent", ["-m", "edge_agent.cli", "run", "--config", str(self.places.config)])
        self.agent.words += ["--log-style", "json"]
        self.line = self._process("line", [])
        self.mes = self._process("mes", [])
        self._store: Database | None = None

    def configure(
        self,
        plant: Callable[[dict[str, Any]], object] = lambda _: None,
        station: Callable[[dict[str, Any]], object] = lambda _: None,
    ) -> None:
        """Write the demo's configuration, changed by the two functions. The broker need not have been started."""
        password = self.broker.password_file("agent")
        password.parent.mkdir(parents=True, exist_ok=True)
        password.write_text(self.broker.passwords["agent"])
        address = BrokerAddress(
            host=self.broker.host,
            port=self.broker.port,
            username="agent",
            password_file=self.broker.password_file("agent"),
        )
        self.root = configuration.write(self.places, address, model=None)
        self.change(plant, station)

    def change(
        self,
        plant: Callable[[dict[str, Any]], object] = lambda _: None,
        station: Callable[[dict[str, Any]], object] = lambda _: None,
    ) -> None:
        for file, edit in (("plant.yaml", plant), ("stations/aoi-1.yaml", station)):
            path = self.places.config / file
            content = yaml.safe_load(path.read_text())
            edit(content)
            path.write_text(yaml.safe_dump(content, sort_keys=False))

    # --- processes --------------------------------------------------------------------------------------------------

    def start_agent(self) -> None:
        """Start it and wait until it is ready (not until it is connected)."""
        before = len(self.agent.events("ready"))
        self.agent.start()
        until(
            lambda: len(self.agent.events("ready")) > before or not self.agent.running,
            "the agent is ready",
        )
        assert self.agent.running, self.agent.said[-3000:]

    def start_mes(self, *words: str) -> None:
        """Technicians who work fast and make no mistakes."""
        hidden = self.places.hidden
        self.mes.words = ["-m", "edge_agent.simulation.mes", *self._login("mes")]
        self.mes.words += ["--topic-root-filter", self.root, "--state", str(hidden / "mes.sqlite")]
        self.mes.words += ["--truth", str(hidden / "truth.jsonl"), "--repairs", str(hidden / "repairs.jsonl")]
        self.mes.words += ["--ideal", "--speed", "1500", *words]
        self.mes.start()

    def start_line(self, parts: int, *words: str) -> None:
        """Parts ``R-00001``, ...; what it counted is in ``line_account``."""
        hidden = self.places.hidden
        self.line.words = ["-m", "edge_agent.simulation.line", *self._login("plant"), "--topic-root", self.root]
        self.line.words += ["--truth", str(hidden / "truth.jsonl"), "--repairs", str(hidden / "repairs.jsonl")]
        self.line.words += ["--images", str(self.places.share), "--parts", str(parts), "--run", "R"]
        self.line.words += ["--summary", str(hidden / "line.json"), *words]
        self.line.start()

    def end(self) -> None:
        """Leave no process behind."""
        if self._store is not None:
            self._store.close()
        for process in (self.line, self.mes, self.agent):
            process.end()
        self.broker.stop()

    # --- what was written down --------------------------------------------------------------------------------------

    @property
    def store(self) -> Database:
        """The agent's store, read beside it."""
        if self._store is None:
            self._store = Database(self.url or sqlite_url(self.state), clock=SystemClock())
        return self._store

    @property
    def inspections(self) -> list[Inspection]:
        with self.store.reader() as unit:
            return [inspection for _, inspection in unit.inspections.after(0, 100_000)]

    @property
    def part_ids(self) -> list[str]:
        return [inspection.shot.part_id for inspection in self.inspections]

    @property
    def recorded(self) -> int:
        """How many inspections; 0 before the store is there."""
        return int(self._ask("SELECT COUNT(*) FROM inspections") or 0)

    @property
    def unanswered(self) -> int:
        """Shots that owe an answer."""
        return int(self._ask("SELECT COUNT(*) FROM expected_shots") or 0)

    @property
    def outbox(self) -> list[OutboxRow]:
        """Oldest first."""
        with self.store.reader() as unit:
            return unit.outbox.rows(limit=100_000)[::-1]

    @property
    def orders(self) -> list[WorkOrder]:
        with self.store.reader() as unit:
            return unit.orders.list(limit=10_000)

    @property
    def line_account(self) -> dict[str, Any]:
        account: dict[str, Any] = json.loads((self.places.hidden / "line.json").read_text())
        return account

    def mes_rows(self, query: str) -> list[tuple[Any, ...]]:
        """From the MES's ledger."""
        with sqlite3.connect(self.places.hidden / "mes.sqlite") as ledger:
            return list(ledger.execute(query))

    def _ask(self, query: str) -> Any:
        """One number from the agent's database, from outside; None when it cannot be asked now."""
        file = self.state / FILE_NAME
        if not self.url and not file.exists():
            return None
        try:
            with self._reading() as database:
                return database.execute(query).fetchone()[0]
        except (sqlite3.OperationalError, psycopg.Error):  # not migrated yet, or away
            return None

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        if self.url:
            with psycopg.connect(self.url.replace("+psycopg", ""), connect_timeout=5) as server:
                yield server
            return
        with closing(sqlite3.connect(f"file:{self.state / FILE_NAME}?mode=ro", uri=True, timeout=5)) as file:
            yield file

    # --- talking to it ----------------------------------------------------------------------------------------------

    def retained_state(self) -> dict[str, Any]:
        """What the broker tells newcomers about the agent."""
        with Plc(self) as plc:
            plc.client.subscribe(f"{self.root}/out/state", 1)
            until(lambda: plc.states, "the retained state comes")
            return plc.states[-1]

    def _process(self, name: str, words: list[str]) -> Process:
        return Process(words, self.places.logs / f"{name}.log")

    def _login(self, user: str) -> list[str]:
        words = ["--host", self.broker.host, "--port", str(self.broker.port), "--username", user]
        return [*words, "--password-file", str(self.broker.password_file(user))]


class Plc:
    """A controller in the test: sends triggers, hears answers."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self.answers: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.username_pw_set("plant", box.broker.passwords["plant"])
        self.client.on_message = self._heard
        self.client.on_connect = lambda client, *_: client.subscribe(f"{box.root}/out/result", 1)

    def __enter__(self) -> "Plc":
        self.client.connect(self._box.broker.host, self._box.broker.port)
        self.client.loop_start()
        until(self.client.is_connected, "the controller is connected")
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def trigger(self, part_id: str, **more: Any) -> None:
        request = {"partId": part_id, "productId": "PCB-A", "triggerId": f"T-{part_id}", **more}
        self.client.publish(f"{self._box.root}/in/cmd/trigger", json.dumps(request), qos=1)

    def _heard(self, _client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        data = json.loads(message.payload)["data"]
        (self.states if message.topic.endswith("/state") else self.answers).append(data)


def _entry(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {"raw": line}
    return found if isinstance(found, dict) else {"raw": line}


def _processes() -> Iterator[tuple[int, int, str]]:
    """Every process: pid, parent's pid, state."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        yield int(folder.name), int(words[1]), words[0]
