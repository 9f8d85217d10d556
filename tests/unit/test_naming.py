"""Topology names a defect: what a change joins and what it cuts off."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.adapters.detectors.boxes import CLASS
from edge_agent.adapters.detectors.naming import ADDED, REMOVED, Mask, named, rename
from edge_agent.adapters.detectors.prepare import Grey
from edge_agent.simulation.boards import CODES

LAMINATE, COPPER = 220, 30
CLASSES = list(CODES)


def traces() -> Mask:
    """Two traces across, 14 px wide, and a pad."""
    copper = np.zeros((120, 160), np.uint8)
    copper[30:44] = 1
    copper[70:84] = 1
    copper[96:116, 40:80] = 1
    return copper


CHANGES = [
    ((slice(25, 50), slice(60, 70)), 0, "open"),
    ((slice(25, 38), slice(60, 70)), 0, "mousebite"),
    ((slice(34, 40), slice(60, 70)), 0, "pin_hole"),
    ((slice(40, 74), slice(60, 66)), 1, "short"),
    ((slice(40, 52), slice(60, 66)), 1, "spur"),
    ((slice(54, 60), slice(60, 68)), 1, "spurious_copper"),
]


def picture(copper: Mask) -> Grey:
    return np.where(copper > 0, np.uint8(COPPER), np.uint8(LAMINATE))


def changed(window: tuple[slice, slice], value: int) -> Mask:
    copper = traces()
    copper[window] = value
    return copper


def box(window: tuple[slice, slice], code: str) -> np.ndarray:
    rows, columns = window
    edges = [columns.start - 10, rows.start - 10, columns.stop + 10, rows.stop + 10]
    return np.array([[*edges, 0.9, CLASSES.index(code)]], np.float32)


@pytest.mark.parametrize(("window", "value", "code"), CHANGES)
def test_the_rule(window: tuple[slice, slice], value: int, code: str) -> None:
    difference = (changed(window, value) != traces()).astype(np.uint8)
    assert named(traces(), difference, value) == code


def test_a_corner_cut_off_is_an_open() -> None:
    copper = np.zeros((60, 60), np.uint8)
    copper[20:50, 20:50] = 1
    cut = np.zeros_like(copper)
    for step in range(14):
        cut[33 - step : 36 - step, 20 + step] = 1
    cut &= copper
    assert named(copper, cut, 0) == "open"
    assert named(1 - copper, cut, 1) == "short"


@pytest.mark.parametrize(("window", "value", "code"), CHANGES)
@pytest.mark.parametrize("wrong", range(3))
@pytest.mark.parametrize(("gain", "lift"), [(1.0, 0), (0.5, 60)])
def test_boxes_get_their_class_in_any_light(
    window: tuple[slice, slice], value: int, code: str, wrong: int, gain: float, lift: int
) -> None:
    image = (picture(changed(window, value)) * gain + lift).astype(np.uint8)
    found = rename(box(window, (ADDED if value else REMOVED)[wrong]), image, picture(traces()), CLASSES)
    assert CLASSES[int(found[0, CLASS])] == code


@pytest.mark.parametrize("image", [picture(traces()), np.full((120, 160), 90, np.uint8)])
def test_where_nothing_differs_the_network_keeps_its_word(image: Grey) -> None:
    row = box((slice(50, 60), slice(60, 70)), "short")
    assert rename(row, image, image, CLASSES).tolist() == row.tolist()


def test_other_classes_and_giant_boxes_keep_their_name() -> None:
    window, value, _ = CHANGES[0]
    image = picture(changed(window, value))
    assert rename(box(window, "open"), image, picture(traces()), ["scratch"] * 6)[0, CLASS] == CLASSES.index("open")
    wide, known = (np.tile(one, (4, 4)) for one in (image, picture(traces())))
    giant = np.array([[0, 0, 400, 400, 0.9, CLASSES.index("pin_hole")]], np.float32)
    assert rename(giant, wide, known, CLASSES).tolist() == giant.tolist()


@settings(max_examples=60, deadline=None)
@given(
    corners=st.lists(st.tuples(*[st.floats(-20, 180)] * 4), max_size=6),
    code=st.sampled_from(CLASSES),
    seed=st.integers(0, 99),
)
def test_only_the_class_changes_and_never_whether_copper_is_missing(
    corners: list[tuple[float, float, float, float]], code: str, seed: int
) -> None:
    rows = [[min(a, c), min(b, d), max(a, c), max(b, d), 0.5, CLASSES.index(code)] for a, b, c, d in corners]
    found = np.array(rows, np.float32).reshape(-1, 6)
    image = np.random.default_rng(seed).integers(0, 256, (120, 160)).astype(np.uint8)
    after = rename(found, image, picture(traces()), CLASSES)
    assert (after[:, :CLASS] == found[:, :CLASS]).all()
    side = ADDED if code in ADDED else REMOVED
    assert {CLASSES[int(one)] for one in after[:, CLASS]} <= set(side)
