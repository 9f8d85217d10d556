"""Every analyst keeps the port's promises: the fake, both local back ends with the real model, and a server."""

import http.server
import importlib.metadata
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.analysts.local import LocalAnalyst
from edge_agent.adapters.analysts.none import NoAnalyst
from edge_agent.adapters.analysts.server import ServerAnalyst
from edge_agent.adapters.clock import SystemClock
from edge_agent.config.plant import LocalAnalystOptions, ServerAnalystOptions
from edge_agent.domain.faults import Transient
from edge_agent.ports import Analyst, WritingTask
from tests.fakes.analysts import ScriptedAnalyst

MODEL = Path(__file__).parents[2] / ".cache" / "models" / "smollm2-135m-instruct-q4.gguf"
TASK = WritingTask(
    system="You write one short sentence for a technician, as JSON.",
    prompt="The exposure energy fell (E1).",
    schema={
        "type": "object",
        "properties": {"text": {"type": "string"}, "citations": {"type": "array", "items": {"enum": ["E1"]}}},
        "required": ["text", "citations"],
    },
    grammar=r"""root ::= "{\"text\":\"" char{5,60} "\",\"citations\":[\"E1\"]}"
char ::= [^"\\\x7F\x00-\x1F]""",
    max_tokens=60,
)
LONG_S = 120.0
ANSWER = '{"text":"It fell.","citations":["E1"]}'

Served = Callable[[dict[str, Any]], tuple[int, bytes]]


@contextmanager
def serving(answer: Served) -> Iterator[str]:
    """An OpenAI-compatible server on this machine; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, data = answer({"path": self.path, "headers": dict(self.headers), **body})
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://192.0.2.1/elsewhere")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def completion(text: str) -> bytes:
    return json.dumps(
        {"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 20, "completion_tokens": 9}}
    ).encode()


def obliging(_: dict[str, Any]) -> tuple[int, bytes]:
    return 200, completion(ANSWER)


def at(url: str, **more: Any) -> ServerAnalyst:
    return ServerAnalyst(ServerAnalystOptions(kind="server", url=url, model="m", **more))


def local(backend: str, distribution: str, folder: Path) -> LocalAnalyst:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed")
    if not MODEL.exists():
        pytest.skip(f"no model at {MODEL} (scripts/fetch_llm)")
    options = LocalAnalystOptions(kind="local", backend=backend, model=MODEL)  # type: ignore[arg-type]
    return LocalAnalyst(options, clock=SystemClock(), state_dir=folder)


@pytest.fixture(
    params=[
        "scripted",
        "server",
        pytest.param("llama-cpp", marks=pytest.mark.integration),
        pytest.param("xllamacpp", marks=pytest.mark.integration),
    ]
)
def analyst(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Analyst]:
    with ExitStack() as stack:
        made: Analyst
        match request.param:
            case "scripted":
                made = ScriptedAnalyst([ANSWER])
            case "server":
                made = at(stack.enter_context(serving(obliging)))
            case "llama-cpp":
                made = local("llama-cpp", "llama-cpp-python", tmp_path)
            case _:
                made = local("xllamacpp", "xllamacpp", tmp_path)
        yield made
        made.close()


def test_it_writes_what_the_grammar_allows_and_says_what_it_cost(analyst: Analyst) -> None:
    written = analyst.write(TASK, LONG_S)
    answer = json.loads(written.text)
    assert answer["citations"] == ["E1"]
    assert answer["text"]
    assert written.prompt_tokens > 0
    assert written.output_tokens > 0
    assert written.latency_ms > 0
    assert len(written.model_sha256) == 64
    assert written.model_name
    assert analyst.name


def test_the_same_task_gives_the_same_text(analyst: Analyst) -> None:
    assert analyst.write(TASK, LONG_S).text == analyst.write(TASK, LONG_S).text


def test_no_time_is_transient(analyst: Analyst) -> None:
    with pytest.raises(Transient):
        analyst.write(TASK, 0.0)


def test_closing_twice_is_fine(analyst: Analyst) -> None:
    analyst.close()
    analyst.close()


@pytest.mark.integration
@pytest.mark.parametrize(("backend", "distribution"), [("llama-cpp", "llama-cpp-python"), ("xllamacpp", "xllamacpp")])
@pytest.mark.parametrize(
    ("prompt", "grammar"),
    [
        pytest.param("word " * 4_000, TASK.grammar, id="longer than the context"),
        pytest.param("p", "root ::= ((", id="broken grammar"),
    ],
)
def test_an_impossible_request_is_refused_and_the_next_one_served(
    backend: str, distribution: str, prompt: str, grammar: str, tmp_path: Path
) -> None:
    analyst = local(backend, distribution, tmp_path)
    with pytest.raises(Transient, match="refused"):
        analyst.write(WritingTask(system="s", prompt=prompt, schema={}, grammar=grammar), LONG_S)
    assert analyst.write(TASK, LONG_S).text
    analyst.close()


def test_none_declines() -> None:
    with pytest.raises(Transient, match="kind: none"):
        NoAnalyst().write(TASK, LONG_S)


# --- the server's own troubles ----------------------------------------------------------------------------------------


def test_the_request_is_what_openai_compatible_servers_expect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "llm-key").write_text("s3cret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    seen: list[dict[str, Any]] = []

    def keep(request: dict[str, Any]) -> tuple[int, bytes]:
        seen.append(request)
        return obliging(request)

    with serving(keep) as url:
        at(url, api_key_credential="llm-key").write(TASK, LONG_S)
    assert seen[0]["path"] == "/v1/chat/completions"
    assert seen[0]["headers"]["Authorization"] == "Bearer s3cret"
    assert [message["role"] for message in seen[0]["messages"]] == ["system", "user"]
    assert seen[0]["response_format"]["json_schema"]["schema"] == TASK.schema
    assert seen[0]["temperature"] == 0


def test_a_server_that_knows_no_schema_is_asked_without(tmp_path: Path) -> None:
    def plain(request: dict[str, Any]) -> tuple[int, bytes]:
        return (400, b"unknown field") if "response_format" in request else obliging(request)

    with serving(plain) as url:
        assert at(url).write(TASK, LONG_S).text == ANSWER


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        pytest.param(500, b"boom", "HTTP 500: boom", id="error"),
        pytest.param(400, b"bad", "HTTP 400: bad", id="refused twice"),
        pytest.param(302, b"", "HTTP 302", id="redirect is not followed"),
        pytest.param(200, b"<html>", "not JSON", id="not JSON"),
        pytest.param(200, b'{"choices": []}', "not a chat completion", id="empty"),
        pytest.param(200, b"[]", "not a chat completion", id="a list"),
        pytest.param(200, b"x" * (1 << 21), "longer than", id="too long"),
    ],
)
def test_a_server_in_trouble_is_transient(status: int, body: bytes, reason: str) -> None:
    with serving(lambda _: (status, body)) as url, pytest.raises(Transient, match=reason):
        at(url).write(TASK, LONG_S)


def test_a_server_that_hangs_ends_on_the_deadline() -> None:
    release = threading.Event()

    def hang(request: dict[str, Any]) -> tuple[int, bytes]:
        release.wait(LONG_S)
        return obliging(request)

    with serving(hang) as url:
        with pytest.raises(Transient):
            at(url).write(TASK, 0.3)
        release.set()


def test_a_call_to_a_server_that_hangs_is_cut_by_closing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(20)
        analyst = at(f"http://127.0.0.1:{server.getsockname()[1]}/v1")
        call = pool.submit(analyst.write, TASK, 60)
        with server.accept()[0] as peer:
            peer.settimeout(20)
            assert peer.recv(1)  # it has asked
            analyst.close()
            with pytest.raises(Transient):
                call.result(20)


def test_nobody_there() -> None:
    with serving(obliging) as url:
        pass
    with pytest.raises(Transient, match="refused"):
        at(url).write(TASK, LONG_S)
