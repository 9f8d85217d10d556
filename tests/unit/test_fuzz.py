"""Each decoder under a short fuzz; scripts/bench/fuzz runs for as long as one likes."""

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


@pytest.mark.parametrize("decoder", ["json", "sparkplug", "modbus", "image"])
def test_damaged_input_is_refused_by_name(script: Any, decoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = script.fuzz(decoder, 0.4, seed=7)
    assert found["cases"] > 5
    assert found["refused"]
    assert (found["failures"], found["examples"], found["hangs"]) == (0, [], 0)


def test_what_is_looked_for_is_found(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(_damage: object) -> Any:
        while True:
            yield b"\x01", lambda: [][0]

    monkeypatch.setitem(script.CASES, "json", bad)
    found = script.fuzz("json", 0.01, seed=1)
    assert found["failures"] == found["cases"] > 0
    assert found["examples"][0] == "IndexError: list index out of range: 01"
