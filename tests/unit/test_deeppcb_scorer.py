"""A scorer that shares no code with ours reads the files of ``inspect --format deeppcb`` and agrees with `evaluate`."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge_agent.cli import build
from edge_agent.simulation.boards import CODES, Imaging, Placement, layout, render

TYPES = ["open", "short", "mousebite", "spur", "copper", "pin-hole"]


def overlap(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if min(width, height) <= 0:
        return 0.0
    area = [(one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)]
    return width * height / (sum(area) - width * height)


def scored(results: Path, truth: dict[str, list[list[float]]], least: float) -> tuple[float, float, float]:
    """Precision, recall and F of boxes from a confidence on."""
    hit = boxes = 0
    for name, rows in truth.items():
        left = [list(row) for row in rows]
        lines = [line.split(",") for line in (results / f"{name}.txt").read_text().splitlines()]
        for *corners, score, kind in sorted(lines, key=lambda line: -float(line[4])):
            if float(score) < least:
                continue
            boxes += 1
            box = [float(value) for value in corners]
            fitting = [row for row in left if row[4] == TYPES.index(kind) + 1 and overlap(box, row) >= 0.33]
            if fitting:
                hit += 1
                left.remove(max(fitting, key=lambda row: overlap(box, row)))
    precision, recall = hit / max(1, boxes), hit / sum(len(rows) for rows in truth.values())
    return precision, recall, 2 * precision * recall / (precision + recall)


def test_the_text_files_score_as_evaluate_says(tmp_path: Path) -> None:
    folder = tmp_path / "group00001" / "00001"
    truth: dict[str, list[list[float]]] = {}
    pairs = []
    folder.mkdir(parents=True)
    labels = folder.with_name("00001_not")
    labels.mkdir()
    rng = np.random.default_rng(2)
    board = layout("scorer-test")
    for index in range(3):
        name = f"0000100{index}"
        places = [Placement(code=c, x_px=rng.uniform(50, 600), y_px=rng.uniform(50, 600), size_px=16) for c in CODES]
        made = render(board, places, Imaging(), rng)
        rows = [[*(round(value) for value in box), CODES.index(code) + 1] for code, box in made.boxes]
        cv2.imwrite(str(folder / f"{name}_test.jpg"), made.pixels)
        cv2.imwrite(str(folder / f"{name}_temp.jpg"), board.golden())
        (labels / f"{name}.txt").write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
        truth[name] = rows
        pairs.append(f"{folder / name}_test.jpg {folder / name}_temp.jpg\n")
    (tmp_path / "pairs.txt").write_text("".join(pairs))
    words = ["--pairs", str(tmp_path / "pairs.txt"), "--model", "board", "--format", "deeppcb", "--out", str(tmp_path)]
    assert CliRunner().invoke(build("inspect"), ["inspect", *words]).exit_code == 0
    measured = CliRunner().invoke(
        build("evaluate"), ["evaluate", "detector", "--model", "board", "--data", str(tmp_path), "--json"]
    )
    figures = json.loads(measured.stdout)
    found = scored(tmp_path, truth, 0.5)
    assert found == pytest.approx((figures["precision"], figures["recall"], figures["f_score"]), abs=1e-4)
    assert found[2] > 0.5
