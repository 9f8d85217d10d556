"""What is known about builds of the language model's back ends on this machine, kept in a file.

A build is a back end's version with a model file on a processor. Before its first use it must load and write a few
words in a process of its own; one that crashed doing so is not tried again.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)

_MOST_BUILDS = 64
_MOST_DIGESTS = 8
PASSED = "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One combination that either works here or does not."""

    backend: str
    version: str
    model_sha256: str
    processor: str

    @property
    def key(self) -> str:
        """Stable name in the file."""
        return f"{self.backend} {self.version} / {self.model_sha256[:16]} / {self.processor}"


class CanaryBook:
    """The file: builds with their outcome, and digests of model files already read.

    Deleting it (a person's way to have a build tried again), losing or damaging it costs one more trial.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = self._read()

    def outcome(self, build: Build) -> str | None:
        """``passed``, the reason why it crashed, or None when it was never tried."""
        found = self._data["builds"].get(build.key)
        return str(found) if found is not None else None

    def note(self, build: Build, outcome: str) -> None:
        """Remember the outcome of a trial."""
        self._data["builds"].pop(build.key, None)
        self._data["builds"][build.key] = outcome
        self._write()

    def sha256(self, model: Path) -> str:
        """Digest of a model file; files of the same size and time are not read twice."""
        stat = model.stat()
        key = f"{model} {stat.st_size} {stat.st_mtime_ns}"
        if key not in self._data["digests"]:
            with model.open("rb") as stream:
                self._data["digests"][key] = hashlib.file_digest(stream, "sha256").hexdigest()
            while len(self._data["digests"]) > _MOST_DIGESTS:
                del self._data["digests"][next(iter(self._data["digests"]))]
            self._write()
        return str(self._data["digests"][key])

    def _read(self) -> dict[str, dict[str, Any]]:
        empty: dict[str, dict[str, Any]] = {"builds": {}, "digests": {}}
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return empty
        known = isinstance(data, dict) and all(isinstance(data.get(key), dict) for key in empty)
        return data if known else empty

    def _write(self) -> None:
        builds = self._data["builds"]
        while len(builds) > _MOST_BUILDS:
            del builds[next(iter(builds))]
        half = self.path.with_suffix(".part")
        try:
            half.write_text(json.dumps(self._data, indent=1), encoding="utf-8")
            half.replace(self.path)
        except OSError as error:
            log.warning("outcome of the language model's trial could not be kept", path=str(half), error=str(error))


def processor() -> str:
    """A short digest of the processor's model and abilities: a build that works on one may crash on the next."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return "unknown"
    telling = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return hashlib.sha256("\n".join(telling).encode()).hexdigest()[:12]
