"""`edge-agent config copy`: the copy stands alone, and nothing in it has lost its meaning."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.commands.config import app
from edge_agent.config import load
from edge_agent.domain.faults import ConfigError

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "plant_config" / "examples"
runner = CliRunner()


def copy(source: Path, target: Path) -> None:
    """Run the command; its errors are raised."""
    runner.invoke(app, ["copy", str(source), str(target)], catch_exceptions=False, standalone_mode=False)


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """A small configuration that names a catalogue and a golden image outside its own folder."""
    copy(EXAMPLES / "simulated", tmp_path / "plants" / "mine")
    folder = tmp_path / "plants" / "mine"
    (tmp_path / "plants" / "shared").mkdir()
    for name in ("pcb.yaml", "pcb_background.yaml"):
        (folder / "fmea" / name).rename(tmp_path / "plants" / "shared" / name)
    (folder / "golden" / "PCB-A.png").rename(tmp_path / "plants" / "shared" / "PCB-A.png")
    change(folder / "plant.yaml", "fmea/pcb.yaml", "../shared/pcb.yaml")
    change(folder / "recipes" / "pcb-a.yaml", "golden/PCB-A.png", "../shared/PCB-A.png")
    return folder


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize("example", sorted(path.parent.name for path in EXAMPLES.glob("*/plant.yaml")))
def test_every_example_can_be_copied_and_loads(example: str, tmp_path: Path) -> None:
    try:
        before = load(EXAMPLES / example)
    except ConfigError as error:
        pytest.skip(f"this machine lacks what the example names: {error}")
    copy(EXAMPLES / example, tmp_path / "copy")
    after = load(tmp_path / "copy")
    assert [s.config.id for s in after.stations] == [s.config.id for s in before.stations]
    assert after.plant.plant == before.plant.plant


def test_files_from_outside_are_copied_in_and_their_paths_rewritten(plant: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "copy"
    copy(plant, target)
    copied = load(target)
    golden = copied.stations[0].recipes["PCB-A"].golden
    assert golden is not None
    assert Path(golden.image_path or "") == target / "shared" / "PCB-A.png"
    assert copied.resolve(copied.plant.diagnosis.catalogue) == target / "shared" / "pcb.yaml"
    assert not [file for file in copied.files if not Path(file).is_relative_to(target)]


def test_comments_and_everything_else_stay_as_they_were(plant: Path, tmp_path: Path) -> None:
    copy(plant, tmp_path / "copy")
    before = (plant / "plant.yaml").read_text("utf-8")
    after = (tmp_path / "copy" / "plant.yaml").read_text("utf-8")
    assert after == before.replace("../shared/pcb.yaml", "shared/pcb.yaml")


def test_a_path_that_leaves_the_folder_and_comes_back_is_written_plainly(plant: Path, tmp_path: Path) -> None:
    (plant / "golden").mkdir(exist_ok=True)
    (plant / "golden" / "a.png").write_bytes((plant.parent / "shared" / "PCB-A.png").read_bytes())
    change(plant / "recipes" / "pcb-a.yaml", "../shared/PCB-A.png", f"../{plant.name}/golden/a.png")
    copy(plant, tmp_path / "copy")
    assert "image: golden/a.png" in (tmp_path / "copy" / "recipes" / "pcb-a.yaml").read_text("utf-8")


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_stay(quote: str, plant: Path, tmp_path: Path) -> None:
    change(plant / "recipes" / "pcb-a.yaml", "../shared/PCB-A.png", f"{quote}../shared/PCB-A.png{quote}")
    copy(plant, tmp_path / "copy")
    assert f"{quote}shared/PCB-A.png{quote}" in (tmp_path / "copy" / "recipes" / "pcb-a.yaml").read_text("utf-8")


def test_a_folder_used_twice_by_an_alias_is_named_absolutely(plant: Path, tmp_path: Path) -> None:
    share = plant.parent / "share"
    share.mkdir()
    station = plant / "stations" / "aoi-1.yaml"
    station.write_text(
        "id: aoi-1\n"
        "camera: {kind: folder, path: &share ../share, match: trigger}\n"
        "trigger: {kind: folder, path: *share, product_id: PCB-A}\n"
        "recipes: {PCB-A: recipes/pcb-a.yaml}\n"
    )
    copy(plant, tmp_path / "copy")
    text = (tmp_path / "copy" / "stations" / "aoi-1.yaml").read_text("utf-8")
    assert f"path: &share {share}, match" in text
    assert "path: *share" in text
    assert not (tmp_path / "copy" / "plants").exists()


def test_a_secret_is_not_copied(plant: Path, tmp_path: Path) -> None:
    (plant / "broker-password").write_text("hunter2")
    change(plant / "plant.yaml", "port: 1883}", "port: 1883, username: box, password_file: broker-password}")
    copy(plant, tmp_path / "copy")
    assert load(tmp_path / "copy").plant.mqtt.password_file == plant / "broker-password"
    assert not [file for file in (tmp_path / "copy").rglob("*") if file.is_file() and b"hunter2" in file.read_bytes()]


def test_an_existing_configuration_is_never_overwritten(plant: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "plant.yaml").write_text("mine: true\n")
    with pytest.raises(ConfigError, match="never overwritten"):
        copy(plant, tmp_path / "copy")
    assert (tmp_path / "copy" / "plant.yaml").read_text() == "mine: true\n"


def test_a_target_that_cannot_be_made_is_a_clear_error(plant: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write .*file"):
        copy(plant, tmp_path / "file" / "copy")
