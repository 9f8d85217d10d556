"""The line's loop: a panel, its photograph, the question to the box; readings and log entries beside it."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from edge_agent.simulation.line.photographer import Photographer
from edge_agent.simulation.line.plc import Plc
from edge_agent.simulation.line.trouble import Trouble
from edge_agent.simulation.process import Plant

log = structlog.get_logger(__name__)

WARM_UP_S = 6.0
"""Readings before the first panel: the baths are hot before production starts."""
WARM_UP_EVERY_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What to make.

    Attributes:
        parts: number of panels; None until stopped.
        rate: panels a second at most.
        run: prefix of part ids, unique for each run.
        summary: file for the counts, written at the end; None for none.
    """

    parts: int | None
    rate: float
    run: str
    summary: Path | None = None


class Line:
    """Makes panels until the shift is over."""

    def __init__(
        self, *, plant: Plant, plc: Plc, photographer: Photographer, trouble: Trouble, stop: threading.Event
    ) -> None:
        self._plant = plant
        self._plc = plc
        self._photographer = photographer
        self._trouble = trouble
        self._stop = stop

    def work(self, shift: Shift) -> None:
        """One shift; returns early when stopped."""
        self._warm_up()
        due = time.monotonic()
        while not self._stop.is_set() and (shift.parts is None or self._plant.number < shift.parts):
            self._make_one(shift)
            due = max(due + 1 / shift.rate, time.monotonic() - 1 / shift.rate)
            self._stop.wait(max(0.0, due - time.monotonic()))
            self._plc.await_room(self._stop)
        self._plc.await_answers()
        self._show_readings()
        if shift.summary:
            shift.summary.write_text(json.dumps(self.account(), indent=2) + "\n")

    def account(self) -> dict[str, object]:
        """What was made, asked and answered, and which faults were at work: for the simulators only."""
        ledger = self._plc.ledger
        return {
            "parts": self._plant.number,
            "asked": ledger.asked,
            "answered": ledger.answered,
            "unanswered": ledger.unanswered,
            "late": ledger.late,
            "dispositions": dict(ledger.dispositions),
            "faults": [
                {
                    "fault": episode.fault.name,
                    "causeId": episode.fault.cause_id,
                    "fromPart": episode.from_part,
                    "toPart": episode.to_part,
                    "endedBy": episode.ended_by,
                }
                for episode in self._trouble.episodes
            ],
        }

    def _warm_up(self) -> None:
        until = time.monotonic() + WARM_UP_S
        while time.monotonic() < until and not self._stop.wait(WARM_UP_EVERY_S):
            self._show_readings()

    def _make_one(self, shift: Shift) -> None:
        self._trouble.before_panel()
        panel = self._plant.make()
        part_id = f"{shift.run}-{panel.number:05d}"
        self._photographer.shoot(panel, part_id)
        self._show_readings()
        for notice in self._plant.notices():
            self._plc.log_entry(notice)
        self._plc.ask(panel, part_id)

    def _show_readings(self) -> None:
        """Once a panel: on this accelerated line that is every twenty seconds of process time."""
        self._plc.report(self._plant.readings())


def run_id(now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> str:
    """A short prefix that sorts by time and does not repeat within a century (seconds, base 36)."""
    seconds, digits = int(now().timestamp()), "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    text = ""
    while seconds:
        seconds, digit = divmod(seconds, 36)
        text = digits[digit] + text
    return f"P{text}"
