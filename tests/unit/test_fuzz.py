"""Each decoder under a short fuzz; scripts/bench/fuzz runs for as long as one likes."""

import signal
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bench" / "fuzz"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = spec_from_loader("fuzz", SourceFileLoader("fuzz", str(SCRIPT)))
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize(("decoder", "inputs"), [("json", 60), ("sparkplug", 60), ("modbus", 30), ("image", 500)])
def test_damaged_input_is_refused_by_name(
    script: Any, decoder: str, inputs: int, capfd: pytest.CaptureFixture[str]
) -> None:
    found = script.fuzz(decoder, 60.0, seed=7, most=inputs)
    assert found["calls"] >= inputs
    assert found["refused"]
    assert (found["failures"], found["examples"], found["hangs"]) == (0, [], 0)


def test_what_is_looked_for_is_found(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(_damage: object) -> Any:
        while True:
            yield b"\x01", lambda: [][0]

    monkeypatch.setitem(script.CASES, "json", bad)
    found = script.fuzz("json", 0.01, seed=1)
    assert found["failures"] == found["calls"] > 0
    assert found["examples"] == ["IndexError: list index out of range: seed 1, input 0: 01"], "one of a kind"


def test_a_finding_is_made_again_from_its_number(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def brittle(damage: Any) -> Any:
        while True:
            damage.next()
            body = damage.bytes_of(b"0123456789")
            yield body, lambda body=body: 1 / (body[:1] == b"0")

    monkeypatch.setitem(script.CASES, "json", brittle)
    script.fuzz("json", 5.0, seed=3, most=200, findings=tmp_path)
    (kept,) = tmp_path.glob("*.bin")
    number = int(kept.stem.split("-")[2])
    assert "ZeroDivisionError" in kept.with_suffix(".txt").read_text()
    again = script.fuzz("json", 5.0, seed=3, start=number, most=1)
    assert (again["calls"], again["failures"]) == (1, 1)
    assert again["examples"][0].endswith(kept.read_bytes().hex())


def test_memory_that_grows_is_seen(script: Any) -> None:
    memory = script.Memory()
    memory.samples = [(float(second), 1_000 + (0 if second < 20 else 2 * second)) for second in range(40)]
    assert (memory.grown_kib, memory.slope_kib_per_h) == (38, 7_200)


@pytest.mark.slow
def test_an_input_that_never_ends_ends_the_run(script: Any, tmp_path: Path) -> None:
    text = f"""
import runpy, signal
fuzz = runpy.run_path({str(SCRIPT)!r})
from pathlib import Path
fuzz["watch"](Path({str(tmp_path)!r}))
def endless(damage):
    while True:
        damage.next()
        yield b"", lambda: [None for _ in iter(int, 1)]
fuzz["CASES"]["json"] = endless
fuzz["fuzz"].__globals__["STUCK_S"] = 0.05
fuzz["fuzz"]("json", 60.0, 1, watched=True)
"""
    died = subprocess.run([sys.executable, "-c", text], capture_output=True, timeout=120, check=False)
    assert died.returncode == -signal.SIGPROF
    assert "in call" in (tmp_path / "stuck.txt").read_text()
