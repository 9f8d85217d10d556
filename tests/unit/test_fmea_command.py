"""What is wrong in a catalogue, and what is right but misleads."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edge_agent.cli import build
from edge_agent.config.catalogue_review import review
from edge_agent.config.open_catalogue import load_catalogues

FMEA = Path(__file__).parents[2] / "plant_config" / "fmea"


def fmea(*arguments: object) -> Result:
    return CliRunner().invoke(build("fmea"), ["fmea", *map(str, arguments)])


def remarks(folder: Path, causes: str, severity: str = "{dent: 5}") -> list[str]:
    file = folder / "c.yaml"
    file.write_text(f"domain: d\nseverity: {severity}\ncauses:\n{causes}")
    return [f"{one.subject}: {one.message}" for one in review(load_catalogues(file)["d"]) if one.grave]


def test_the_shipped_catalogues_mislead_nobody() -> None:
    done = fmea("check", FMEA)
    assert done.exit_code == 0, done.output
    assert "0 misleading" in done.output


def test_a_cause_is_shown_in_full() -> None:
    done = fmea("show", FMEA / "pcb.yaml", "--cause", "A17")
    assert done.exit_code == 0
    assert "etch-nozzle-map" in done.output
    assert "A16" not in done.output


def test_every_mistake_comes_with_its_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text((FMEA / "pcb.yaml").read_text().replace('"sp:repeat": 0.85', '"sp:repaet": 0.85', 1))
    (tmp_path / "pcb_background.yaml").write_text((FMEA / "pcb_background.yaml").read_text())
    done = fmea("check", bad)
    assert "no tool finds 'sp:repaet'" in str(done.exception)
    line = next(n for n, text in enumerate(bad.read_text().splitlines(), start=1) if "sp:repaet" in text)
    assert f"bad.yaml:{line}:" in str(done.exception)


@pytest.mark.parametrize(
    ("causes", "severity", "said"),
    [
        ("  - {id: a, symptoms: [x], classes: {dent: S}}\n", "{dent: 5}", "MEAS: no such cause"),
        ("  - {id: MEAS, symptoms: [x]}\n", "{dent: 5}", "class dent: no cause shows it"),
        (
            "  - {id: MEAS, symptoms: [m]}\n  - {id: a, symptoms: [x, y]}\n  - {id: b, symptoms: [x, y]}\n",
            "{}",
            "a, b: nothing tells them apart",
        ),
        (
            "  - {id: MEAS, symptoms: [m]}\n  - {id: a, symptoms: {x: 0.05, y: 0.05}, classes: {dent: S}}\n"
            "  - {id: b, symptoms: {x: 0.95, y: 0.95}, classes: {dent: S}}\n  - {id: c, symptoms: [{x: 0.95, y: 0.9}]}",
            "{dent: 5}",
            "a: signature 1, seen as well as can be, still points at b",
        ),
    ],
)
def test_what_misleads_is_named(tmp_path: Path, causes: str, severity: str, said: str) -> None:
    found = remarks(tmp_path, causes, severity)
    assert any(said in one for one in found), found


def test_causes_that_differ_in_their_checks_only_are_homework(tmp_path: Path) -> None:
    check = "checks: [{id: %s, text: t, minutes: 1, lr_pos: 5, lr_neg: 0.2}]"
    causes = f"  - {{id: MEAS, symptoms: [m]}}\n  - {{id: a, symptoms: [x], {check % 'p'}}}\n"
    causes += f"  - {{id: b, symptoms: [x], {check % 'q'}}}\n"
    assert remarks(tmp_path, causes, "{}") == []
