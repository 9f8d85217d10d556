"""The challenge: known parts must be judged rightly, or every part is held."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.bootstrap.challenges import ChallengeWatch, load_gate
from edge_agent.cli import build
from edge_agent.config.load import InvalidConfiguration, load
from edge_agent.contract import inbound, outbound
from edge_agent.domain.challenge import (
    FAILED,
    NOT_STARTED,
    OVERDUE,
    ChallengePart,
    ChallengeState,
    Plan,
    advanced,
    as_record,
    due_at,
    fact,
    following_daily,
    from_record,
    holding,
    released,
    started,
)
from edge_agent.domain.faults import PartFault
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection
from edge_agent.inspecting.challenge import ChallengeGate
from edge_agent.inspecting.challenge_commands import ChallengeCommands, note
from edge_agent.observability.health import Condition, Health
from edge_agent.web.views import challenges
from tests.fakes.clock import START, FakeClock
from tests.fakes.made import an_inspection
from tests.fakes.plant_samples import SENDER
from tests.fakes.station import FakeDetector, board, defect, shot
from tests.unit.test_station import Line

ROOT = Path(__file__).resolve().parents[2]
GOOD = ChallengePart(part_id="GOOD", evaluation=Evaluation.OK)
OPEN = ChallengePart(part_id="OPEN", evaluation=Evaluation.NOT_OK, defects={"open": 1})
PLAN = Plan(
    parts=(GOOD, OPEN),
    following=None,
    every=timedelta(hours=8),
    grace=timedelta(minutes=30),
    within=timedelta(minutes=15),
)
FRESH = ChallengeState(since=START)
RUNNING = started(FRESH, "OP-3", START)


def seen(part_id: str, *codes: str, at: datetime = START, evaluation: Evaluation | None = None) -> Inspection:
    """A challenge part that was inspected."""
    one = an_inspection(FakeClock(), codes=codes, ended_at=at, evaluation=evaluation)
    return replace(one, shot=replace(one.shot, part_id=part_id, challenge=True))


# --- what follows from what was seen --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "passed", "failed", "still"),
    [
        ((seen("GOOD"), seen("OPEN", "open")), True, "", False),
        ((seen("GOOD"), seen("OPEN", "short")), False, "expected 1 x open, found 0", False),
        ((seen("OPEN"),), False, "OPEN: expected NOT_OK, got OK", False),
        ((seen("GOOD", "open"),), False, "GOOD: expected OK, got NOT_OK", False),
        ((seen("GOOD"),), False, "", True),
        ((seen("GOOD"), seen("OPEN", evaluation=Evaluation.NOT_INSPECTED)), False, "", True),
        ((seen("GOOD"), seen("OPEN"), seen("OPEN", "open")), False, "OPEN", False),
        ((seen("ANOTHER"),), False, "", True),
        ((seen("GOOD", at=START - timedelta(seconds=1)), seen("OPEN", "open")), False, "", True),
    ],
    ids=[
        "all",
        "other class",
        "escape",
        "false reject",
        "one is missing",
        "not inspected is no answer",
        "the first answer counts",
        "no challenge part",
        "before it was begun",
    ],
)
def test_what_the_parts_come_to(shown: Sequence[Inspection], passed: bool, failed: str, still: bool) -> None:
    state, _ = advanced(RUNNING, PLAN, shown, START + timedelta(minutes=1))
    assert (state.passed_at is not None, state.run is not None) == (passed, still)
    assert bool(failed) == bool(state.failed)
    assert failed in state.failed


def test_one_that_is_not_finished_is_no_pass_and_no_failure() -> None:
    state, _ = advanced(RUNNING, PLAN, [seen("GOOD")], START + timedelta(minutes=16))
    assert (state.run, state.passed_at, state.failed) == (None, None, "")
    assert "not shown: OPEN" in state.outcome


def test_a_failure_holds_until_a_challenge_is_passed_or_a_person_releases() -> None:
    failed, _ = advanced(RUNNING, PLAN, [seen("OPEN")], START)
    assert holding(failed, PLAN, START) is not None
    again = started(failed, "OP-3", START + timedelta(minutes=1))
    assert holding(again, PLAN, START) is not None
    late = START + timedelta(minutes=2)
    passed, _ = advanced(again, PLAN, [seen("GOOD", at=late), seen("OPEN", "open", at=late)], late)
    assert holding(passed, PLAN, late) is None
    assert holding(released(failed, "QE-2", "part is damaged", START), PLAN, START) is None


@given(minutes=st.integers(0, 3_000), passed=st.integers(0, 1_500), is_released=st.booleans())
def test_nothing_but_a_pass_or_a_release_since_the_due_time_keeps_the_line_going(
    minutes: int, passed: int, is_released: bool
) -> None:
    at = START + timedelta(minutes=passed)
    state = replace(FRESH, released_at=at) if is_released else replace(FRESH, passed_at=at)
    now = START + timedelta(minutes=minutes)
    held = holding(state, PLAN, now)
    assert (held is not None) == (now > at + timedelta(hours=8, minutes=30))
    assert held is None or held.code == OVERDUE


@given(after=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)))
def test_the_next_shift_start_is_the_next_one_on_the_plants_clock(after: datetime) -> None:
    zone = ZoneInfo("Europe/Berlin")
    found = following_daily(["06:00", "14:00", "22:00"], zone)(after)
    assert after < found <= after + timedelta(hours=10)
    assert found.astimezone(zone).strftime("%H:%M") in {"06:00", "14:00", "22:00"}


def test_a_challenge_a_little_early_counts_for_the_shift() -> None:
    plan = replace(PLAN, following=following_daily(["06:00"], ZoneInfo("UTC")))
    six = datetime(2026, 1, 6, 6, tzinfo=UTC)
    early = replace(FRESH, passed_at=six - timedelta(minutes=20))
    assert due_at(early, plan) == six + timedelta(days=1)
    much_earlier = replace(FRESH, passed_at=six - timedelta(minutes=40))
    assert due_at(much_earlier, plan) == six


def test_the_state_comes_back_from_its_record() -> None:
    state = replace(RUNNING, passed_at=START, released_at=START, failed="f", outcome="o", told=FAILED)
    assert from_record(json.loads(json.dumps(as_record(state))), START) == state
    assert from_record(None, START) == FRESH


# --- the station ----------------------------------------------------------------------------------------------------


class ChallengedLine(Line):
    """A station on fakes with a challenge."""

    def __init__(self, state: ChallengeState = FRESH, plan: Plan = PLAN) -> None:
        super().__init__([board()], capacity=4)
        self.gate = ChallengeGate(plan, replace(state, since=self.clock.now()), clock=self.clock)
        self.answering.challenge = self.gate

    def show(self, part: str) -> Inspection:
        self.trigger.queue.append(shot(self.clock, part))
        self.waiting.step()
        self.inspecting.step()
        return list(self.recorder.kept.values())[-1]

    def sees(self, *codes: str) -> None:
        found = [defect(self.clock, code) for code in codes]
        self.inspecting._inspector._detectors["m"] = FakeDetector(found)  # type: ignore[attr-defined,index]

    def begin(self) -> None:
        self.gate.adopt(started(FRESH, "OP-3", self.clock.now()))


def test_an_overdue_challenge_holds_every_part_and_withdraws_ready_without_the_store() -> None:
    line = ChallengedLine()
    assert line.show("P-1").disposition is Disposition.ACCEPT
    line.clock.advance(hours=8, minutes=31)
    held = line.show("P-2")
    assert (held.evaluation, held.disposition) == (Evaluation.NOT_INSPECTED, Disposition.HOLD)
    assert held.reasons[0].code == OVERDUE
    assert not line.actuator.is_ready
    assert not line.actuator.is_fault


def test_while_challenge_parts_are_shown_the_line_is_ready_and_other_parts_are_held() -> None:
    line = ChallengedLine()
    line.clock.advance(hours=9)
    line.begin()
    line.waiting.step()
    assert line.actuator.is_ready
    good = line.show("GOOD")
    assert (good.evaluation, good.shot.challenge) == (Evaluation.OK, True)
    assert line.show("P-3").reasons[0].code == OVERDUE
    assert ("ACCEPT", "GOOD") in line.actuator.told


def test_a_wrong_challenge_part_holds_the_next_part_at_once_also_one_that_waits() -> None:
    line = ChallengedLine()
    line.begin()
    line.trigger.queue.extend([shot(line.clock, "OPEN"), shot(line.clock, "P-1")])
    for step in (line.waiting, line.waiting, line.inspecting, line.inspecting):
        step.step()
    looked, held = line.recorder.kept.values()
    assert looked.evaluation is Evaluation.OK
    assert (held.shot.part_id, held.reasons[0].code) == ("P-1", FAILED)


def test_a_challenge_part_without_a_challenge_is_no_product() -> None:
    line = ChallengedLine()
    part = line.show("GOOD")
    assert (part.evaluation, part.reasons[0].code) == (Evaluation.NOT_INSPECTED, NOT_STARTED)
    assert part.shot.challenge


def test_challenge_parts_are_not_counted_and_not_looked_at_for_drift() -> None:
    line = ChallengedLine()
    line.begin()
    line.show("GOOD")
    assert line.gate.next_image() is None
    assert line.gate.is_challenge(shot(line.clock, "OPEN"))
    assert not line.gate.is_challenge(shot(line.clock, "P-1"))


def test_images_are_inspected_by_the_station_itself_once_and_answered_to_nobody() -> None:
    image = ChallengePart(part_id="challenge:a.png", evaluation=Evaluation.OK, image_path="a.png", product_id="board-a")
    line = ChallengedLine(plan=replace(PLAN, parts=(image,)))
    line.begin()
    told = list(line.actuator.told)
    line.inspecting.step()
    line.inspecting.step()
    (looked,) = line.recorder.kept.values()
    assert (looked.shot.part_id, looked.evaluation, looked.shot.challenge) == ("challenge:a.png", Evaluation.OK, True)
    assert line.actuator.told == told


def test_on_a_line_that_never_pauses_an_image_comes_between_two_parts() -> None:
    image = ChallengePart(part_id="challenge:a.png", evaluation=Evaluation.OK, image_path="a.png", product_id="board-a")
    line = ChallengedLine(plan=replace(PLAN, parts=(image,)))
    line.begin()
    line.show("P-1")
    assert [one.shot.part_id for one in line.recorder.kept.values()] == ["P-1"]
    line.clock.advance(seconds=11)
    line.show("P-2")
    assert [one.shot.part_id for one in line.recorder.kept.values()] == ["P-1", "P-2", "challenge:a.png"]
    line.show("P-3")
    assert [one.shot.part_id for one in line.recorder.kept.values()][-1] == "P-3"


def test_an_image_that_cannot_be_read_fails_the_challenge() -> None:
    image = ChallengePart(part_id="challenge:a.png", evaluation=Evaluation.OK, image_path="a", product_id="board-a")
    line = ChallengedLine(plan=replace(PLAN, parts=(image,)))

    def unreadable(path: Path) -> None:
        raise PartFault("image.missing", f"{path}: no such file")

    line.inspecting._inspector._goldens.read = unreadable  # type: ignore[assignment]
    line.begin()
    line.inspecting.step()
    (looked,) = line.recorder.kept.values()
    state, _ = advanced(started(FRESH, "OP", START), line.gate.plan, [looked], START)
    assert "expected OK, got NOT_INSPECTED" in state.failed


# --- store, plant, people -------------------------------------------------------------------------------------------


class Challenged:
    """Watch, gate and store of one station."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.health = folder, FakeClock(), Health()
        self.store = Database(sqlite_url(folder), clock=self.clock)
        self.store.migrate()
        self.restart()

    def restart(self) -> None:
        with self.store.reader() as unit:
            self.gate = load_gate(unit, "aoi-1", PLAN, clock=self.clock)
        self.watch = ChallengeWatch(
            {"aoi-1": self.gate}, store=self.store, sender=SENDER, health=self.health, clock=self.clock
        )
        self.watch.look()

    def inspected(self, *parts: Inspection) -> None:
        with self.store.unit() as unit:
            for one in parts:
                unit.inspections.add(replace(one, inspection_id=self.clock.new_id(), ended_at=self.clock.now()))
            unit.commit()
        self.watch.look()

    def begin(self) -> None:
        with self.store.unit() as unit:
            note(unit, "aoi-1", release=False, by="OP-3", reason="", now=self.clock.now())
            unit.commit()
        self.watch.look()

    @property
    def audited(self) -> list[str]:
        with self.store.reader() as unit:
            return [one.action for one in unit.audit.rows()]

    @property
    def alarms(self) -> list[tuple[str, str]]:
        with self.store.reader() as unit:
            events = [json.loads(row.message.body)["data"] for row in unit.outbox.rows()]
        return [(one["class"], one["reasonCode"]) for one in events]


def test_a_failed_challenge_is_told_audited_and_outlives_a_restart(tmp_path: Path) -> None:
    box = Challenged(tmp_path)
    assert box.gate.held() is None
    box.begin()
    box.inspected(seen("OPEN"))
    assert box.alarms == [("inspection", FAILED)]
    assert box.audited == ["challenge.failed", "alarm.raised"]
    (blocked,) = box.health.blocking()
    assert (blocked.component, blocked.condition) == ("challenge:aoi-1", Condition.DOWN)
    box.restart()
    held = box.gate.held()
    assert held is not None
    assert held.code == FAILED
    assert len(box.alarms) == 1


def test_a_challenge_goes_on_over_a_restart_and_its_pass_ends_the_hold(tmp_path: Path) -> None:
    box = Challenged(tmp_path)
    box.clock.advance(hours=9)
    box.watch.look()
    assert box.alarms == [("inspection", OVERDUE)]
    box.begin()
    box.inspected(seen("GOOD"))
    box.restart()
    assert box.gate.running
    box.inspected(seen("OPEN", "open"))
    assert box.gate.held() is None
    assert box.health.blocking() == []
    assert box.audited == ["alarm.raised", "challenge.passed", "alarm.ended"]


def test_the_store_counts_and_lists_no_challenge_part(tmp_path: Path) -> None:
    box = Challenged(tmp_path)
    product = an_inspection(box.clock)
    challenged = replace(seen("OPEN", "open"), inspection_id=box.clock.new_id())
    with box.store.unit() as unit:
        unit.inspections.add(product)
        unit.inspections.add(challenged)
        unit.commit()
    end = box.clock.now() + timedelta(days=1)
    with box.store.reader() as unit:
        rows = unit.inspections
        assert [one.inspection_id for _, one in rows.after(0, 9)] == [product.inspection_id]
        assert [one.inspection_id for one in rows.latest(9)] == [product.inspection_id]
        assert [one.inspection_id for one in rows.between(START - timedelta(days=1), end)] == [product.inspection_id]
        assert sum(rows.count().values()) == 1
        assert rows.count_defects() == {}
        assert rows.get(challenged.inspection_id) == challenged
        assert rows.challenges("aoi-1", START) == [challenged]
        assert rows.challenges("aoi-2", START) == []


def test_its_result_goes_out_marked_and_its_defects_do_not() -> None:
    challenged = seen("OPEN", "open")
    message = outbound.result(challenged, sender=SENDER, clock=FakeClock())
    event = json.loads(message.body)
    assert event["type"].endswith("challenge.inspected.v1")
    assert event["data"]["challenge"] is True
    assert not message.expendable
    assert outbound.defects(challenged, sender=SENDER, clock=FakeClock()) == []


@pytest.mark.parametrize(
    ("args", "by", "status", "said"),
    [
        ({"action": "start"}, "OP-3", "done", "challenge of OP-3 begun"),
        ({"action": "start", "stationId": "aoi-1"}, "OP-3", "done", "aoi-1"),
        ({"action": "release", "reason": "part is damaged"}, "QE-2", "done", "released by QE-2: part is damaged"),
        ({"action": "release"}, "QE-2", "rejected", "needs a reason"),
        ({"action": "start"}, "", "rejected", "who asks"),
        ({"action": "start", "stationId": "x"}, "OP-3", "rejected", "there are: aoi-1"),
        ({"action": "stop"}, "OP-3", "rejected", "action"),
    ],
)
def test_the_command_over_mqtt(tmp_path: Path, args: dict[str, str], by: str, status: str, said: str) -> None:
    box = Challenged(tmp_path)
    request = inbound.CommandRequest(command_id="c", verb="challenge", args=args, not_after=None, requested_by=by)
    with box.store.unit() as unit:
        outcome = ChallengeCommands(["aoi-1"], clock=box.clock).challenge(unit, request)
    assert outcome.status == status
    assert said in outcome.detail
    assert outcome.subjects == (("challenge:aoi-1",) if status == "done" else ())


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(build("challenge"), ["challenge", "aoi-1", "--state", str(folder), *words])


def test_the_operator_begins_at_the_terminal_and_a_release_names_who_and_why(tmp_path: Path) -> None:
    box = Challenged(tmp_path)
    assert run(tmp_path).exit_code == 2
    begun = run(tmp_path, "--by", "OP-3")
    assert "OPEN: NOT_OK, 1 x open: not seen yet" in begun.output
    box.watch.look()
    box.inspected(seen("OPEN", at=box.clock.now() + timedelta(days=999)))
    with box.store.unit() as unit:
        unit.facts.set(fact("aoi-1"), unit.facts.get(fact("aoi-1")) | {"failed": "it failed"})
        unit.commit()
    box.watch.look()
    assert "ALL PARTS ARE HELD: it failed" in run(tmp_path, "--show").output
    assert run(tmp_path, "--release", "--by", "QE-2").exit_code == 2
    done = run(tmp_path, "--release", "--by", "QE-2", "--reason", "part is damaged")
    assert done.exit_code == 0
    assert "released by QE-2: part is damaged" in done.output
    assert {"challenge.started", "challenge.released"} <= set(box.audited)


def test_a_station_without_a_challenge_says_so(tmp_path: Path) -> None:
    store = Database(sqlite_url(tmp_path), clock=FakeClock())
    store.migrate()
    store.close()
    assert run(tmp_path, "--by", "OP-3").exit_code == 1


def test_the_page_shows_what_the_parts_came_to(tmp_path: Path) -> None:
    box = Challenged(tmp_path)
    box.begin()
    box.inspected(seen("OPEN"))
    with box.store.reader() as unit:
        (shown,) = challenges(unit, ["aoi-1"])
    assert [(part["part_id"], part["result"]) for part in shown["parts"]] == [
        ("GOOD", None),
        ("OPEN", "expected NOT_OK, got OK"),
    ]
    assert "failed" in shown["holding"]


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ("[{evaluation: OK}]", "set one of part_id and image"),
        ("[{part_id: A, product: PCB-A, evaluation: OK}]", "product belongs to an image"),
        ("[{part_id: A, evaluation: OK, defects: {open: 1}}]", "defects are counted on NOT_OK parts"),
        ("[{part_id: A, evaluation: OK}, {part_id: A, evaluation: NOT_OK}]", "occur twice: A"),
        ("[{image: nowhere.png, product: PCB-A, evaluation: OK}]", "no such file"),
        ("[{image: plant.yaml, product: PCB-Z, evaluation: OK}]", "no recipe for product 'PCB-Z'"),
        ("[]", "at least 1"),
    ],
)
def test_a_wrong_section_is_told_with_its_line(tmp_path: Path, section: str, complaint: str) -> None:
    import shutil

    folder = tmp_path / "plant"
    shutil.copytree(ROOT / "plant_config" / "examples" / "simulated", folder)
    shutil.copytree(ROOT / "plant_config" / "fmea", tmp_path / "fmea")
    (file,) = (folder / "stations").glob("*.yaml")
    file.write_text(file.read_text() + f"challenge: {{parts: {section}}}\n")
    with pytest.raises(InvalidConfiguration) as caught:
        load(folder)
    found = [one for one in caught.value.problems if one.file == file]
    assert complaint in found[0].message
    assert found[0].line is not None
