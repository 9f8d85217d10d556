"""Fail closed: no fault of any stage ends in an accepted part."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.cameras.image_file import read_image
from edge_agent.domain.defect import Sighting
from edge_agent.domain.faults import ConfigError, PartFault, Transient
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.domain.inspection import Disposition, Evaluation
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import ClassLimit, GoldenRule, ImageLimits, Recipe, RecipeRef
from edge_agent.inspecting.golden import Goldens
from edge_agent.inspecting.inspector import Inspector
from edge_agent.ports import Detector
from tests.fakes.clock import FakeClock
from tests.fakes.station import FakeCamera, FakeDetector, board, defect, shot

BOARD = board(1)


def recipe(golden: GoldenRule | None = None) -> Recipe:
    return Recipe(
        ref=RecipeRef(recipe_id="r", version=1, sha256="0" * 64),
        product_id="board-a",
        model="m",
        image=ImageLimits(),
        golden=golden,
        limits=(),
        default_limit=ClassLimit(code="*", reject_score=0.5, doubt_score=0.3),
        px_per_mm=10.0,
    )


def inspector(
    clock: FakeClock,
    outcome: Pixels | Exception,
    detector: Detector,
    *,
    golden: GoldenRule | None = None,
    cycle_ms: float = 1_000,
) -> Inspector:
    detectors: Mapping[str, Detector] = {"m": detector}
    return Inspector(
        camera=FakeCamera(clock, [outcome]),
        recipes={"board-a": recipe(golden)},
        detectors=detectors,
        goldens=Goldens(lambda path: BOARD),
        clock=clock,
        cycle_ms=cycle_ms,
        grab_timeout_s=1,
    )


def test_a_good_part_is_accepted() -> None:
    clock = FakeClock()
    look = inspector(clock, BOARD, FakeDetector()).inspect(shot(clock))
    assert look.inspection.disposition is Disposition.ACCEPT
    assert look.frame is not None


def test_a_defect_rejects_and_gets_its_place_on_the_part() -> None:
    clock = FakeClock()
    found = defect(clock, box=(100, 100, 120, 140))
    inspection = inspector(clock, BOARD, FakeDetector([found])).inspect(shot(clock)).inspection
    assert inspection.evaluation is Evaluation.NOT_OK
    assert inspection.defects[0].position_mm == pytest.approx((11.0, 12.0))


@pytest.mark.parametrize(
    ("outcome", "fault", "code"),
    [
        (PartFault("camera.timeout", "no frame"), None, "camera.timeout"),
        (BOARD, PartFault("model.failed", "nan"), "model.failed"),
    ],
)
def test_a_fault_holds_the_part(outcome: Pixels | Exception, fault: PartFault | None, code: str) -> None:
    clock = FakeClock()
    inspection = inspector(clock, outcome, FakeDetector(fault=fault)).inspect(shot(clock)).inspection
    assert (inspection.evaluation, inspection.disposition) == (Evaluation.NOT_INSPECTED, Disposition.HOLD)
    assert inspection.reasons[0].code == code


def test_an_unknown_product_is_held() -> None:
    clock = FakeClock()
    inspection = inspector(clock, BOARD, FakeDetector()).inspect(shot(clock, product="other")).inspection
    assert [reason.code for reason in inspection.reasons] == ["recipe.missing"]


@pytest.mark.parametrize("name", ["none.png", "text.png"])
def test_a_golden_image_that_cannot_be_used_is_named_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.png").write_text("no picture")
    path = str(tmp_path / name)
    with pytest.raises(ConfigError) as told:
        Goldens(read_image).check(GoldenRule(image_path=path))
    assert str(told.value).startswith(f"golden image {path}: ")
    assert str(told.value).count(path) == 1


def test_a_missing_golden_image_holds_the_part() -> None:
    clock = FakeClock()
    rule = GoldenRule(image_path="/nowhere/golden.png")
    detector = FakeDetector()
    inspection = inspector(clock, BOARD, detector, golden=rule).inspect(shot(clock)).inspection
    assert inspection.reasons[0].code == "golden.missing"
    assert detector.asked == 0


class Compares(FakeDetector):
    """Remembers the golden image it was given."""

    golden: Pixels | None = None

    def detect(self, frame: Frame, golden: Pixels | None, shift_xy_px: tuple[float, float] | None) -> Sighting:
        self.golden = golden
        return super().detect(frame, golden, shift_xy_px)


def test_the_detector_compares_with_the_golden_image_stretched_as_the_part_is() -> None:
    clock, detector = FakeClock(), Compares()
    higher = np.asarray(cv2.resize(BOARD, (320, 324)), np.uint8)[2:322]
    worker = inspector(clock, higher, detector, golden=GoldenRule(image_path=__file__))
    inspection = worker.inspect(shot(clock)).inspection
    assert inspection.quality is not None
    assert inspection.quality.stretch is not None
    assert detector.golden is not None
    assert np.abs(higher.astype(int) - detector.golden).mean() < 0.5 * np.abs(higher.astype(int) - BOARD).mean()


def test_a_late_answer_is_held_but_keeps_what_was_seen() -> None:
    clock = FakeClock()
    asked = shot(clock)
    worker = inspector(clock, BOARD, FakeDetector([defect(clock)]), cycle_ms=100)
    clock.advance(0.05)
    assert worker.inspect(asked).inspection.evaluation is Evaluation.NOT_OK
    clock.advance(0.06)
    late = worker.inspect(asked).inspection
    assert (late.disposition, late.reasons[0].code) == (Disposition.HOLD, "cycle.late")


def test_a_lost_camera_is_the_callers_business() -> None:
    clock = FakeClock()
    with pytest.raises(Transient):
        inspector(clock, Transient("gone"), FakeDetector()).inspect(shot(clock))


def test_a_blank_image_is_not_judged() -> None:
    clock = FakeClock()
    detector = FakeDetector()
    worker = inspector(clock, np.zeros_like(BOARD), detector, golden=GoldenRule(image_path=__file__))
    inspection = worker.inspect(shot(clock)).inspection
    assert inspection.evaluation is Evaluation.NOT_DECIDABLE
    assert detector.asked == 0


@given(
    outcome=st.sampled_from(["frame", "timeout", "blank"]),
    fault=st.booleans(),
    scores=st.lists(st.floats(0, 1), max_size=3),
    known=st.booleans(),
    late=st.booleans(),
)
def test_only_a_judged_clean_part_is_ever_accepted(
    outcome: str, fault: bool, scores: list[float], known: bool, late: bool
) -> None:
    clock = FakeClock()
    pixels: dict[str, Pixels | Exception] = {
        "frame": BOARD,
        "timeout": PartFault("camera.timeout", "no frame"),
        "blank": np.zeros_like(BOARD),
    }
    detector = FakeDetector(
        [defect(clock, score=score) for score in scores], PartFault("model.failed", "x") if fault else None
    )
    worker = inspector(clock, pixels[outcome], detector, golden=GoldenRule(image_path=__file__), cycle_ms=100)
    asked: Shot = shot(clock, product="board-a" if known else "other")
    if late:
        clock.advance(1)
    inspection = worker.inspect(asked).inspection
    clean = outcome == "frame" and not fault and known and not late and max(scores, default=0) < 0.3
    assert (inspection.disposition is Disposition.ACCEPT) is clean


def test_refusing_a_shot_says_why() -> None:
    clock = FakeClock()
    look = inspector(clock, BOARD, FakeDetector()).refuse(shot(clock), Reason(code="station.overrun", text="full"))
    assert look.inspection.disposition is Disposition.HOLD
