"""The image store's promises, on a real folder."""

import errno
import os
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from edge_agent.adapters.images.folder import FolderImages
from edge_agent.config.plant import RetentionSection
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.inspection import ImageRef
from tests.fakes.clock import START, FakeClock

GIB = 2**30


def folder(tmp_path: Path, clock: FakeClock, *, min_free_bytes: int = 0, **retention: float) -> FolderImages:
    return FolderImages(
        tmp_path / "images", RetentionSection(**retention), clock=clock, min_free_bytes=min_free_bytes, sync=False
    )


def grey(value: int = 128, size: int = 64) -> np.ndarray:
    return np.full((size, size), value, dtype=np.uint8)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (64, 64), dtype=np.uint8)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def put(images: FolderImages, clock: FakeClock, role: str = "frame", seed: int = 0) -> ImageRef:
    return images.put(noise(seed), inspection_id=clock.new_id(), role=role, at=clock.now())


def test_an_image_comes_back_as_it_was_within_what_jpeg_loses(tmp_path: Path, clock: FakeClock) -> None:
    images = folder(tmp_path, clock)
    scene = np.zeros((48, 64, 3), dtype=np.uint8)
    scene[:, 32:] = (200, 100, 50)
    ref = images.put(scene, inspection_id=clock.new_id(), role="frame", at=clock.now())
    back = images.get(ref)
    assert back.shape == scene.shape
    assert np.abs(back.astype(int) - scene.astype(int)).mean() < 4
    assert ref.size_bytes == images.path(ref).stat().st_size


def test_the_path_says_when_which_and_what(tmp_path: Path, clock: FakeClock) -> None:
    key = UUID(int=7)
    ref = folder(tmp_path, clock).put(grey(), inspection_id=key, role="overlay", at=START)
    assert ref.path == f"2026/01/05/06/{key}-overlay.jpg"
    assert (ref.role, ref.media_type) == ("overlay", "image/jpeg")


def test_sixteen_bits_are_scaled_to_be_seen(tmp_path: Path, clock: FakeClock) -> None:
    images = folder(tmp_path, clock)
    twelve_bit = np.full((32, 32), 2047, dtype=np.uint16)
    twelve_bit[:, 16:] = 4095
    back = images.get(images.put(twelve_bit, inspection_id=clock.new_id(), role="frame", at=clock.now()))
    assert abs(int(back[4, 4]) - 127) <= 3
    assert back[4, 28] >= 252


def test_a_dark_sixteen_bit_image_stays_dark(tmp_path: Path, clock: FakeClock) -> None:
    images = folder(tmp_path, clock)
    black = np.full((32, 32), 3, dtype=np.uint16)
    back = images.get(images.put(black, inspection_id=clock.new_id(), role="frame", at=clock.now()))
    assert back.max() <= 6


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((0, 10), dtype=np.uint8),
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros(9, dtype=np.uint8),
        np.zeros((4, 4), dtype=np.float32),
    ],
    ids=["empty", "four channels", "flat", "floats"],
)
def test_what_is_not_an_image_is_refused(tmp_path: Path, clock: FakeClock, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"pixels"):
        folder(tmp_path, clock).put(pixels, inspection_id=clock.new_id(), role="frame", at=clock.now())


@pytest.mark.parametrize("role", ["../evil", "", "a/b", "ok.ok.ok"])
def test_a_role_cannot_leave_the_folder(tmp_path: Path, clock: FakeClock, role: str) -> None:
    with pytest.raises(ValueError, match="role"):
        folder(tmp_path, clock).put(grey(), inspection_id=clock.new_id(), role=role, at=clock.now())


def test_a_reference_cannot_leave_the_folder(tmp_path: Path, clock: FakeClock) -> None:
    ref = ImageRef(role="frame", path="../../etc/passwd", sha256="", size_bytes=0)
    with pytest.raises(ValueError, match="leaves"):
        folder(tmp_path, clock).path(ref)


def test_a_changed_file_is_not_passed_off_as_the_evidence(tmp_path: Path, clock: FakeClock) -> None:
    images = folder(tmp_path, clock)
    ref = put(images, clock)
    images.path(ref).write_bytes(images.path(ref).read_bytes() + b"!")
    with pytest.raises(ValueError, match="sha256"):
        images.get(ref)


def test_age_removes_files_and_their_folders(tmp_path: Path, clock: FakeClock) -> None:
    images = folder(tmp_path, clock, images_days=1)
    old = put(images, clock)
    clock.advance(days=3)
    new = put(images, clock)
    assert images.prune(now=clock.now()) == 1
    with pytest.raises(FileNotFoundError):
        images.get(old)
    assert images.path(new).exists()
    assert [path.name for path in (tmp_path / "images" / "2026" / "01").iterdir()] == ["08"]
    assert images.prune(now=clock.now()) == 0


def test_size_removes_images_of_ok_parts_first_then_the_oldest(tmp_path: Path, clock: FakeClock) -> None:
    images = folder(tmp_path, clock)
    refs = {}
    for hour, (name, role) in enumerate([("bad old", "frame"), ("ok new", "frame.ok"), ("bad new", "frame")]):
        refs[name] = put(images, clock, role, seed=hour)
        clock.advance(hours=1)
    assert {ref.role for ref in refs.values()} == {"frame"}

    def left(keep: int) -> set[str]:
        size = sum(ref.size_bytes for ref in list(refs.values())[:keep]) + 200
        folder(tmp_path, clock, images_gib=size / GIB).prune(now=clock.now())
        return {name for name, ref in refs.items() if images.path(ref).exists()}

    assert left(3) == {"bad old", "ok new", "bad new"}
    assert left(2) == {"bad old", "bad new"}
    assert left(1) == {"bad new"}


def test_a_nearly_full_disk_refuses_before_it_is_full_and_prune_makes_room(tmp_path: Path, clock: FakeClock) -> None:
    put(folder(tmp_path, clock), clock)
    careful = folder(tmp_path, clock, min_free_bytes=1 << 60)
    with pytest.raises(Transient, match="disk nearly full"):
        put(careful, clock)
    assert careful.prune(now=clock.now()) == 1


def test_leftovers_of_a_power_cut_are_removed_and_foreign_files_left(tmp_path: Path, clock: FakeClock) -> None:
    images = folder(tmp_path, clock)
    hour = images.path(put(images, clock)).parent
    part, foreign = hour / "x.jpg.part", hour / "notes.txt"
    for path in (part, foreign):
        path.write_bytes(b"?")
        os.utime(path, (START.timestamp() - 9_999,) * 2)
    assert images.prune(now=clock.now()) == 0
    assert not part.exists()
    assert foreign.exists()


def test_pruning_nothing_yet_written_is_fine(tmp_path: Path, clock: FakeClock) -> None:
    assert folder(tmp_path, clock).prune(now=clock.now()) == 0


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, Transient), (errno.EDQUOT, Transient), (errno.EIO, Transient), (errno.EROFS, ConfigError)],
)
def test_write_errors_say_what_the_caller_can_do(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def fails(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    images = FolderImages(tmp_path / "images", RetentionSection(), clock=clock, min_free_bytes=0)
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(kind, match=os.strerror(number)):
        put(images, clock)
    assert [path for path in (tmp_path / "images").rglob("*") if path.is_file()] == []


def test_a_later_prune_of_a_stepped_back_clock_removes_nothing_young(tmp_path: Path, clock: FakeClock) -> None:
    images = folder(tmp_path, clock, images_days=1)
    ref = put(images, clock)
    clock.set(START - timedelta(days=400))
    assert images.prune(now=clock.now()) == 0
    assert images.path(ref).exists()
