"""Images that another machine drops into a folder or onto a share.

The folder may be remote and read-only, so nothing is renamed, and nothing relies on inotify (it sees no change that
another machine makes): files are looked for, and a file counts as written when its size and modification time rest.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import structlog

from edge_agent.adapters.cameras.image_file import MAX_MEGAPIXELS, read_image
from edge_agent.config.stations import FolderCameraOptions
from edge_agent.domain.faults import PartFault, Transient
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.domain.part import Shot
from edge_agent.ports import Clock

log = structlog.get_logger(__name__)

_POLL_S = 0.02
_REMEMBERED = 4_096

_MAY_CHANGE = frozenset({"image.missing", "image.unreadable", "image.empty", "image.truncated", "image.not_an_image"})
"""What a file that is still being written looks like."""

Mark = tuple[str, int, int]
"""A file's identity: path, mtime_ns, size."""


class FolderCamera:
    """Implements ``ports.Camera``.

    With ``match: trigger`` the shot names its file; with ``match: part_id`` it is the newest file whose stem is the
    part's id. In that mode an image is used for one shot only: a part that comes back after rework waits for a new
    image instead of being judged by its old one.
    """

    def __init__(
        self,
        options: FolderCameraOptions,
        *,
        camera_id: str,
        clock: Clock,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> None:
        self._options = options
        self._camera_id = camera_id
        self._clock = clock
        self._max_megapixels = max_megapixels
        self._closed = threading.Event()
        self._used: OrderedDict[Mark, str] = OrderedDict()

    def open(self) -> None:
        """Look into the folder once. Raises Transient when it is not there (share not mounted)."""
        self._closed.clear()
        self._check_folder()

    def grab(self, shot: Shot, timeout_s: float) -> Frame:
        """The shot's image once it is completely written.

        Raises:
            PartFault: ``camera.timeout`` (no file), ``camera.unsettled`` (still growing), ``camera.stale_image``
                (only one that an earlier shot has used), or one of ``image_file.decode``'s codes.
            Transient: the folder is gone.
        """
        deadline_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        pixels = self._at_once(shot)
        source = shot.image_path or ""
        if pixels is None:
            mark = self._settled(shot, deadline_ns)
            pixels, source = self._read(mark[0]), mark[0]
            self._remember(mark, shot)
        return Frame(
            frame_id=self._clock.new_id(),
            camera_id=self._camera_id,
            pixels=pixels,
            captured_at=self._clock.now(),
            source=source,
        )

    def close(self) -> None:
        """End a waiting `grab`."""
        self._closed.set()

    def _at_once(self, shot: Shot) -> Pixels | None:
        """The named file without waiting, when it is whole: the trigger has seen it rest already."""
        if self._options.match != "trigger" or shot.image_path is None:
            return None
        try:
            return read_image(Path(shot.image_path), max_megapixels=self._max_megapixels)
        except PartFault as fault:
            if fault.code in _MAY_CHANGE:
                return None
            raise

    def _read(self, path: str) -> Pixels:
        try:
            return read_image(Path(path), max_megapixels=self._max_megapixels)
        except PartFault as fault:
            if fault.code in ("image.missing", "image.unreadable"):
                self._check_folder()
            raise

    def _settled(self, shot: Shot, deadline_ns: int) -> Mark:
        """Wait until the shot's file rests for ``settle_ms``."""
        settle_ns = int(self._options.settle_ms * 1e6)
        seen: Mark | None = None
        since_ns = 0
        while True:
            now_ns = self._clock.monotonic_ns()
            mark = self._find(shot)
            if mark != seen:
                seen, since_ns = mark, now_ns
            if mark is not None and now_ns - since_ns >= settle_ns and self._may_be_read(mark):
                return mark
            if now_ns >= deadline_ns:
                raise self._late(shot, mark, now_ns - since_ns >= settle_ns)
            if self._closed.wait(min(_POLL_S, max(0.001, settle_ns / 2e9))):
                raise Transient(f"camera {self._camera_id}: closed while waiting for part {shot.part_id}")

    def _may_be_read(self, mark: Mark) -> bool:
        """An empty file may be about to be filled; the folder trigger has waited for that already."""
        return mark[2] > 0 or self._options.match == "trigger"

    def _late(self, shot: Shot, mark: Mark | None, rests: bool) -> PartFault:
        self._check_folder()
        if mark is not None and mark[2] == 0 and rests:
            return PartFault("image.empty", f"{mark[0]}: the file is empty")
        if mark is not None:
            return PartFault("camera.unsettled", f"{mark[0]}: still being written when the time was up")
        if self._options.match == "part_id" and any(self._candidates(shot)):
            return PartFault("camera.stale_image", f"no new image for part {shot.part_id}; there is only an old one")
        wanted = shot.image_path or f"{self._options.path}/{shot.part_id}.*"
        return PartFault("camera.timeout", f"no image came for part {shot.part_id} (waited for {wanted})")

    def _find(self, shot: Shot) -> Mark | None:
        if self._options.match == "trigger":
            if shot.image_path is None:
                raise PartFault("camera.no_image", f"the trigger of part {shot.part_id} names no image")
            return _mark(shot.image_path)
        fresh = [
            mark for mark in self._candidates(shot) if self._used.get(mark, str(shot.shot_id)) == str(shot.shot_id)
        ]
        return max(fresh, key=lambda mark: mark[1], default=None)

    def _candidates(self, shot: Shot) -> Iterator[Mark]:
        for path in self._files(str(self._options.path)):
            name = os.path.basename(path)  # noqa: PTH119
            if os.path.splitext(name)[0] == shot.part_id and fnmatch(name, self._options.pattern):  # noqa: PTH122
                mark = _mark(path)
                if mark is not None:
                    yield mark

    def _files(self, folder: str) -> Iterator[str]:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_file():
                        yield entry.path
                    elif self._options.recursive and entry.is_dir(follow_symlinks=False):
                        yield from self._files(entry.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Transient(f"camera {self._camera_id}: {folder}: {error.strerror}") from error

    def _remember(self, mark: Mark, shot: Shot) -> None:
        self._used[mark] = str(shot.shot_id)
        if len(self._used) > _REMEMBERED:
            self._used.popitem(last=False)

    def _check_folder(self) -> None:
        try:
            with os.scandir(self._options.path):
                pass
        except OSError as error:
            text = f"camera {self._camera_id}: folder {self._options.path}: {error.strerror}"
            raise Transient(text) from error


def _mark(path: str) -> Mark | None:
    try:
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return path, stat.st_mtime_ns, stat.st_size
