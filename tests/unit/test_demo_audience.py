"""What is shown: everything that matters, on a screen of ordinary size, and in plain lines."""

import io
from datetime import UTC, datetime

from rich.console import Console

from edge_agent.simulation.demo.audience import Lines, Screen
from edge_agent.simulation.demo.story import IncidentCard, OrderCard, PartRow, Story, Told


def a_story() -> Story:
    it = Story(run="R", since=datetime(2026, 1, 2, tzinfo=UTC))
    for number in range(14):
        it.seen.add(f"R-{number:05d}")
        it.evaluations["OK"] += 1
        it.rows.append(PartRow(part_id=f"R-{number:05d}", evaluation="OK", disposition="ACCEPT", ms=81.4, defects={}))
    it.incidents["I"] = IncidentCard(
        code="open",
        parts=15,
        defective=5,
        evidence=tuple(f"evidence {n} " + "long " * 40 for n in range(9)),
        suspects=(("dirt on the phototool", "likely", 0.7),),
        text="words " * 60,
    )
    it.orders["O"] = OrderCard(number="WO-0001", description="open " * 40, priority=1, note="the model says so")
    it.orders["O"].answers += ["MES: WO-0001 accepted", "MES: WO-0001 closed"]
    return it


def test_the_picture_fits_a_terminal_and_shows_each_link() -> None:
    screen = Screen(Console(file=io.StringIO(), force_terminal=True, width=120, height=36))
    screen.begin(a_story(), 300)
    for number in range(20):
        screen.tell(Told(kind="answer", text=f"happening {number} " + "and so on " * 30))
    out = io.StringIO()
    Console(file=out, width=120, height=36).print(screen.picture())
    screen.end()
    shown = out.getvalue()
    assert len(shown.splitlines()) <= 36
    for word in (
        "R-00013",
        "14/300",
        "open: 5 of the last 15",
        "dirt on the phototool",
        "WO-0001",
        "the model says so",
    ):
        assert word in shown
    assert "happening 19" in shown
    assert "happening 2 " not in shown


def test_plain_lines_count_good_parts_and_tell_the_rest() -> None:
    out = io.StringIO()
    lines, it = Lines(Console(file=out, width=200)), Story(run="R", since=datetime(2026, 1, 2, tzinfo=UTC))
    lines.begin(it, 60)
    for number in range(1, 61):
        it.seen.add(f"R-{number}")
        lines.tell(Told(kind="part", text=f"part {number}"))
    lines.tell(Told(kind="defect", text="part x is bad"))
    lines.tell(Told(kind="order", text="work order [red]WO-1"))
    lines.end()
    said = out.getvalue().splitlines()
    assert said == [
        *(f"[{number}/60] part {number}" for number in (1, 2, 3, 4, 5, 25, 50)),
        "[60/60] part x is bad",
        "work order [red]WO-1",
    ]
