"""What is documented exists, and what exists is documented."""

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


def test_telemetry_of_the_inference_runtime_is_off_before_any_import() -> None:
    """Where CI is set the runtime is silent anyway, so this test unsets it."""
    code = (
        "import os; os.environ.pop('CI', None); os.environ['ORT_DISABLE_TELEMETRY'] = '0';"
        "import edge_agent; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1';"
        "import onnxruntime, threading, pathlib;"
        "onnxruntime.get_available_providers(); print(len(threading.enumerate()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
