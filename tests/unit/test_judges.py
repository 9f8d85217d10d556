"""Several judges on one part: model, taught model, golden difference, gauges."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.store.codec import decode, encode
from edge_agent.commands.desk import plain_recipe
from edge_agent.config.load import InvalidConfiguration, load_recipe
from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender
from edge_agent.domain.defect import ModelRef, Sighting
from edge_agent.domain.faults import PartFault
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.domain.inspection import Evaluation, Inspection, Opinion, Quality
from edge_agent.domain.recipe import ClassLimit, DifferenceRule, GaugeRule, JudgeRule, ModelRule, Recipe
from edge_agent.inspecting.comparing import differences, gauge
from edge_agent.inspecting.decide import decide
from edge_agent.inspecting.gate import Reference
from edge_agent.inspecting.judges import Panel, Verdict, _Heard, fuse
from tests.fakes.made import an_inspection
from tests.fakes.station import FakeDetector, defect

CLOCK = SystemClock()
MODEL = ModelRef(name="board", version="1", sha256="0" * 64)
SIZE = 160


def part(*, bar: float = 40.0, spot: int = 0, holes: int = 3) -> Pixels:
    """A dark ground, a bright bar of this width in its middle, holes in a row below, perhaps a spot."""
    big = np.full((SIZE * 8, SIZE * 8), 40, np.uint8)
    half = round(bar * 4)
    big[20 * 8 : 90 * 8, SIZE * 4 - half : SIZE * 4 + half] = 200
    for index in range(holes):
        cv2.circle(big, ((30 + 40 * index) * 8, 125 * 8), 6 * 8, 200, -1)
    if spot:
        cv2.circle(big, (20 * 8, 50 * 8), spot * 8, 180, -1)
    return np.asarray(cv2.resize(big, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)


WIDTH = GaugeRule(name="bar", measure="width", start_xy_px=(40, 60), end_xy_px=(120, 60), low=39, high=41)
HOLES = GaugeRule(name="holes", measure="count", start_xy_px=(5, 110), end_xy_px=(155, 140), low=3, high=3)
GOLDEN = DifferenceRule(name="golden")


# --- rules that need no model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bar", [20.0, 38.5, 40.0, 41.25, 55.75])
def test_a_gauge_measures_to_a_fifth_of_a_pixel(bar: float) -> None:
    assert gauge(part(bar=bar), (0.0, 0.0), WIDTH) == pytest.approx(bar, abs=0.2)


@given(st.floats(-6, 6), st.floats(-4, 4))
def test_a_gauge_goes_with_the_part(dx: float, dy: float) -> None:
    moved = cv2.warpAffine(part(), np.array([[1, 0, dx], [0, 1, dy]]), (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    assert gauge(np.asarray(moved, np.uint8), (dx, dy), WIDTH) == pytest.approx(40, abs=0.2)


@pytest.mark.parametrize("holes", [0, 1, 2, 3])
def test_a_gauge_counts(holes: int) -> None:
    assert gauge(part(holes=holes), (0.0, 0.0), HOLES) == holes


@pytest.mark.parametrize(
    ("rule", "pixels", "code"),
    [
        (replace(WIDTH, end_xy_px=(300, 60)), part(), "gauge.outside"),
        (WIDTH, np.full((SIZE, SIZE), 90, np.uint8), "gauge.contrast"),
        (replace(WIDTH, start_xy_px=(70, 60)), part(), "gauge.edges"),
        (replace(HOLES, start_xy_px=(-50, 110)), part(), "gauge.outside"),
    ],
)
def test_a_gauge_that_cannot_measure_says_so(rule: GaugeRule, pixels: Pixels, code: str) -> None:
    with pytest.raises(PartFault) as fault:
        gauge(pixels, (0.0, 0.0), rule)
    assert fault.value.code == code


def test_a_spot_differs_from_the_golden_image_and_a_small_misplacement_does_not() -> None:
    assert differences(part(), part(), (0.0, 0.0), GOLDEN) == []
    moved = np.roll(part(), 1, axis=1)
    assert differences(moved, part(), (0.0, 0.0), GOLDEN) == []
    (spot,) = differences(part(spot=5), part(), (0.0, 0.0), GOLDEN)
    x0, y0, x1, y1 = spot.xyxy_px
    assert x0 <= 20 <= x1
    assert y0 <= 50 <= y1
    assert spot.area_px == pytest.approx(78, abs=25)


# --- together -------------------------------------------------------------------------------------------------------


def judged(pixels: Pixels, *judges: JudgeRule, own: float = 0.0, other: float = 0.0, doubts_reject: int = 0) -> Verdict:
    """The verdict when the recipe's model scores ``own`` and the model ``other`` scores that."""
    rule = replace(
        plain_recipe("board"),
        limits=(),
        default_limit=ClassLimit(code="*", reject_score=0.6, doubt_score=0.4),
        judges=judges,
        doubts_reject=doubts_reject,
    )
    frame = Frame(frame_id=CLOCK.new_id(), camera_id="c", pixels=pixels, captured_at=CLOCK.now())
    reference = Reference.of(part())
    seen = Sighting(defects=(defect(CLOCK, "short", own),) if own else (), model=MODEL, inference_ms=1.0)
    detectors = {"other": FakeDetector([defect(CLOCK, "anomaly", other)] if other else [])}
    quality = Quality(usable=True, shift_xy_px=(0.0, 0.0))
    first = Verdict(sighting=seen, ruling=decide(seen, rule))
    return Panel(detectors, CLOCK).judge(frame, rule, reference, quality, first)


OTHER = ModelRule(name="surface", model="other")


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        (0.0, 0.0, "OK"),
        (0.9, 0.0, "NOT_OK"),
        (0.0, 0.9, "NOT_OK"),
        (0.5, 0.0, "NOT_DECIDABLE"),
        (0.0, 0.5, "NOT_DECIDABLE"),
        (0.5, 0.9, "NOT_OK"),
        (0.5, 0.5, "NOT_DECIDABLE"),
    ],
)
def test_the_worst_answer_counts(own: float, other: float, expected: str) -> None:
    found = judged(part(), OTHER, own=own, other=other)
    assert found.ruling.evaluation == expected
    assert [one.judge for one in found.opinions] == ["model", "surface"]
    assert bool(found.ruling.reasons) == (expected != "OK")


def test_doubts_reject_together_only_where_the_recipe_says_so() -> None:
    assert judged(part(), OTHER, own=0.5, other=0.5, doubts_reject=2).ruling.evaluation is Evaluation.NOT_OK
    assert judged(part(), OTHER, own=0.5, other=0.0, doubts_reject=2).ruling.evaluation is Evaluation.NOT_DECIDABLE


def test_a_judge_that_may_not_reject_holds() -> None:
    found = judged(part(), replace(OTHER, may_reject=False), other=0.9)
    assert found.ruling.evaluation is Evaluation.NOT_DECIDABLE
    assert found.ruling.reasons[0].text.startswith("surface: ")


def test_every_judge_leaves_its_reading_and_its_reason() -> None:
    found = judged(part(bar=44, spot=8), GOLDEN, WIDTH, HOLES)
    by_name = {one.judge: one for one in found.opinions}
    assert by_name["bar"].value == pytest.approx(44, abs=0.2)
    assert (by_name["bar"].low, by_name["bar"].high, by_name["bar"].unit) == (39, 41, "px")
    assert by_name["bar"].evaluation is Evaluation.NOT_OK
    assert by_name["holes"].evaluation is Evaluation.OK
    assert by_name["golden"].evaluation is Evaluation.NOT_OK
    assert {reason.code for reason in found.ruling.reasons} == {"golden.difference", "gauge.limit"}
    assert "difference" in {one.code for one in found.sighting.defects}
    assert found.ruling.counted


def test_a_reading_near_its_limit_is_for_a_person() -> None:
    near = replace(WIDTH, doubt=0.5)
    assert judged(part(bar=41.25), near).ruling.evaluation is Evaluation.NOT_DECIDABLE
    assert judged(part(bar=40.75), near).ruling.evaluation is Evaluation.NOT_DECIDABLE
    assert judged(part(bar=42), near).ruling.evaluation is Evaluation.NOT_OK
    assert judged(part(bar=40), near).ruling.evaluation is Evaluation.OK


def test_a_judge_that_fails_is_no_opinion_that_the_part_is_good() -> None:
    with pytest.raises(PartFault):
        judged(np.full((SIZE, SIZE), 90, np.uint8), WIDTH)


evaluations = st.sampled_from([Evaluation.OK, Evaluation.NOT_OK, Evaluation.NOT_DECIDABLE])


@given(st.lists(evaluations, min_size=1, max_size=5), evaluations, st.integers(0, 3))
def test_a_further_judge_never_makes_an_answer_milder(
    given_: list[Evaluation], further: Evaluation, doubts_reject: int
) -> None:
    rank = [Evaluation.OK, Evaluation.NOT_DECIDABLE, Evaluation.NOT_OK]
    rule: Recipe = replace(plain_recipe("board"), doubts_reject=doubts_reject)

    def fused(answers: list[Evaluation]) -> int:
        heard = [_Heard(opinion=Opinion(judge="j", evaluation=one, score=0.5)) for one in answers]
        return rank.index(fuse(heard, rule).evaluation)

    assert fused([*given_, further]) >= fused(given_)


def test_opinions_are_stored_and_older_records_have_none() -> None:
    found = judged(part(bar=44), WIDTH)
    plain = an_inspection(CLOCK)
    seen = replace(plain, opinions=found.opinions)
    assert decode(Inspection, encode(seen)).opinions == found.opinions
    assert decode(Inspection, encode(plain)).opinions == ()


# --- the recipe -----------------------------------------------------------------------------------------------------

RECIPE = """
id: r
version: 1
product: p
model: board
judges:
  - {kind: model, name: surface, model: bracket, may_reject: false}
  - {kind: gauge, name: bar, measure: width, start_xy_px: [1, 2], end_xy_px: [30, 2], low: 3, high: 4}
"""


def test_judges_are_read_from_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    found = load_recipe(file)
    assert found.models == ("board", "bracket")
    assert [type(judge).__name__ for judge in found.judges] == ["ModelRule", "GaugeRule"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: bar", "name: surface", "names must differ"),
        ("name: bar", "name: model", "not be 'model'"),
        ("low: 3", "low: 9", "must not exceed"),
        ("kind: model,", "kind: golden_difference,", "unknown key"),
        ("[30, 2]", "[1, 2]", "same point"),
    ],
)
def test_judges_that_make_no_sense_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE.replace(old, new))
    with pytest.raises(InvalidConfiguration, match=message):
        load_recipe(file)


def test_a_difference_needs_a_golden_image(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE + "  - {kind: golden_difference, name: golden}\n")
    with pytest.raises(InvalidConfiguration, match="needs a golden image"):
        load_recipe(file)


def test_the_plant_is_told_what_each_judge_measured() -> None:
    found = judged(part(bar=44), WIDTH)
    sender = Sender(agent="box", topic_root="e/s/a/l/c", uri_base="http://box", software_version="0")
    told = outbound.result(replace(an_inspection(CLOCK), opinions=found.opinions), sender=sender, clock=CLOCK)
    measured = {one["id"]: one for one in json.loads(told.body)["data"]["measurements"]}
    assert measured["judge.bar"]["value"] == pytest.approx(44, abs=0.2)
    assert (measured["judge.bar"]["lower"], measured["judge.bar"]["upper"]) == (39, 41)
    assert measured["judge.bar"]["evaluation"] == "NOT_OK"
    assert measured["judge.model"]["evaluation"] == "OK"
