"""The examples are complete: each loads, and together they show every kind of camera and trigger."""

from importlib import import_module
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from edge_agent.adapters.cameras.image_file import read_image
from edge_agent.adapters.clock import SystemClock
from edge_agent.bootstrap.adapters import CAMERAS
from edge_agent.config import load
from edge_agent.config.stations import ActuatorOptions, CameraOptions, TriggerOptions
from edge_agent.inspecting.gate import gate
from edge_agent.inspecting.golden import Goldens
from edge_agent.simulation.boards import layout
from tests.fakes.station import shot

EXAMPLES = Path(__file__).resolve().parents[2] / "plant_config" / "examples"
FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/plant.yaml"))


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_an_example_loads(folder: Path) -> None:
    configuration = load(folder)
    assert configuration.stations
    for station in configuration.stations:
        assert station.recipes


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_an_example_says_what_it_is_for(folder: Path) -> None:
    for file in folder.rglob("*.yaml"):
        assert file.read_text(encoding="utf-8").startswith("# "), file


def test_agents_have_different_names() -> None:
    names = [load(folder).plant.agent for folder in FOLDERS]
    assert len(set(names)) == len(names)


def kinds(union: object) -> set[str]:
    """The words that choose an adapter."""
    first = get_args(union)[0]
    return {get_args(member.model_fields["kind"].annotation)[0] for member in get_args(first) or (first,)}


def test_every_kind_has_an_example() -> None:
    stations = [station.config for folder in FOLDERS for station in load(folder).stations]
    assert {config.camera.kind for config in stations} == kinds(CameraOptions)
    assert {config.trigger.kind for config in stations} == kinds(TriggerOptions)
    assert {actuator.kind for config in stations for actuator in config.actuators} == kinds(ActuatorOptions)


def test_paths_start_at_the_configuration_folder() -> None:
    (station,) = load(EXAMPLES / "folder").stations
    assert station.config.camera.kind == station.config.trigger.kind == "folder"
    assert station.config.camera.path == station.config.trigger.path == EXAMPLES / "folder" / "inbox"


def test_the_golden_image_shows_the_simulated_board() -> None:
    """After a change of the layouts: .venv/bin/python scripts/draw-examples."""
    golden = read_image(EXAMPLES / "simulated" / "golden" / "PCB-A.png")
    assert np.array_equal(golden, layout("A").golden())


@pytest.mark.parametrize("name", ["simulated", "video"])
def test_the_boards_of_the_examples_pass_their_own_gate(name: str) -> None:
    clock = SystemClock()
    (station,) = load(EXAMPLES / name).stations
    recipe = station.recipes["PCB-A"]
    module, _, attribute = CAMERAS[station.config.camera.kind].partition(":")
    camera = getattr(import_module(module), attribute)(station.config.camera, camera_id="c", clock=clock)
    camera.open()
    for _ in range(3):
        frame = camera.grab(shot(clock), 1)
        quality = gate(frame.pixels, Goldens(read_image).reference(recipe.golden, frame), recipe.image)
        assert quality.usable, quality.reasons
    camera.close()
