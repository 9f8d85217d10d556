"""The arrival of a file is the trigger.

Own poller with a scan at the start: inotify sees nothing that another machine writes to a share. A file is a part
once, known by (path, mtime_ns, size); it is due when size and modification time rest.
"""

import json
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Protocol

import structlog

from edge_agent.config.stations import FolderTriggerOptions
from edge_agent.domain.faults import Transient
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.ports import Clock, PlantLink

log = structlog.get_logger(__name__)

Mark = tuple[str, int, int]
"""A file's identity: path, mtime_ns, size."""


class SeenFiles(Protocol):
    """Which files were parts already. One that survives a restart keeps the box from inspecting them again."""

    def __contains__(self, mark: Mark) -> bool: ...

    def add(self, mark: Mark) -> None:
        """Remember it. Raises Transient when it cannot be kept."""
        ...


class SeenInMemory:
    """Implements `SeenFiles` until the process ends; forgets the oldest beyond ``limit``."""

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit
        self._marks: OrderedDict[Mark, None] = OrderedDict()

    def __contains__(self, mark: Mark) -> bool:
        return mark in self._marks

    def add(self, mark: Mark) -> None:
        """Remember it."""
        self._marks[mark] = None
        if len(self._marks) > self._limit:
            self._marks.popitem(last=False)


class SeenOnDisk:
    """Implements `SeenFiles` in a file: a line of JSON for each mark, appended, and shortened when it is opened.

    Lines are not forced to the disk: after a power cut the last files may be inspected once more, which is harmless;
    to be forgotten would not be.
    """

    def __init__(self, path: Path, limit: int = 200_000) -> None:
        self._path = path
        self._marks = SeenInMemory(limit)
        kept = _read_journal(path)[-limit:]
        for mark in kept:
            self._marks.add(mark)
        rewritten = path.with_suffix(".new")
        rewritten.write_text("".join(_line(mark) for mark in kept), encoding="utf-8")
        rewritten.replace(path)

    def __contains__(self, mark: Mark) -> bool:
        return mark in self._marks

    def add(self, mark: Mark) -> None:
        """Remember it. Raises Transient (disk full, read-only)."""
        try:
            with self._path.open("a", encoding="utf-8") as journal:
                journal.write(_line(mark))
        except OSError as error:
            raise Transient(f"{self._path}: {error.strerror}") from error
        self._marks.add(mark)


def _line(mark: Mark) -> str:
    return json.dumps(mark) + "\n"


def _read_journal(path: Path) -> list[Mark]:
    """All marks; a line that was cut off by a crash is left out."""
    marks: list[Mark] = []
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for line in text.splitlines():
        try:
            name, mtime_ns, size = json.loads(line)
            marks.append((str(name), int(mtime_ns), int(size)))
        except (ValueError, TypeError):
            log.warning("line in the list of seen files is damaged", file=str(path), line=line[:80])
    return marks


@dataclass(frozen=True, slots=True)
class _Resting:
    """A file that was looked at: how it was, and since when."""

    mark: Mark
    since_ns: int


class FolderTrigger:
    """Implements ``ports.TriggerSource``. Files come in the order of their modification time, then by name.

    Anything that matches the pattern is a part, whether it is an image or not: the camera says what is wrong with it,
    and the part is held instead of passing unseen.

    A file counts as seen when the next one is asked for: by then the station has taken note of its shot. A process
    that dies in between finds it again, and skips it when it was noted.

    Args:
        seen: files that were asked for.
        remember: notes a shot in the station's store; False when another shot was made of this file before a crash,
            which has been or will be answered. Raises Transient: not noted; the station then refuses the shot.
    """

    patient = True
    """Files can wait: the station asks for the next one when nothing waits, instead of refusing what does not fit."""

    def __init__(
        self,
        options: FolderTriggerOptions,
        *,
        station_id: str,
        strata: Mapping[str, str],
        clock: Clock,
        link: PlantLink | None = None,
        seen: SeenFiles | None = None,
        remember: Callable[[Shot], bool] = lambda _: True,
    ) -> None:
        self._options = options
        self._remember = remember
        self._station_id = station_id
        self._strata = dict(strata)
        self._clock = clock
        self._seen: SeenFiles = SeenInMemory() if seen is None else seen
        self._resting: dict[str, _Resting] = {}
        self._due: deque[Mark] = deque()
        self._handed: Mark | None = None
        self._next_scan_ns = 0
        self._count = 0
        self._closed = threading.Event()

    def open(self) -> None:
        """Look into the folder. Raises Transient when it is not there."""
        self._closed.clear()
        self._due.clear()
        self._resting.clear()
        self._next_scan_ns = 0
        for _ in self._entries(str(self._options.path)):
            break

    def wait(self, timeout_s: float) -> Shot | None:
        """The next file that rests. Raises Transient when the folder is gone."""
        self._settle_handed()
        deadline_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            now_ns = self._clock.monotonic_ns()
            if not self._due and now_ns >= self._next_scan_ns:
                self._scan(now_ns)
                self._next_scan_ns = now_ns + int(min(self._options.poll_ms, self._options.settle_ms) * 1e6)
            shot = self._next_due()
            if shot is not None or now_ns >= deadline_ns or self._closed.is_set():
                return shot
            self._closed.wait(max(0.0, min(deadline_ns, self._next_scan_ns) - now_ns) / 1e9)

    def missed(self) -> int:
        """Always 0: a file waits until it is its turn."""
        return 0

    def refusals(self) -> list[tuple[Shot, Reason]]:
        """None: every request becomes a shot."""
        return []

    def close(self) -> None:
        """End a waiting `wait`."""
        self._closed.set()
        try:
            self._settle_handed()
        except Transient as error:
            log.warning("seen file not kept, it is inspected once more", station=self._station_id, error=str(error))

    def _settle_handed(self) -> None:
        if self._handed is not None:
            self._seen.add(self._handed)
            self._handed = None

    def _scan(self, now_ns: int) -> None:
        settle_ns = int(self._options.settle_ms * 1e6)
        resting: dict[str, _Resting] = {}
        due: list[Mark] = []
        for mark in self._entries(str(self._options.path)):
            if mark in self._seen or mark == self._handed:
                continue
            before = self._resting.get(mark[0])
            now = before if before is not None and before.mark == mark else _Resting(mark, now_ns)
            resting[mark[0]] = now
            if now_ns - now.since_ns >= settle_ns:
                due.append(mark)
        self._resting = resting
        self._due.extend(sorted(due, key=lambda mark: (mark[1], mark[0])))

    def _next_due(self) -> Shot | None:
        while self._due:
            mark = self._due.popleft()
            if mark in self._seen:
                continue
            self._resting.pop(mark[0], None)
            shot = self._shot(mark)
            if self._is_new(shot):
                self._handed = mark
                return shot
            log.info("file was asked for before a crash, ignored", station=self._station_id, file=mark[0])
            self._seen.add(mark)
        return None

    def _is_new(self, shot: Shot) -> bool:
        try:
            return self._remember(shot)
        except Transient:
            return True  # the station finds out as well, and holds the part

    def _entries(self, folder: str) -> Iterator[Mark]:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if self._options.recursive and entry.is_dir(follow_symlinks=False):
                        yield from self._entries(entry.path)
                    elif fnmatch(entry.name, self._options.pattern):
                        yield from _mark(entry)
        except OSError as error:
            text = f"station {self._station_id}: folder {folder}: {error.strerror}"
            raise Transient(text) from error

    def _shot(self, mark: Mark) -> Shot:
        shot_id = self._clock.new_id()
        path = Path(mark[0])
        self._count += 1
        return Shot(
            shot_id=shot_id,
            station_id=self._station_id,
            part_id=path.stem if self._options.part_id == "stem" else str(shot_id),
            product_id=self._options.product_id,
            trigger_id=f"{os.path.relpath(path, self._options.path)}@{mark[1]}-{mark[2]}",
            triggered_at=self._clock.now(),
            triggered_ns=self._clock.monotonic_ns(),
            sequence=self._count,
            image_path=mark[0],
            strata=self._strata,
        )


def _mark(entry: "os.DirEntry[str]") -> Iterator[Mark]:
    """The entry's identity; nothing for a folder or a file that vanished between the two calls."""
    try:
        if entry.is_file():
            stat = entry.stat()
            yield entry.path, stat.st_mtime_ns, stat.st_size
    except FileNotFoundError:
        return
