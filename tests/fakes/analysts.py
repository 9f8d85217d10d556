"""Analysts for tests: one that says what it is told to, and back ends with every kind of trouble."""

import ctypes
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_agent.domain.faults import Transient
from edge_agent.ports import WritingTask, Written

SHA256 = "5" * 64


class ScriptedAnalyst:
    """Implements ``ports.Analyst``: gives the scripted answers in turn (the last one for ever), keeps the tasks.

    An exception in the script is raised.
    """

    def __init__(self, answers: Sequence[str | Exception], *, model_sha256: str = SHA256) -> None:
        self._answers = list(answers)
        self._model_sha256 = model_sha256
        self.tasks: list[WritingTask] = []

    @property
    def name(self) -> str:
        return "scripted"

    def write(self, task: WritingTask, timeout_s: float) -> Written:
        if timeout_s <= 0:
            raise Transient("no time left")
        self.tasks.append(task)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Written(
            text=answer[: task.max_tokens * 4],
            model_sha256=self._model_sha256,
            model_name="scripted",
            prompt_tokens=len(task.system + task.prompt) // 4,
            output_tokens=len(answer) // 4,
            latency_ms=1.0,
        )

    def close(self) -> None:
        """Nothing to release."""


class FairBackend:
    """Runs inside a child as a real back end does; answers, and does what a magic word in the prompt says."""

    def __init__(self, *, model: str, threads: int, context_tokens: int) -> None:
        self._model = model

    def write(self, *, system: str, prompt: str, grammar: str, max_tokens: int, seed: int) -> dict[str, Any]:
        match prompt:
            case "hang":
                time.sleep(3_600)
            case "crash":
                ctypes.string_at(0)
            case "bug":
                raise KeyError("oops")
        return {"text": '{"a":"b"}', "prompt_tokens": 3, "output_tokens": 2}


class SeeingBackend(FairBackend):
    """Says how large the picture is and through which projector it came."""

    def __init__(self, *, model: str, threads: int, context_tokens: int, projector: str) -> None:
        super().__init__(model=model, threads=threads, context_tokens=context_tokens)
        self._projector = Path(projector).name

    def write(
        self, *, system: str, prompt: str, grammar: str, max_tokens: int, seed: int, image: bytes = b""
    ) -> dict[str, Any]:
        return {"text": f"{len(image)} bytes through {self._projector}", "prompt_tokens": 3, "output_tokens": 2}


class CrashingBackend(FairBackend):
    """Dies while it loads, as a native build does on the wrong processor."""

    def __init__(self, *, model: str, threads: int, context_tokens: int) -> None:
        ctypes.string_at(0)


class SilentBackend(FairBackend):
    """Loads and writes nothing."""

    def write(self, *, system: str, prompt: str, grammar: str, max_tokens: int, seed: int) -> dict[str, Any]:
        return {"text": "", "prompt_tokens": 1, "output_tokens": 0}


class TroubledBackend(FairBackend):
    """Passes its canary, and then does what the model file is called: hang, die, garbage or parrot."""

    def write(self, *, system: str, prompt: str, grammar: str, max_tokens: int, seed: int) -> dict[str, Any]:
        answers = {
            "garbage": "\x00\x01{{{{ not json",
            "parrot": '{"text":"It is E1, it is E1, it is E1, it is {cause}.","citations":["E1"],"against":["E3"]}',
            "liar": '{"text":"Expo energy fell to 17.5 (E1), so stop the pump.","citations":["E1"],"against":["E3"]}',
        }
        trouble = Path(self._model).stem
        if prompt == "Say hello.":
            return {"text": "Hello", "prompt_tokens": 3, "output_tokens": 1}
        if trouble == "hang":
            time.sleep(3_600)
        if trouble == "die":
            ctypes.string_at(0)
        return {"text": answers[trouble], "prompt_tokens": 3, "output_tokens": 9}
