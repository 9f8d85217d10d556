"""The whole agent on bad days: it goes on inspecting, loses nothing, and its log says what is wrong, once."""

import os
import re
import resource
import shutil
import signal
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.domain.message import OutboxState
from edge_agent.simulation.boards import Imaging, layout, render
from edge_agent.simulation.broker import Broker
from edge_agent.simulation.line.products import PRODUCTS
from tests.fault.agent_box import (
    MODEL_OPTIONS,
    PRODUCT,
    Box,
    Plc,
    Process,
    missing,
    need_a_model,
    until,
    watch_the_share,
    write_incidents,
)

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    made.configure(station=watch_the_share)
    yield made
    made.end()


@pytest.fixture(scope="module")
def picture() -> bytes:
    """A good board, as a PNG file."""
    rng = np.random.default_rng(1)
    pixels = render(layout(PRODUCTS[PRODUCT]), [], Imaging(), rng).pixels
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def drop(folder: Path, name: str, content: bytes) -> None:
    """Whole or not at all, and with a name that the pattern takes only then."""
    part = folder.parent / f"{name}.part"
    part.write_bytes(content)
    part.replace(folder / name)


def drop_parts(box: Box, picture: bytes, first: int, last: int) -> None:
    for number in range(first, last + 1):
        drop(box.places.share, f"P-{number:03d}.png", picture)


def reasons(box: Box) -> dict[str, list[str]]:
    return {inspection.shot.part_id: [one.code for one in inspection.reasons] for inspection in box.inspections}


def check_each_once(box: Box, last: int) -> None:
    assert Counter(box.part_ids) == Counter(f"P-{number:03d}" for number in range(1, last + 1))


def check_log(process: Process, *, at_most: int = 3) -> None:
    """No traceback, only JSON lines, and no sentence of trouble more often than that for the same thing."""
    assert "Traceback" not in process.said
    log = process.log()
    assert not [entry for entry in log if "raw" in entry]
    trouble = Counter(
        (entry["event"], entry.get("component", ""), entry.get("worker", ""))
        for entry in log
        if entry["level"] != "info"
    )
    assert all(number <= at_most for number in trouble.values()), trouble


# --- images ---------------------------------------------------------------------------------------------------------


def test_bad_files_are_held_with_their_reasons_and_the_share_may_go_and_come_back(box: Box, picture: bytes) -> None:
    share = box.places.share
    box.start_agent()
    drop_parts(box, picture, 1, 2)
    drop(share, "huge.png", cv2.imencode(".png", np.zeros((10_000, 10_000), np.uint8), [16, 1])[1].tobytes())
    drop(share, "cut.png", picture[: len(picture) // 2])
    drop(share, "empty.png", b"")
    drop(share, "letter.png", b"Dear colleagues, the lamp is broken.\n" * 20)
    drop(share, "small.png", cv2.imencode(".png", np.zeros((64, 64), np.uint8))[1].tobytes())
    drop_parts(box, picture, 3, 4)
    until(lambda: box.recorded >= 9, "all files are answered")
    found = reasons(box)
    expected = {
        "huge": "image.too_large",
        "cut": "image.truncated",
        "empty": "image.empty",
        "letter": "image.not_an_image",
    }
    assert {name: found[name][0] for name in expected} == expected
    evaluations = {inspection.shot.part_id: inspection.evaluation.value for inspection in box.inspections}
    assert {evaluations[name] for name in expected} == {"NOT_INSPECTED"}
    assert evaluations["small"] in ("NOT_INSPECTED", "NOT_DECIDABLE")
    assert {evaluations[f"P-{number:03d}"] for number in range(1, 5)} == {"OK"}
    assert all(one.disposition.value == "HOLD" for one in box.inspections if one.evaluation.value != "OK")

    away = share.with_name("away")
    share.rename(away)
    until(lambda: box.agent.events("worker waits"), "the agent misses its share")
    away.rename(share)
    drop_parts(box, picture, 5, 6)
    until(lambda: box.recorded >= 11, "parts are inspected again")
    assert len(set(box.part_ids)) == len(box.part_ids) == 11
    check_log(box.agent)


# --- the broker -----------------------------------------------------------------------------------------------------


def test_a_broker_that_refuses_comes_and_goes_does_not_disturb_inspection(box: Box, picture: bytes) -> None:
    stranger = Broker(box.folder / "stranger", port=box.broker.port)
    with stranger:
        box.start_agent()
        drop_parts(box, picture, 1, 3)
        until(lambda: box.recorded >= 3, "parts are inspected with a wrong password")
        until(lambda: refusals(box), "the log says that the broker refuses")
    assert "user name, password" in refusals(box)[0]["event"]
    assert box.agent.terminate()[0] == 0

    box.broker.start()
    box.start_agent()
    until(lambda: delivered(box, 3), "the outbox drains")
    box.broker.kill()
    until(lambda: box.agent.events("the broker went away"), "the log says that the broker is away")
    drop_parts(box, picture, 4, 8)
    until(lambda: box.recorded >= 8, "parts are inspected without a broker")
    box.broker.start()
    until(lambda: delivered(box, 8), "the outbox drains again")
    check_each_once(box, 8)
    check_log(box.agent)


def refusals(box: Box) -> list[dict[str, Any]]:
    return [entry for entry in box.agent.log() if "the broker refused this box" in entry.get("event", "")]


def delivered(box: Box, parts: int) -> bool:
    rows = box.outbox
    return len(rows) >= parts and all(row.state is OutboxState.CONFIRMED for row in rows)


# --- the disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 24 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root and mount rights)")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fills_costs_no_part(box: Box, picture: bytes, small_disk: Path) -> None:
    box.change(plant=lambda plant: plant.update(state_dir=str(small_disk / "state")))
    box.state = small_disk / "state"
    box.start_agent()
    drop_parts(box, picture, 1, 2)
    until(lambda: box.recorded >= 2, "parts are inspected")

    filler = small_disk / "filler"
    fill(filler)
    drop_parts(box, picture, 3, 5)
    until(lambda: said_of_recording(box, "down"), "the agent says that it cannot record")
    filler.unlink()
    until(lambda: box.recorded >= 5, "what could not be recorded is written down")
    until(lambda: said_of_recording(box, "ok"), "the agent says that it records again")

    check_each_once(box, 5)
    held = [inspection for inspection in box.inspections if inspection.evaluation.value == "NOT_INSPECTED"]
    assert {one.reasons[0].code for one in held} == {"store.failed"}
    check_log(box.agent)
    assert box.agent.terminate()[0] == 0


def test_a_read_only_state_folder_is_said_at_the_start(box: Box, small_disk: Path) -> None:
    box.change(plant=lambda plant: plant.update(state_dir=str(small_disk)))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    box.agent.start()
    assert box.agent.popen is not None
    assert box.agent.popen.wait(60) == 78
    assert f"state folder {small_disk} cannot be written to" in box.agent.said
    assert "Traceback" not in box.agent.said


def test_a_disk_that_takes_no_more_writes_for_a_while_costs_no_part(box: Box, picture: bytes) -> None:
    """In the middle of the run every write of the agent's fails (its limit for files is nothing), then works again."""
    box.agent.words = ["-c", PIPED, *box.agent.words]
    box.start_agent()
    assert box.agent.popen is not None
    drop_parts(box, picture, 1, 2)
    until(lambda: box.recorded >= 2, "parts are inspected")

    limits = resource.prlimit(box.agent.popen.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(box.agent.popen.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    drop_parts(box, picture, 3, 5)
    until(lambda: said_of_recording(box, "down"), "the agent says that it cannot record")
    until(lambda: len(answered(box)) >= 3, "a part is held all the same")
    assert {one["disposition"] for one in answered(box)[2:]} == {"HOLD"}
    resource.prlimit(box.agent.popen.pid, resource.RLIMIT_FSIZE, limits)
    until(lambda: said_of_recording(box, "ok"), "the agent says that it records again")
    until(lambda: box.recorded >= 5, "what could not be recorded is written down")

    drop_parts(box, picture, 6, 6)
    until(lambda: box.recorded >= 6, "parts are inspected again")
    check_each_once(box, 6)
    assert len(said_of_recording(box, "down")) == 1
    check_log(box.agent)
    assert box.agent.terminate()[0] == 0


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """An ext4 file system, and the file that makes the kernel turn it read-only, as a failing disk does."""
    image, disk = tmp_path / "disk.img", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    before = set(Path("/sys/fs/ext4").glob("*")) if Path("/sys/fs/ext4").is_dir() else set()
    mount = ["mount", "-o", "loop,errors=remount-ro", str(image), str(disk)]
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("an ext4 file system cannot be made here (needs root and e2fsprogs)")
    if subprocess.run(["mkfs.ext4", "-q", "-F", str(image)]).returncode or subprocess.run(mount).returncode:
        pytest.skip("a loop device cannot be mounted here")
    (found,) = set(Path("/sys/fs/ext4").glob("*")) - before
    yield disk, found / "trigger_fs_error"
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_state_folder_that_turns_read_only_holds_every_part(
    box: Box, picture: bytes, failing_disk: tuple[Path, Path]
) -> None:
    disk, fail = failing_disk
    box.change(plant=lambda plant: plant.update(state_dir=str(disk / "state")))
    box.state = disk / "state"
    box.start_agent()
    drop_parts(box, picture, 1, 2)
    until(lambda: box.recorded >= 2, "parts are inspected")

    fail.write_text("test")
    drop_parts(box, picture, 3, 5)
    until(lambda: said_of_recording(box, "down"), "the agent says that it cannot record")
    until(lambda: len(answered(box)) >= 3, "a part is held all the same")
    assert {one["disposition"] for one in answered(box)[2:]} == {"HOLD"}
    assert len(said_of_recording(box, "down")) == 1
    check_log(box.agent)
    assert box.agent.running
    assert box.agent.terminate()[0] == 0


PIPED = """
import os, sys
reading, writing = os.pipe()
if os.fork() == 0:
    os.close(writing)
    while said := os.read(reading, 65536):
        os.write(1, said)
    os._exit(0)
os.dup2(writing, 1), os.dup2(writing, 2), os.close(reading), os.close(writing)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""The agent's log through a process that may still write files, as the journal may."""


def answered(box: Box) -> list[dict[str, Any]]:
    """What the line was told, in order."""
    return box.agent.events("part inspected")


def fill(file: Path) -> None:
    """Leave nothing free."""
    with file.open("wb", buffering=0) as filler:
        try:
            while filler.write(b"\0" * 65_536):
                pass
        except OSError:
            return


def said_of_recording(box: Box, condition: str) -> list[dict[str, Any]]:
    changes = box.agent.events("condition changed")
    return [one for one in changes if one["component"] == "recording:aoi-1" and one["condition"] == condition]


# --- child processes ------------------------------------------------------------------------------------------------


def test_killed_children_cost_no_part_and_no_order(box: Box, picture: bytes) -> None:
    need_a_model()
    box.change(plant=lambda plant: plant.update(analyst=MODEL_OPTIONS))
    orders = write_incidents(box, 2)
    box.start_agent()
    killed: set[int] = set()
    for number, child in enumerate(("document printer", "language-model", "language-model"), start=1):
        kill_child(box, child, killed)
        drop_parts(box, picture, number, number)
    until(lambda: box.recorded >= 3, "parts are inspected")
    until(
        lambda: {each.subject_id for each in documents(box)} == {order.order_id for order in orders}, "all is printed"
    )
    check_each_once(box, 3)
    assert [order.state for order in box.orders] == [order.state for order in orders]
    check_log(box.agent)


def kill_child(box: Box, name: str, killed: set[int]) -> None:
    """kill -9 to one that has not had it yet."""
    until(lambda: set(box.agent.child_pids(name)) - killed, f"the {name} runs")
    for pid in set(box.agent.child_pids(name)) - killed:
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)


def documents(box: Box) -> list[Any]:
    with box.store.reader() as unit:
        return list(unit.documents.list(kind="work-order"))


# --- the configuration ----------------------------------------------------------------------------------------------


def test_a_model_that_is_not_the_one_on_its_card_stops_the_start(box: Box) -> None:
    models = box.folder / "models"
    shutil.copytree(Path(__file__).parents[2] / "models" / "board", models / "board")
    newest = max((models / "board").iterdir(), key=lambda version: int(version.name))
    file = newest / "model.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    box.change(plant=lambda plant: plant.update(models_dir=str(models)))
    box.agent.start()
    assert box.agent.popen is not None
    assert box.agent.popen.wait(60) == 78
    assert "sha256" in box.agent.said
    assert "Traceback" not in box.agent.said


# --- too much -------------------------------------------------------------------------------------------------------


def test_a_flood_of_triggers_is_answered_to_the_last_one(box: Box, picture: bytes) -> None:
    flood = 400
    box.broker.start()
    box.configure(station=lambda station: station.update(queue=4, cycle_ms=1_000))
    box.start_agent()
    until(lambda: box.agent.events("connected to the broker"), "the agent is connected")
    drop_parts(box, picture, 1, 20)
    with Plc(box) as plc:
        for number in range(1, flood + 1):
            plc.trigger(f"P-{number:03d}", sequence=number)
        until(lambda: box.recorded >= flood and not box.unanswered, "every trigger is answered", 120)
        until(lambda: len({answer["unitId"] for answer in plc.answers}) >= flood, "the controller has all answers")
        counts = metrics(box)
    check_each_once(box, flood)
    first = Counter(codes[0] for codes in reasons(box).values() if codes)
    refused = first["station.overrun"]
    assert refused > 0
    assert all(
        inspection.disposition.value == "HOLD"
        for inspection in box.inspections
        if "overrun" in "".join(one.code for one in inspection.reasons)
    )
    assert counts["edge_agent_channel_refused"] == refused
    assert counts["edge_agent_channel_offered"] == flood - first["trigger.overrun"]
    assert sum(value for name, value in counts.items() if name == "edge_agent_parts_total") == flood
    check_log(box.agent)


def metrics(box: Box) -> Counter[str]:
    """Values by name, summed over the labels."""
    (served,) = box.agent.events("web pages are served")
    with urllib.request.urlopen(f"{served['url']}/metrics", timeout=10) as page:
        text = page.read().decode()
    found: Counter[str] = Counter()
    for name, value in re.findall(r"^(\w+)(?:\{[^}]*\})? ([-+.\deE]+)$", text, re.MULTILINE):
        found[name] += float(value)  # type: ignore[assignment]
    return found
