"""Node packages that nobody here wrote, as tests/npm/package-lock.json fixes them; the first test installs them."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "npm"
INSTALL_S = 180
NETWORK = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED|network|proxy", re.I
)


def install() -> None:
    """What the lock file says, once; skips the test where Node.js is missing or nothing can be fetched."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("nodejs or npm is not installed")
    wanted = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    stamp = FOLDER / "node_modules" / ".lock.sha256"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        done = subprocess.run(words, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not fetch the packages within {INSTALL_S} s")
    if done.returncode != 0 and NETWORK.search(done.stderr):
        pytest.skip(f"npm could not fetch the packages: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    stamp.write_text(wanted)
