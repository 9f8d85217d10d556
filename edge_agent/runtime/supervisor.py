"""Runs the worker table: a thread for each row, restarts within a budget, an ordered stop, a watchdog fed by work."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby

import structlog

from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.observability.metrics import WORKER_RESTARTS, WORKER_SILENCE_S
from edge_agent.ports import Worker, WorkerSpec
from edge_agent.runtime.systemd import Notifier, watchdog_interval_s

log = structlog.get_logger(__name__)

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIG = 78
"""sysexits.h EX_CONFIG: systemd does not restart it (RestartPreventExitStatus)."""

RESTARTS_ALLOWED = 5
RESTART_WINDOW_S = 60.0
STOP_BUDGET_S = 15.0
LAST_WORDS_S = 5.0
"""Of it, for those who stop last (the link says offline), however long the others took."""
_BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_TICK_S = 0.25


class _Row:
    """One worker of the table at run time: its thread, its pulse and its failures."""

    def __init__(self, spec: WorkerSpec, alarm: threading.Event) -> None:
        self.spec = spec
        self.ready = threading.Event()
        self.stop = threading.Event()
        self.failure: BaseException | None = None
        self._alarm = alarm
        self._pulse_ns = time.monotonic_ns()
        self._restarts: deque[float] = deque()
        self.thread = threading.Thread(target=self._run, name=spec.name, daemon=True)

    @property
    def silence_s(self) -> float:
        """Seconds since the last finished step (or the start)."""
        return (time.monotonic_ns() - self._pulse_ns) / 1e9

    @property
    def is_silent(self) -> bool:
        return self.silence_s > self.spec.max_silence.total_seconds()

    def ask_to_stop(self) -> None:
        """Let the loop end, and cut its step short where that may take long."""
        self.stop.set()
        if self.spec.interrupt is not None and self.thread.is_alive():
            self.spec.interrupt()

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                self._live(self.spec.build())
            except ConfigError as error:
                self._give_up(error)
                return
            except Exception as error:  # the one place where a bug ends in a restart
                log.exception("worker failed", worker=self.spec.name)
                if not self._may_restart():
                    self._give_up(error)
                    return
                WORKER_RESTARTS.labels(self.spec.name).inc()
                self.stop.wait(0.5)

    def _live(self, worker: Worker) -> None:
        try:
            self._retrying(worker.setup)
            self.ready.set()
            while not self.stop.is_set():
                self._retrying(worker.step)
        finally:
            worker.teardown()

    def _retrying(self, work: Callable[[], object]) -> None:
        """Do one piece of work; Transient is told once and tried again with back-off."""
        for attempt in range(1_000_000_000):
            try:
                work()
            except Transient as error:
                if attempt == 0 and not self.stop.is_set():  # a step that was cut short is no trouble
                    log.warning("worker waits", worker=self.spec.name, error=str(error))
                self._beat()
                if self.stop.is_set() or self.stop.wait(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)]):
                    return
            else:
                if attempt > 0:
                    log.info("worker goes on", worker=self.spec.name)
                self._beat()
                return

    def _beat(self) -> None:
        self._pulse_ns = time.monotonic_ns()

    def _may_restart(self) -> bool:
        now = time.monotonic()
        self._restarts.append(now)
        while self._restarts and now - self._restarts[0] > RESTART_WINDOW_S:
            self._restarts.popleft()
        return len(self._restarts) <= RESTARTS_ALLOWED

    def _give_up(self, error: BaseException) -> None:
        self.failure = error
        self._alarm.set()


class Supervisor:
    """Supervises a table of workers from the main thread.

    Args:
        specs: the table.
        notifier: systemd's notification socket.
        status: one line for ``systemctl status``, asked for now and then.
    """

    def __init__(
        self, specs: Sequence[WorkerSpec], *, notifier: Notifier | None = None, status: Callable[[], str] | None = None
    ) -> None:
        self._alarm = threading.Event()
        self._rows = [_Row(spec, self._alarm) for spec in specs]
        self._notifier = notifier or Notifier()
        self._status = status or (lambda: "running")
        self._stopping = False
        self._is_ready = False

    @property
    def is_ready(self) -> bool:
        """Everything that READY waits for has been set up."""
        return all(row.ready.is_set() for row in self._rows if row.spec.needed_for_ready)

    @property
    def is_alive(self) -> bool:
        """Every worker has shown work lately: what the watchdog is fed with."""
        return not any(row.is_silent for row in self._rows)

    def request_stop(self) -> None:
        """Begin the ordered stop; safe to call from a signal handler."""
        self._stopping = True
        self._alarm.set()

    def run(self) -> int:
        """Run until asked to stop or until something cannot be mended; the process's exit code."""
        for row in self._rows:
            row.thread.start()
        interval_s = watchdog_interval_s()
        next_feed = 0.0
        while not self._alarm.wait(_TICK_S):
            self._announce_ready()
            if time.monotonic() >= next_feed:
                next_feed = time.monotonic() + min(interval_s or 5.0, 5.0)
                if not self._feed_watchdog():
                    return self._die_of_silence()
        self._stop_in_order()
        return self._exit_code()

    def _announce_ready(self) -> None:
        if not self._is_ready and self.is_ready:
            self._is_ready = True
            self._notifier.send("READY=1", f"STATUS={self._status()}")
            log.info("ready", workers=[row.spec.name for row in self._rows])

    def _feed_watchdog(self) -> bool:
        """Feed systemd's watchdog if every worker has shown work; False when one has been silent for far too long."""
        for row in self._rows:
            WORKER_SILENCE_S.labels(row.spec.name).set(row.silence_s)
        silent = [row for row in self._rows if row.is_silent]
        if not silent:
            self._notifier.send("WATCHDOG=1", f"STATUS={self._status()}")
            return True
        for row in silent:
            log.error("worker is silent", worker=row.spec.name, silence_s=round(row.silence_s, 1))
        return not any(row.silence_s > 3 * row.spec.max_silence.total_seconds() for row in silent)

    def _die_of_silence(self) -> int:
        """Without systemd nobody would kill a hung process: end it, so that whoever started it can start it again."""
        log.critical("a worker hangs, ending the process")
        self._notifier.send("STOPPING=1")
        return EXIT_FAILED

    def _stop_in_order(self) -> None:
        self._notifier.send("STOPPING=1", "STATUS=stopping")
        log.info("stopping")
        deadline = time.monotonic() + STOP_BUDGET_S
        rows = sorted(self._rows, key=lambda row: row.spec.stop_order)
        groups = [list(group) for _, group in groupby(rows, key=lambda row: row.spec.stop_order)]
        for together in groups:
            limit = deadline if together is groups[-1] else deadline - LAST_WORDS_S
            for row in together:
                row.ask_to_stop()
            for row in together:
                row.thread.join(max(0.0, limit - time.monotonic()))
        late = [row.spec.name for row in rows if row.thread.is_alive()]
        log.info("stopped", late=late)

    def _exit_code(self) -> int:
        failures = [row for row in self._rows if row.failure is not None]
        for row in failures:
            log.critical("worker could not be kept running", worker=row.spec.name, error=str(row.failure))
        if any(isinstance(row.failure, ConfigError) for row in failures):
            return EXIT_CONFIG
        return EXIT_FAILED if failures else EXIT_OK
