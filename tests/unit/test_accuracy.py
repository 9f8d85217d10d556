"""Average precision and its kin, against values worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inspecting.accuracy import (
    Counts,
    Found,
    Judged,
    average_precision,
    coco_mean_average_precision,
    confusion,
    counts,
    escapes_at_overkill,
    iou,
    mean_average_precision,
    operating,
    ranked,
    reliability,
    total,
)

CODES = ["open"]

A, B, C = (0.0, 0.0, 10.0, 10.0), (100.0, 0.0, 110.0, 10.0), (200.0, 0.0, 210.0, 10.0)


def found(box: tuple[float, float, float, float], score: float, code: str = "open") -> Found:
    return Found(code=code, score=score, xyxy_px=box)


def image(finds: list[Found], *truths: tuple[float, float, float, float], code: str = "open") -> Judged:
    return Judged(found=tuple(finds), truth=tuple((code, box) for box in truths))


@pytest.mark.parametrize(
    ("other", "expected"),
    [(A, 1.0), (B, 0.0), ((5, 0, 15, 10), 50 / 150), ((10, 0, 20, 10), 0.0), ((2, 2, 4, 4), 0.04)],
)
def test_iou(other: tuple[float, float, float, float], expected: float) -> None:
    assert iou(A, other) == pytest.approx(expected)
    assert iou(other, A) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([image([found(A, 0.9)], A)], 1.0),
        ([image([], A)], 0.0),
        ([image([found(B, 0.9)], A)], 0.0),
        # Best first: hit, false, hit of two truths: precision 1 up to recall 1/2, then 2/3.
        ([image([found(A, 0.9), found(C, 0.8), found(B, 0.7)], A, B)], 0.5 * 1 + 0.5 * 2 / 3),
        # The false one comes first: the envelope is 2/3 throughout.
        ([image([found(C, 0.95), found(A, 0.9), found(B, 0.7)], A, B)], 2 / 3),
        # A second box on the same truth is a false one.
        ([image([found(A, 0.9), found(A, 0.8), found(B, 0.7)], A, B)], 0.5 + 0.5 * 2 / 3),
        # Scores rank across images.
        ([image([found(B, 0.9)], A), image([found(A, 0.5)], A)], 0.5 * 0.5),
        ([image([found(A, 0.9, "short")], A)], 0.0),
    ],
)
def test_average_precision(images: list[Judged], expected: float) -> None:
    assert average_precision(images, "open", 0.33) == pytest.approx(expected)


def test_a_class_that_does_not_occur_does_not_count() -> None:
    images = [image([found(A, 0.9), found(B, 0.9, "spur")], A)]
    assert average_precision(images, "spur", 0.5) is None
    assert mean_average_precision(images, ["open", "spur"], 0.5) == 1.0


def test_the_overlap_decides() -> None:
    near = [image([found((5, 0, 15, 10), 0.9)], A)]
    assert average_precision(near, "open", 0.33) == 1.0
    assert average_precision(near, "open", 0.34) == 0.0


def test_counts_at_a_threshold() -> None:
    images = [image([found(A, 0.9), found(C, 0.6), found(B, 0.3)], A, B)]
    one = counts(images, ["open"], 0.33, 0.5)["open"]
    assert (one.hit, one.false, one.missed) == (1, 1, 1)
    assert (one.precision, one.recall, one.f_score) == (0.5, 0.5, 0.5)
    assert total({"a": one, "b": one}).hit == 2


boxes = st.builds(
    lambda x, y, w, h: (float(x), float(y), float(x + w), float(y + h)),
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(1, 30),
    st.integers(1, 30),
)
finds = st.lists(st.builds(lambda b, s: found(b, s / 100), boxes, st.integers(0, 100)), max_size=8)


@given(st.lists(st.builds(lambda f, t: image(f, *t), finds, st.lists(boxes, max_size=5)), min_size=1, max_size=4))
def test_invariants(images: list[Judged]) -> None:
    one = counts(images, ["open"], 0.5, 0.0)["open"]
    truths = sum(len(each.truth) for each in images)
    assert one.hit + one.missed == truths
    assert one.hit + one.false == sum(len(each.found) for each in images)
    value = average_precision(images, "open", 0.5)
    assert (value is None) == (truths == 0)
    if value is not None:
        assert 0 <= value <= one.recall + 1e-9


TWO = [image([found(A, 0.9), found(C, 0.6), found(B, 0.3)], A, B), image([found(A, 0.8)], A)]
"""Three truths; hits at 0.9, 0.8, 0.3, a false box at 0.6."""


def test_ranked_boxes_and_the_best_f_score() -> None:
    every = ranked(TWO, CODES, 0.33)
    assert every.score.tolist() == [0.9, 0.8, 0.6, 0.3]
    assert every.hit.tolist() == [True, True, False, True]
    assert every.at(0.5) == Counts(hit=2, false=1, missed=1)
    # 0.8: P 1, R 2/3, F 0.8; 0.3: P 3/4, R 1, F 6/7.
    assert every.best() == (pytest.approx(6 / 7), 0.3)
    assert every.full_recall() == (0.3, 1)
    assert ranked(TWO[:1], ["open", "short"], 0.33).full_recall() == (0.3, 1)
    assert ranked([image([], A)], CODES, 0.33).full_recall() is None
    assert ranked([], CODES, 0.33).best() == (0.0, 1.0)


def test_equal_scores_stand_or_fall_together() -> None:
    every = ranked([image([found(A, 0.5), found(B, 0.5)], A)], CODES, 0.33)
    assert every.best() == (pytest.approx(2 / 3), 0.5)


def test_reliability() -> None:
    error, bins = reliability(ranked(TWO, CODES, 0.33), 0.25)
    assert [(one.score, one.true_share, one.count) for one in bins] == [
        (pytest.approx(0.3), 1.0, 1),
        (pytest.approx(0.6), 0.0, 1),
        (pytest.approx(0.8), 1.0, 1),
        (pytest.approx(0.9), 1.0, 1),
    ]
    assert error == pytest.approx((0.7 + 0.6 + 0.2 + 0.1) / 4)
    assert reliability(ranked([], CODES, 0.33), 0.25) == (0.0, ())


def test_confusion_matches_across_classes() -> None:
    images = [image([found(A, 0.9, "short"), found(C, 0.8), found(B, 0.1)], A, B)]
    assert confusion(images, 0.33, 0.5) == {("open", "short"): 1, ("nothing", "open"): 1, ("open", "nothing"): 1}


def test_coco_mean_falls_with_the_overlap() -> None:
    shifted = (0.0, 2.0, 10.0, 12.0)  # IoU 80 / 120
    assert coco_mean_average_precision([image([found(A, 0.9)], A)], CODES) == pytest.approx(1.0)
    assert coco_mean_average_precision([image([found(shifted, 0.9)], A)], CODES) == pytest.approx(0.4)


def test_operating_points() -> None:
    defective, clean = [0.9, 0.4, 0.0], [0.0, 0.3, 0.6, 0.0]
    points = operating(defective, clean, [0.2, 0.5])
    assert [(one.escapes, one.overkill) for one in points] == [(1, 2), (2, 1)]
    strict = escapes_at_overkill(defective, clean, 0.01)
    assert strict is not None
    assert strict.score > 0.6
    assert (strict.escapes, strict.overkill) == (2, 0)
    loose = escapes_at_overkill(defective, clean, 0.25)
    assert loose is not None
    assert (loose.escapes, loose.overkill) == (1, 1)
    assert escapes_at_overkill(defective, [], 0.01) is None


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.floats(0, 1),
)
def test_overkill_stays_within_what_is_allowed(defective: list[float], clean: list[float], most: float) -> None:
    point = escapes_at_overkill(defective, clean, most)
    assert point is not None
    assert point.overkill <= most * len(clean)
