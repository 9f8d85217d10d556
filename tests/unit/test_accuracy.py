"""Average precision and its kin, against values worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inspecting.accuracy import (
    Found,
    Judged,
    average_precision,
    counts,
    iou,
    mean_average_precision,
    total,
)

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
