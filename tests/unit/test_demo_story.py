"""The demo's picture of what happens is made of the plant's messages alone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from edge_agent.simulation.demo.story import SHOWN_PARTS, Story

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
EARLIER = "2026-01-02T11:59:00.000Z"
LATER = "2026-01-02T12:00:05.000Z"


def story() -> Story:
    return Story(run="R1", since=NOW)


def event(data: dict[str, Any], time: str = LATER) -> dict[str, Any]:
    return {"time": time, "data": data}


def result(number: int, evaluation: str = "OK", run: str = "R1", **counts: int) -> dict[str, Any]:
    return event(
        {
            "unitId": f"{run}-{number:05d}",
            "evaluation": evaluation,
            "disposition": "ACCEPT" if evaluation == "OK" else "REJECT",
            "defectCounts": counts,
            "reasons": [] if evaluation == "OK" else [{"code": "c", "text": "too many"}],
            "startedAt": "2026-01-02T12:00:00.000Z",
            "endedAt": "2026-01-02T12:00:00.080Z",
        }
    )


def analysis(rev: int = 0, text: str = "template says", **changed: Any) -> dict[str, Any]:
    data = {
        "rcaId": "I1",
        "rev": rev,
        "incidentCode": "open",
        "parts": 15,
        "defectiveParts": 5,
        "hypotheses": [{"text": "dirt", "grade": "likely", "probability": 0.6}],
        "evidence": [
            {"statement": "same place", "polarity": "present"},
            {"statement": "no drift", "polarity": "absent"},
        ],
        "narrative": text,
        "narrativeSource": "template",
    }
    return event({**data, **changed})


def order(rev: int = 0, state: str = "issued", time: str = LATER, **changed: Any) -> dict[str, Any]:
    data = {"number": "WO-0001", "rev": rev, "priority": 1, "description": "open x28", "state": state, "rcaId": "I1"}
    return event({**data, **changed}, time)


def lines(told: list[Any]) -> list[str]:
    return [one.text for one in told]


def test_results_are_counted_once_and_only_this_runs() -> None:
    it = story()
    it.hear("out/result", result(1))
    it.hear("out/result", result(2, "NOT_OK", open=2))
    assert it.hear("out/result", result(2, "NOT_OK", open=2)) == []
    assert it.hear("out/result", result(9, run="R0")) == []
    assert (it.parts, it.repeated) == (2, 1)
    assert (dict(it.evaluations), dict(it.defects)) == ({"OK": 1, "NOT_OK": 1}, {"open": 2})
    assert it.rows[-1].ms == pytest.approx(80)


def test_the_table_keeps_the_newest_parts() -> None:
    it = story()
    for number in range(40):
        it.hear("out/result", result(number))
    assert len(it.rows) == SHOWN_PARTS
    assert it.rows[-1].part_id == "R1-00039"


def test_an_incident_is_told_with_evidence_suspects_and_text_and_then_its_order() -> None:
    it = story()
    assert it.hear("out/wo/O1/order", order()) == []
    told = it.hear("out/rca/I1", analysis())
    assert [one.kind for one in told] == ["incident", "analysis", "analysis", "analysis", "order"]
    assert "same place" in told[1].text
    assert not any("no drift" in one.text for one in told)
    assert it.hear("out/rca/I1", analysis()) == []


def test_an_order_goes_its_way() -> None:
    it = story()
    it.hear("out/rca/I1", analysis())
    it.hear("out/wo/O1/order", order())
    assert it.orders["O1"].open
    noted = lines(it.hear("out/wo/O1/order", order(rev=1, note="the model writes")))
    assert any("revised" in line for line in noted)
    assert any("the model writes" in line for line in noted)
    answered = event({"event": "accepted"})
    assert lines(it.hear("in/wo/O1/response", answered)) == ["MES: WO-0001 accepted"]
    actual = {"causeCode": "A01", "causeText": "a particle", "minutes": 12.0}
    closed = event({"event": "closed", "actual": actual})
    assert "A01 a particle, 12 min" in lines(it.hear("in/wo/O1/response", closed))[0]
    assert "sent again" in lines(it.hear("in/wo/O1/response", closed))[0]
    assert not it.orders["O1"].open
    it.hear("out/wo/O1/order", order(rev=2, state="started"))
    assert not it.orders["O1"].open
    learned = event({"learnedFrom": True, "status": "applied"})
    assert len(it.hear("out/wo/O1/response-ack", learned)) == 1
    assert it.hear("out/wo/O1/response-ack", learned) == []


def test_what_an_earlier_run_left_retained_is_not_told() -> None:
    it = story()
    assert it.hear("out/wo/O0/order", order(time=EARLIER)) == []
    assert it.hear("in/wo/O0/response", event({"event": "closed"})) == []
    assert it.orders == {}


@pytest.mark.parametrize(
    ("uri", "unfinished"),
    [
        ("http://box/documents/work-order/WO-0001-r1.pdf", True),
        ("http://box/documents/work-order/WO-0001-r1-closed.pdf", False),
    ],
)
def test_an_order_is_finished_once_its_last_sheet_is_printed(uri: str, unfinished: bool) -> None:
    it = story()
    it.hear("out/rca/I1", analysis())
    it.hear("out/wo/O1/order", order())
    assert it.orders["O1"].unfinished
    it.hear("in/wo/O1/response", event({"event": "closed"}))
    it.hear("out/report/D1", event({"title": "WO-0001", "size": 2048, "woId": "O1", "uri": uri}))
    assert it.orders["O1"].unfinished is unfinished


def test_documents_and_the_box_itself() -> None:
    it = story()
    assert lines(it.hear("out/state", event({"online": True}))) == ["the box is online"]
    assert it.hear("out/state", event({"online": True})) == []
    assert it.box_online
    assert "PDF: WO-0001 (2 KiB)" in lines(it.hear("out/report/D1", event({"title": "WO-0001", "size": 2048})))
    assert it.hear("out/metric/fps", {"value": 1}) == []
