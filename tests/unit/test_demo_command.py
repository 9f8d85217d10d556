"""What the demo command promises exists."""

from pathlib import Path

from typer.testing import CliRunner

from edge_agent.cli import build
from edge_agent.commands import demo
from edge_agent.config import load
from edge_agent.simulation.demo.configuration import TEMPLATE, BrokerAddress, Places, write, write_goldens
from edge_agent.simulation.line import topics
from edge_agent.simulation.line.products import PRODUCTS
from edge_agent.simulation.process import FAULTS, SIGNALS


def test_the_example_it_ends_with_is_there() -> None:
    assert (demo.ROOT / "plant_config" / "examples" / demo.OWN_CAMERA / "plant.yaml").is_file()


def test_it_lists_its_faults() -> None:
    said = CliRunner().invoke(build("demo"), ["demo", "--fault", "list"])
    assert said.exit_code == 0
    assert all(name in said.output for name in FAULTS)


def test_the_template_is_a_configuration_of_its_own() -> None:
    found = load(TEMPLATE)
    assert found.plant.telemetry.signals.keys() == SIGNALS.keys()
    station = found.stations[0]
    assert station.recipes.keys() == PRODUCTS.keys()


def test_the_templates_goldens_are_what_the_line_makes(tmp_path: Path) -> None:
    write_goldens(tmp_path)
    for product in PRODUCTS:
        assert (tmp_path / f"{product}.png").read_bytes() == (TEMPLATE / "golden" / f"{product}.png").read_bytes()


def test_the_written_configuration_loads_and_speaks_of_the_same_topics(tmp_path: Path) -> None:
    places = Places(state=tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("x")
    root = write(places, BrokerAddress(host="127.0.0.1", port=4711, username="agent", password_file=secret), model=None)
    found = load(places.config)
    assert (found.plant.mqtt.port, found.plant.state_dir) == (4711, tmp_path)
    assert found.plant.analyst.kind == "none"
    assert found.plant.telemetry.events_topic == topics.events(root)
    for name, signal in found.plant.telemetry.signals.items():
        assert signal.topic == topics.signal(root, name)
    camera = found.stations[0].config.camera
    assert camera.kind == "folder"
    assert camera.path == places.share
