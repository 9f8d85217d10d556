"""A GGUF model on this box, in a child process: it may hang, grow or crash there, and nothing else notices."""

import hashlib
import importlib.metadata
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from edge_agent.adapters.analysts import gguf
from edge_agent.adapters.analysts.canary import PASSED, Build, CanaryBook, processor
from edge_agent.config.plant import LocalAnalystOptions
from edge_agent.domain.faults import Transient
from edge_agent.ports import Clock, WritingTask, Written
from edge_agent.runtime.children import Child, ChildDied, ChildFault

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A library that runs GGUF files: its distribution, and the class to run in the child."""

    distribution: str
    target: str


BACKENDS: Mapping[str, Backend] = {
    "llama-cpp": Backend(distribution="llama-cpp-python", target="edge_agent.adapters.analysts.llama_cpp:LlamaCpp"),
    "xllamacpp": Backend(distribution="xllamacpp", target="edge_agent.adapters.analysts.xllama:XLlama"),
}
"""In the order of preference of ``backend: auto``."""

NICE = 10
CANARY = {
    "system": "You answer with one short sentence.",
    "prompt": "Say hello.",
    "grammar": "root ::= [a-zA-Z ,.!]+",
    "max_tokens": 8,
    "seed": 7,
}
_CRASHES_ALLOWED = 3
_NEXT_TRIAL_S = 60.0


class LocalAnalyst:
    """Implements ``ports.Analyst``.

    Deadlines are of a real process, so they run on the machine's own clock; ``clock`` says when to try again.

    The back end is chosen at the first call and stays. Each build passes a canary before its first use. A build that
    crashes is given up for the next one, and when none is left every call raises Transient: orders go out on rules.
    """

    def __init__(
        self,
        options: LocalAnalystOptions,
        *,
        clock: Clock,
        state_dir: Path,
        backends: Mapping[str, Backend] = BACKENDS,
        projector: Path | None = None,
    ) -> None:
        """Args: ``projector`` lets the model see (a GGUF of its own)."""
        self._projector = projector
        self._options = options
        self._clock = clock
        self._book = CanaryBook(state_dir / "language_model.json")
        self._backends = backends
        self._build: Build | None = None
        self._model_name = options.model.stem
        self._child: Child | None = None
        self._closed = False
        self._crashes = 0
        self._next_trial_ns = 0
        self._said = ""

    @property
    def name(self) -> str:
        """Back end and model, as far as they are known."""
        backend = self._build.backend if self._build else self._options.backend
        adapter = f" with {self._options.adapter.name}" if self._options.adapter else ""
        return f"{backend} {self._options.model.name}{adapter}"

    @property
    def rss_mb(self) -> float:
        """Resident memory of the child in MB; 0 while none runs."""
        return self._child.rss_mb if self._child else 0.0

    @property
    def pid(self) -> int | None:
        """The child's process; None while none runs."""
        return self._child.pid if self._child else None

    def write(self, task: WritingTask, timeout_s: float) -> Written:
        """Write under the task's grammar; the first call includes the canary and the loading of the model.

        Raises:
            Transient: no model, no back end that works here, too slow, died, or refused.
        """
        began_ns = self._clock.monotonic_ns()
        deadline_s = time.monotonic() + timeout_s
        child, build = self._ready(deadline_s)
        answer = self._ask(child, build, task, deadline_s)
        return Written(
            text=str(answer["text"]),
            model_sha256=build.model_sha256,
            model_name=self._model_name,
            prompt_tokens=int(answer["prompt_tokens"]),
            output_tokens=int(answer["output_tokens"]),
            latency_ms=(self._clock.monotonic_ns() - began_ns) / 1e6,
        )

    def close(self) -> None:
        """Kill the child; safe to call twice, and from another thread during a call."""
        self._closed = True
        if self._child is not None:
            self._child.close()

    def _ask(self, child: Child, build: Build, task: WritingTask, deadline_s: float) -> dict[str, Any]:
        payload = {
            "system": task.system,
            "prompt": task.prompt,
            "grammar": task.grammar,
            "max_tokens": min(task.max_tokens, self._options.max_tokens),
            "seed": task.seed,
        } | ({"image": task.image} if task.image else {})
        try:
            answer: dict[str, Any] = child.call("write", payload, _left(deadline_s))
        except ChildDied as death:
            self._count_crash(build, death)
            raise
        except ChildFault as fault:
            raise Transient(f"language model failed: {fault}") from fault
        self._crashes = 0
        return answer

    def _count_crash(self, build: Build, death: ChildDied) -> None:
        """A build that passed its canary and keeps crashing is given up as well."""
        self._crashes += death.crashed
        if self._crashes >= _CRASHES_ALLOWED:
            self._book.note(build, str(death))
            log.error("language model given up: it keeps crashing", build=build.key, error=str(death))
            self._drop()

    def _drop(self) -> None:
        if self._child is not None:
            self._child.close()
        self._child, self._build, self._crashes = None, None, 0

    def _ready(self, deadline_s: float) -> tuple[Child, Build]:
        """The child of a build that passed its canary."""
        if self._child is None or self._build is None:
            self._rest()
            try:
                self._build = self._first_that_works(self._builds(), deadline_s)
            except Transient as reason:
                self._say(str(reason))
                raise
            self._said, self._next_trial_ns = "", 0
            self._child = self._new_child(self._build, "language-model")
            log.info("language model chosen", build=self._build.key, model=self._model_name)
            if self._closed:  # `close` came while this was going on
                self._child.close()
        return self._child, self._build

    def _rest(self) -> None:
        """After a failed search for a build the next one waits, so that a hopeless box is not kept busy."""
        if self._clock.monotonic_ns() < self._next_trial_ns:
            raise Transient(self._said)
        self._next_trial_ns = self._clock.monotonic_ns() + int(_NEXT_TRIAL_S * 1e9)

    def _builds(self) -> list[Build]:
        """The installed back ends that the options allow, best first."""
        self._model_name = gguf.describe(self._options.model).name
        chosen = self._options.backend
        names = list(self._backends) if chosen == "auto" else [chosen]
        sha256, cpu = self._digest(), processor()
        return [
            Build(backend=name, version=version, model_sha256=sha256, processor=cpu)
            for name in names
            if (version := _installed(self._backends[name].distribution))
        ]

    def _digest(self) -> str:
        """Of the model; with an adapter or a projector it is another model, so of all."""
        adapter = self._options.adapter
        sha256 = self._book.sha256(self._options.model)
        more = [path for path in (adapter, self._projector) if path is not None]
        try:
            digests = [sha256, *(self._book.sha256(path) for path in more)]
        except OSError as error:
            raise Transient(f"{error.filename}: {error.strerror}") from error
        return hashlib.sha256(" ".join(digests).encode()).hexdigest() if more else sha256

    def _first_that_works(self, builds: list[Build], deadline_s: float) -> Build:
        reasons = [] if builds else ["no back end is installed (llama-cpp-python or xllamacpp)"]
        for build in builds:
            reason = self._canary(build, deadline_s)
            if reason is None:
                return build
            reasons.append(f"{build.backend}: {reason}")
        raise Transient(f"no language model: {'; '.join(reasons)}")

    def _say(self, reason: str) -> None:
        """Loud, and once for each reason."""
        if reason != self._said:
            log.error("language model disabled, orders go out on rules", reason=reason, memory=str(self._book.path))
        self._said = reason

    def _canary(self, build: Build, deadline_s: float) -> str | None:
        """None when the build works here; else why not. Only crashes are remembered beyond this process."""
        known = self._book.outcome(build)
        if known is not None:
            return None if known == PASSED else f"crashed here, and is not tried again: {known}"
        child = self._new_child(build, "language-model-canary")
        try:
            answer = child.call("write", CANARY, _left(deadline_s))
        except ChildDied as death:
            if not death.crashed:
                return str(death)
            self._book.note(build, str(death))
            return f"crashed here, and is not tried again: {death}"
        except (Transient, ChildFault) as error:
            return str(error)
        finally:
            child.close()
        if not answer.get("text"):
            return "wrote nothing"
        self._book.note(build, PASSED)
        return None

    def _new_child(self, build: Build, name: str) -> Child:
        options = self._options
        arguments = {
            "model": str(options.model),
            "threads": options.threads,
            "context_tokens": options.context_tokens,
        }
        arguments |= {"adapter": str(options.adapter)} if options.adapter else {}
        arguments |= {"projector": str(self._projector)} if self._projector else {}
        most_mb = memory_limit_mb(options, self._projector)
        return Child(self._backends[build.backend].target, arguments, name=name, nice=NICE, max_rss_mb=most_mb)


def memory_limit_mb(options: LocalAnalystOptions, projector: Path | None = None) -> int:
    """Generous: the files, a quarter of a megabyte for each token of context (a 4 B model needs 0.15), and 1 GB.

    Raises:
        Transient: the file is gone.
    """
    try:
        file_mb = sum(path.stat().st_size / 1e6 for path in (options.model, projector) if path is not None)
    except OSError as error:
        raise Transient(f"language model {options.model}: {error.strerror}") from error
    return int(1_000 + 1.2 * file_mb + 0.25 * options.context_tokens)


def _left(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise Transient("no time left for the language model")
    return left_s


def _installed(distribution: str) -> str | None:
    """Its version, or None; a wheel's metadata is written last, so a half-installed one does not count."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
