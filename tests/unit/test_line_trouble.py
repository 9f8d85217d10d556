"""Faults come by seed, the truth is written for simulators only, and repairs that fit end them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge_agent.simulation.boards import CODES
from edge_agent.simulation.line.trouble import Rhythm, Trouble
from edge_agent.simulation.process import FAULTS, Artwork, Plant

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def a_plant(seed: int = 4) -> Plant:
    places = np.random.default_rng(1).uniform(20, 300, (50, 2))
    return Plant((Artwork(product_id="P", places_mm=dict.fromkeys(CODES, places)),), seed)


def trouble(folder: Path, **options: object) -> Trouble:
    options.setdefault("rhythm", Rhythm(first=(5, 5), pause=(10, 10), patience=40))
    return Trouble(a_plant(), folder / "truth.jsonl", folder / "repairs.jsonl", lambda: NOON, **options)  # type: ignore[arg-type]


def work(it: Trouble, panels: int) -> None:
    for _ in range(panels):
        it.before_panel()
        it.plant.make()


def truth(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]


def repair(folder: Path, cause_id: str, end: str = "\n") -> None:
    with (folder / "repairs.jsonl").open("a") as file:
        file.write(json.dumps({"orderId": "O-1", "causeId": cause_id, "at": NOON.isoformat()}) + end)


def test_the_truth_names_the_fault_from_its_first_part(tmp_path: Path) -> None:
    it = trouble(tmp_path, only="conveyor_fast")
    work(it, 5)
    assert [line["causeId"] for line in truth(tmp_path)] == [None]
    work(it, 1)
    fault = FAULTS["conveyor_fast"]
    assert truth(tmp_path)[-1] == {
        "at": NOON.isoformat(),
        "causeId": fault.cause_id,
        "causeText": fault.cause_text,
        "fault": "conveyor_fast",
        "fromPart": 6,
    }


def test_a_fitting_repair_ends_the_fault_and_another_comes_later(tmp_path: Path) -> None:
    it = trouble(tmp_path, only="conveyor_fast")
    work(it, 12)
    repair(tmp_path, "A01")
    work(it, 1)
    assert it.running is not None
    repair(tmp_path, "A15")
    work(it, 1)
    assert it.running is None
    assert (it.episodes[0].from_part, it.episodes[0].to_part, it.episodes[0].ended_by) == (6, 13, "O-1")
    work(it, 10)
    assert it.running is not None
    assert [line["causeId"] for line in truth(tmp_path)] == [None, "A15", None, "A15"]


def test_half_a_line_is_not_read_before_it_is_whole(tmp_path: Path) -> None:
    it = trouble(tmp_path, only="conveyor_fast")
    work(it, 8)
    repair(tmp_path, "A15", end="")
    work(it, 1)
    assert it.running is not None
    with (tmp_path / "repairs.jsonl").open("a") as file:
        file.write("\n")
    work(it, 1)
    assert it.running is None


def test_repairs_of_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    repair(tmp_path, "A15")
    it = trouble(tmp_path, only="conveyor_fast")
    work(it, 10)
    assert it.running is not None


def test_what_nobody_finds_the_routine_service_does(tmp_path: Path) -> None:
    it = trouble(tmp_path, only="conveyor_fast")
    work(it, 50)
    assert it.episodes[0].ended_by == "routine service"


def test_all_faults_are_drawn_before_one_comes_again(tmp_path: Path) -> None:
    it = trouble(tmp_path, rhythm=Rhythm(first=(1, 1), pause=(1, 1), patience=2))
    work(it, 4 * len(FAULTS))
    drawn = [episode.fault.name for episode in it.episodes][: len(FAULTS)]
    assert sorted(drawn) == sorted(FAULTS)


def test_the_seed_decides_the_order(tmp_path: Path) -> None:
    def first(seed: int, folder: str) -> str:
        it = Trouble(a_plant(seed), tmp_path / folder / "t", tmp_path / folder / "r", lambda: NOON)
        work(it, 60)
        return it.episodes[0].fault.name

    assert first(4, "a") == first(4, "b")
    assert len({first(seed, f"s{seed}") for seed in range(6)}) > 2


@pytest.mark.parametrize("field", ["causeId", "causeText", "fault"])
def test_the_plant_never_says_what_is_wrong(field: str) -> None:
    """Log entries and readings are all the box can see: none holds a fault's name, cause id or text."""
    secrets = {"causeId": {f.cause_id for f in FAULTS.values()}, "fault": set(FAULTS) - {"line_stop"}}
    words = secrets.get(field) or {f.cause_text for f in FAULTS.values()}
    for fault in FAULTS.values():
        line = a_plant()
        line.start_fault(fault)
        panels = [line.make() for _ in range(10)]
        line.repair(fault.cause_id)
        said = [(n.kind, n.subject, *n.attributes.values()) for n in line.notices()]
        said += [tuple(panel.strata.values()) for panel in panels]
        assert not words & {word for entry in said for word in entry}
