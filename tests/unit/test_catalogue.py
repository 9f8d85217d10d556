"""The catalogue's files: what is read, and what is refused, with its line."""

from pathlib import Path

import pytest

from edge_agent.config.catalogue import load_catalogue, load_priority_table, unused_signals
from edge_agent.config.load import InvalidConfiguration

FMEA = Path(__file__).parents[2] / "plant_config" / "fmea"
GOOD = """\
domain: toy
version: "1"
severity: {open: 8}
causes:
  - id: T1
    name: A cause
    category: Machine
    step: etch
    occurrence: 5
    detection: 5
    classes: {open: S}
    signatures:
      - all: {"sp:repeat": 0.8}
        any: {"tel:speed+": 0.6}
"""


def test_the_shipped_catalogue_has_all_causes_and_something_to_check_and_do_for_each() -> None:
    catalogue = load_catalogue(FMEA / "pcb.yaml")
    assert [cause.cause_id for cause in catalogue.causes] == [f"A{n:02d}" for n in range(1, 23)] + ["MEAS"]
    for cause in catalogue.causes:
        assert cause.checks, cause.cause_id
        assert cause.actions, cause.cause_id
        assert cause.sources, cause.cause_id
    assert all(0 < rate < 1 for rate in catalogue.background.values())


def test_class_grades_become_probabilities() -> None:
    catalogue = load_catalogue(FMEA / "pcb.yaml")
    cause = catalogue.cause("A14")
    assert cause is not None
    assert cause.classes == {"short": 0.8, "spur": 0.25, "spurious_copper": 0.8}
    assert catalogue.family_of("spur") == "extra_copper"
    assert catalogue.family_of("not_decidable") == "not_decidable"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("sp:repeat", "sp:repaet", 13, "no tool finds 'sp:repaet'"),
        ("classes: {open: S}", "classes: {opne: S}", 11, "'opne' has no severity"),
        ("occurrence: 5", "occurrence: 11", 9, "less than or equal to 10"),
        ("    step: etch\n", "    step: etch\n    colour: red\n", 9, "unknown key"),
        ("id: T1", "id: NONE", 5, "reserved"),
        ('any: {"tel:speed+": 0.6}', 'none: {"sp:repeat": 0.05}', 13, "it can never be seen"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(InvalidConfiguration) as caught:
        load_catalogue(file)
    (problem, *_) = caught.value.problems
    assert words in problem.message
    assert problem.line == line


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(GOOD.replace("sp:repeat", "sp:nowhere").replace("{open: S}", "{short: S}"))
    with pytest.raises(InvalidConfiguration) as caught:
        load_catalogue(file)
    assert len(caught.value.problems) == 2


def test_a_changed_background_changes_the_version(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(GOOD.replace('version: "1"', 'version: "1"\nbackground_file: b.yaml'))
    (tmp_path / "b.yaml").write_text('background: {"sp:repeat": 0.02}\n')
    first = load_catalogue(file)
    (tmp_path / "b.yaml").write_text('background: {"sp:repeat": 0.03}\n')
    second = load_catalogue(file)
    assert (first.background["sp:repeat"], second.background["sp:repeat"]) == (0.02, 0.03)
    assert first.version != second.version


def test_signals_that_the_plant_lacks_are_named(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(GOOD)
    assert unused_signals(load_catalogue(file), set()) == ["speed"]
    assert unused_signals(load_catalogue(file), {"speed"}) == []


def test_the_shipped_priority_table_is_the_built_in_one() -> None:
    assert load_priority_table(FMEA / "priority_table.yaml") == load_priority_table(None)


@pytest.mark.parametrize(
    ("ratings", "letter"),
    [((10, 9, 1), "H"), ((8, 7, 1), "M"), ((8, 3, 6), "M"), ((5, 5, 8), "M"), ((5, 5, 6), "L"), ((1, 10, 10), "L")],
)
def test_the_table_is_looked_up(ratings: tuple[int, int, int], letter: str) -> None:
    assert load_priority_table(None).letter(*ratings) == letter


def test_every_rating_has_a_letter() -> None:
    table = load_priority_table(None)
    letters = {table.letter(s, o, d) for s in range(1, 11) for o in range(1, 11) for d in range(1, 11)}
    assert letters == {"H", "M", "L"}


def test_a_table_with_a_gap_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "table.yaml"
    text = (FMEA / "priority_table.yaml").read_text()
    file.write_text(text.replace("severity: [4, 6]", "severity: [5, 6]").replace('2-3: MMLL, "1": LLLL', '"1": LLLL'))
    with pytest.raises(InvalidConfiguration) as caught:
        load_priority_table(file)
    messages = [problem.message for problem in caught.value.problems]
    assert any("severity 4" in message for message in messages)
    assert any("occurrence [2, 3]" in message for message in messages)
