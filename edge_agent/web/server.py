"""Serves the application in a thread. Implements ``ports.Worker``."""

import contextlib
import socket
import threading

import structlog
import uvicorn
from fastapi import FastAPI

from edge_agent.domain.faults import ConfigError, Transient

log = structlog.get_logger(__name__)

_GRACE_S = 2
"""An open event stream would keep uvicorn from stopping for ever."""
_STOP_S = 5.0
_WATCH_S = 0.5
_START_S = 15.0


class WebServer:
    """uvicorn with an end to its patience.

    Args:
        app: what to serve.
        host: address to bind; ``127.0.0.1`` unless the plant decides otherwise.
        port: 0 takes a free one; `port` says which.
    """

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._app, self._host, self._wanted, self._port = app, host, port, port
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._failed: BaseException | None = None
        self._over = threading.Event()

    @property
    def port(self) -> int:
        """The port it listens on, once `setup` has run."""
        return self._port

    @property
    def url(self) -> str:
        """Where to point a browser."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    def setup(self) -> None:
        """Bind and begin to serve.

        Raises:
            ConfigError: the address is not one of this box.
            Transient: the port is taken, or the server did not come up in time.
        """
        self._socket = self._bound()
        self._port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            self._app, log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE_S, server_header=False,
            limit_concurrency=64, timeout_keep_alive=15,
        )  # fmt: skip
        self._server = _QuietServer(config)
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)
        self._thread.start()
        self._await_start()
        log.info("web pages are served", url=self.url)

    def step(self) -> bool:
        """Watch. Raises RuntimeError: the server has ended, which only `teardown` may cause."""
        if self._over.wait(_WATCH_S):
            raise RuntimeError(f"the web server has ended: {self._failed!r}")
        return False

    def teardown(self) -> None:
        """Stop; open connections get two seconds."""
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_STOP_S)
        if self._socket is not None:
            self._socket.close()

    def _bound(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((self._host, self._wanted))
        except OSError as error:
            made.close()
            place = f"web.host {self._host} port {self._wanted}"
            if error.errno is None or isinstance(error, socket.gaierror):
                raise ConfigError(f"{place}: no such address on this box ({error})") from error
            raise Transient(f"{place} cannot be bound: {error.strerror}") from error
        return made

    def _serve(self) -> None:
        assert self._server is not None
        assert self._socket is not None
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as error:  # noqa: BLE001 - carried to `step`, which raises in the worker's thread
            self._failed = error
        finally:
            self._over.set()

    def _await_start(self) -> None:
        assert self._server is not None
        waited = 0.0
        while not self._server.started:
            if self._over.wait(0.02) or waited > _START_S:
                raise Transient(f"the web server did not start: {self._failed!r}")
            waited += 0.02


class _QuietServer(uvicorn.Server):
    """Leaves the process's signals to the supervisor."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """No handlers: a stop comes through ``should_exit``."""
        yield
