"""Counting inspections."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.defect import Defect
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection
from edge_agent.domain.part import Shot
from edge_agent.domain.picture_size import picture_size_wh
from edge_agent.domain.reason import Reason
from edge_agent.domain.tally import UNDECIDED, is_defective, position_of, subgroups, tally, upper_limit
from tests.fakes.clock import START, FakeClock

_DISPOSITION = {Evaluation.OK: Disposition.ACCEPT, Evaluation.NOT_OK: Disposition.REJECT}


def _run(words: str) -> list[Inspection]:
    """o OK, x NOT_OK (an open at 0.9 and a faint spur at 0.2), d NOT_DECIDABLE, n NOT_INSPECTED; one a second."""
    clock = FakeClock()
    return [_part(clock, number, word) for number, word in enumerate(words)]


def _part(clock: FakeClock, number: int, word: str) -> Inspection:
    evaluation = dict(zip("oxdn", Evaluation, strict=True))[word]
    found = [("open", 0.9), ("spur", 0.2)] if word == "x" else []
    at = START + timedelta(seconds=number)
    shot = Shot(
        shot_id=clock.new_id(),
        station_id="s",
        part_id=str(number),
        product_id="p",
        trigger_id=str(number),
        triggered_at=at,
        triggered_ns=0,
    )
    return Inspection(
        inspection_id=shot.shot_id,
        shot=shot,
        evaluation=evaluation,
        disposition=_DISPOSITION.get(evaluation, Disposition.HOLD),
        reasons=() if word == "o" else (Reason(code=f"because.{word}", text="because"),),
        defects=tuple(
            Defect(defect_id=clock.new_id(), code=code, score=score, xyxy_px=(0, 0, 9, 9)) for code, score in found
        ),
        score=max((score for _, score in found), default=0.0),
        started_at=at,
        ended_at=at,
        timings_ms={"total": float(number + 1)},
    )


def test_a_tally_counts_words_defects_reasons_and_times() -> None:
    counted = tally(_run("ooxodnoxoo"))
    assert counted.parts == 10
    assert counted.first_pass_yield == 0.6
    assert counted.evaluations == {"OK": 6, "NOT_OK": 2, "NOT_DECIDABLE": 1, "NOT_INSPECTED": 1}
    assert counted.dispositions == {"ACCEPT": 6, "REJECT": 2, "HOLD": 2}
    assert counted.defects == {"open": 2}, "a faint sighting is not what the part was rejected for"
    assert counted.reasons == {"because.d": 1, "because.n": 1}
    assert (counted.duration_ms(0.5), counted.duration_ms(0.99)) == (5.0, 10.0)


def test_no_parts_have_no_yield() -> None:
    assert tally([]).first_pass_yield is None
    assert tally([]).duration_ms(0.5) is None


def test_held_parts_are_not_first_pass() -> None:
    assert tally(_run("dn")).first_pass_yield == 0.0


@given(st.text("oxdn", max_size=80), st.integers(1, 30))
def test_subgroups_hold_every_judged_part_once(words: str, wanted: int) -> None:
    groups = subgroups(_run(words), wanted)
    assert len(groups) <= wanted
    assert sum(group.n for group in groups) == words.count("o") + words.count("x")
    assert sum(group.defective for group in groups) == words.count("x")
    assert all(0 <= group.share <= 1 for group in groups)


@pytest.mark.parametrize(("code", "expected"), [(None, 2), ("open", 2), ("spur", 0), ("short", 0), (UNDECIDED, 1)])
def test_defective_by_class(code: str | None, expected: int) -> None:
    assert sum(is_defective(part, code) for part in _run("oxxdn")) == expected


def test_undecidable_parts_are_counted_among_what_was_imaged() -> None:
    (group,) = subgroups(_run("ooxddn"), 1, code=UNDECIDED)
    assert (group.n, group.defective) == (5, 2)


def test_upper_limit_is_montgomerys() -> None:
    """Montgomery, Introduction to SQC, example 7.1: p 0.2313, n 50 gives UCL 0.4102."""
    assert upper_limit(0.2313, 50) == pytest.approx(0.4102, abs=5e-5)
    assert upper_limit(0.9, 3) == 1.0


def test_position_of_an_instant_on_the_axis() -> None:
    groups = subgroups(_run("o" * 40), 4)
    assert position_of(START, groups) == -0.5
    assert position_of(START + timedelta(seconds=14.5), groups) == pytest.approx(1.0)
    assert position_of(START + timedelta(hours=1), groups) == 3.5


def test_a_part_without_total_time_has_no_duration() -> None:
    parts = [replace(part, timings_ms={}) for part in _run("oo")]
    assert tally(parts).durations_ms == ()


def test_sizes_of_pictures_from_their_head() -> None:
    cv2 = pytest.importorskip("cv2")
    import numpy as np

    for suffix in (".jpg", ".png"):
        body = cv2.imencode(suffix, np.zeros((48, 64), np.uint8))[1].tobytes()
        assert picture_size_wh(body[:1024]) == (64, 48)
    assert picture_size_wh(b"") is None
    assert picture_size_wh(b"\xff\xd8\xff\xe0\x00\x00" * 4) is None


@given(st.binary(max_size=64))
def test_any_bytes_have_a_size_or_none(tail: bytes) -> None:
    picture_size_wh(b"\xff\xd8" + tail)
