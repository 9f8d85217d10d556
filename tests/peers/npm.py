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
MODULES = FOLDER / "node_modules"
STAMP = MODULES / ".lock.sha256"
INSTALL_S = 150
NETWORK = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED|network|proxy", re.I
)


def install() -> None:
    """What the lock file says, once; skips the test where Node.js is missing or nothing can be fetched."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("nodejs or npm is not installed")
    with (Path(tempfile.gettempdir()) / "edge-agent-npm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two that install at once delete each other's files
        if not _is_installed():
            _fetch()


def _is_installed() -> bool:
    wanted = json.loads((FOLDER / "package.json").read_text("utf-8"))["dependencies"]
    complete = all((MODULES / name / "package.json").is_file() for name in wanted)
    return complete and STAMP.is_file() and STAMP.read_text() == _locked()


def _locked() -> str:
    return hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()


def _fetch() -> None:
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        done = subprocess.run(words, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not fetch the packages within {INSTALL_S} s")
    if done.returncode != 0 and NETWORK.search(done.stderr):
        pytest.skip(f"npm could not fetch the packages: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    STAMP.write_text(_locked())
