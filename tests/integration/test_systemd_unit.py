"""The unit and its drop-ins, read by systemd's own tools; nothing is started."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
UNIT = PROJECT / "systemd" / "edge-agent.service"
DROP_INS = sorted((PROJECT / "systemd" / "drop-ins").glob("*.conf"))
EXPOSURE_LIMIT = {"": 13, "gpu.conf": 17, "usb-camera.conf": 17}
"""Tenths of systemd's exposure level, by drop-in."""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"),
]


@pytest.fixture(params=[None, *DROP_INS], ids=lambda path: path.name if path else "alone")
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit with one of its drop-ins, its program replaced by one that is on this machine."""
    file = tmp_path / UNIT.name
    file.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text("utf-8")), "utf-8")
    if request.param:
        folder = tmp_path / f"{UNIT.name}.d"
        folder.mkdir()
        shutil.copy(request.param, folder)
    return file


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_has_no_complaint(unit: Path) -> None:
    done = analyze("verify", "--man=no", "--recursive-errors=no", str(unit))
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "edge-agent" in line]
    assert ours == []
    assert done.returncode == 0


def test_a_wrong_line_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / UNIT.name
    file.write_text(UNIT.read_text("utf-8").replace("WatchdogSec=30", "WatchdogSex=30"), "utf-8")
    assert "WatchdogSex" in analyze("verify", "--man=no", str(file)).stderr


def test_little_is_exposed(unit: Path) -> None:
    drop_in = next((path.name for path in unit.parent.glob("*.d/*")), "")
    limit = EXPOSURE_LIMIT[drop_in]
    done = analyze("security", "--offline=true", f"--threshold={limit}", "--no-pager", str(unit))
    level = next((line for line in done.stdout.splitlines() if "Overall exposure" in line), done.stderr)
    assert done.returncode == 0, level


def test_the_command_of_the_unit_is_understood() -> None:
    """A renamed option would otherwise be seen at the next start only."""
    from typer.main import get_command

    from edge_agent.cli import build

    command = next(line for line in UNIT.read_text("utf-8").splitlines() if line.startswith("ExecStart="))
    name, *options = command.split()[1:]
    parsed = get_command(build(name)).commands[name].make_context(name, options)  # type: ignore[attr-defined]
    assert str(parsed.params["config"]) == "/etc/edge-agent"
    assert parsed.params["log_style"] == "json"


def test_times_fit_together() -> None:
    from edge_agent.runtime.supervisor import EXIT_CONFIG, STOP_BUDGET_S

    lines = dict(line.split("=", 1) for line in UNIT.read_text("utf-8").splitlines() if "=" in line and line[0] != "#")
    assert int(lines["TimeoutStopSec"]) > STOP_BUDGET_S
    assert int(lines["RestartPreventExitStatus"]) == EXIT_CONFIG
