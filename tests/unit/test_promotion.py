"""Gates before a promotion, the watch after it, and the exact shares both rest on."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from edge_agent.domain.inspection import Disposition, Evaluation, Inspection, Quality
from edge_agent.domain.promotion import (
    Gates,
    Standing,
    WatchRules,
    beside,
    fallen,
    judge,
    standing,
)
from edge_agent.domain.proportion import clopper_pearson, lower_limit, mcnemar, upper_limit
from edge_agent.domain.reason import Reason
from edge_agent.domain.shadow import ShadowLook
from tests.fakes.clock import FakeClock
from tests.fakes.made import a_shadow_look, an_inspection

CLOCK = FakeClock()
OK, NOT_OK = Evaluation.OK, Evaluation.NOT_OK
DOUBT, FAILED = Evaluation.NOT_DECIDABLE, Evaluation.NOT_INSPECTED
NOBODY: dict[UUID, bool] = {}


def looks(count: int, live: Evaluation = OK, shadow: Evaluation = OK) -> list[ShadowLook]:
    return [a_shadow_look(CLOCK, live=live, shadow=shadow) for _ in range(count)]


# --- shares ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(0, 0, 0, 1), (0, 10, 0, 0.3085), (1, 10, 0.0025, 0.4450), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1)],
)
def test_clopper_pearson_is_as_in_the_tables(count: int, n: int, low: float, high: float) -> None:
    assert clopper_pearson(count, n) == pytest.approx((low, high), abs=5e-5)


@given(n=st.integers(1, 400), data=st.data())
def test_the_limits_are_those_of_the_binomial_distribution(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, n))
    high, low = upper_limit(count, n), lower_limit(count, n)
    assert low <= count / n <= high
    if count < n:
        assert binom.cdf(count, n, high) == pytest.approx(0.05, abs=1e-6)
    if count:
        assert binom.sf(count - 1, n, low) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "p"), [(0, 0, 1), (3, 3, 1), (0, 5, 0.0625), (1, 9, 0.0215), (9, 1, 0.0215)]
)
def test_mcnemar(first: int, second: int, p: float) -> None:
    assert mcnemar(first, second) == pytest.approx(p, abs=5e-5)


# --- gates ----------------------------------------------------------------------------------------------------------


def refused(seen: Sequence[ShadowLook], said: dict[UUID, bool] = NOBODY, **gates: float) -> list[str]:
    wide = {"min_parts": 1, "max_escapes": 1.0, "max_false_rejects": 1.0}
    results = judge(beside(seen, said), Gates(**{**wide, **gates}), cycle_ms=100)  # type: ignore[arg-type]
    return [one.name for one in results if not one.passed]


@pytest.mark.parametrize(
    ("seen", "gates", "names"),
    [
        (looks(9), {"min_parts": 10}, ["parts"]),
        (looks(10), {"min_parts": 10}, []),
        (looks(60, NOT_OK, NOT_OK), {"max_escapes": 0.05}, []),
        (looks(50, NOT_OK, NOT_OK), {"max_escapes": 0.05}, ["escapes"]),
        (looks(60, NOT_OK, NOT_OK) + looks(1, NOT_OK, OK), {"max_escapes": 0.05}, ["escapes"]),
        (looks(60, NOT_OK, DOUBT), {"max_escapes": 0.05}, []),
        (looks(60), {"max_escapes": 0.05}, ["escapes"]),
        (looks(150), {"max_false_rejects": 0.02}, []),
        (looks(150) + looks(1, OK, DOUBT), {"max_false_rejects": 0.02}, ["false rejects"]),
        (looks(150) + looks(1, OK, FAILED), {"max_false_rejects": 0.02}, ["false rejects"]),
        (looks(150) + looks(9, DOUBT, NOT_OK), {"max_false_rejects": 0.02}, []),
        (looks(10), {"max_cycle_share": 0.42}, []),
        (looks(10), {"max_cycle_share": 0.41}, ["p99"]),
        ([], {}, ["parts", "p99"]),
    ],
    ids=range(14),
)
def test_a_gate_refuses_by_its_limit(seen: list[ShadowLook], gates: dict[str, float], names: list[str]) -> None:
    assert refused(seen, **gates) == names


def test_what_a_person_said_is_the_truth() -> None:
    seen = looks(100) + looks(20, NOT_OK, OK)
    assert beside(seen, NOBODY).escapes == 20
    said = {look.inspection_id: False for look in seen[100:]} | {seen[0].inspection_id: True}
    found = beside(seen, said)
    assert (found.judged_by_people, found.defective, found.escapes, found.live_escapes) == (21, 1, 1, 1)
    assert (found.good, found.false_rejects, found.live_false_rejects) == (119, 0, 20)


@given(st.lists(st.tuples(st.sampled_from(Evaluation), st.sampled_from(Evaluation)), max_size=40))
def test_no_look_is_lost_or_counted_twice(pairs: list[tuple[Evaluation, Evaluation]]) -> None:
    found = beside([a_shadow_look(CLOCK, live=live, shadow=shadow) for live, shadow in pairs], NOBODY)
    assert found.parts == len(pairs)
    assert found.good + found.defective == sum(live in (OK, NOT_OK) for live, _ in pairs)
    assert found.escapes <= found.defective
    assert found.false_rejects <= found.good
    assert (found.live_escapes, found.live_false_rejects) == (0, 0)


# --- the watch ------------------------------------------------------------------------------------------------------


def part(evaluation: Evaluation = OK, code: str = "", *, ms: float = 40, usable: bool = True) -> Inspection:
    made = an_inspection(CLOCK, evaluation=evaluation, codes=("open",) if evaluation is NOT_OK else ())
    reasons = (Reason(code=code or "defect.doubtful", text="t"),) if evaluation is not OK else ()
    disposition = Disposition.ACCEPT if evaluation is OK else Disposition.HOLD
    quality = Quality(usable=usable)
    timings = {"total": ms}
    return replace(made, reasons=reasons, disposition=disposition, quality=quality, timings_ms=timings)


@pytest.mark.parametrize(
    ("evaluation", "code", "usable", "counted"),
    [
        (OK, "", True, (1, 0, 0, 0)),
        (NOT_OK, "defect.limit", True, (1, 0, 0, 0)),
        (DOUBT, "defect.doubtful", True, (1, 0, 0, 1)),
        (DOUBT, "image.blurred", False, (0, 0, 0, 0)),
        (FAILED, "detector.failed", True, (1, 1, 1, 0)),
        (FAILED, "image.size", True, (1, 1, 1, 0)),
        (FAILED, "agent.failed", True, (1, 1, 1, 0)),
        (FAILED, "cycle.late", True, (1, 0, 1, 0)),
        (FAILED, "station.overrun", True, (1, 0, 1, 0)),
        (FAILED, "station.paused", True, (0, 0, 0, 0)),
        (FAILED, "camera.timeout", True, (0, 0, 0, 0)),
        (FAILED, "store.failed", True, (0, 0, 0, 0)),
    ],
)
def test_only_what_the_model_can_be_blamed_for_counts(
    evaluation: Evaluation, code: str, usable: bool, counted: tuple[int, ...]
) -> None:
    found = standing([part(evaluation, code, usable=usable)])
    assert (found.parts, found.faults, found.not_inspected, found.held) == counted


BEFORE = Standing(parts=100, held=5, p99_ms=50)
RULES = WatchRules()


@pytest.mark.parametrize(
    ("after", "word"),
    [
        (Standing(parts=100, held=5, p99_ms=50), ""),
        (Standing(parts=100, held=11, p99_ms=50), ""),
        (Standing(parts=100, held=14, p99_ms=50), ""),
        (Standing(parts=100, held=17, p99_ms=50), "held in doubt"),
        (Standing(parts=19, held=19, p99_ms=50), ""),
        (Standing(parts=20, held=8, p99_ms=50), "held in doubt"),
        (Standing(parts=2, faults=2, not_inspected=2), ""),
        (Standing(parts=3, faults=3, not_inspected=3), "failed"),
        (Standing(parts=100, faults=1, not_inspected=1, p99_ms=50), ""),
        (Standing(parts=100, not_inspected=10, p99_ms=50), "not inspected"),
        (Standing(parts=100, p99_ms=79), ""),
        (Standing(parts=100, p99_ms=81), "of 100, 50 before"),
    ],
    ids=range(12),
)
def test_a_model_has_fallen_when_a_share_has_risen_for_sure(after: Standing, word: str) -> None:
    told = fallen(BEFORE, after, RULES, cycle_ms=100)
    assert bool(told) == bool(word)
    assert word in told


def test_a_station_that_was_bad_before_is_not_the_models_fault() -> None:
    bad = Standing(parts=100, faults=30, not_inspected=40, held=30, p99_ms=99)
    assert fallen(bad, bad, RULES, cycle_ms=100) == ""


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 200))
def test_more_trouble_is_never_less_fallen(held: int, more: int, parts: int) -> None:
    held, more = min(held, parts), min(held + more, parts)
    less, worse = Standing(parts=parts, held=held), Standing(parts=parts, held=more)
    if fallen(BEFORE, less, RULES, cycle_ms=100):
        assert fallen(BEFORE, worse, RULES, cycle_ms=100)
