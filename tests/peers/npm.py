"""Node packages that nobody here wrote, as tests/npm/package-lock.json fixes them; the first test installs them."""

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "npm"
NODE_RED = FOLDER.with_name("npm-node-red")
"""By itself: it is large, and one test needs it."""
INSTALL_S = 150
NETWORK = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED|network|proxy", re.I
)


def install(folder: Path = FOLDER) -> None:
    """What the folder's lock file says, once; skips the test where Node.js is missing or nothing can be fetched."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("nodejs or npm is not installed")
    with (Path(tempfile.gettempdir()) / "edge-agent-npm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two that install at once delete each other's files
        if not _is_installed(folder):
            _fetch(folder)


def _is_installed(folder: Path) -> bool:
    wanted = json.loads((folder / "package.json").read_text("utf-8"))["dependencies"]
    complete = all((folder / "node_modules" / name / "package.json").is_file() for name in wanted)
    stamp = _stamp(folder)
    return complete and stamp.is_file() and stamp.read_text() == _locked(folder)


def _stamp(folder: Path) -> Path:
    return folder / "node_modules" / ".lock.sha256"


def _locked(folder: Path) -> str:
    return hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()


def _fetch(folder: Path) -> None:
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not fetch the packages within {INSTALL_S} s")
    if done.returncode != 0 and NETWORK.search(done.stderr):
        pytest.skip(f"npm could not fetch the packages: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    _stamp(folder).write_text(_locked(folder))
