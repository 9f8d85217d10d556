"""The demo's order of events: broker, agent, MES, line; watch; wait for the open loops; stop everything in order."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_agent.domain.faults import Transient
from edge_agent.simulation.broker import Broker
from edge_agent.simulation.demo import configuration
from edge_agent.simulation.demo.audience import Audience
from edge_agent.simulation.demo.children import Child, ChildDied
from edge_agent.simulation.demo.configuration import BrokerAddress, Places
from edge_agent.simulation.demo.story import Story, Told
from edge_agent.simulation.demo.watcher import Watcher

AGENT_READY_S = 120.0
PAGE_S = 10.0
CLOSING_S = 90.0
"""How long open work orders may take to be closed, and their last sheet to be printed, after the last part."""
QUIET_S = 3.0
"""After the last loop has closed: for a document that is still being printed."""
MES_MINUTES_PER_MINUTE = 80.0
"""Slow enough that a small language model on two cores has written before the technician is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """What the demo shall show.

    Attributes:
        parts: panels to make; None goes on until stopped.
        fault: the one hidden fault to use; None: drawn by the seed.
        model: the language model's file, or None.
    """

    parts: int | None
    seed: int
    fault: str | None
    rate: float
    model: Path | None


class Stage:
    """Runs the demo once. ``begin``, then ``watch``, then ``end``: in a ``try`` / ``finally``."""

    def __init__(
        self,
        programme: Programme,
        *,
        places: Places,
        audience: Audience,
        run: str,
        now: Callable[[], datetime],
        stop: threading.Event,
    ) -> None:
        self.programme = programme
        self.places = places
        self.since = now()
        self.story = Story(run=run, since=self.since)
        self._run = run
        self._audience = audience
        self._stop = stop
        self._broker = Broker(places.broker)
        self._root = ""
        self._watcher: Watcher | None = None
        self._children: list[Child] = []

    def begin(self) -> None:
        """Start everything, saying what and where its log is.

        Raises:
            ConfigError: mosquitto or the configuration's template is missing.
            Transient: something did not start.
        """
        self._prepare()
        self._step("starting mosquitto", self._broker.log_file)
        self._broker.start()
        self._root = configuration.write(self.places, self._address(), model=self.programme.model)
        writer = self.programme.model.name if self.programme.model else "none: orders go out on rules and say so"
        self._audience.tell(Told(kind="step", text=f"configuration: {self.places.config} (language model: {writer})"))
        self._watcher = Watcher(self._root, username="mes", password=self._password("mes"))
        self._watcher.start(self._broker.host, self._broker.port)
        self._start(
            "agent", ["-m", "edge_agent.cli", "run", "--config", str(self.places.config), "--log-style", "json"]
        )
        self._await_box()
        self._tell_page()
        self._start("MES", self._mes_words())
        self._start("line", self._line_words())
        self._audience.begin(self.story, self.programme.parts)

    def watch(self) -> None:
        """Follow what happens until the line is done and the loops are closed, or until stopped.

        Raises:
            ChildDied: a process ended with a failure.
        """
        line = self._children[-1]
        while not self._stop.is_set() and line.exit_code is None:
            self._listen(0.2)
            self._check()
        self._check()
        closing, quiet = time.monotonic() + CLOSING_S, time.monotonic() + QUIET_S
        while not self._stop.is_set() and time.monotonic() < min(closing, quiet):
            if self._listen(0.2) or any(order.unfinished for order in self.story.orders.values()):
                quiet = time.monotonic() + QUIET_S
            self._check()

    def end(self) -> None:
        """Stop everything in order: the line, the agent (it flushes what it owes), the MES, the broker."""
        self._audience.end()
        order = {"line": 0, "agent": 1, "MES": 2}
        for child in sorted(self._children, key=lambda child: order[child.name]):
            child.stop(20.0)
        if self._watcher is not None:
            self._listen(0.3)
            self._watcher.stop()
        self._broker.stop()

    def line_account(self) -> Mapping[str, Any]:
        """What the line says it asked and was answered; empty when it did not get to say it."""
        file = self.places.hidden / "line.json"
        try:
            account: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return account

    @property
    def truth(self) -> Path:
        """The file with the hidden cause."""
        return self.places.hidden / "truth.jsonl"

    def _prepare(self) -> None:
        for folder in (self.places.logs, self.places.hidden, self.places.share):
            folder.mkdir(parents=True, exist_ok=True)
        for name in ("truth.jsonl", "repairs.jsonl", "line.json"):
            (self.places.hidden / name).unlink(missing_ok=True)

    def _address(self) -> BrokerAddress:
        return BrokerAddress(
            host=self._broker.host,
            port=self._broker.port,
            username="agent",
            password_file=self._broker.password_file("agent"),
        )

    def _password(self, user: str) -> str:
        return self._broker.password_file(user).read_text(encoding="utf-8").strip()

    def _start(self, name: str, words: list[str]) -> None:
        child = Child(name, words, self.places.logs / f"{name.lower()}.log")
        self._step(f"starting the {name}", child.log_file)
        child.start()
        self._children.append(child)

    def _step(self, what: str, log_file: Path) -> None:
        self._audience.tell(Told(kind="step", text=f"{what} (log: {log_file})"))

    def _await_box(self) -> None:
        """The agent says that it is online when it is ready to inspect."""
        deadline = time.monotonic() + AGENT_READY_S
        while not self.story.box_online and not self._stop.is_set():
            self._listen(0.2)
            agent = self._children[0]
            if agent.exit_code is not None:
                raise ChildDied(agent.obituary(agent.exit_code))
            if time.monotonic() > deadline:
                raise Transient(f"the agent is not online after {AGENT_READY_S:.0f} s; its log ends:\n{agent.tail()}")

    def _tell_page(self) -> None:
        """Where the operator's page is: the agent took a free port and logs it a moment after it is online."""
        deadline = time.monotonic() + PAGE_S
        while time.monotonic() < deadline and not self._stop.is_set():
            for line in self._children[0].log_file.read_text(encoding="utf-8", errors="replace").splitlines():
                if "web pages are served" in line and line.endswith("}"):
                    self._audience.tell(Told(kind="step", text=f"operator page: {json.loads(line)['url']}"))
                    return
            self._listen(0.2)

    def _listen(self, wait_s: float) -> bool:
        """Take what was heard within the time; whether anything worth telling was."""
        assert self._watcher is not None
        any_news = False
        for topic, event in self._watcher.heard(wait_s):
            for told in self.story.hear(topic, event):
                self._audience.tell(told)
                any_news = True
        return any_news

    def _check(self) -> None:
        for child in self._children:
            child.check()
            if child.name != "line" and child.exit_code is not None:
                raise ChildDied(child.obituary(child.exit_code))
        if not self._broker.running:
            raise ChildDied(f"mosquitto ended; its log: {self._broker.log_file}")

    def _client_words(self, user: str) -> list[str]:
        words = ["--host", self._broker.host, "--port", str(self._broker.port)]
        return [*words, "--username", user, "--password-file", str(self._broker.password_file(user))]

    def _hidden_words(self) -> list[str]:
        return ["--truth", str(self.truth), "--repairs", str(self.places.hidden / "repairs.jsonl")]

    def _mes_words(self) -> list[str]:
        words = ["-m", "edge_agent.simulation.mes", *self._client_words("mes"), *self._hidden_words()]
        words += ["--topic-root-filter", self._root, "--state", str(self.places.hidden / "mes.sqlite")]
        return [*words, "--seed", str(self.programme.seed), "--speed", f"{MES_MINUTES_PER_MINUTE:g}"]

    def _line_words(self) -> list[str]:
        words = ["-m", "edge_agent.simulation.line", *self._client_words("plant"), *self._hidden_words()]
        words += ["--topic-root", self._root, "--images", str(self.places.share), "--run", self._run]
        words += ["--seed", str(self.programme.seed), "--rate", f"{self.programme.rate:g}"]
        words += ["--summary", str(self.places.hidden / "line.json")]
        if self.programme.parts is not None:
            words += ["--parts", str(self.programme.parts)]
        if self.programme.fault is not None:
            words += ["--fault", self.programme.fault]
        return words
