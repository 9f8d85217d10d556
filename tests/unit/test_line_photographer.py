"""The photographer writes whole images of what the process did, and clears old ones."""

from pathlib import Path

import cv2
import numpy as np

from edge_agent.simulation.boards import layout
from edge_agent.simulation.line.photographer import Photographer
from edge_agent.simulation.line.products import PRODUCTS, artwork
from edge_agent.simulation.process import Flaw, Panel


def panel(number: int = 1, **changed: object) -> Panel:
    values: dict[str, object] = {"number": number, "product_id": "PCB-A", "lot_id": "L", "strata": {}, "noise_seed": 7}
    return Panel(**{**values, **changed})  # type: ignore[arg-type]


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_an_image_is_raw_whole_and_repeatable(tmp_path: Path) -> None:
    shots = Photographer(tmp_path)
    first, again = read(shots.shoot(panel(), "P-1")), read(shots.shoot(panel(), "P-2"))
    assert first.shape == (640, 640)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["P-1.png", "P-2.png"]


def test_a_flaw_shows_where_the_process_put_it(tmp_path: Path) -> None:
    shots = Photographer(tmp_path)
    x, y = artwork("PCB-A").places_mm["spurious_copper"][10]
    flaw = Flaw(code="spurious_copper", x_mm=float(x), y_mm=float(y), severity=0.9, mechanism="test")
    good, bad = read(shots.shoot(panel(), "g")), read(shots.shoot(panel(flaws=(flaw,)), "b"))
    rows, columns = np.nonzero(np.abs(good.astype(int) - bad) > 90)
    assert abs(columns.mean() - 2 * x) < 25
    assert abs(rows.mean() - 2 * y) < 25


def test_a_dim_lamp_makes_a_dim_picture(tmp_path: Path) -> None:
    shots = Photographer(tmp_path)
    assert read(shots.shoot(panel(illumination=0.5), "d")).mean() < 0.6 * read(shots.shoot(panel(), "g")).mean()


def test_old_images_go(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"x")
    shots = Photographer(tmp_path, kept=2)
    for number in range(4):
        shots.shoot(panel(number), f"P-{number}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["P-2.png", "P-3.png"]


def test_every_product_has_a_place_for_every_class() -> None:
    for product in PRODUCTS:
        assert all(len(places) >= 10 for places in artwork(product).places_mm.values())
    assert not np.array_equal(layout(PRODUCTS["PCB-A"]).copper, layout(PRODUCTS["PCB-B"]).copper)
