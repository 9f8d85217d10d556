"""``edge-agent orders`` and ``edge-agent replay`` on a real store."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.commands import orders
from edge_agent.commands.replay import Finding, closings, compare, findings, replayed
from edge_agent.config.catalogue import load_priority_table
from edge_agent.domain.work_order import OrderState
from edge_agent.learning.learner import Learner
from edge_agent.simulation.runs import Disturbance
from tests.fakes.clock import START
from tests.fakes.diagnosed_line import FMEA, SENDER, SETTINGS, DiagnosedLine, pcb

COLD = Disturbance(at_part=120, rate=0.4, classes=("short", "spurious_copper"), signals={"etch_temp_c": -5})
RUN = CliRunner()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> DiagnosedLine:
    """Diagnosed once; each test gets a copy."""
    folder = tmp_path_factory.mktemp("lived")
    made = DiagnosedLine(folder)
    made.store.close()
    made.store = Database(sqlite_url(folder), clock=made.clock)
    made.store.migrate()
    made.happened(COLD, seed=2)
    made.store.close()
    return made


@pytest.fixture
def line(tmp_path: Path, lived: DiagnosedLine) -> Iterator[DiagnosedLine]:
    shutil.copytree(lived.folder, tmp_path, dirs_exist_ok=True)
    made = DiagnosedLine(tmp_path)
    made.store.close()
    made.clock.set(lived.clock.now())
    made.store = Database(sqlite_url(tmp_path), clock=made.clock)
    yield made
    made.store.close()


def ran(line: DiagnosedLine, *words: str) -> str:
    result = RUN.invoke(orders.app, [*words, "--state", str(line.folder)])
    assert result.exit_code == 0, result.output
    return result.output


def test_orders_are_listed_and_shown(line: DiagnosedLine) -> None:
    assert "WO-0001" in ran(line, "list")
    shown = ran(line, "show", "wo-0001")
    assert "suspect A15" in shown
    assert "check 1 (3 min)" in shown
    assert "hold " in shown


def test_orders_as_json_for_programs(line: DiagnosedLine) -> None:
    (listed,) = json.loads(ran(line, "list", "--format", "json"))
    shown = json.loads(ran(line, "show", listed["id"], "--format", "json"))
    assert listed["first_suspect"] == shown["suspects"][0]["cause"] == "A15"
    assert shown["contain"]["parts"]


def test_an_answer_given_here_goes_the_same_way_as_one_over_mqtt(line: DiagnosedLine) -> None:
    ran(line, "close", "WO-0001", "--cause", "A15", "--action", "restore-etch-setpoint", "--minutes", "25")
    Learner(store=line.store, clock=line.clock, catalogue=pcb(), sender=SENDER).step()
    with line.store.reader() as uow:
        (case,) = uow.answers.cases()
        (order,) = uow.orders.list()
    assert (case.cause_id, case.weight) == ("A15", 0.7)
    assert order.state is OrderState.CLOSED
    assert "answered:" in ran(line, "show", "WO-0001")
    assert "no open orders" in ran(line, "list")


@pytest.mark.parametrize(
    "words",
    [
        ["show", "WO-0099"],
        ["respond", "WO-0001", "closed", "--part", "P=lots"],
        ["respond", "WO-0001", "vanished"],
        ["respond", "WO-0001", "closed", "--cause", "x" * 99],
    ],
)
def test_wrong_use_is_refused_and_nothing_is_written(line: DiagnosedLine, words: list[str]) -> None:
    result = RUN.invoke(orders.app, [*words, "--state", str(line.folder)])
    assert result.exit_code in {1, 2}
    with line.store.reader() as uow:
        assert uow.inbox.unprocessed(10) == []


def test_no_store_is_a_configuration_error(tmp_path: Path) -> None:
    result = RUN.invoke(orders.app, ["list", "--state", str(tmp_path / "nowhere")])
    assert "holds no store" in str(result.exception)


def test_a_replay_with_the_same_catalogue_finds_the_same(line: DiagnosedLine) -> None:
    before = findings(line.store)
    again = replayed(line.store, SETTINGS, FMEA / "pcb.yaml", load_priority_table(None), learned=True)
    assert [(one.family, one.first_suspect, one.opened_at) for one in again] == [
        (one.family, one.first_suspect, one.opened_at) for one in before
    ]
    assert findings(line.store) == before


def test_a_replay_heeds_what_the_mes_closed(line: DiagnosedLine) -> None:
    """Closed while the rate is still high, the trouble is found anew: two incidents, as it was then."""
    ran(line, "close", "WO-0001", "--cause", "A15")
    with line.store.reader() as uow:
        seen = [inspection for _, inspection in uow.inspections.after(0, 1_000)]
    line.clock.set(seen[170].ended_at)
    Learner(store=line.store, clock=line.clock, catalogue=pcb(), sender=SENDER).step()
    (closing,) = closings(line.store)
    assert (closing.station_id, closing.at) == ("aoi-1", seen[170].ended_at)
    again = replayed(line.store, SETTINGS, FMEA / "pcb.yaml", load_priority_table(None), learned=True)
    assert len(again) == 2
    assert again[1].opened_at > closing.at > again[0].opened_at


@pytest.mark.parametrize("words", [["list"], ["show", "WO-0001"], ["respond", "WO-0001", "accepted"]])
def test_the_store_of_a_configuration_is_used(line: DiagnosedLine, tmp_path: Path, words: list[str]) -> None:
    shutil.copytree(FMEA.parent, tmp_path / "plant_config", ignore=shutil.ignore_patterns("examples"))
    config = tmp_path / "plant_config" / "demo"
    plant = (config / "plant.yaml").read_text()
    assert "\nstore:" not in plant
    (config / "plant.yaml").write_text(f"{plant}\nstore:\n  url: {sqlite_url(line.folder)}\n")
    result = RUN.invoke(orders.app, [*words, "--config", str(config)])
    assert result.exit_code == 0, result.output
    assert "WO-0001" in result.output


def test_a_replay_with_another_catalogue_shows_what_would_differ(line: DiagnosedLine, tmp_path: Path) -> None:
    text = (FMEA / "pcb.yaml").read_text().replace("tel:etch_temp_c-", "tel:oven_temp_c-")
    (tmp_path / "pcb.yaml").write_text(text)
    (tmp_path / "pcb_background.yaml").write_text((FMEA / "pcb_background.yaml").read_text())
    again = replayed(line.store, SETTINGS, tmp_path / "pcb.yaml", load_priority_table(None), learned=False)
    (before,) = findings(line.store)
    assert (again[0].first_suspect, again[0].grade) != (before.first_suspect, before.grade)


def test_incidents_are_paired_by_place_and_time() -> None:
    def one(station: str, minute: int) -> Finding:
        return Finding(
            station_id=station,
            family="f",
            opened_at=START.replace(minute=minute),
            parts=3,
            first_suspect="A01",
            grade="likely",
            order=None,
        )

    a, b, c = one("s1", 1), one("s2", 1), one("s1", 30)
    assert compare([a, b], [one("s1", 2), c]) == [(a, one("s1", 2)), (b, None), (None, c)]
