"""The board renderer: what it draws is what it says it drew."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.simulation.boards import CODES, COPPER, LAMINATE, Imaging, Placement, layout, render

CLEAN = Imaging(blur_px=0, noise=0)
MIDDLE = (COPPER + LAMINATE) // 2


def nets(image: np.ndarray) -> int:
    return int(cv2.connectedComponents((image < MIDDLE).astype(np.uint8))[0])


def islands_of_laminate(image: np.ndarray) -> int:
    return int(cv2.connectedComponents((image > MIDDLE).astype(np.uint8), connectivity=4)[0])


def draw(code: str, name: str = "A", at: tuple[float, float] = (320, 320), size: float = 14) -> np.ndarray:
    placement = Placement(code=code, x_px=at[0], y_px=at[1], size_px=size)
    return render(layout(name), [placement], CLEAN, np.random.default_rng(1)).pixels


def test_golden_is_one_channel_dark_copper_on_bright_laminate() -> None:
    golden = layout("A").golden()
    assert golden.shape == (640, 640)
    assert golden.dtype == np.uint8
    assert (golden.min(), golden.max()) == (COPPER, LAMINATE)
    assert ((golden < COPPER + 5) | (golden > LAMINATE - 5)).mean() > 0.8


def test_a_name_gives_the_same_layout_again_and_another_name_another() -> None:
    again = layout.__wrapped__("A")
    assert np.array_equal(layout("A").copper, again.copper)
    assert not np.array_equal(layout("A").copper, layout("B").copper)


def test_a_board_without_defects_in_ideal_light_is_the_golden_image() -> None:
    rendered = render(layout("C"), [], CLEAN, np.random.default_rng(0))
    assert rendered.boxes == ()
    assert np.abs(rendered.pixels.astype(int) - layout("C").golden()).max() <= 1


@pytest.mark.parametrize("name", ["A", "B", "press-7", "ü"])
@pytest.mark.parametrize("at", [(100, 500), (320, 320), (600, 40)])
def test_each_class_does_what_its_name_says(name: str, at: tuple[float, float]) -> None:
    golden = layout(name).golden()
    images = {code: draw(code, name, at) for code in CODES}
    assert nets(images["short"]) < nets(golden)
    assert nets(images["spurious_copper"]) == nets(golden) + 1
    assert islands_of_laminate(images["pin_hole"]) == islands_of_laminate(golden) + 1
    assert nets(images["spur"]) == nets(golden)
    for code, darker in {
        "short": 1,
        "spur": 1,
        "spurious_copper": 1,
        "open": -1,
        "mousebite": -1,
        "pin_hole": -1,
    }.items():
        change = golden.astype(int) - images[code]
        assert (change * darker).max() > 100, code
        assert (change * darker).min() > -30, code


def test_an_open_cuts_the_trace() -> None:
    cuts = [nets(draw("open", "A", (x, 320))) - nets(layout("A").golden()) for x in range(60, 600, 60)]
    assert min(cuts) >= 0
    assert max(cuts) >= 1


@settings(max_examples=40, deadline=None)
@given(
    code=st.sampled_from(CODES),
    x=st.floats(0, 640),
    y=st.floats(0, 640),
    size=st.floats(4, 40),
    shift=st.tuples(st.floats(-6, 6), st.floats(-6, 6)),
    seed=st.integers(0, 2**16),
)
def test_the_box_holds_all_that_changed(
    code: str, x: float, y: float, size: float, shift: tuple[float, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    imaging = Imaging(blur_px=0, noise=0, shift_xy_px=shift)
    place = Placement(code=code, x_px=x, y_px=y, size_px=size)
    clean = render(layout("D"), [], imaging, rng).pixels.astype(int)
    rendered = render(layout("D"), [place], imaging, rng)
    [(drawn, (x0, y0, x1, y1))] = rendered.boxes
    assert drawn == code
    assert 0 <= x0 < x1 <= 640
    assert 0 <= y0 < y1 <= 640
    rows, columns = np.nonzero(np.abs(rendered.pixels.astype(int) - clean) > 80)
    assert len(rows), "nothing was drawn"
    assert x0 <= columns.min()
    assert columns.max() < x1
    assert y0 <= rows.min()
    assert rows.max() < y1


def test_defects_keep_apart_and_what_finds_no_place_is_not_claimed() -> None:
    crowd = [Placement(code="short", x_px=300, y_px=300, size_px=10)] * 400
    rendered = render(layout("A"), crowd, CLEAN, np.random.default_rng(0))
    assert 5 < len(rendered.boxes) < 400


def test_the_same_place_gives_the_same_site_as_a_phototool_would() -> None:
    place = [Placement(code="spur", x_px=250, y_px=250, size_px=12)]
    boxes = [render(layout("B"), place, CLEAN, np.random.default_rng(seed)).boxes[0][1] for seed in range(8)]
    centers = np.array([((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes])
    assert np.ptp(centers, axis=0).max() < 8


def test_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown defect class 'scratch'"):
        draw("scratch")


@pytest.mark.parametrize(
    ("imaging", "measure", "bounds"),
    [
        (Imaging(gain=0.5), lambda image: np.percentile(image, 95), (105, 130)),
        (Imaging(gain=1.5), lambda image: (image == 255).mean(), (0.3, 1.0)),
        (Imaging(brightness=20, noise=0), lambda image: np.percentile(image, 2), (36, 44)),
        (
            Imaging(vignette=0.5, noise=0),
            lambda image: int(image[300:340, 300:340].max()) - int(image[:9, :9].max()),
            (60, 200),
        ),
        (Imaging(blur_px=3, noise=0), lambda image: cv2.Laplacian(image, cv2.CV_64F).var(), (0, 60)),
        (Imaging(blur_px=0, noise=0, jpeg=20), lambda image: len(np.unique(image)), (30, 256)),
        (Imaging(dirt=300, noise=0, blur_px=0), lambda image: len(np.unique(image)), (30, 256)),
    ],
)
def test_imaging_faults_are_visible(imaging: Imaging, measure, bounds: tuple[float, float]) -> None:
    image = render(layout("B"), [], imaging, np.random.default_rng(2)).pixels
    assert bounds[0] <= measure(image) <= bounds[1]


def test_a_shift_moves_the_board_right_and_down() -> None:
    golden = layout("A").golden()
    moved = render(layout("A"), [], Imaging(shift_xy_px=(5, 3), blur_px=0, noise=0), np.random.default_rng(0)).pixels
    assert np.abs(moved[3:, 5:].astype(int) - golden[:-3, :-5]).max() <= 1
