"""Images in a folder tree by hour: ``YYYY/MM/DD/HH/<inspection_id>-<role>.jpg``."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import cv2
import numpy as np
import numpy.typing as npt
import structlog

from edge_agent.config.plant import RetentionSection
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.frame import Pixels
from edge_agent.domain.inspection import ImageRef
from edge_agent.ports import Clock

log = structlog.get_logger(__name__)

JPEG_QUALITY = 90
MIN_FREE_BYTES = 256 * 2**20
OK_MARK = ".ok"
"""Stands in the name of an image of an OK part, so that retention can tell without a database."""

_SUFFIX = ".jpg"
_PART = ".part"
_STALE_PART = timedelta(hours=1)
_GIB = 2**30
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A file under retention. Its age is the hour in its path, not its mtime: a restored backup stays as old."""

    path: Path
    hour: str
    size_bytes: int
    is_ok: bool


class FolderImages:
    """Implements ``ports.ImageStore``."""

    def __init__(
        self,
        root: Path,
        retention: RetentionSection,
        *,
        clock: Clock,
        min_free_bytes: int = MIN_FREE_BYTES,
        sync: bool = True,
    ) -> None:
        """``sync=False`` leaves the writing to the operating system: a power cut may lose the last images.

        ``min_free_bytes`` on the disk are left to the database and the rest of the box.
        """
        self._root = root
        self._retention = retention
        self._clock = clock
        self._min_free_bytes = min_free_bytes
        self._sync = sync

    def put(self, pixels: Pixels, *, inspection_id: UUID, role: str, at: datetime) -> ImageRef:
        """Encode as JPEG and write durably under a temporary name first.

        ``role`` may end in ``.ok`` (``frame.ok``): the image of an OK part, removed first when room is needed; the
        reference's role is without it.

        Args:
            pixels: (H, W) or (H, W, 3) BGR; 16 bits are scaled to 8 by their largest value.
            at: the instant whose hour becomes the folder.

        Raises:
            Transient: the disk is full, or nearly.
            ConfigError: the folder cannot be written to.
            ValueError: not an image.
        """
        content = _jpeg(pixels)
        plain, mark = (role.removesuffix(OK_MARK), OK_MARK) if role.endswith(OK_MARK) else (role, "")
        path = f"{at.astimezone(UTC):%Y/%m/%d/%H}/{inspection_id}-{_name(plain)}{mark}{_SUFFIX}"
        try:
            self._keep_reserve(len(content))
            self._write(self._root / path, content)
        except OSError as error:
            raise _fault(error, self._root / path) from error
        return ImageRef(role=plain, path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))

    def path(self, ref: ImageRef) -> Path:
        """Where the file is. Raises ValueError: outside the folder (a reference that was tampered with)."""
        path = (self._root / ref.path).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise ValueError(f"image path {ref.path!r} leaves the image folder")
        return path

    def get(self, ref: ImageRef) -> npt.NDArray[np.uint8]:
        """The decoded pixels, (H, W) or (H, W, 3) BGR uint8.

        Raises:
            FileNotFoundError: thinned by retention.
            ValueError: the content is not what was written (sha256).
        """
        content = self.path(ref).read_bytes()
        if hashlib.sha256(content).hexdigest() != ref.sha256:
            raise ValueError(f"image {ref.path}: its sha256 is not the recorded one; the file was changed or damaged")
        decoded = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None:
            raise ValueError(f"image {ref.path}: cannot be decoded")
        return np.asarray(decoded, dtype=np.uint8)

    def prune(self, *, now: datetime) -> int:
        """Apply retention: by age, then by size and free space, images of OK parts first; the number removed.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        if not self._root.exists():
            return 0
        files = sorted(self._files(now), key=lambda file: (file.hour, file.path.name))
        oldest = _hour(now - timedelta(days=self._retention.images_days))
        try:
            removed = self._remove(file for file in files if file.hour < oldest)
            kept = [file for file in files if file.hour >= oldest]
            removed += self._make_room(kept)
            self._remove_empty_folders()
        except OSError as error:
            raise _fault(error, self._root) from error
        return removed

    def _make_room(self, kept: list[_Kept]) -> int:
        """Remove until the quota and the disk's reserve are kept: OK images, oldest first, then the others."""
        excess = sum(file.size_bytes for file in kept) - int(self._retention.images_gib * _GIB)
        short = self._min_free_bytes - shutil.disk_usage(self._root).free
        wanted = max(excess, short)
        chosen = []
        for file in sorted(kept, key=lambda file: (not file.is_ok, file.hour, file.path.name)):
            if wanted <= 0:
                break
            wanted -= file.size_bytes
            chosen.append(file)
        if chosen:
            log.info("removing images to make room", files=len(chosen), over_quota=excess > 0, disk_low=short > 0)
        return self._remove(chosen)

    def _remove(self, files: "Iterator[_Kept] | list[_Kept]") -> int:
        removed = 0
        for file in files:
            file.path.unlink(missing_ok=True)
            removed += 1
        return removed

    def _files(self, now: datetime) -> Iterator[_Kept]:
        """Our files, by the shape of their path; leftovers of an interrupted write are removed."""
        for path in self._root.glob("[0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]/[0-9][0-9]/*"):
            hour = "/".join(path.parts[-5:-1])
            try:
                if path.name.endswith(_PART):
                    _remove_stale(path, now)
                elif path.suffix == _SUFFIX:
                    size = path.stat().st_size
                    yield _Kept(path=path, hour=hour, size_bytes=size, is_ok=path.stem.endswith(OK_MARK))
            except FileNotFoundError:
                continue  # renamed or removed meanwhile

    def _remove_empty_folders(self) -> None:
        """Folders that became empty, deepest first; the one being written to now is left alone."""
        current = self._root / _hour(self._clock.now())
        for folder in sorted(self._root.glob("[0-9]*/**/"), key=lambda path: len(path.parts), reverse=True):
            if folder != current and folder not in current.parents and not any(folder.iterdir()):
                _remove_folder(folder)

    def _keep_reserve(self, size_bytes: int) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._root).free
        if free - size_bytes < self._min_free_bytes:
            raise Transient(
                f"disk nearly full: {free / 2**20:.0f} MiB free below {self._root}, {self._min_free_bytes / 2**20:.0f} "
                "MiB are kept in reserve; free space or lower retention.images_gib"
            )

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + _PART)
        try:
            with part.open("wb") as file:
                file.write(content)
                if self._sync:
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        if self._sync:
            _sync_folder(path.parent)


def _jpeg(pixels: Pixels) -> bytes:
    if pixels.ndim not in (2, 3) or pixels.size == 0 or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ValueError(f"pixels have shape {pixels.shape}; (H, W) or (H, W, 3) is needed")
    try:
        fine, encoded = cv2.imencode(_SUFFIX, _eight_bits(pixels), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    except cv2.error as error:
        raise ValueError(f"pixels of shape {pixels.shape} cannot be a JPEG: {error}") from error
    if not fine:
        raise ValueError(f"pixels of shape {pixels.shape} cannot be a JPEG")
    return encoded.tobytes()


def _eight_bits(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """For the eye: a 10- or 12-bit sensor in 16-bit words would be nearly black if divided by 256."""
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels, dtype=np.uint8)
    if pixels.dtype != np.uint16:
        raise ValueError(f"pixels are {pixels.dtype}; uint8 or uint16 is needed")
    largest = max(int(pixels.max()), 255)
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=255.0 / largest), dtype=np.uint8)


def _name(role: str) -> str:
    if not role or not all(letter.isalnum() or letter in "_-" for letter in role):
        raise ValueError(f"image role {role!r}: letters, digits, _ and - only")
    return role


def _hour(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y/%m/%d/%H}"


def _remove_stale(part: Path, now: datetime) -> None:
    if datetime.fromtimestamp(part.stat().st_mtime, UTC) < now - _STALE_PART:
        part.unlink(missing_ok=True)


def _remove_folder(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
            raise


def _sync_folder(folder: Path) -> None:
    """The rename itself survives a power cut only when the folder is written too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fault(error: OSError, path: Path) -> ConfigError | Transient:
    if error.errno in _READ_ONLY:
        return ConfigError(f"cannot write images to {path}: {error.strerror}; the folder must be writable by this user")
    return Transient(f"cannot write the image {path}: {error.strerror}; free space on this disk")
