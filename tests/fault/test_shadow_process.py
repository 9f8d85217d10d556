"""A shadow model in its real process: it sees what the live one would, dies, and comes again."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.onnx import OnnxDetector
from edge_agent.bootstrap.shadow_process import NICE, ShadowProcess
from edge_agent.config.stations import DetectorOptions, ShadowSection
from edge_agent.domain.faults import ConfigError, PartFault, Transient
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.simulation.boards import Imaging, Placement, layout, render

pytestmark = pytest.mark.fault
MODEL = Path(__file__).resolve().parents[2] / "models" / "board" / "1"
CLOCK = SystemClock()
OPTIONS = ShadowSection(deadline_s=60)


def frame(pixels: Pixels) -> Frame:
    return Frame(frame_id=CLOCK.new_id(), camera_id="c", pixels=pixels, captured_at=CLOCK.now())


def bitten() -> Pixels:
    place = Placement(code="short", x_px=300, y_px=300, size_px=20)
    return render(layout("contract"), [place], Imaging(), np.random.default_rng(0)).pixels


@pytest.fixture
def shadow() -> Iterator[ShadowProcess]:
    made = ShadowProcess(MODEL, OPTIONS, name="shadow test")
    yield made
    made.close()


def test_it_sees_what_the_live_detector_sees_at_the_lowest_priority(shadow: ShadowProcess) -> None:
    golden = layout("contract").golden()
    seen = shadow.look(frame(bitten()), golden, (0.0, 0.0))
    live = OnnxDetector(MODEL, DetectorOptions(), clock=CLOCK)
    live.warm_up()
    same = live.detect(frame(bitten()), golden, (0.0, 0.0))
    assert [(one.code, one.score, one.xyxy_px) for one in seen.sighting.defects] == [
        (one.code, one.score, one.xyxy_px) for one in same.defects
    ]
    assert seen.sighting.model == live.ref
    assert seen.processor_ms > 0
    assert shadow.pid is not None
    assert os.getpriority(os.PRIO_PROCESS, shadow.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE)
    with pytest.raises(PartFault, match="golden"):
        shadow.look(frame(bitten()), None, None)


def test_when_it_is_killed_a_later_look_starts_it_again(shadow: ShadowProcess) -> None:
    golden = layout("contract").golden()
    shadow.look(frame(golden), golden, None)
    assert shadow.pid is not None
    first = shadow.pid
    os.kill(first, signal.SIGSTOP)
    shadow._deadline_s = 0.5
    with pytest.raises(Transient, match="no answer before its deadline"):
        shadow.look(frame(golden), golden, None)
    shadow._deadline_s = 60
    assert shadow.look(frame(golden), golden, None).sighting.defects == ()
    second = shadow.pid
    assert second not in (None, first)
    assert second is not None
    os.kill(second, signal.SIGSTOP)
    threading.Timer(0.3, os.kill, (second, signal.SIGKILL)).start()
    with pytest.raises(PartFault, match="signal SIGKILL"):
        shadow.look(frame(golden), golden, None)


def test_a_model_that_is_not_what_its_card_says_is_a_configuration_error(tmp_path: Path) -> None:
    for file in MODEL.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"something else")
    shadow = ShadowProcess(tmp_path, OPTIONS, name="shadow test")
    golden = layout("contract").golden()
    with pytest.raises(ConfigError, match="sha256"):
        shadow.look(frame(golden), golden, None)
    shadow.close()
    with pytest.raises(Transient):
        shadow.look(frame(golden), golden, None)
