"""Charts: golden bytes, well-formed, escaped, and true to their numbers. `EDGE_AGENT_GOLDEN=write` renews the files."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.svg import (
    ChartPoint,
    EvidenceBar,
    Limit,
    Mark,
    PhotoBox,
    control_chart,
    defect_map,
    evidence_bars,
    histogram,
    pareto,
    photo,
    sparkline,
)
from edge_agent.domain.svg.canvas import STYLE, number, ticks

GOLDEN = Path(__file__).parents[1] / "golden" / "svg"
NASTY = "<script>alert('x')</script>&\"\x00\x07"

POINTS = [
    ChartPoint(label=f"10:{minute:02d}", value=share, upper=0.09, n=50)
    for minute, share in zip(range(0, 60, 6), [0.0, 0.02, 0.0, 0.04, 0.02, 0.0, 0.12, 0.18, 0.16, 0.22], strict=True)
]

CHARTS: dict[str, Callable[[], str]] = {
    "pareto": lambda: pareto({"open": 31, "mousebite": 12, "spurious_copper": 4, "short": 2}, title="Defects by class"),
    "pareto-empty": lambda: pareto({}, title="Defects by class"),
    "pareto-many": lambda: pareto({f"class {n}": n for n in range(1, 13)}, title="Many classes"),
    "p-chart": lambda: control_chart(POINTS, title="Share of defective parts", center=0.015, onset=(5.2, 6.1)),
    "cusum": lambda: control_chart(
        [ChartPoint(label=str(n), value=max(0.0, n * 0.3 - 1)) for n in range(30)],
        title="CUSUM of open",
        threshold=5.5,
        as_percent=False,
        unit="log-likelihood",
    ),
    "p-chart-empty": lambda: control_chart([], title="Share of defective parts"),
    "defect-map": lambda: defect_map(
        [Mark(x_px=80 + 3 * n, y_px=40 * n, code=code, hint=f"P-{n}") for n, code in enumerate(["open", "short"] * 6)],
        (640, 480),
        title="Where the defects sit",
        background="golden.jpg",
    ),
    "histogram": lambda: histogram(
        [10 + (n * 7 % 23) / 3 for n in range(80)],
        title="Inspection time",
        unit="ms",
        limits=[Limit(value=20, label="takt")],
    ),
    "histogram-empty": lambda: histogram([], title="Inspection time", unit="ms"),
    "evidence": lambda: evidence_bars(
        [
            EvidenceBar(evidence_id="E1", label="exposure energy fell 12 %", delta=1.9),
            EvidenceBar(evidence_id="E2", label="defects in one lane", delta=1.1),
            EvidenceBar(evidence_id="E4", label="etchant temperature is normal", delta=-0.8),
        ],
        title="What speaks for and against: exposure",
    ),
    "evidence-empty": lambda: evidence_bars([], title="Nothing"),
    "sparkline": lambda: sparkline([1.0, 2.0, None, 1.5, 3.0], title="etchant temperature"),
    "photo": lambda: photo(
        "board.jpg",
        (640, 640),
        [
            PhotoBox(xyxy_px=(100, 20, 130, 50), label="open 0.93"),
            PhotoBox(xyxy_px=(600, 600, 640, 640), label="short 0.51", doubt=True),
        ],
        title="P-0001",
        view_xyxy_px=(40, 0, 360, 320),
    ),
}


@pytest.mark.parametrize("name", CHARTS)
def test_chart_matches_its_golden_file(name: str) -> None:
    drawn = CHARTS[name]()
    file = GOLDEN / f"{name}.svg"
    if os.environ.get("EDGE_AGENT_GOLDEN") == "write":
        file.write_text(drawn + "\n", encoding="utf-8")
    assert drawn + "\n" == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CHARTS)
def test_chart_is_well_formed_and_says_what_it_shows(name: str) -> None:
    root = ET.fromstring(CHARTS[name]())
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert root.find(f"{space}title") is not None
    assert (root.find(f"{space}desc").text or "").strip()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", CHARTS)
def test_chart_needs_no_inline_style(name: str) -> None:
    """The page's content security policy forbids it."""
    assert not re.search(r"\sstyle=|<style|<script|\son\w+=", CHARTS[name]())


@pytest.mark.parametrize(
    "draw",
    [
        lambda: pareto({NASTY: 3}, title=NASTY),
        lambda: control_chart([ChartPoint(label=NASTY, value=1)], title=NASTY, center_label=NASTY, center=1),
        lambda: defect_map([Mark(x_px=1, y_px=1, code=NASTY, hint=NASTY)], (9, 9), title=NASTY, background=NASTY),
        lambda: histogram([1.0], title=NASTY, unit=NASTY, limits=[Limit(value=1, label=NASTY)]),
        lambda: evidence_bars([EvidenceBar(evidence_id=NASTY, label=NASTY, delta=1)], title=NASTY),
        lambda: sparkline([1.0], title=NASTY),
        lambda: photo(NASTY, (9, 9), [PhotoBox(xyxy_px=(1, 1, 2, 2), label=NASTY)], title=NASTY),
    ],
)
def test_hostile_text_stays_text(draw: Callable[[], str]) -> None:
    drawn = draw()
    ET.fromstring(drawn)
    assert "<script" not in drawn


def test_pareto_is_ranked_and_keeps_the_total() -> None:
    drawn = pareto({f"c{n:02d}": n for n in range(1, 13)}, title="t", most=4)
    counts = [int(count) for count in re.findall(r"<title>[^<:]+: (\d+) \(", drawn)]
    assert counts[:-1] == sorted(counts[:-1], reverse=True)
    assert sum(counts) == sum(range(1, 13))


def test_points_above_their_limit_have_another_shape() -> None:
    drawn = control_chart(POINTS, title="t")
    assert drawn.count("<polygon") == sum(point.value > 0.09 for point in POINTS) == 4


def test_against_is_outlined_and_points_the_other_way() -> None:
    drawn = evidence_bars([EvidenceBar(evidence_id="E9", label="no", delta=-1.0)], title="t")
    assert 'class="c-bar-against"' in drawn
    assert 'class="c-bar"' not in drawn


def test_a_gap_breaks_the_sparkline() -> None:
    assert sparkline([1, 2, 3, 4], title="t").count("<polyline") == 1
    assert sparkline([1, 2, None, 3, 4], title="t").count("<polyline") == 2


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_ticks_cover_the_value(top: float) -> None:
    steps = ticks(top)
    assert steps[0] == 0
    assert steps[-1] >= top * (1 - 1e-6)
    assert 2 <= len(steps) <= 8


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9))
def test_numbers_are_short_and_close(value: float) -> None:
    assert abs(float(number(value)) - value) <= 0.005 + abs(value) * 1e-12
    assert number(value) != "-0"


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30))
def test_any_measurements_make_a_well_formed_histogram(values: list[float]) -> None:
    ET.fromstring(histogram(values, title="t", unit="ms"))


def test_every_style_has_a_colour() -> None:
    assert all({"fill", "stroke"} & set(style) for style in STYLE.values())


@pytest.mark.parametrize("share", [0.001, 0.3, 0.55, 0.96, 1.0])
def test_a_share_never_goes_beyond_the_whole(share: float) -> None:
    drawn = control_chart([ChartPoint(label="10:00", value=share, upper=1.0, n=1)], title="Share", center=share)
    assert all(float(text) <= 100 for text in re.findall(r">([0-9.e-]+) %<", drawn))
