"""Images that another machine drops into a folder."""

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.adapters.cameras.folder import FolderCamera
from edge_agent.adapters.clock import SystemClock
from edge_agent.config.stations import FolderCameraOptions
from edge_agent.domain.faults import PartFault, Transient
from edge_agent.domain.part import Shot
from tests.fakes.station import shot

CLOCK = SystemClock()


def camera(folder: Path, **options: Any) -> FolderCamera:
    made = FolderCameraOptions.model_validate({"kind": "folder", "path": folder, "settle_ms": 1, **options})
    opened = FolderCamera(made, camera_id="c", clock=CLOCK)
    opened.open()
    return opened


def drop(path: Path, value: int = 7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.full((8, 10), value, np.uint8))[1].tobytes())
    return path


def named(path: Path) -> Shot:
    return replace(shot(CLOCK, path.stem), image_path=str(path))


def fault(opened: FolderCamera, asked: Shot, timeout_s: float = 0.05) -> str:
    with pytest.raises(PartFault) as caught:
        opened.grab(asked, timeout_s)
    return caught.value.code


def test_the_trigger_names_the_image(tmp_path: Path) -> None:
    frame = camera(tmp_path).grab(named(drop(tmp_path / "P-1.png")), 1)
    assert (frame.size_wh, frame.source) == ((10, 8), str(tmp_path / "P-1.png"))


def test_the_part_id_names_the_image(tmp_path: Path) -> None:
    drop(tmp_path / "P-1.png", 1)
    drop(tmp_path / "P-12.png", 2)
    drop(tmp_path / "sub" / "P-3.bmp", 3)
    (tmp_path / "P-1.txt").write_text("not this one")
    opened = camera(tmp_path, match="part_id", pattern="*.[bp]*", recursive=True)
    assert [int(opened.grab(shot(CLOCK, part), 1).pixels[0, 0]) for part in ("P-12", "P-1", "P-3")] == [2, 1, 3]


@pytest.mark.parametrize("part", ["../P-1", "*", "P-?", "", "a/b", "P-1.png"])
def test_a_part_id_is_a_name_and_nothing_else(tmp_path: Path, part: str) -> None:
    drop(tmp_path / "P-1.png")
    drop(tmp_path / "in" / "x.png")
    assert fault(camera(tmp_path / "in", match="part_id"), shot(CLOCK, part)) == "camera.timeout"


def test_it_waits_for_the_file(tmp_path: Path) -> None:
    opened = camera(tmp_path, match="part_id")
    writer = threading.Timer(0.05, drop, (tmp_path / "P-1.png",))
    writer.start()
    assert opened.grab(shot(CLOCK, "P-1"), 5).size_wh == (10, 8)
    writer.join()


def test_a_file_that_is_still_written_is_waited_for(tmp_path: Path) -> None:
    """It grows without rest for as long as the part may take."""
    path = drop(tmp_path / "P-1.png")
    done = threading.Event()

    def grow() -> None:
        while not done.wait(0.005):
            with path.open("ab") as file:
                file.write(b"x")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        opened = camera(tmp_path, settle_ms=2_000, match="part_id")
        assert fault(opened, shot(CLOCK, "P-1"), 0.3) == "camera.unsettled"
    finally:
        done.set()
        writer.join()


def test_the_named_file_is_read_at_once_when_it_is_whole(tmp_path: Path) -> None:
    """The trigger has waited for it already; a second wait would cost each part ``settle_ms``."""
    opened = camera(tmp_path, settle_ms=600_000)
    assert opened.grab(named(drop(tmp_path / "P-1.png")), 0.1).size_wh == (10, 8)


def test_the_named_file_is_waited_for_while_it_is_not_whole(tmp_path: Path) -> None:
    whole = drop(tmp_path / "whole.png").read_bytes()
    path = tmp_path / "P-1.png"
    path.write_bytes(whole[:20])
    writer = threading.Timer(0.1, path.write_bytes, (whole,))
    writer.start()
    assert camera(tmp_path, settle_ms=300).grab(named(path), 5).size_wh == (10, 8)
    writer.join()


def test_an_old_image_is_not_used_for_the_same_part_again(tmp_path: Path) -> None:
    """A reworked part must not be judged by the picture from before the rework."""
    path = drop(tmp_path / "P-1.png", 1)
    opened = camera(tmp_path, match="part_id")
    opened.grab(shot(CLOCK, "P-1"), 1)
    assert fault(opened, shot(CLOCK, "P-1")) == "camera.stale_image"
    drop(path, 2)
    os.utime(path, ns=(1, 2_000_000_000))
    assert int(opened.grab(shot(CLOCK, "P-1"), 1).pixels[0, 0]) == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "image.empty"), (b"a report", "image.not_an_image"), (b"\xff\xd8\xff\xe0", "image.truncated")],
)
def test_bad_files_are_part_faults_and_the_next_part_is_fine(tmp_path: Path, content: bytes, code: str) -> None:
    opened = camera(tmp_path)
    (tmp_path / "bad.jpg").write_bytes(content)
    assert fault(opened, named(tmp_path / "bad.jpg")) == code
    assert opened.grab(named(drop(tmp_path / "good.png")), 1).size_wh == (10, 8)


def test_a_shot_without_an_image_is_a_part_fault(tmp_path: Path) -> None:
    assert fault(camera(tmp_path), shot(CLOCK)) == "camera.no_image"


def test_a_file_that_vanished_is_a_part_fault(tmp_path: Path) -> None:
    assert fault(camera(tmp_path), named(tmp_path / "gone.png")) == "camera.timeout"


@pytest.mark.parametrize("match", ["trigger", "part_id"])
def test_a_share_that_is_unmounted_is_transient(tmp_path: Path, match: str) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    opened = camera(folder, match=match)
    folder.rmdir()
    with pytest.raises(Transient, match="share"):
        opened.grab(named(folder / "P-1.png"), 0.05)
    with pytest.raises(Transient, match="share"):
        opened.open()


def test_close_ends_a_waiting_grab(tmp_path: Path) -> None:
    opened = camera(tmp_path, match="part_id")
    threading.Timer(0.05, opened.close).start()
    with pytest.raises(Transient, match="closed"):
        opened.grab(shot(CLOCK), 30)


def test_an_empty_file_that_was_just_made_is_waited_for(tmp_path: Path) -> None:
    opened = camera(tmp_path, match="part_id")
    (tmp_path / "P-1.png").touch()
    writer = threading.Timer(0.05, drop, (tmp_path / "P-1.png",))
    writer.start()
    assert opened.grab(shot(CLOCK, "P-1"), 5).size_wh == (10, 8)
    writer.join()
    (tmp_path / "P-2.png").touch()
    assert fault(opened, shot(CLOCK, "P-2")) == "image.empty"
