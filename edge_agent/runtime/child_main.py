"""The inside of a child process: reads requests from a pipe, runs them, writes answers.

Started by `edge_agent.runtime.children`, never by hand. Requests are pickles (the parent is trusted); answers are
JSON, because a child handles what others wrote and must not be able to run code in its parent.

A frame is a four-byte mark, a four-byte big-endian length and that many bytes.
"""

import ctypes
import gc
import importlib
import json
import os
import pickle
import signal
import struct
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from edge_agent.domain.faults import ConfigError, Transient

MARK = b"EAC1"
HEADER = struct.Struct(">4sI")
_PR_SET_PDEATHSIG = 1
_OOM_SCORE = 600
"""When memory runs out the kernel takes this process and not the one that inspects."""
_ERROR_CHARS = 4_000
_FROZEN_AFTER = 3
"""Requests after which nothing new is imported: what lives by then is left out of each later look for garbage, which
would else go through some 300,000 objects of libraries after every request (40 ms)."""


def frame(body: bytes) -> bytes:
    """The bytes on the wire for one message."""
    return HEADER.pack(MARK, len(body)) + body


def main(argv: list[str]) -> int:
    """Serve requests until the parent closes the pipe.

    Args:
        argv: parent's pid, file descriptor of requests, file descriptor of answers, niceness.
    """
    parent, requests_fd, answers_fd, nice = (int(word) for word in argv)
    _die_with(parent)
    _yield_to_the_others(nice)
    for fd in (requests_fd, answers_fd):
        os.set_inheritable(fd, False)
    with os.fdopen(requests_fd, "rb") as requests, os.fdopen(answers_fd, "wb", buffering=0) as answers:
        _serve(requests, answers)
    return 0


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent goes, however that goes."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before the line above
        os._exit(1)


def _yield_to_the_others(nice: int) -> None:
    """Lower priority, first to go when memory runs out. A sandbox may forbid either; the parent's limits still hold."""
    with suppress(OSError):
        os.nice(nice)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    hello = _read(requests)
    if hello is None:
        return
    servant, answer = _attempt(_build, hello)
    answers.write(frame(answer))
    served = 0
    while servant is not None and (request := _read(requests)) is not None:
        _, answer = _attempt(lambda body, servant=servant: _perform(servant, body), request)
        answers.write(frame(answer))
        gc.collect()
        if served < _FROZEN_AFTER:
            served += 1
            gc.freeze()


def _read(requests: BinaryIO) -> bytes | None:
    header = requests.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    _, length = HEADER.unpack(header)
    body = requests.read(length)
    return body if len(body) == length else None


def _build(hello: bytes) -> Any:
    search_path, target, arguments = pickle.loads(hello)  # noqa: S301 - from the parent
    sys.path[:] = search_path
    module, _, factory = target.partition(":")
    return getattr(importlib.import_module(module), factory)(**arguments)


def _perform(servant: Any, request: bytes) -> Any:
    method, payload = pickle.loads(request)  # noqa: S301 - from the parent
    return getattr(servant, method)(**payload)


def _attempt(work: Any, body: bytes) -> tuple[Any, bytes]:
    """Run one request; what it gave, and the answer to send. A failure is an answer too, not the end."""
    try:
        result = work(body)
        answer = {"ok": True, "result": result if work is not _build else None}
        return result, json.dumps(answer).encode()
    except Exception as error:  # noqa: BLE001 - carried to the parent, which raises it there
        return None, json.dumps({"ok": False} | _described(error)).encode()


def _described(error: Exception) -> dict[str, str]:
    kind = "config" if isinstance(error, ConfigError) else "transient" if isinstance(error, Transient) else "bug"
    trace = "".join(traceback.format_exception(error))
    return {"kind": kind, "error": f"{type(error).__name__}: {error}"[:_ERROR_CHARS], "trace": trace[-_ERROR_CHARS:]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
