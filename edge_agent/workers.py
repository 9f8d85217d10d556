"""The worker table: what runs where, what it takes, how often it must show work, and in which order it stops."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from edge_agent.observability.health import Condition, Health
from edge_agent.ports import Clock, PlantLink, Worker, WorkerSpec

FIRST_TRIGGERS = 10
THEN_INSPECTION = 20
THEN_RESPONDING = 50
THEN_PAGES = 60
LINK_LAST = 90
"""Stop order: no new parts, answer those that are in, finish the step, then say offline."""

IDLE_S = 0.2


@dataclass(kw_only=True)
class Loop:
    """A worker made of functions: does ``work`` again and again, and rests when there was none."""

    work: Callable[[], bool]
    begin: Callable[[], object] = lambda: None
    end: Callable[[], object] = lambda: None
    idle_s: float = IDLE_S

    def __post_init__(self) -> None:
        self._rest = threading.Event()

    def setup(self) -> None:
        """Once, before the first step."""
        self.begin()

    def step(self) -> bool:
        """One piece of work, or a short rest."""
        worked = self.work()
        if not worked:
            self._rest.wait(self.idle_s)
        return worked

    def teardown(self) -> None:
        """Once, after the last step."""
        self.end()


class LinkWorker:
    """Drives the plant link: sends what the outbox has due and watches the connection."""

    def __init__(self, link: PlantLink, health: Health, clock: Clock) -> None:
        self._link = link
        self._health = health
        self._clock = clock

    def setup(self) -> None:
        """Begin connecting; a broker that is away does not hold up the start."""
        self._link.start()

    def step(self) -> bool:
        """One round of the relay."""
        sent = self._link.relay(IDLE_S)
        status = self._link.status()
        condition = Condition.OK if status.connected else Condition.DOWN
        self._health.report("broker", condition, status.detail or status.broker, at=self._clock.now())
        self._report_quota(status.quota_used)
        return sent > 0

    def _report_quota(self, used: float) -> None:
        condition = Condition.OK if used < 0.8 else Condition.DEGRADED if used < 1.0 else Condition.DOWN
        self._health.report("outbox", condition, f"{used:.0%} of its quota", at=self._clock.now())

    def teardown(self) -> None:
        """Say offline and disconnect."""
        self._link.stop(5.0)


def row(
    name: str,
    build: Callable[[], Worker],
    *,
    silence_s: float,
    stop: int = THEN_RESPONDING,
    needed: bool = False,
    interrupt: Callable[[], object] | None = None,
) -> WorkerSpec:
    """A row of the table."""
    return WorkerSpec(
        name=name,
        build=build,
        max_silence=timedelta(seconds=silence_s),
        stop_order=stop,
        needed_for_ready=needed,
        interrupt=interrupt,
    )
