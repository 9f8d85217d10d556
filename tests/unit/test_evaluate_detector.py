"""The figures of ``evaluate detector`` on parts whose answers are known; its pictures; clean parts made from others."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
import pytest

from edge_agent.commands.evaluate_detector import Measured, as_text, summarise
from edge_agent.commands.labelled import Labelled, mended
from edge_agent.commands.worst_misses import misses, write_pictures
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.inspecting.accuracy import Found, Judged

A, B, C = (10.0, 10.0, 40.0, 40.0), (100.0, 10.0, 150.0, 40.0), (200.0, 200.0, 300.0, 260.0)
CODES = ["open", "short"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Truth = tuple[tuple[str, tuple[float, float, float, float]], ...]


def inspection(evaluation: Evaluation) -> Inspection:
    shot = Shot(
        shot_id=uuid4(),
        station_id="desk",
        part_id="p",
        product_id="p",
        trigger_id="t",
        triggered_at=NOW,
        triggered_ns=0,
    )
    disposition = {"OK": Disposition.ACCEPT, "NOT_OK": Disposition.REJECT}.get(evaluation.value, Disposition.HOLD)
    return Inspection(
        inspection_id=shot.shot_id,
        shot=shot,
        evaluation=evaluation,
        disposition=disposition,
        reasons=() if evaluation is Evaluation.OK else (Reason(code="r", text="r"),),
        defects=(),
        score=0.0,
        started_at=NOW,
        ended_at=NOW + timedelta(milliseconds=5),
    )


def look(
    truth: Truth, *found: Found, evaluation: Evaluation = Evaluation.NOT_OK, group: str = "g", mended_: bool = False
) -> Measured:
    part = Labelled(
        name=f"{group}-image",
        image=np.full((320, 320), 200, np.uint8),
        golden=np.full((320, 320), 200, np.uint8),
        truth=truth,
        group=group,
        mended=mended_,
    )
    judged = Judged(found=tuple(found), truth=truth)
    return Measured(part=part, mean_grey=200.0, inspection=inspection(evaluation), judged=judged)


def found(code: str, score: float, box: tuple[float, float, float, float]) -> Found:
    return Found(code=code, score=score, xyxy_px=box)


LOOKS = [
    look((("open", A), ("short", C)), found("open", 0.9, A), found("open", 0.7, C), group="g1"),
    look((("open", B),), found("open", 0.3, B), evaluation=Evaluation.OK, group="g2"),
    look((), found("short", 0.6, A), evaluation=Evaluation.NOT_OK, group="g2"),
    look((), evaluation=Evaluation.OK, group="g2", mended_=True),
]


def test_figures() -> None:
    figures = summarise(LOOKS, CODES)
    assert (figures["images"], figures["defects"]) == (3, 3)
    # One right box, two false ones, two missed at 0.5.
    assert figures["precision"] == pytest.approx(1 / 3, abs=1e-4)
    assert figures["recall"] == pytest.approx(1 / 3, abs=1e-4)
    assert figures["false_boxes_per_image"] == pytest.approx(2 / 3, abs=1e-4)
    assert figures["by_class"]["open"]["ap_33"] == pytest.approx(0.5 + 0.5 * 2 / 3, abs=1e-4)
    assert figures["by_class"]["short"]["ap_33"] == 0
    assert figures["map_33"] == figures["map_50"]
    assert figures["f_best"]["f_score"] == pytest.approx(4 / 7, abs=1e-4)
    assert figures["false_alarms_at_full_recall"] is None
    assert {"truth": "short", "found": "open", "count": 1} in figures["confusion"]
    assert {"truth": "open", "found": "nothing", "count": 1} in figures["confusion"]
    assert {"truth": "nothing", "found": "short", "count": 1} in figures["confusion"]


def test_parts() -> None:
    figures = summarise(LOOKS, CODES)
    assert (figures["escapes"]["count"], figures["escapes"]["of"]) == (1, 2)
    assert (figures["overkill"]["count"], figures["overkill"]["of"]) == (1, 2)
    assert figures["mended_parts"] == 1
    # No clean part may be rejected at 1 % of two: the threshold lies above 0.6.
    assert figures["escapes_at_overkill_1"]["escapes"]["count"] == 1
    assert figures["escapes_at_overkill_1"]["overkill"]["count"] == 0
    assert figures["not_decided"] == 0


def test_strata() -> None:
    strata = summarise(LOOKS, CODES)["strata"]
    assert strata["group"]["g1"]["recall"]["count"] == 1
    assert strata["group"]["g2"]["escapes"]["count"] == 1
    assert {name: one["defects"] for name, one in strata["size"].items()} == {
        "1 up to 32 px": 1,
        "2 up to 64 px": 1,
        "3 larger": 1,
    }
    assert sum(one["images"] for one in strata["light"].values()) == 3


def test_the_text_says_what_it_is_about() -> None:
    text = as_text(summarise(LOOKS, CODES) | {"model": "m/1", "data": "d", "machine": "x"})
    assert "short as open 1x" in text
    assert "1 clean parts are real ones whose labelled boxes were filled in" in text
    assert "no threshold finds all" in text


def test_data_without_parts_has_no_escapes() -> None:
    figures = summarise([look((), evaluation=Evaluation.OK)], CODES)
    assert figures["escapes"] is None
    assert figures["false_alarms_at_full_recall"] is None
    assert summarise([], CODES)["images"] == 0


def test_the_worst_comes_first_and_has_a_picture(tmp_path: Path) -> None:
    order = [(one.kind, one.code) for one in misses(LOOKS)]
    # The escaped part, then the defect without any box of its class, then false boxes by score.
    assert order == [("missed", "open"), ("missed", "short"), ("false", "open"), ("false", "short")]
    (tmp_path / "worst-999-old.png").write_bytes(b"")
    files = write_pictures(tmp_path, LOOKS, most=2)
    assert sorted(tmp_path.glob("*.png")) == files
    picture = cv2.imread(str(files[0]))
    assert picture.shape == (400, 806, 3)
    assert (picture != picture[0, 0]).any()


def test_mended_parts_have_no_defect_and_keep_their_noise() -> None:
    image = np.full((64, 64, 3), 200, np.uint8)
    image[10:20, 10:20] = 0
    image[40, 40] = 190
    part = Labelled(name="x", image=image, golden=np.full((64, 64), 201, np.uint8), truth=(("open", (5, 5, 25.0, 25)),))
    made = mended(part)
    assert made.truth == ()
    assert made.mended
    assert made.image.shape == (64, 64)
    assert (made.image[5:25, 5:25] == 201).all()
    assert made.image[40, 40] == 190
    with pytest.raises(ConfigError, match="no golden image"):
        mended(Labelled(name="x", image=image, golden=None, truth=part.truth))
