"""An OpenAI-compatible server in the plant's own network (llama-server, vLLM, Ollama, ...)."""

import contextlib
import hashlib
import http.client
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_agent.adapters.analysts.pictures import content
from edge_agent.config.plant import ServerAnalystOptions
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.ports import WritingTask, Written

_LONGEST_ANSWER = 1 << 20
_CHUNK = 1 << 14
_QUOTED = 200


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The key and the data go to the configured address and to no other."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class _Http(urllib.request.HTTPHandler):
    """Shows each connection it makes, so that another thread can cut it."""

    def __init__(self, made: Callable[[http.client.HTTPConnection], None]) -> None:
        super().__init__()
        self._made = made

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)

    def _connection(self, host: str, **options: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(host, **options)
        self._made(connection)
        return connection


class _Https(urllib.request.HTTPSHandler):
    """The same with TLS."""

    def __init__(self, made: Callable[[http.client.HTTPConnection], None]) -> None:
        super().__init__()
        self._made = made

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)

    def _connection(self, host: str, **options: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPSConnection(host, **options)
        self._made(connection)
        return connection


class ServerAnalyst:
    """Implements ``ports.Analyst``. Proxies of the environment are not used, redirects not followed.

    The model's weights cannot be seen from here: ``model_sha256`` is a digest of address and model name.
    """

    def __init__(self, options: ServerAnalystOptions, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._options = options
        self._monotonic_ns = monotonic_ns
        self._key = _api_key(options.api_key_credential)
        self._connection: http.client.HTTPConnection | None = None
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _NoRedirect(), _Http(self._note), _Https(self._note)
        )
        self._takes_schema = True

    @property
    def name(self) -> str:
        return f"server {self._options.model}"

    def write(self, task: WritingTask, timeout_s: float) -> Written:
        """Ask for one answer.

        Raises:
            Transient: unreachable, refused, too slow, too long, or not an OpenAI-compatible answer.
        """
        began_ns = self._monotonic_ns()
        deadline_ns = began_ns + int(timeout_s * 1e9)
        answer = self._post(task, deadline_ns)
        try:
            text = answer["choices"][0]["message"]["content"] or ""
            usage = answer.get("usage") or {}
            tokens = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise Transient(f"{self._options.url}: not a chat completion: {error!r}") from error
        return Written(
            text=str(text),
            model_sha256=hashlib.sha256(f"{self._options.url} {self._options.model}".encode()).hexdigest(),
            model_name=self._options.model,
            prompt_tokens=tokens[0],
            output_tokens=tokens[1],
            latency_ms=(self._monotonic_ns() - began_ns) / 1e6,
        )

    def close(self) -> None:
        """Cut a call that is waiting for its answer (from another thread); a later call connects anew."""
        sock = getattr(self._connection, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _note(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def _post(self, task: WritingTask, deadline_ns: int) -> Any:
        try:
            return json.loads(self._exchange(self._body(task), deadline_ns))
        except urllib.error.HTTPError as error:
            detail = error.read(_QUOTED).decode("utf-8", "replace")
            if error.code == http.client.BAD_REQUEST and self._takes_schema:
                self._takes_schema = False  # some servers know no response_format: the answer is checked anyway
                return self._post(task, deadline_ns)
            raise Transient(f"{self._options.url}: HTTP {error.code}: {detail}") from error
        except (OSError, http.client.HTTPException) as error:
            raise Transient(f"{self._options.url}: {error}") from error
        except ValueError as error:
            raise Transient(f"{self._options.url}: the answer is not JSON: {error}") from error

    def _body(self, task: WritingTask) -> bytes:
        body: dict[str, Any] = {
            "model": self._options.model,
            "messages": [
                {"role": "system", "content": task.system},
                {"role": "user", "content": content(task.prompt, task.image)},
            ],
            "max_tokens": min(task.max_tokens, self._options.max_tokens),
            "temperature": 0,
            "seed": task.seed,
        }
        if self._takes_schema:
            schema = {"name": "note", "strict": True, "schema": dict(task.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return json.dumps(body).encode()

    def _exchange(self, body: bytes, deadline_ns: int) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(_endpoint(self._options.url), body, headers)  # noqa: S310 - http(s) by schema
        answer = bytearray()
        with self._opener.open(request, timeout=self._left_s(deadline_ns)) as response:
            while chunk := response.read1(_CHUNK):
                answer += chunk
                self._left_s(deadline_ns)
                if len(answer) > _LONGEST_ANSWER:
                    raise Transient(f"{self._options.url}: answer longer than {_LONGEST_ANSWER} bytes")
        return bytes(answer)

    def _left_s(self, deadline_ns: int) -> float:
        left_s = (deadline_ns - self._monotonic_ns()) / 1e9
        if left_s <= 0:
            raise Transient(f"{self._options.url}: no answer before the deadline")
        return left_s


def _endpoint(url: str) -> str:
    base = url.rstrip("/")
    return base if base.endswith("/chat/completions") else f"{base}/chat/completions"


def _api_key(credential: str | None) -> str:
    if credential is None:
        return ""
    path = Path(os.environ.get("CREDENTIALS_DIRECTORY", "")) / credential
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"analyst: credential {credential} cannot be read: {error}") from error
