"""What the pages on cameras and the PLC say is so in the code, and the reverse."""

import re
from pathlib import Path
from typing import get_args

from edge_agent.config.stations import (
    CameraOptions,
    ModbusActuatorOptions,
    ModbusTriggerOptions,
    TriggerOptions,
)

ROOT = Path(__file__).resolve().parents[2]
CAMERAS = (ROOT / "docs" / "cameras.md").read_text(encoding="utf-8")
PLC = (ROOT / "docs" / "plc.md").read_text(encoding="utf-8")
CODE = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("adapters/cameras", "adapters/triggers", "inspecting")
    for path in (ROOT / "edge_agent" / folder).glob("*.py")
)


def first_cells(page: str, heading: str) -> set[str]:
    """Words in backquotes in the first column of the tables below a heading."""
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def kinds(union: object) -> set[str]:
    return {get_args(member.model_fields["kind"].annotation)[0] for member in get_args(get_args(union)[0])}


def test_every_camera_and_trigger_is_in_the_table() -> None:
    assert first_cells(CAMERAS, "Choosing") == kinds(CameraOptions) | kinds(TriggerOptions)


def test_every_reason_of_a_camera_is_explained_and_exists() -> None:
    raised = set(re.findall(r'PartFault\(\s*"([a-z_]+\.[a-z_]+)"', CODE))
    cameras = {code for code in raised if code.split(".")[0] in {"camera", "image", "video"}}
    away = {"camera.lost", "camera.away"}
    assert first_cells(CAMERAS, "Reasons") == cameras | away
    for code in away:
        assert f'"{code}"' in CODE


def test_the_trigger_reasons_exist() -> None:
    for code in re.findall(r"`(trigger\.[a-z_]+)`", PLC):
        assert f'"{code}"' in CODE


def test_the_memory_table_shows_the_defaults() -> None:
    defaults = {name: field.default for name, field in ModbusTriggerOptions.model_fields.items()}
    defaults |= {name: field.default for name, field in ModbusActuatorOptions.model_fields.items()}
    rows = re.findall(r"^\| (coil|registers?) (\d+)(?:-(\d+))? \| `(\w+)`", PLC, re.MULTILINE)
    assert len(rows) == 13
    optional = {"product_register", "heartbeat_register"}
    for kind, first, last, key in rows:
        assert key.endswith("coil" if kind == "coil" else "register")
        if key not in optional:
            assert defaults[key] == int(first), key
        if last:
            assert int(last) - int(first) + 1 == defaults["part_id_words"]


def test_every_key_that_the_pages_name_exists() -> None:
    unions = [*get_args(get_args(CameraOptions)[0]), *get_args(get_args(TriggerOptions)[0]), ModbusActuatorOptions]
    known = {name for member in unions for name in member.model_fields}
    for key in (
        "settle_ms",
        "frozen_after",
        "timeouts_before_reconnect",
        "stall_timeout_s",
        "latency_ms",
        "byte_order",
    ):
        assert key in known
        assert key in CAMERAS + PLC
