"""The simulated camera."""

import numpy as np
import pytest

from edge_agent.adapters.cameras.simulated import SimulatedCamera
from edge_agent.config.stations import SimulatedCameraOptions
from edge_agent.domain.faults import Transient
from tests.fakes.clock import FakeClock
from tests.fakes.station import shot

CLOCK = FakeClock()


def camera(**options: object) -> SimulatedCamera:
    made = SimulatedCamera(SimulatedCameraOptions(kind="simulated", **options), camera_id="cam-1", clock=CLOCK)
    made.open()
    return made


def test_the_same_seed_gives_the_same_parts_and_another_seed_others() -> None:
    pictures = [[one.grab(shot(CLOCK), 1.0).pixels for _ in range(3)] for one in (camera(), camera(), camera(seed=2))]
    assert all(np.array_equal(a, b) for a, b in zip(pictures[0], pictures[1], strict=True))
    assert not np.array_equal(pictures[0][0], pictures[2][0])


def test_defects_come_at_the_configured_rate() -> None:
    def pictures(rate: float) -> list[np.ndarray]:
        one = camera(defect_rate=rate)
        return [one.grab(shot(CLOCK), 1.0).pixels.astype(int) for _ in range(30)]

    clean = pictures(0.0)

    def defective(rate: float) -> int:
        return sum(bool((abs(one - good) > 100).any()) for one, good in zip(pictures(rate), clean, strict=True))

    assert defective(0.0) == 0
    assert defective(1.0) == 30
    assert 5 < defective(0.5) < 25


def test_frames_say_where_they_come_from() -> None:
    frame = camera(layout="B", seed=5).grab(shot(CLOCK), 1.0)
    assert frame.camera_id == "cam-1"
    assert frame.source == "simulated:B:5:0"
    assert frame.size_wh == (640, 640)


def test_a_closed_camera_is_gone() -> None:
    one = camera()
    one.close()
    one.close()
    with pytest.raises(Transient, match="not open"):
        one.grab(shot(CLOCK), 1.0)
