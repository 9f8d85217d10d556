"""What every detector promises, whatever is behind it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.onnx import OnnxDetector
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.defect import Sighting
from edge_agent.domain.faults import PartFault
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.ports import Detector
from edge_agent.simulation.boards import CODES, Imaging, Placement, layout, render
from tests.fakes.station import FakeDetector, defect

MODELS = Path(__file__).resolve().parents[2] / "models"
CLOCK = SystemClock()


def onnx() -> Detector:
    return OnnxDetector(MODELS / "board" / "1", DetectorOptions(), clock=CLOCK)


def fake() -> Detector:
    return FakeDetector([defect(CLOCK, "short", 0.9)])


def frame(pixels: Pixels) -> Frame:
    return Frame(frame_id=CLOCK.new_id(), camera_id="c", pixels=pixels, captured_at=CLOCK.now())


@pytest.fixture(scope="module", params=[onnx, fake], ids=["onnx", "fake"])
def detector(request: pytest.FixtureRequest) -> Detector:
    make: Callable[[], Detector] = request.param
    made = make()
    made.warm_up()
    return made


@pytest.fixture(scope="module")
def sighting(detector: Detector) -> Sighting:
    place = Placement(code="short", x_px=300, y_px=300, size_px=20)
    made = render(layout("contract"), [place], Imaging(), np.random.default_rng(0))
    return detector.detect(frame(made.pixels), layout("contract").golden(), (0.0, 0.0))


def test_it_says_which_model_it_is(detector: Detector, sighting: Sighting) -> None:
    assert detector.ref.name
    assert len(detector.ref.sha256) == 64
    assert sighting.model == detector.ref


def test_it_says_which_providers_it_got(detector: Detector) -> None:
    assert detector.providers


def test_it_sees_the_defect_in_sensor_coordinates(sighting: Sighting) -> None:
    assert {one.code for one in sighting.defects} == {"short"}
    for one in sighting.defects:
        x0, y0, x1, y1 = one.xyxy_px
        assert 0 <= x0 < x1 <= 640
        assert 0 <= y0 < y1 <= 640
        assert 0.2 <= one.score <= 1
        assert one.code in CODES
    assert len({one.defect_id for one in sighting.defects}) == len(sighting.defects)


def test_best_score_first(sighting: Sighting) -> None:
    scores = [one.score for one in sighting.defects]
    assert scores == sorted(scores, reverse=True)


def test_time_is_not_negative(sighting: Sighting) -> None:
    assert sighting.inference_ms >= 0


def test_a_failure_is_a_part_fault_and_never_an_empty_sighting() -> None:
    failing: list[tuple[Detector, Pixels | None]] = [
        (FakeDetector(fault=PartFault("detector.failed", "broken")), layout("A").golden()),
        (onnx(), None),
    ]
    for one, golden in failing:
        one.warm_up()
        with pytest.raises(PartFault):
            one.detect(frame(layout("A").golden()), golden, None)
