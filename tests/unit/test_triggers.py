"""Triggers: every part is asked for once, and what cannot be inspected is said."""

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.triggers import mqtt
from edge_agent.adapters.triggers.camera import CameraTrigger
from edge_agent.adapters.triggers.folder import FolderTrigger, SeenFiles, SeenInMemory, SeenOnDisk
from edge_agent.adapters.triggers.interval import IntervalTrigger
from edge_agent.adapters.triggers.modbus import text_of
from edge_agent.adapters.triggers.mqtt import MqttTrigger
from edge_agent.config.stations import (
    CameraTriggerOptions,
    FolderTriggerOptions,
    IntervalTriggerOptions,
    MqttTriggerOptions,
)
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.part import Shot
from tests.fakes.clock import FakeClock
from tests.fakes.trigger_link import TriggerLink

STRATA = {"camera": "AOI-1"}


# --- MQTT -----------------------------------------------------------------------------------------------------------


def mqtt_trigger(
    remember: Callable[[Shot], bool] = lambda _: True, **options: Any
) -> tuple[MqttTrigger, TriggerLink, FakeClock]:
    clock = FakeClock()
    link = TriggerLink(clock)
    made = MqttTriggerOptions.model_validate({"kind": "mqtt", **options})
    trigger = MqttTrigger(made, station_id="aoi-1", strata=STRATA, clock=clock, link=link, remember=remember)
    return trigger, link, clock


def request(part: str = "P-1", **more: Any) -> dict[str, Any]:
    return {"partId": part, "productId": "board-a", "triggerId": f"T-{part}", **more}


def parts(trigger: MqttTrigger) -> list[str]:
    found = []
    while (shot := trigger.wait(0)) is not None:
        found.append(shot.part_id)
    return found


def test_mqtt_makes_a_shot_of_a_message() -> None:
    trigger, link, clock = mqtt_trigger()
    sent = request(lotId="L-9", sequence=4, strata={"shift": "B"}, imagePath="/in/1.png", at=clock.now().isoformat())
    link.send(json.dumps(sent))
    shot = trigger.wait(0)
    assert shot
    assert (shot.part_id, shot.product_id, shot.trigger_id, shot.lot_id) == ("P-1", "board-a", "T-P-1", "L-9")
    assert (shot.sequence, shot.image_path, shot.station_id) == (4, "/in/1.png", "aoi-1")
    assert shot.strata == {"camera": "AOI-1", "shift": "B"}
    assert shot.shot_id.version == 7


@pytest.mark.parametrize(
    ("topic", "absolute"),
    [("in/cmd/trigger", "acme/x/y/l/c/_inspect/v1/box/in/cmd/trigger"), ("/plc/7/go", "plc/7/go")],
)
def test_mqtt_topic_is_below_the_root_or_absolute(topic: str, absolute: str) -> None:
    _, link, _ = mqtt_trigger(topic=topic)
    assert link.topic == absolute


def test_mqtt_reads_commands_and_cloud_events_too() -> None:
    trigger, link, _ = mqtt_trigger()
    link.send(json.dumps({"commandId": "C-1", "args": {"partId": "P-1", "productId": "b"}}))
    event = {"specversion": "1.0", "id": "e", "source": "urn:mes", "type": "t", "data": request("P-2")}
    link.send(json.dumps(event))
    assert parts(trigger) == ["P-1", "P-2"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"partId": NaN}',
        b"[" * 10_000,
        b'{"partId": 1, "productId": "b", "triggerId": "t"}',
        json.dumps(request("P" * 200)).encode(),
        json.dumps(request(sequence=-1)).encode(),
        json.dumps(request(strata={str(number): "x" for number in range(100)})).encode(),
        json.dumps(request(at="yesterday")).encode(),
        json.dumps(request(at="2026-01-05T06:00:00")).encode(),
        json.dumps({"partId": "P-1", "productId": "b"}).encode(),
        json.dumps(request(padding="x" * 20_000)).encode(),
    ],
)
def test_mqtt_refuses_what_it_cannot_read_and_goes_on(body: bytes) -> None:
    trigger, link, _ = mqtt_trigger()
    link.send(body)
    link.send(json.dumps(request("P-2")))
    assert parts(trigger) == ["P-2"]
    assert trigger.missed() == 1
    assert trigger.refusals() == []


@given(body=st.binary(max_size=300))
def test_mqtt_never_raises_on_a_message(body: bytes) -> None:
    trigger, link, _ = mqtt_trigger()
    link.send(body)
    assert parts(trigger) == []


def test_mqtt_ignores_a_repetition() -> None:
    trigger, link, _ = mqtt_trigger()
    for _ in range(3):
        link.send(json.dumps(request()))
    assert parts(trigger) == ["P-1"]
    assert (trigger.missed(), trigger.refusals()) == (0, [])


def test_mqtt_leaves_other_stations_their_triggers() -> None:
    trigger, link, _ = mqtt_trigger()
    link.send(json.dumps(request("P-1", stationId="aoi-2")))
    link.send(json.dumps(request("P-2", stationId="aoi-1")))
    assert parts(trigger) == ["P-2"]


@pytest.mark.parametrize(
    ("offset", "code"),
    [
        (timedelta(seconds=-61), "trigger.stale"),
        (timedelta(seconds=-59), None),
        (timedelta(0), None),
        (timedelta(seconds=4), None),
        (timedelta(seconds=6), "trigger.future"),
        (timedelta(days=365), "trigger.future"),
    ],
)
def test_mqtt_refuses_triggers_of_another_time(offset: timedelta, code: str | None) -> None:
    trigger, link, clock = mqtt_trigger()
    link.send(json.dumps(request(at=(clock.now() + offset).isoformat())))
    assert parts(trigger) == (["P-1"] if code is None else [])
    assert [reason.code for _, reason in trigger.refusals()] == ([] if code is None else [code])


def test_mqtt_refuses_a_retained_trigger() -> None:
    trigger, link, _ = mqtt_trigger()
    link.send(json.dumps(request()), {"mqtt.retain": "1"})
    assert parts(trigger) == []
    assert [reason.code for _, reason in trigger.refusals()] == ["trigger.retained"]


@pytest.mark.parametrize(
    ("sequences", "taken", "missed", "late"),
    [
        ([1, 2, 3], 3, 0, 0),
        ([1, 2, 5, 6], 4, 2, 0),
        ([5, 6, 4, 7], 3, 0, 1),
        ([5, 6, 6, 7], 3, 0, 1),
        ([900, 901, 1, 2], 4, 0, 0),
        ([900, 901, 0, 1], 4, 0, 0),
        ([60_000, 3, 4], 3, 0, 0),
        ([1, 50_000], 2, 0, 0),
    ],
    ids=["in order", "gap", "late", "twice", "restart at 1", "restart at 0", "wrapped", "jumped"],
)
def test_mqtt_watches_the_sequence(sequences: list[int], taken: int, missed: int, late: int) -> None:
    trigger, link, _ = mqtt_trigger()
    for place, sequence in enumerate(sequences):
        link.send(json.dumps(request(f"P-{place}", sequence=sequence)))
    assert (len(parts(trigger)), trigger.missed(), len(trigger.refusals())) == (taken, missed, late)


def test_mqtt_bounds_what_waits_and_hands_out_the_rest() -> None:
    trigger, link, _ = mqtt_trigger()
    for number in range(mqtt.MAX_WAITING + 3):
        link.send(json.dumps(request(f"P-{number}")))
    refused = [(shot.part_id, reason.code) for shot, reason in trigger.refusals()]
    assert refused == [(f"P-{mqtt.MAX_WAITING + extra}", "trigger.overrun") for extra in range(3)]
    assert trigger.refusals() == []
    assert len(parts(trigger)) == mqtt.MAX_WAITING


def test_mqtt_leaves_what_nobody_can_answer_now_with_the_broker() -> None:
    trigger, link, _ = mqtt_trigger()
    for number in range(mqtt.MAX_WAITING + mqtt.MAX_REFUSED):
        link.send(json.dumps(request(f"P-{number}")))
    with pytest.raises(Transient):
        link.send(json.dumps(request("P-more")))
    assert len(trigger.refusals()) == mqtt.MAX_REFUSED
    link.send(json.dumps(request("P-more")))
    assert [shot.part_id for shot, _ in trigger.refusals()] == ["P-more"]
    assert trigger.missed() == 0


def test_mqtt_notes_every_shot_before_the_broker_is_thanked() -> None:
    noted: list[str] = []
    _, link, clock = mqtt_trigger(lambda shot: not noted.append(shot.part_id))
    stale = (clock.now() - timedelta(hours=1)).isoformat()
    for part, at in (("P-1", clock.now().isoformat()), ("P-old", stale), ("P-1", clock.now().isoformat())):
        link.send(json.dumps(request(part, at=at)))
    assert noted == ["P-1", "P-old"]


def test_mqtt_ignores_a_trigger_that_was_noted_before_a_crash() -> None:
    trigger, link, _ = mqtt_trigger(lambda _: False)
    link.send(json.dumps(request(sequence=7)))
    link.send(json.dumps(request("P-2", sequence=9)))
    assert (parts(trigger), trigger.refusals()) == ([], [])
    assert trigger.missed() == 1


def test_mqtt_takes_a_trigger_that_could_not_be_noted_when_it_comes_again() -> None:
    noted: list[Shot] = []

    def remember(shot: Shot) -> bool:
        noted.append(shot)
        if len(noted) == 1:
            raise Transient("disk full")
        return True

    trigger, link, _ = mqtt_trigger(remember)
    with pytest.raises(Transient):
        link.send(json.dumps(request(sequence=7)))
    assert parts(trigger) == []
    link.send(json.dumps(request(sequence=7)))
    assert (parts(trigger), trigger.refusals(), trigger.missed()) == (["P-1"], [], 0)


def test_mqtt_answers_for_what_waits_when_it_is_closed_and_takes_no_more() -> None:
    trigger, link, _ = mqtt_trigger()
    for number in range(3):
        link.send(json.dumps(request(f"P-{number}")))
    trigger.close()
    assert [(shot.part_id, reason.code) for shot, reason in trigger.refusals()] == [
        (f"P-{number}", "agent.stopping") for number in range(3)
    ]
    with pytest.raises(Transient):
        link.send(json.dumps(request("P-late")))
    trigger.open()
    link.send(json.dumps(request("P-late")))
    assert parts(trigger) == ["P-late"]


def test_mqtt_needs_a_link() -> None:
    with pytest.raises(ConfigError, match="plant link"):
        MqttTrigger(MqttTriggerOptions(kind="mqtt"), station_id="s", strata={}, clock=FakeClock())


# --- folder ---------------------------------------------------------------------------------------------------------


def folder_trigger(folder: Path, seen: SeenFiles | None = None, **options: Any) -> FolderTrigger:
    made = FolderTriggerOptions.model_validate(
        {"kind": "folder", "path": folder, "product_id": "b", "poll_ms": 1, "settle_ms": 1, **options}
    )
    trigger = FolderTrigger(made, station_id="aoi-1", strata=STRATA, clock=SystemClock(), seen=seen)
    trigger.open()
    return trigger


def test_a_file_that_was_noted_before_a_crash_is_skipped_and_one_that_cannot_be_noted_is_not(tmp_path: Path) -> None:
    noted: list[str] = []

    def remember(shot: Shot) -> bool:
        if shot.part_id == "full":
            raise Transient("disk full")
        noted.append(shot.trigger_id)
        return shot.part_id != "known"

    seen = SeenInMemory()
    made = FolderTriggerOptions(kind="folder", path=tmp_path, product_id="b", poll_ms=1, settle_ms=1, recursive=True)
    trigger = FolderTrigger(made, station_id="aoi-1", strata={}, clock=SystemClock(), seen=seen, remember=remember)
    for name in ("1/known.png", "2/full.png", "1/new.png", "2/new.png"):
        drop(tmp_path / name)
    trigger.open()
    assert sorted(names(trigger)) == ["full", "new", "new"]
    assert len(set(noted)) == len(noted) == 3, "files of one name and time in two folders are two triggers"
    assert names(trigger) == []


def drop(path: Path, *, mtime_s: int = 1_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes())
    os.utime(path, (mtime_s, mtime_s))
    return path


def names(trigger: FolderTrigger) -> list[str]:
    found = []
    while (shot := trigger.wait(0.05)) is not None:
        found.append(shot.part_id)
    return found


def test_folder_takes_what_is_there_at_the_start_oldest_first(tmp_path: Path) -> None:
    for name, at in (("b", 3), ("a", 3), ("c", 1)):
        drop(tmp_path / f"{name}.png", mtime_s=at)
    assert names(folder_trigger(tmp_path)) == ["c", "a", "b"]


def test_folder_inspects_a_file_once(tmp_path: Path) -> None:
    trigger = folder_trigger(tmp_path)
    drop(tmp_path / "a.png")
    assert (names(trigger), names(trigger)) == (["a"], [])


def test_folder_does_not_inspect_again_after_a_restart(tmp_path: Path) -> None:
    seen = SeenInMemory()
    drop(tmp_path / "a.png")
    assert names(folder_trigger(tmp_path, seen)) == ["a"]
    drop(tmp_path / "b.png")
    assert names(folder_trigger(tmp_path, seen)) == ["b"]


def test_folder_takes_a_file_that_was_written_anew(tmp_path: Path) -> None:
    trigger = folder_trigger(tmp_path)
    drop(tmp_path / "a.png", mtime_s=1)
    assert names(trigger) == ["a"]
    drop(tmp_path / "a.png", mtime_s=2)
    assert names(trigger) == ["a"]


def test_folder_asks_for_files_that_are_no_images_too(tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("no image")
    (tmp_path / "empty.png").touch()
    assert sorted(names(folder_trigger(tmp_path))) == ["empty", "report"]


def test_folder_respects_pattern_and_depth(tmp_path: Path) -> None:
    for name in ("a_test.png", "a_temp.png", "sub/b_test.png"):
        drop(tmp_path / name)
    assert names(folder_trigger(tmp_path, pattern="*_test.png")) == ["a_test"]
    assert sorted(names(folder_trigger(tmp_path, pattern="*_test.png", recursive=True))) == ["a_test", "b_test"]


def test_folder_names_the_image_in_the_shot(tmp_path: Path) -> None:
    path = drop(tmp_path / "a.png")
    shot = folder_trigger(tmp_path, part_id="uuid").wait(1)
    assert shot
    assert (shot.image_path, shot.part_id, shot.product_id) == (str(path), str(shot.shot_id), "b")


def test_folder_waits_until_a_file_rests(tmp_path: Path) -> None:
    trigger = folder_trigger(tmp_path, settle_ms=600_000)
    drop(tmp_path / "a.png")
    assert names(trigger) == []


def test_folder_that_is_gone_is_transient_and_comes_back(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    trigger = folder_trigger(share)
    share.rmdir()
    with pytest.raises(Transient, match="share"):
        trigger.wait(0.05)
    with pytest.raises(Transient, match="share"):
        trigger.open()
    drop(share / "a.png")
    trigger.open()
    assert names(trigger) == ["a"]


def test_seen_files_are_bounded() -> None:
    seen = SeenInMemory(limit=2)
    for number in range(3):
        seen.add(("p", number, 0))
    assert [("p", number, 0) in seen for number in range(3)] == [False, True, True]


def test_seen_files_survive_a_restart(tmp_path: Path) -> None:
    """All but the last one, when the process dies before it knows that the station has taken note of it."""
    journal = tmp_path / "state" / "seen.jsonl"
    journal.parent.mkdir()
    for number in range(3):
        drop(tmp_path / "share" / f"{number}.png", mtime_s=number)
    first = folder_trigger(tmp_path / "share", SeenOnDisk(journal))
    assert [shot.part_id for shot in (first.wait(1) for _ in range(3)) if shot] == ["0", "1", "2"]
    assert names(folder_trigger(tmp_path / "share", SeenOnDisk(journal))) == ["2"]
    assert names(folder_trigger(tmp_path / "share", SeenOnDisk(journal))) == []


def test_a_file_is_seen_when_the_trigger_is_closed(tmp_path: Path) -> None:
    journal = tmp_path / "seen.jsonl"
    drop(tmp_path / "share" / "0.png")
    trigger = folder_trigger(tmp_path / "share", SeenOnDisk(journal))
    assert trigger.wait(1)
    trigger.close()
    assert names(folder_trigger(tmp_path / "share", SeenOnDisk(journal))) == []


def test_a_damaged_list_of_seen_files_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    journal = tmp_path / "seen.jsonl"
    journal.write_text('["a", 1, 2]\nnonsense\n["b"]\n["c", 3, 4]\n["d", 5')
    seen = SeenOnDisk(journal, limit=10)
    assert [mark in seen for mark in (("a", 1, 2), ("c", 3, 4), ("d", 5, 6))] == [True, True, False]
    assert SeenOnDisk(journal, limit=1).__contains__(("a", 1, 2)) is False


def test_a_full_disk_is_transient_and_the_file_is_not_handed_out_twice(tmp_path: Path) -> None:
    class Full(SeenInMemory):
        full = True

        def add(self, mark: tuple[str, int, int]) -> None:
            if self.full:
                raise Transient("disk full")
            super().add(mark)

    seen = Full()
    drop(tmp_path / "a.png")
    trigger = folder_trigger(tmp_path, seen)
    assert trigger.wait(1)
    for _ in range(2):
        with pytest.raises(Transient, match="disk full"):
            trigger.wait(0.01)
        trigger.close()
        trigger.open()
    seen.full = False
    assert names(trigger) == []


# --- interval, camera -----------------------------------------------------------------------------------------------


def interval(clock: FakeClock, **options: Any) -> IntervalTrigger:
    made = IntervalTriggerOptions.model_validate({"kind": "interval", "every_ms": 100, "product_id": "b", **options})
    trigger = IntervalTrigger(made, station_id="aoi-1", strata=STRATA, clock=clock)
    trigger.open()
    return trigger


def test_interval_beats() -> None:
    clock = FakeClock()
    trigger = interval(clock)
    found = []
    for _ in range(6):
        shot = trigger.wait(0)
        found.append(shot.sequence if shot else None)
        clock.advance(0.05)
    assert found == [1, None, 2, None, 3, None]


def test_interval_counts_beats_that_nobody_waited_for() -> None:
    clock = FakeClock()
    trigger = interval(clock)
    trigger.wait(0)
    clock.advance(0.35)
    assert trigger.wait(0)
    assert trigger.wait(0) is None
    assert trigger.missed() == 2


def test_interval_stops_after_its_count() -> None:
    clock = FakeClock()
    trigger = interval(clock, count=2)
    found = []
    for _ in range(5):
        found.append(trigger.wait(0) is not None)
        clock.advance(0.1)
    assert found == [True, True, False, False, False]


def test_camera_trigger_gives_each_frame_its_number() -> None:
    numbers = iter([None, 1, 2, None, 5])
    trigger = CameraTrigger(
        CameraTriggerOptions(kind="camera", product_id="b"),
        station_id="aoi-1",
        strata=STRATA,
        clock=FakeClock(),
        await_frame=lambda _: next(numbers),
    )
    trigger.open()
    shots = [trigger.wait(1) for _ in range(5)]
    assert [shot.sequence if shot else None for shot in shots] == [None, 1, 2, None, 5]
    assert trigger.missed() == 2
    trigger.close()
    assert trigger.wait(1) is None


@pytest.mark.parametrize(
    ("words", "order", "text"),
    [
        ([0x5043, 0x4231, 0], "big", "PCB1"),
        ([0x4350, 0x3142, 0], "little", "PCB1"),
        ([0x5000, 0x4141], "big", "P"),
        ([0, 0x4141], "big", ""),
        ([0x5020, 0x2020], "big", "P"),
        ([0x50C3, 0x0A41], "big", "P??A"),
    ],
)
def test_part_ids_are_read_from_registers(words: list[int], order: str, text: str) -> None:
    assert text_of(words, order) == text
