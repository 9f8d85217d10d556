"""The chaos command in its short form: nothing lost, nothing acted upon twice, and figures a program can read."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
COMMAND = Path(__file__).parents[2] / "scripts" / "bench" / "chaos"

pytestmark = [
    pytest.mark.fault,
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("mosquitto", path=PATH) is None, reason="mosquitto is not installed"),
]


def test_a_short_run_loses_nothing(tmp_path: Path) -> None:
    figures = tmp_path / "chaos.json"
    words = [sys.executable, str(COMMAND), "--runs", "1", "--short", "--json", str(figures)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = json.loads(figures.read_text())
    assert (run["lost"], run["acted_twice"], run["settled"]) == (0, 0, True)
    assert run["committed"] == run["received"] >= 150
    assert run["kills"] == {"broker": 2, "agent": 2, "mes": 1}
    assert set(run["classes"]) == {"work orders", "defects", "analyses", "reports"}
    assert run["orders_closed"] == run["orders"] == 15
    assert "raw paho" in done.stdout
