"""Every configuration error is found at once and says where it is."""

from pathlib import Path

import pytest
import yaml

from edge_agent.config.load import InvalidConfiguration, load

PLANT = """\
agent: box-1
plant: {enterprise: acme, site: s, area: a, line: l, cell: c}
mqtt: {host: 127.0.0.1}
stations: [stations/aoi-1.yaml]
diagnosis: {catalogue: fmea.yaml}
"""
STATION = """\
id: aoi-1
camera:
  kind: simulated
trigger:
  kind: interval
  every_ms: 500
  product_id: board-a
recipes:
  board-a: recipes/board-a.yaml
"""
RECIPE = """\
id: board-a
version: 3
product: board-a
model: board
limits:
  open: {reject_score: 0.6, doubt_score: 0.3}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "plant.yaml": PLANT,
        "fmea.yaml": "{}",
        "stations/aoi-1.yaml": STATION,
        "recipes/board-a.yaml": RECIPE,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


def problems(folder: Path) -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        load(folder)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_a_good_configuration_loads(folder: Path) -> None:
    configuration = load(folder)
    recipe = configuration.stations[0].recipes["board-a"]
    assert recipe.ref.version == 3
    assert recipe.limits[0].doubt_score == 0.3
    assert len(recipe.ref.sha256) == 64


def test_the_recipe_hash_follows_its_content(folder: Path) -> None:
    before = load(folder).stations[0].recipes["board-a"].ref.sha256
    edit(folder, "recipes/board-a.yaml", "0.6", "0.7")
    assert load(folder).stations[0].recipes["board-a"].ref.sha256 != before


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("plant.yaml", "agent: box-1", "agent: box-1\ncolour: red", "plant.yaml:2: colour: unknown key"),
        ("plant.yaml", "agent: box-1", "agent: a/b", "plant.yaml:1: agent: String should match"),
        ("plant.yaml", "agent: box-1\n", "", "plant.yaml:1: agent: missing"),
        ("plant.yaml", "fmea.yaml", "none.yaml", "plant.yaml:5: diagnosis.catalogue: no such file"),
        ("plant.yaml", "host: 127.0.0.1", "host: h, port: 99999", "plant.yaml:3: mqtt.port: Input should be less"),
        ("plant.yaml", "stations: [", "stations: [ [", "plant.yaml:"),
        (
            "plant.yaml",
            "agent: box-1",
            "agent: box-1\nsecurity: {signed_commands: true}",
            "plant.yaml:2: security: Value error, signed_commands needs trusted_keys",
        ),
        (
            "plant.yaml",
            "agent: box-1",
            "agent: box-1\nsecurity: {trusted_keys: {mes: plant.yaml}}",
            "plant.yaml:2: security.trusted_keys.mes: ",
        ),
        (
            "plant.yaml",
            "agent: box-1",
            "agent: box-1\nsecurity: {signing_key_file: none.key}",
            "plant.yaml:2: security.signing_key_file: no such file",
        ),
        ("plant.yaml", "agent: box-1", "agent: box-1\nagent: box-2", "plant.yaml:2: duplicate key 'agent'"),
        ("stations/aoi-1.yaml", "kind: simulated", "kind: telepathy", "stations/aoi-1.yaml:2: camera: "),
        ("stations/aoi-1.yaml", "every_ms: 500", "every_ms: fast", "stations/aoi-1.yaml:6: trigger.every_ms: "),
        ("stations/aoi-1.yaml", "every_ms: 500", "every_s: 5", "stations/aoi-1.yaml:6: trigger.every_s: unknown key"),
        ("recipes/board-a.yaml", "doubt_score: 0.3", "doubt_score: 0.8", "recipes/board-a.yaml:6: limits.open"),
        ("recipes/board-a.yaml", "product: board-a", "product: other", "stations/aoi-1.yaml:9: recipes.board-a"),
        (
            "recipes/board-a.yaml",
            "model: board",
            "model: board\ngolden: {image: gone.png}",
            "recipes/board-a.yaml:5: golden.image: no such file",
        ),
    ],
)
def test_errors_name_file_line_and_key(folder: Path, name: str, old: str, new: str, expected: str) -> None:
    edit(folder, name, old, new)
    assert any(problem.startswith(expected) for problem in problems(folder)), problems(folder)


def test_all_errors_come_at_once(folder: Path) -> None:
    edit(folder, "plant.yaml", "fmea.yaml", "none.yaml")
    edit(folder, "stations/aoi-1.yaml", "every_ms: 500", "every_ms: -1")
    edit(folder, "recipes/board-a.yaml", "version: 3", "version: zero")
    edit(folder, "plant.yaml", "agent: box-1", "agent: box-1\nextra: 1")
    assert len(problems(folder)) >= 3


def test_one_camera_cannot_serve_two_stations(folder: Path) -> None:
    camera = "kind: v4l2\n  device: /dev/video0"
    edit(folder, "stations/aoi-1.yaml", "kind: simulated", camera)
    (folder / "stations/aoi-2.yaml").write_text((folder / "stations/aoi-1.yaml").read_text().replace("aoi-1", "aoi-2"))
    edit(folder, "plant.yaml", "aoi-1.yaml]", "aoi-1.yaml, stations/aoi-2.yaml]")
    assert any("the same camera as station 'aoi-1'" in problem for problem in problems(folder))


def test_two_stations_cannot_have_one_id(folder: Path) -> None:
    (folder / "stations/aoi-2.yaml").write_text(STATION)
    edit(folder, "plant.yaml", "aoi-1.yaml]", "aoi-1.yaml, stations/aoi-2.yaml]")
    assert any("already defined" in problem for problem in problems(folder))


def test_a_missing_folder_is_said_so(tmp_path: Path) -> None:
    assert "No such file" in problems(tmp_path)[0]


def test_a_binary_file_is_refused(folder: Path) -> None:
    (folder / "plant.yaml").write_bytes(b"\xff\xfe\x00garbage")
    assert problems(folder)


def test_positions_survive_any_nesting() -> None:
    assert yaml.safe_load(PLANT)["agent"] == "box-1"
