"""Models on disk."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.detectors.catalogue import all_models, read_card, resolve
from edge_agent.domain.faults import ConfigError

CARD: dict[str, Any] = {
    "name": "m",
    "version": "1",
    "sha256": "0" * 64,
    "description": "d",
    "decode": "golden_pair",
    "inputs": [{"name": n, "shape": [1, 1, 640, 640], "dtype": "uint8"} for n in ("image", "golden")],
    "needs_golden": True,
    "classes": ["open"],
    "licence": "Apache-2.0",
    "opset": 17,
}


def make(models: Path, name: str, **changes: Any) -> Path:
    folder = models / name
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps(CARD | changes))
    return folder


def test_the_newest_version_is_taken_by_number(tmp_path: Path) -> None:
    for version in ("1", "9", "10"):
        make(tmp_path, f"board/{version}")
    (tmp_path / "board" / "11").mkdir()
    assert resolve(tmp_path, "board") == tmp_path / "board" / "10"
    assert resolve(tmp_path, "board/9") == tmp_path / "board" / "9"
    assert all_models(tmp_path) == ["board/1", "board/9", "board/10"]


@pytest.mark.parametrize("name", ["bord", "board/2", "board/"])
def test_an_unknown_model_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    make(tmp_path, "board/1")
    if name == "board/":
        assert resolve(tmp_path, name) == tmp_path / "board" / "1"
        return
    with pytest.raises(ConfigError, match=r"there: board/1"):
        resolve(tmp_path, name)


def test_no_models_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there: none"):
        resolve(tmp_path / "nowhere", "board")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sha256": "abc"}, "sha256"),
        ({"classes": []}, "classes"),
        ({"decode": "magic"}, "decode"),
        ({"needs_golden": False}, r"1 input\(s\) are expected"),
        ({"decode": "yolo"}, "takes no golden image"),
        ({"min_score": 2}, "min_score"),
        ({"naming": "guess"}, "naming"),
        (
            {"decode": "yolo", "needs_golden": False, "inputs": CARD["inputs"][:1], "naming": "copper"},
            "naming copper needs",
        ),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_wrong_card_names_the_key(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    folder = make(tmp_path, "m/1", **changes)
    with pytest.raises(ConfigError, match=words):
        read_card(folder)


def test_every_shipped_card_is_complete() -> None:
    models = Path(__file__).resolve().parents[2] / "models"
    assert "board/2" in all_models(models)
    for name in all_models(models):
        card = read_card(models / name)
        assert f"{card.name}/{card.version}" == name
        assert card.data
        # A feature network finds nothing by itself: no answer to keep, and it is in float.
        assert card.parity or card.decode == "features"
        assert card.quantization is not None or card.decode == "features"
