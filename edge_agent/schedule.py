"""Timed jobs, as a table. Jobs enqueue or trim; the work itself is done by workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from edge_agent.domain.faults import Transient

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row of the table: a name, when, and what to call."""

    name: str
    when: BaseTrigger
    run: Callable[[], object]


def every(interval: timedelta) -> BaseTrigger:
    """Again and again, the first time after one interval."""
    return IntervalTrigger(seconds=interval.total_seconds())


def daily_at(times: Sequence[str], timezone: str) -> list[BaseTrigger]:
    """Each day at the given local times (``HH:MM``)."""
    return [CronTrigger(hour=time[:2], minute=time[3:], timezone=timezone) for time in times]


class Schedule:
    """Runs the table in a thread of its own. Implements ``ports.Worker`` so that the supervisor owns it."""

    def __init__(self, jobs: Sequence[Job], wait: Callable[[float], Any]) -> None:
        """``wait`` waits for so many seconds (or until asked to stop)."""
        self._jobs = tuple(jobs)
        self._wait = wait
        self._scheduler = BackgroundScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 3_600}
        )

    def setup(self) -> None:
        """Start the clockwork."""
        for job in self._jobs:
            self._scheduler.add_job(_guarded(job), job.when, id=job.name, name=job.name)
        self._scheduler.start()

    def step(self) -> bool:
        """The clockwork runs by itself; being asked shows that it is alive."""
        self._wait(0.5)
        if not self._scheduler.running:
            raise RuntimeError("the scheduler has stopped")
        return False

    def teardown(self) -> None:
        """Stop without waiting for a job in progress."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def _guarded(job: Job) -> Callable[[], None]:
    def run() -> None:
        try:
            job.run()
        except Transient as error:
            log.warning("job put off", job=job.name, error=str(error))

    return run
