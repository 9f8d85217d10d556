"""The simulated MES: what its people decide, and what it remembers."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.mes.letters import confirms
from edge_agent.simulation.mes.ledger import AGAIN_AFTER_S, DOUBLINGS, Answer, Ledger
from edge_agent.simulation.mes.technician import Habits, Technician
from edge_agent.simulation.mes.truth import Fault, Repairs, Truth

IDEAL = Habits(rejects=0, asks=0, late=0, twice=0, wrong=0)
FAULT = Fault(cause_id="ETCH-1", text="etchant too hot")
NOW = datetime(2026, 1, 5, 6, tzinfo=UTC)
ORDER = {
    "jobOrderId": "01a202de-2a6f-7000-a1dd-b8ec1449b383",
    "rev": 1,
    "priority": 2,
    "rcaId": "r-1",
    "expectedCause": "ETCH-1",
    "suspects": [
        {
            "causeCode": "ETCH-1",
            "name": "etchant too hot",
            "actions": [{"id": "A-1", "parts": [{"materialId": "P-9", "qty": 1.0}]}],
        },
        {"causeCode": "EXPO-2", "name": "lamp weak", "actions": []},
    ],
}


def test_the_ideal_technician_accepts_starts_completes_and_closes_with_the_true_cause() -> None:
    steps = Technician(1, IDEAL).plan(ORDER, 0, FAULT)
    assert [step.event for step in steps] == ["accepted", "started", "completed", "closed"]
    assert [step.after_min for step in steps] == sorted(step.after_min for step in steps)
    assert [step.repairs for step in steps] == [False, False, True, False]
    actual = steps[-1].actual
    assert actual is not None
    assert (actual["causeCode"], actual["confirms"]) == ("ETCH-1", "yes")
    assert (actual["actions"], actual["parts"]) == (["A-1"], [{"materialId": "P-9", "qty": 1.0}])


def test_nothing_broken_is_said_so() -> None:
    actual = Technician(1, IDEAL).plan(ORDER, 0, None)[-1].actual
    assert actual is not None
    assert (actual["causeCode"], actual["confirms"]) == ("NONE", "no")


def test_the_same_seed_decides_the_same() -> None:
    assert Technician(7).plan(ORDER, 3, FAULT) == Technician(7).plan(ORDER, 3, FAULT)


def test_people_differ_but_the_first_order_is_never_refused() -> None:
    plans = [Technician(seed).plan(ORDER, 1, FAULT) for seed in range(400)]
    events = Counter(step.event for plan in plans for step in plan)
    assert 5 <= events["rejected"] <= 60
    assert 20 <= events["held"] <= 120
    closings = [plan[-1] for plan in plans if plan[-1].event == "closed"]
    assert 30 <= sum(step.copies == 2 for step in closings) <= 140
    wrong = sum(step.actual["causeCode"] != "ETCH-1" for step in closings if step.actual)
    assert 10 <= wrong <= 90
    assert all(Technician(seed).plan(ORDER, 0, FAULT)[0].event == "accepted" for seed in range(100))


@pytest.mark.parametrize(("found", "word"), [("A", "yes"), ("B", "partly"), ("C", "no")])
def test_confirms(found: str, word: str) -> None:
    assert confirms("A", ["A", "B"], found) == word


def _truth(path: Path, *lines: tuple[float, str | None]) -> Truth:
    path.write_text(
        "".join(
            json.dumps({"at": (NOW + timedelta(seconds=at)).isoformat(), "causeId": cause, "causeText": "x"}) + "\n"
            for at, cause in lines
        )
    )
    return Truth(path)


@pytest.mark.parametrize(
    ("at_s", "cause"), [(-1, None), (5, None), (15, "A"), (45, "A"), (55, None), (100, "B"), (1000, "B")]
)
def test_the_fault_behind_an_order(tmp_path: Path, at_s: float, cause: str | None) -> None:
    truth = _truth(tmp_path / "t", (0, None), (10, "A"), (20, None), (95, "B"))
    found = truth.behind(NOW + timedelta(seconds=at_s))
    assert (found.cause_id if found else None) == cause


def test_a_half_written_line_is_left_for_later(tmp_path: Path) -> None:
    truth = _truth(tmp_path / "t", (0, "A"))
    with (tmp_path / "t").open("a") as file:
        file.write('{"at": "20')
    assert truth.now() == Fault(cause_id="A", text="x")


def test_no_truth_yet(tmp_path: Path) -> None:
    assert Truth(tmp_path / "missing").behind(NOW) is None


def test_a_repair_is_told_once(tmp_path: Path) -> None:
    for _ in range(2):
        Repairs(tmp_path / "sub" / "repairs").done("o-1", "A", NOW)
    Repairs(tmp_path / "sub" / "repairs").done("o-2", "A", NOW)
    lines = [json.loads(line) for line in (tmp_path / "sub" / "repairs").read_text().splitlines()]
    assert [line["orderId"] for line in lines] == ["o-1", "o-2"]


def _answer(event: str, due_at: float, order: str = "o") -> Answer:
    return Answer(answer_id=f"{order}-{event}", order_id=order, event=event, due_at=due_at, topic="t", body=b"{}")


def test_the_ledger_remembers_over_a_restart(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "mes.sqlite3")
    assert ledger.first_time("s", "1")
    ledger.plan([_answer("accepted", 1.0), _answer("closed", 2.0)])
    ledger.commit()
    assert ledger.first_time("s", "2")
    ledger.close()
    again = Ledger(tmp_path / "mes.sqlite3")
    assert not again.first_time("s", "1")
    assert again.first_time("s", "2"), "what was not committed never happened"
    assert [answer.event for answer in again.due(5.0)] == ["accepted"], "the second waits for the first"


def test_an_answer_is_repeated_until_the_box_has_heard_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "mes.sqlite3")
    ledger.plan([_answer("accepted", 0.0), _answer("closed", 0.0)])
    now = 1.0
    for _ in range(2):
        accepted = next(answer for answer in ledger.due(now) if answer.event == "accepted")
        ledger.said(accepted, now)
        now += 1000
    ledger.heard("o-accepted")
    events = []
    for _ in range(20):
        for answer in ledger.due(now):
            events.append(answer.event)
            ledger.said(answer, now)
        assert ledger.due(now) == [], "not at once again"
        now += AGAIN_AFTER_S * 2.0**DOUBLINGS
    assert events == ["closed"] * 20, "for as long as the box is away"


def test_an_answer_that_was_heard_before_it_was_marked_as_said_counts_as_said_once(tmp_path: Path) -> None:
    """The MES was killed between the two."""
    ledger = Ledger(tmp_path / "mes.sqlite3")
    ledger.plan([_answer("accepted", 0.0), _answer("closed", 0.0)])
    (answer,) = ledger.due(1.0)
    assert ledger.heard("o-accepted") == [answer]
    assert ledger.said(answer, 1.0)
    assert not ledger.said(answer, 1.0)
    assert ledger.heard("o-accepted") == []
    assert [each.event for each in ledger.due(2.0)] == ["closed"], "the next one is not held back"
