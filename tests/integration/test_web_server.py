"""The real server: it binds, answers, refuses what it cannot bind, and stops although somebody is connected."""

import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.web.server import WebServer

pytestmark = pytest.mark.integration


def _app() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    def hello() -> str:
        return "hello"

    @app.get("/endless")
    def endless() -> StreamingResponse:
        def drip() -> Iterator[bytes]:
            for _ in range(10_000):
                yield b"drop\n"
                threading.Event().wait(0.05)

        return StreamingResponse(drip())

    return app


@pytest.fixture
def server() -> Iterator[WebServer]:
    made = WebServer(_app(), "127.0.0.1", 0)
    made.setup()
    yield made
    made.teardown()


def test_serves_on_a_free_port_and_watches(server: WebServer) -> None:
    assert server.port > 0
    assert server.url == f"http://127.0.0.1:{server.port}"
    with urllib.request.urlopen(server.url, timeout=10) as answer:
        assert answer.read() == b'"hello"'
        assert answer.headers.get("server") is None
    assert server.step() is False


def test_a_taken_port_is_transient(server: WebServer) -> None:
    second = WebServer(_app(), "127.0.0.1", server.port)
    with pytest.raises(Transient, match=str(server.port)):
        second.setup()


def test_an_address_of_nobody_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="no such address"):
        WebServer(_app(), "host.invalid", 0).setup()


def test_stops_while_a_stream_is_open() -> None:
    server = WebServer(_app(), "127.0.0.1", 0)
    server.setup()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in client.recv(4096)
        server.teardown()
    assert not any(thread.name == "web" and thread.is_alive() for thread in threading.enumerate())
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=2)


def test_a_dead_server_is_noticed(server: WebServer) -> None:
    assert server._server is not None
    server._server.should_exit = True
    server._over.wait(10)
    with pytest.raises(RuntimeError, match="has ended"):
        server.step()
