"""The decision table of a recipe."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.defect import Defect, Sighting
from edge_agent.domain.inspection import Disposition, Evaluation
from edge_agent.domain.recipe import ClassLimit, ImageLimits, Recipe, RecipeRef, Zone
from edge_agent.inspecting.decide import decide
from tests.fakes.clock import FakeClock
from tests.fakes.station import MODEL, defect

CLOCK = FakeClock()
ACCEPT = (Evaluation.OK, Disposition.ACCEPT)
REJECT = (Evaluation.NOT_OK, Disposition.REJECT)
HOLD = (Evaluation.NOT_DECIDABLE, Disposition.HOLD)


def recipe(*limits: ClassLimit, zones: tuple[Zone, ...] = ()) -> Recipe:
    return Recipe(
        ref=RecipeRef(recipe_id="r", version=1, sha256="0" * 64),
        product_id="board-a",
        model="board",
        image=ImageLimits(),
        golden=None,
        limits=limits,
        default_limit=ClassLimit(code="*", reject_score=0.5, doubt_score=0.5),
        zones=zones,
    )


def judge(defects: list[Defect], rules: Recipe, shift: tuple[float, float] | None = None) -> tuple[str, str]:
    ruling = decide(Sighting(defects=tuple(defects), model=MODEL, inference_ms=1), rules, shift)
    assert ruling.evaluation is Evaluation.OK or ruling.reasons
    return ruling.evaluation, ruling.disposition


BAND = ClassLimit(code="open", reject_score=0.6, doubt_score=0.3)


@pytest.mark.parametrize(
    ("score", "expected"), [(0.29, ACCEPT), (0.3, HOLD), (0.59, HOLD), (0.6, REJECT), (1.0, REJECT)]
)
def test_score_band(score: float, expected: tuple[str, str]) -> None:
    assert judge([defect(CLOCK, score=score)], recipe(BAND)) == expected


@pytest.mark.parametrize(("count", "expected"), [(1, ACCEPT), (2, ACCEPT), (3, REJECT)])
def test_count_tolerated(count: int, expected: tuple[str, str]) -> None:
    limit = replace(BAND, max_count=2)
    assert judge([defect(CLOCK) for _ in range(count)], recipe(limit)) == expected


@pytest.mark.parametrize(("size", "expected"), [(9, ACCEPT), (10, REJECT)])
def test_small_defects_are_tolerated(size: int, expected: tuple[str, str]) -> None:
    limit = replace(BAND, min_size_px=10)
    assert judge([defect(CLOCK, box=(0, 0, size, 3))], recipe(limit)) == expected


def test_a_class_without_a_limit_counts() -> None:
    assert judge([defect(CLOCK, code="never-heard-of")], recipe(BAND)) == REJECT


def test_certain_defect_outweighs_doubt() -> None:
    assert judge([defect(CLOCK, score=0.4), defect(CLOCK, code="short")], recipe(BAND)) == REJECT


def test_zone_limit_holds_in_its_zone_only_and_follows_the_shift() -> None:
    zone = Zone(name="edge", xyxy_px=(0, 0, 50, 640))
    rules = recipe(replace(BAND, zone="edge", max_count=5), BAND, zones=(zone,))
    assert judge([defect(CLOCK, box=(40, 10, 50, 20))], rules) == ACCEPT
    assert judge([defect(CLOCK, box=(60, 10, 70, 20))], rules) == REJECT
    assert judge([defect(CLOCK, box=(60, 10, 70, 20))], rules, (20.0, 0.0)) == ACCEPT


def test_ignored_zone() -> None:
    zone = Zone(name="barcode", xyxy_px=(90, 90, 140, 140), ignore=True)
    assert judge([defect(CLOCK)], recipe(BAND, zones=(zone,))) == ACCEPT


@given(st.lists(st.tuples(st.sampled_from(["open", "short", "x"]), st.floats(0, 1)), max_size=8))
def test_more_defects_never_make_a_part_better(found: list[tuple[str, float]]) -> None:
    order = {Evaluation.OK: 0, Evaluation.NOT_DECIDABLE: 1, Evaluation.NOT_OK: 2}
    rules = recipe(BAND)
    ranks = [
        order[Evaluation(judge([defect(CLOCK, code=c, score=s) for c, s in found[:n]], rules)[0])]
        for n in range(len(found) + 1)
    ]
    assert ranks == sorted(ranks)
