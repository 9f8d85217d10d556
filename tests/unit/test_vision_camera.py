"""Which frame belongs to which part."""

from dataclasses import replace

import pytest

from edge_agent.adapters.cameras.vision import TriggerMode, VisionCamera
from edge_agent.domain.faults import PartFault, Transient
from edge_agent.domain.part import Shot
from tests.fakes.cameras import FakeDevice, block
from tests.fakes.clock import FakeClock
from tests.fakes.station import shot


def opened(device: FakeDevice, trigger: TriggerMode, *, frozen_after: int = 0) -> tuple[VisionCamera, FakeClock]:
    clock = FakeClock()
    camera = VisionCamera(
        device, camera_id="c", clock=clock, trigger=trigger, timeouts_before_reconnect=3, frozen_after=frozen_after
    )
    camera.open()
    return camera, clock


def seen(camera: VisionCamera, asked: Shot) -> int | str:
    """The value of the frame's pixels, or the fault's code."""
    try:
        return int(camera.grab(asked, 0.01).pixels[0, 0])
    except PartFault as fault:
        return fault.code


def test_software_trigger_throws_away_what_is_older_than_the_shot() -> None:
    device = FakeDevice()
    camera, clock = opened(device, "software")
    device.waiting.extend([block(1), block(2)])
    device.answers.append(block(3))
    assert seen(camera, shot(clock)) == 3


def test_a_late_answer_never_reaches_the_next_part() -> None:
    device = FakeDevice()
    camera, clock = opened(device, "software")
    device.answers.append(None)
    assert seen(camera, shot(clock)) == "camera.timeout"
    device.waiting.append(block(1))
    device.answers.append(block(2))
    assert seen(camera, shot(clock)) == 2
    assert device.restarts == 1


def test_several_timeouts_in_a_row_are_a_lost_camera() -> None:
    camera, clock = opened(FakeDevice(), "software")
    assert [seen(camera, shot(clock)), seen(camera, shot(clock))] == ["camera.timeout"] * 2
    with pytest.raises(Transient, match="3 in a row"):
        camera.grab(shot(clock), 0.01)


def test_a_frame_in_between_starts_the_count_again() -> None:
    device = FakeDevice()
    camera, clock = opened(device, "software")
    device.answers.extend([None, None, block(7), None, None])
    assert [seen(camera, shot(clock)) for _ in range(5)] == ["camera.timeout"] * 2 + [7] + ["camera.timeout"] * 2


def test_an_incomplete_frame_costs_its_part_only() -> None:
    device = FakeDevice()
    camera, clock = opened(device, "software")
    device.answers.extend([block(0, damage="3 packets missing"), block(5)])
    assert [seen(camera, shot(clock)) for _ in range(2)] == ["camera.incomplete", 5]


def test_a_wired_trigger_takes_frames_in_order() -> None:
    device = FakeDevice()
    camera, clock = opened(device, "line0")
    device.waiting.extend([block(1), block(2)])
    assert [seen(camera, shot(clock)) for _ in range(3)] == [1, 2, "camera.timeout"]


def test_a_lost_frame_of_a_wired_trigger_does_not_shift_the_parts_behind_it() -> None:
    """Frames 2 and 3 never arrived; parts 2 and 3 are held, and part 4 gets frame 4."""
    device = FakeDevice()
    camera, clock = opened(device, "line0")
    device.waiting.extend([block(1), block(4, lost_before=2), block(5)])
    assert [seen(camera, shot(clock)) for _ in range(5)] == [1, "camera.frame_lost", "camera.frame_lost", 4, 5]


def test_a_free_running_camera_gives_the_second_frame_from_now() -> None:
    """The first one may have begun before the trigger."""
    device = FakeDevice()
    camera, clock = opened(device, "free")

    values = iter(range(1, 9))
    old = iter([True, True, False])

    def next_block(timeout_s: float) -> object:
        return block(next(values)) if timeout_s > 0 or next(old, False) else None

    device.next_block = next_block  # type: ignore[method-assign,assignment]
    assert seen(camera, shot(clock)) == 4


def test_equal_frames_are_a_frozen_camera() -> None:
    device = FakeDevice()
    camera, clock = opened(device, "software", frozen_after=3)
    device.answers.extend([block(1), block(2), block(2), block(2), block(3)])
    assert [seen(camera, shot(clock)) for _ in range(3)] == [1, 2, 2]
    with pytest.raises(Transient, match="frozen: 3 frames"):
        camera.grab(shot(clock), 0.01)
    assert seen(camera, shot(clock)) == 3


def test_reopening_connects_again_and_forgets_the_past() -> None:
    device = FakeDevice()
    camera, clock = opened(device, "line0")
    device.waiting.append(block(9, lost_before=3))
    assert seen(camera, shot(clock)) == "camera.frame_lost"
    camera.open()
    device.waiting.append(block(1))
    assert seen(camera, shot(clock)) == 1
    assert device.connects == 2


def announced(camera: VisionCamera, clock: FakeClock) -> Shot | None:
    number = camera.await_frame(0)
    return None if number is None else replace(shot(clock), sequence=number)


def test_an_announced_frame_waits_for_its_own_shot() -> None:
    device = FakeDevice()
    camera, clock = opened(device, "line0")
    device.waiting.extend([block(1), block(2), block(3)])
    first, second, third = (announced(camera, clock) for _ in range(3))
    assert announced(camera, clock) is None
    assert first
    assert second
    assert third
    assert [seen(camera, first), seen(camera, third)] == [1, 3]
    assert seen(camera, second) == "camera.frame_lost"


def test_a_shot_that_was_refused_does_not_shift_the_frames() -> None:
    device = FakeDevice()
    camera, clock = opened(device, "line0")
    device.waiting.extend([block(1), block(2)])
    announced(camera, clock)
    second = announced(camera, clock)
    assert second
    assert seen(camera, second) == 2


def test_a_camera_that_floods_holds_a_bounded_number_of_frames() -> None:
    device = FakeDevice()
    camera, clock = opened(device, "line0")
    device.waiting.extend(block(value) for value in range(100))
    shots = [announced(camera, clock) for _ in range(100)]
    values = [seen(camera, one) for one in shots if one]
    assert values[:84] == ["camera.frame_lost"] * 84
    assert values[84:] == list(range(84, 100))


def test_a_camera_lost_while_waiting_is_reported_by_the_grab() -> None:
    device = FakeDevice()
    camera, clock = opened(device, "line0")
    device.gone = True
    asked = announced(camera, clock)
    assert asked
    with pytest.raises(Transient, match="gone"):
        camera.grab(asked, 0.01)
    assert announced(camera, clock) is None


def test_a_quiet_line_is_asked_for_a_sign_of_life() -> None:
    device = FakeDevice()
    camera, clock = opened(device, "line0")
    assert announced(camera, clock) is None
    assert device.probes == 0
    clock.advance(3)
    assert announced(camera, clock) is None
    assert device.probes == 1
