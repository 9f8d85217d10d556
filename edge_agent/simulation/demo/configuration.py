"""The demo's configuration folder: the repository's template with broker, folders and language model filled in."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import yaml

from edge_agent.contract.topics import topic_root
from edge_agent.domain.faults import ConfigError
from edge_agent.simulation.boards import layout
from edge_agent.simulation.line.products import PRODUCTS

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = ROOT / "plant_config" / "demo"
LANGUAGE_MODEL = ROOT / ".cache" / "models" / "smollm2-135m-instruct-q4.gguf"
"""Where scripts/fetch_llm puts it."""
SENTENCE_MODEL = ROOT / ".cache" / "models" / "minilm"
"""Where scripts/fetch_sentences puts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the demo keeps things. ``state`` is the agent's own state folder; the rest is below ``state/demo``."""

    state: Path

    @property
    def demo(self) -> Path:
        """Everything that is not the agent's."""
        return self.state / "demo"

    @property
    def config(self) -> Path:
        """The configuration that the agent runs with."""
        return self.demo / "config"

    @property
    def share(self) -> Path:
        """The folder into which the line's camera writes."""
        return self.demo / "share"

    @property
    def broker(self) -> Path:
        """mosquitto's folder."""
        return self.demo / "broker"

    @property
    def logs(self) -> Path:
        """A log for each process."""
        return self.demo / "logs"

    @property
    def hidden(self) -> Path:
        """What only the simulators may read: the true cause, the repairs."""
        return self.demo / "hidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Where the broker listens and how the agent logs in."""

    host: str
    port: int
    username: str
    password_file: Path


def write(places: Places, broker: BrokerAddress, *, model: Path | None) -> str:
    """Write the configuration folder; the box's topic root.

    Args:
        model: the language model's file, or None to go on rules alone.

    Raises:
        ConfigError: the template is not there.
    """
    if not (TEMPLATE / "plant.yaml").is_file():
        raise ConfigError(f"the demo's configuration is missing: {TEMPLATE} (run the demo from a checkout)")
    shutil.rmtree(places.config, ignore_errors=True)
    shutil.copytree(TEMPLATE, places.config)
    plant = yaml.safe_load((TEMPLATE / "plant.yaml").read_text())
    plant["state_dir"] = str(places.state)
    plant["mqtt"] |= {
        "host": broker.host,
        "port": broker.port,
        "username": broker.username,
        "password_file": str(broker.password_file),
    }
    for key in ("catalogue", "priority_table"):
        plant["diagnosis"][key] = str((TEMPLATE / plant["diagnosis"][key]).resolve())
    if (SENTENCE_MODEL / "card.json").is_file():
        plant["diagnosis"]["sentence_model"] = str(SENTENCE_MODEL)
    plant["analyst"] = _analyst(model)
    _dump(places.config / "plant.yaml", plant)
    _write_station(places)
    write_goldens(places.config / "golden")
    return topic_root(**plant["plant"], agent=plant["agent"])


def write_goldens(folder: Path) -> None:
    """The defect-free image of each product."""
    folder.mkdir(parents=True, exist_ok=True)
    for product, name in PRODUCTS.items():
        packed = cv2.imencode(".png", layout(name).golden(), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
        (folder / f"{product}.png").write_bytes(packed.tobytes())


def _write_station(places: Places) -> None:
    file = places.config / "stations" / "aoi-1.yaml"
    station = yaml.safe_load(file.read_text())
    station["camera"]["path"] = str(places.share)
    places.share.mkdir(parents=True, exist_ok=True)
    _dump(file, station)


def _analyst(model: Path | None) -> dict[str, Any]:
    if model is None:
        return {"kind": "none"}
    return {"kind": "local", "model": str(model), "threads": 1}


def _dump(file: Path, content: dict[str, Any]) -> None:
    head = f"# Written by `edge-agent demo` from {TEMPLATE / file.name}.\n"
    file.write_text(head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
