"""Child processes for work that may hang, grow or crash: a language model, a document printer.

A `Child` is an object that lives in another process. It starts with the first call, is killed on its deadline or its
memory limit, and is started again by a later call. It dies with its parent. It knows nothing of what it runs.
"""

import json
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.runtime.child_main import HEADER, MARK, frame

log = structlog.get_logger(__name__)

MonotonicNs = Callable[[], int]

_TICK_S = 0.1
"""How often a waiting parent looks at the child's memory and life."""
_CHUNK = 1 << 16
_LINE_CHARS = 400
_TAIL_LINES = 12
_LINES_LOGGED = 200
"""Lines of one child's life that reach the log; the rest are only counted."""
_REAP_S = 5.0
_REST_FIRST_S = 0.5
_REST_MOST_S = 60.0
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGILL, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGSYS})
_PAGE = os.sysconf("SC_PAGE_SIZE")

_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="child-starter")
"""Starts every child: the kernel's parent-death signal fires when the *thread* that started the child ends, and
workers (threads) are restarted while their children should live on."""


class ChildDied(Transient):
    """The child ended by itself.

    Attributes:
        crashed: by a fault in its code (segmentation fault, illegal instruction, abort), not by its exit or a kill.
    """

    def __init__(self, text: str, *, crashed: bool) -> None:
        super().__init__(text)
        self.crashed = crashed


class ChildFault(Exception):
    """The code in the child raised an error that is neither Transient nor ConfigError: a bug there."""


class Child:
    """An object in a process of its own, one call at a time.

    Args:
        target: ``module:factory``; the factory is called in the child with ``arguments`` and returns the object.
        arguments: keyword arguments of the factory; must pickle.
        name: for logs and messages.
        nice: added to the niceness.
        max_rss_mb: resident memory (MB, 10**6 bytes) above which the child is killed.
        max_answer_bytes: longest answer that is read.
        environment: variables that it has besides the agent's.
        start_s: what a call gets on top of its own time when the child must be started for it.
        monotonic_ns: the clock of deadlines and back-off.
    """

    def __init__(
        self,
        target: str,
        arguments: Mapping[str, Any],
        *,
        name: str,
        nice: int = 0,
        max_rss_mb: int | None = None,
        max_answer_bytes: int = 16 << 20,
        environment: Mapping[str, str] | None = None,
        start_s: float = 0.0,
        monotonic_ns: MonotonicNs = time.monotonic_ns,
    ) -> None:
        self._environment = dict(environment or {})
        self._start_ns = int(start_s * 1e9)
        self._hello = frame(pickle.dumps((list(sys.path), target, dict(arguments))))
        self._name = name
        self._nice = nice
        self._max_rss_mb = max_rss_mb
        self._max_answer_bytes = max_answer_bytes
        self._monotonic_ns = monotonic_ns
        self._turn = threading.Lock()
        self._closed = threading.Event()
        self._process: _Process | None = None
        self._failures = 0
        self._rest_until_ns = 0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.alive else None

    @property
    def rss_mb(self) -> float:
        """Resident memory of the child in MB; 0 while none runs."""
        process = self._process
        return process.rss_mb() if process is not None else 0.0

    def call(self, method: str, payload: Mapping[str, Any], timeout_s: float) -> Any:
        """Run ``object.method(**payload)`` in the child, started if need be; the time includes the start but for
        ``start_s``.

        Returns:
            The result, as JSON carries it.

        Raises:
            Transient: too slow, too big, died, or still resting after that; the child has been killed.
            ConfigError: raised by the code in the child.
            ChildFault: any other error of the code in the child; the child lives on.
        """
        deadline_ns = self._monotonic_ns() + int(timeout_s * 1e9)
        if not self._turn.acquire(timeout=timeout_s):
            raise Transient(f"{self._name}: busy with another call for {timeout_s:g} s")
        try:
            answer = self._exchange(frame(pickle.dumps((method, dict(payload)))), deadline_ns)
        finally:
            self._turn.release()
        return _unwrapped(answer, self._name)

    def close(self) -> None:
        """Kill the child, also during a call (which raises Transient); further calls raise. Safe to call twice."""
        self._closed.set()
        process = self._process
        if process is not None:
            process.kill()

    def _exchange(self, request: bytes, deadline_ns: int) -> dict[str, Any]:
        intact = False
        try:
            process, deadline_ns = self._running(deadline_ns)
            answer = process.exchange(request, deadline_ns)
            intact = True
        finally:
            if not intact:
                self._lose()
        self._failures = 0
        self._recycle_if_grown()
        return answer

    def _running(self, deadline_ns: int) -> tuple["_Process", int]:
        """The process, and until when the call may take: the start's own time is not its own to use."""
        if self._closed.is_set():
            raise Transient(f"{self._name}: closed")
        if self._process is not None and self._process.alive:
            return self._process, deadline_ns
        self._refuse_while_resting()
        self._process = process = _starter.submit(self._start).result()
        if self._closed.is_set():  # closed while it started
            process.kill()
        began_ns = self._monotonic_ns()
        _unwrapped(process.exchange(self._hello, deadline_ns + self._start_ns), self._name)
        log.info("child started", child=self._name, pid=process.pid)
        return process, deadline_ns + min(self._start_ns, self._monotonic_ns() - began_ns)

    def _start(self) -> "_Process":
        return _Process(
            name=self._name,
            nice=self._nice,
            max_rss_mb=self._max_rss_mb,
            max_answer_bytes=self._max_answer_bytes,
            environment=self._environment,
            monotonic_ns=self._monotonic_ns,
        )

    def _refuse_while_resting(self) -> None:
        rest_s = (self._rest_until_ns - self._monotonic_ns()) / 1e9
        if rest_s > 0:
            raise Transient(f"{self._name}: failed {self._failures} times in a row, next start in {rest_s:.1f} s")

    def _lose(self) -> None:
        """Kill what is left; the first failure may start again at once, later ones wait longer and longer."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        self._failures += 1
        rest_s = 0.0 if self._failures == 1 else min(_REST_MOST_S, _REST_FIRST_S * 2.0 ** (self._failures - 2))
        self._rest_until_ns = self._monotonic_ns() + int(rest_s * 1e9)

    def _recycle_if_grown(self) -> None:
        """Between calls nobody watches the memory: a child that came back too big is replaced."""
        process = self._process
        if process is None or self._max_rss_mb is None or (rss_mb := process.rss_mb()) <= self._max_rss_mb:
            return
        log.warning("child grew beyond its memory limit", child=self._name, rss_mb=rss_mb, limit_mb=self._max_rss_mb)
        process.kill()
        self._process = None


def _unwrapped(answer: dict[str, Any], name: str) -> Any:
    if answer.get("ok") is True:
        return answer.get("result")
    error = f"{name}: {answer.get('error', 'no reason given')}"
    match answer.get("kind"):
        case "config":
            raise ConfigError(error)
        case "transient":
            raise Transient(error)
        case _:
            raise ChildFault(f"{error}\n{answer.get('trace', '')}")


class _Process:
    """One life of a child: the process, its two pipes, and the thread that reads what it prints."""

    def __init__(
        self,
        *,
        name: str,
        nice: int,
        max_rss_mb: int | None,
        max_answer_bytes: int,
        environment: Mapping[str, str],
        monotonic_ns: MonotonicNs,
    ) -> None:
        self._name = name
        self._max_rss_mb = max_rss_mb
        self._max_answer_bytes = max_answer_bytes
        self._monotonic_ns = monotonic_ns
        self._ending = threading.Lock()
        self._popen, self._requests, self._answers = _spawn(nice, environment)
        self._printed = _Printed(self._popen, name)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def rss_mb(self) -> float:
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):  # gone
            return 0.0
        return pages * _PAGE / 1e6

    def exchange(self, request: bytes, deadline_ns: int) -> dict[str, Any]:
        """Send a frame, read one. Raises Transient with what is known about the end of the child."""
        try:
            self._send(request, deadline_ns)
            mark, length = HEADER.unpack(self._receive(HEADER.size, deadline_ns))
            if mark != MARK or length > self._max_answer_bytes:
                raise Transient(f"{self._name}: broken answer (mark {mark!r}, {length} bytes)")
            answer = json.loads(self._receive(length, deadline_ns))
        except (EOFError, BrokenPipeError):
            raise self._died() from None
        except ValueError as error:
            raise Transient(f"{self._name}: broken answer ({error})") from error
        if not isinstance(answer, dict):
            raise Transient(f"{self._name}: broken answer (expected an object, got {type(answer).__name__})")
        return answer

    def kill(self) -> None:
        """End the child and everything it started, and give back its pipes."""
        with self._ending:
            if self._popen.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: init will have it
                    self._popen.wait(_REAP_S)
            for pipe in (self._requests, self._answers):
                pipe.close()

    def _send(self, body: bytes, deadline_ns: int) -> None:
        rest = memoryview(body)
        while rest:
            self._await(self._requests, select.POLLOUT, deadline_ns)
            with suppress(BlockingIOError):
                rest = rest[os.write(self._requests.fileno(), rest[:_CHUNK]) :]

    def _receive(self, size: int, deadline_ns: int) -> bytes:
        body = bytearray()
        while len(body) < size:
            self._await(self._answers, select.POLLIN, deadline_ns)
            with suppress(BlockingIOError):
                chunk = os.read(self._answers.fileno(), min(_CHUNK, size - len(body)))
                if not chunk:
                    raise EOFError
                body += chunk
        return bytes(body)

    def _await(self, pipe: Any, event: int, deadline_ns: int) -> None:
        """Wait until the pipe is ready, looking at deadline, memory and life in between."""
        while True:
            if pipe.closed:  # `close` was called from another thread
                raise Transient(f"{self._name}: closed")
            self._check_limits(deadline_ns)
            poll = select.poll()
            poll.register(pipe, event)
            if poll.poll(_TICK_S * 1_000):
                return
            if not self.alive:
                raise EOFError

    def _check_limits(self, deadline_ns: int) -> None:
        if self._monotonic_ns() >= deadline_ns:
            raise Transient(f"{self._name}: no answer before its deadline, killed{self._printed.quoted()}")
        if self._max_rss_mb is not None and (rss_mb := self.rss_mb()) > self._max_rss_mb:
            raise Transient(f"{self._name}: grew to {rss_mb:.0f} MB (limit {self._max_rss_mb} MB), killed")

    def _died(self) -> ChildDied:
        try:
            code = self._popen.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            return ChildDied(f"{self._name}: closed its pipe but lives on, killed", crashed=False)
        self._printed.finish()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return ChildDied(f"{self._name}: died: {how}{self._printed.quoted()}", crashed=-code in _CRASHES)


def _spawn(nice: int, environment: Mapping[str, str]) -> tuple["subprocess.Popen[bytes]", Any, Any]:
    requests_read, requests_write = os.pipe()
    answers_read, answers_write = os.pipe()
    theirs = (requests_read, answers_write)
    words = [str(number) for number in (os.getpid(), *theirs, nice)]
    try:
        popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "edge_agent.runtime.child_main", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=theirs,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    except OSError as error:
        os.close(requests_write)
        os.close(answers_read)
        raise Transient(f"cannot start a child process: {error}") from error
    finally:
        for fd in theirs:
            os.close(fd)
    for fd in (requests_write, answers_read):
        os.set_blocking(fd, False)
    return popen, os.fdopen(requests_write, "wb", buffering=0), os.fdopen(answers_read, "rb", buffering=0)


class _Printed:
    """What the child prints: to the log, bounded; the last lines are kept for the message of its death."""

    def __init__(self, popen: "subprocess.Popen[bytes]", name: str) -> None:
        self._stream = popen.stdout
        self._log = log.bind(child=name, pid=popen.pid)
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._thread = threading.Thread(target=self._follow, name=f"{name}-printed", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until what was printed before the end has been read."""
        self._thread.join(1.0)

    def quoted(self) -> str:
        """The last lines, to be put behind a message."""
        return "; it printed: " + " | ".join(self._tail) if self._tail else ""

    def _follow(self) -> None:
        assert self._stream is not None
        count = 0
        with self._stream as stream:
            while line := stream.readline(_LINE_CHARS):
                text = line.decode("utf-8", "replace").rstrip()
                count += 1
                if not text:
                    continue
                self._tail.append(text)
                if count <= _LINES_LOGGED:
                    self._log.debug("child printed", line=text)
        if count > _LINES_LOGGED:
            self._log.info("child printed more than was logged", lines=count, logged=_LINES_LOGGED)
