"""What is documented exists, and what exists is documented."""

import os
import re
import subprocess
import sys
from pathlib import Path

from prometheus_client import REGISTRY

from edge_agent.cli import COMMANDS
from edge_agent.observability import metrics

ROOT = Path(__file__).resolve().parents[2]


def test_configuration_page_and_schemas_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate_config_docs.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + "run scripts/generate_config_docs.py"


def test_every_metric_is_documented_and_the_reverse() -> None:
    assert metrics.PARTS is not None
    exposed = {family.name for family in REGISTRY.collect() if family.name.startswith("edge_agent_")}
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `(edge_agent_\w+?)(?:_total)?` \|", page, re.MULTILINE))
    assert documented == exposed


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in COMMANDS if f"edge-agent {name}" not in readme] == []


def test_paths_named_in_the_documents_exist() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    named = re.compile(r"`((?:tests|scripts|docs|edge_agent|plant_config|models|systemd|reports|schemas)/[\w./-]+)`")
    gone = [
        f"{page.name}: {path}"
        for page in pages
        for path in named.findall(page.read_text("utf-8"))
        if not (ROOT / path.rstrip("/")).exists()
    ]
    assert gone == []


SESSION = """
import os
from pathlib import Path
import edge_agent
from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.catalogue import resolve
from edge_agent.adapters.detectors.onnx import OnnxDetector
from edge_agent.config.stations import DetectorOptions
OnnxDetector(resolve(Path("models"), "board"), DetectorOptions(), clock=SystemClock()).warm_up()
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


def test_the_inference_runtime_keeps_to_itself(tmp_path: Path) -> None:
    """Its wheels report home unless told not to before the import. Where CI is set they are silent anyway: unset it.

    What it would leave behind (a device id, a database) lies below the home folder or its cache folder.
    """
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_CONFIG_HOME": str(tmp_path / "cfg")}
    done = subprocess.run(
        [sys.executable, "-c", SESSION],
        env=kept | home,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("1")
    assert [str(path) for path in tmp_path.rglob("*")] == []
