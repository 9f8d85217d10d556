"""``edge-agent inspect``, ``evaluate`` and ``models`` from the outside."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from edge_agent.cli import build
from edge_agent.commands.inspect import as_deeppcb
from edge_agent.domain.faults import ConfigError
from edge_agent.simulation.boards import Imaging, Placement, layout, render

BOARD = layout("inspect-test")


def run(*words: str, command: str = "inspect") -> Result:
    return CliRunner().invoke(build(command), [command, *words], catch_exceptions=False)


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    short = [Placement(code="short", x_px=300, y_px=300, size_px=20)]
    for name, places in {"a_test.png": [], "b_test.png": short}.items():
        cv2.imwrite(str(tmp_path / name), render(BOARD, places, Imaging(), rng).pixels)
        cv2.imwrite(str(tmp_path / name.replace("_test", "_temp")), BOARD.golden())
    return tmp_path


def test_one_line_of_json_per_image(folder: Path) -> None:
    images = [str(folder / "a_test.png"), str(folder / "b_test.png")]
    good, bad = lines(run(*images, "--model", "board", "--golden", str(folder / "a_temp.png"), "--json"))
    assert set(good) == {"image", "evaluation", "disposition", "score", "defects", "reasons", "ms"}
    assert (good["image"], good["evaluation"], good["disposition"]) == (images[0], "OK", "ACCEPT")
    assert (bad["evaluation"], bad["disposition"]) == ("NOT_OK", "REJECT")
    assert [one["code"] for one in bad["defects"]] == ["short"]
    assert set(bad["defects"][0]) == {"code", "score", "xyxy_px"}
    assert bad["score"] >= 0.5
    assert bad["reasons"][0]["code"] == "defect.limit"
    assert bad["ms"] > 0


def test_broken_images_get_a_line_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "c_test.png").write_bytes(b"")
    (folder / "d_test.png").write_bytes((folder / "a_test.png").read_bytes()[:2000])
    (folder / "e_test.png").write_text("no image")
    cv2.imwrite(str(folder / "f_test.png"), BOARD.golden()[:500])
    (folder / "g.txt").write_text("not looked at")
    found = lines(run("--folder", str(folder), "--model", "board", "--golden", str(folder / "a_temp.png"), "--json"))
    by_name = {Path(one["image"]).name: one for one in found}
    assert "g.txt" not in by_name
    reasons = {name: [why["code"] for why in one["reasons"]] for name, one in by_name.items()}
    assert reasons["c_test.png"] == ["image.empty"]
    assert reasons["d_test.png"] == ["image.truncated"]
    assert reasons["e_test.png"] == ["image.not_an_image"]
    assert reasons["f_test.png"] == ["image.size"]
    assert {by_name[f"{name}_test.png"]["disposition"] for name in "cdef"} == {"HOLD"}
    assert by_name["a_test.png"]["evaluation"] == "OK"


def test_pairs_relative_to_their_file(folder: Path) -> None:
    (folder / "pairs.txt").write_text("# image golden\na_test.png a_temp.png\n\nb_test.png missing.png\n")
    good, bad = lines(run("--pairs", str(folder / "pairs.txt"), "--model", "board", "--format", "json"))
    assert good["evaluation"] == "OK"
    assert bad["evaluation"] == "NOT_INSPECTED"
    assert bad["reasons"][0]["code"] == "golden.missing"


def test_a_model_that_needs_a_golden_image_never_accepts_without(folder: Path) -> None:
    [one] = lines(run(str(folder / "a_test.png"), "--model", "board", "--json"))
    assert (one["evaluation"], one["disposition"]) == ("NOT_INSPECTED", "HOLD")


def test_a_recipe_finds_the_golden_images_and_sets_the_limits(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "id: r\nversion: 3\nproduct: p\nmodel: board\n"
        "golden: {replace: [_test, _temp]}\nlimits: {short: {max_count: 1}}\n"
    )
    found = lines(run("--folder", str(folder), "--recipe", str(recipe), "--json"))
    assert [(Path(one["image"]).name, one["evaluation"]) for one in found] == [
        ("a_test.png", "OK"),
        ("b_test.png", "OK"),
    ]


def test_a_wrong_recipe_names_file_and_line(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    recipe.write_text("id: r\nversion: 0\nproduct: p\nmodel: board\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml:2: version"):
        run(str(folder / "a_test.png"), "--recipe", str(recipe))


def test_deeppcb_result_files(folder: Path) -> None:
    out = folder / "out"
    golden = str(folder / "a_temp.png")
    result = run(
        "--folder", str(folder), "--model", "board", "--golden", golden, "--format", "deeppcb", "--out", str(out)
    )
    assert result.exit_code == 0
    assert (out / "a.txt").read_text() == ""
    *box, score, name = (out / "b.txt").read_text().strip().split(",")
    assert len([int(value) for value in box]) == 4
    assert 0.5 <= float(score) <= 1
    assert name == "short"
    assert as_deeppcb.__doc__


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.png"], "give --recipe or --model"),
        (["--model", "board"], "no images"),
        (["x.png", "--model", "board", "--format", "deeppcb"], "give --out"),
        (["--folder", "nowhere", "--model", "board"], "not a folder"),
        (["--pairs", "nowhere", "--model", "board"], "cannot be read"),
        (["x.png", "--model", "board", "--format", "xml"], "xml"),
    ],
)
def test_wrong_usage_exits_2(words: list[str], message: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_unknown_model_is_a_configuration_error(folder: Path) -> None:
    with pytest.raises(ConfigError, match="there: board/1"):
        run(str(folder / "a_test.png"), "--model", "bord")


def test_models_list_and_verify() -> None:
    listed = run("list", command="models")
    assert listed.exit_code == 0
    assert "board/1" in listed.stdout
    assert "Apache-2.0" in listed.stdout
    verified = run("verify", "board", command="models")
    assert verified.exit_code == 0
    assert "holds (CPUExecutionProvider" in verified.stdout
    wrong = run("verify", "bord", command="models")
    assert wrong.exit_code == 1
    assert "WRONG" in wrong.stdout


def test_evaluate_on_rendered_boards() -> None:
    words = ["detector", "--model", "board", "--data", "boards:7:12", "--json"]
    first, again = (json.loads(run(*words, command="evaluate").stdout) for _ in range(2))
    assert first["images"] == 12
    assert first["escapes"]["of"] + first["overkill"]["of"] == 12
    assert first["map_33"] > 0.9
    assert first["recall"] > 0.8
    assert first["by_class"]["open"]["truths"] >= 0
    timeless = {"ms_median", "ms_p99"}
    assert {k: v for k, v in first.items() if k not in timeless} == {
        k: v for k, v in again.items() if k not in timeless
    }


@pytest.mark.parametrize("data", ["boards:x:1", "boards:1", "nowhere"])
def test_evaluate_refuses_unknown_data(data: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        run("detector", "--model", "board", "--data", data, command="evaluate")


def test_evaluate_reads_deeppcb(folder: Path) -> None:
    images, labels = folder / "group1" / "001", folder / "group1" / "001_not"
    images.mkdir(parents=True)
    labels.mkdir()
    made = render(BOARD, [Placement(code="short", x_px=300, y_px=300, size_px=20)], Imaging(), np.random.default_rng(1))
    cv2.imwrite(str(images / "001_test.jpg"), made.pixels)
    cv2.imwrite(str(images / "001_temp.jpg"), BOARD.golden())
    box = " ".join(str(round(value)) for value in made.boxes[0][1])
    (labels / "001.txt").write_text(f"{box} 2\n")
    (folder / "split.txt").write_text("group1/001/001.jpg group1/001_not/001.txt\n")
    for extra in ([], ["--groups", "group1"], ["--split", str(folder / "split.txt")]):
        result = run("detector", "--model", "board", "--data", str(folder), *extra, "--json", command="evaluate")
        figures = json.loads(result.stdout)
        assert figures["by_class"]["short"]["truths"] == 1
        assert figures["map_33"] == 1.0
        assert figures["overkill"] is None
    with pytest.raises(ConfigError, match="no such group"):
        run("detector", "--model", "board", "--data", str(folder), "--groups", "group2", command="evaluate")
