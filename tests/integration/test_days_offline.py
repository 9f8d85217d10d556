"""Hours without a broker, the short form of `bench_offline`: what must arrive arrives, good parts are counted."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
COMMAND = Path(__file__).parents[2] / "scripts" / "bench" / "bench_offline"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("mosquitto", path=PATH) is None, reason="mosquitto is not installed"),
]


def _offline(folder: Path, *words: str) -> dict[str, Any]:
    figures = folder / "offline.json"
    command = [sys.executable, str(COMMAND), "--json", str(figures), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(figures.read_text())
    return found


def test_half_an_hour_with_room_enough(tmp_path: Path) -> None:
    found = _offline(tmp_path, "--hours", "0.5")
    assert found["made"]["parts"] == found["arrived"]["results"] == 1_800
    assert found["given_up"] == {}
    assert not any(found["missing"].values())


def test_an_hour_with_too_little_room(tmp_path: Path) -> None:
    """Good parts arrive as counts, everything else as it is."""
    found = _offline(tmp_path, "--hours", "1", "--quota-mib", "2")
    arrived = found["arrived"]
    assert found["quota_used"] < 0.8
    assert arrived["counted"] > 1_500
    assert arrived["results"] + arrived["counted"] == found["made"]["parts"] == 3_600
    assert (arrived["bad"], arrived["defects"]) == (36, 36)
    assert not any(found["missing"].values())
