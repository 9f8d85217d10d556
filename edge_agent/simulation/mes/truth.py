"""What really happens on the line (written by the line's simulator), and the repairs told to it."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

LOOKED_BACK = timedelta(seconds=30)
"""A fault that ended this long before the order may still be what it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The cause that was at work."""

    cause_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From here on this fault (or none) is at work."""

    at: datetime
    fault: Fault | None


class Truth:
    """Reads ``{"at", "causeId", "causeText", ...}`` lines; ``causeId`` null means: nothing is broken now."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def behind(self, at: datetime) -> Fault | None:
        """The fault an order of this time is about: the one at work then, or the last one if it just ended."""
        before = [change for change in self._changes() if change.at <= at]
        if not before:
            return None
        if before[-1].fault is not None or at - before[-1].at > LOOKED_BACK:
            return before[-1].fault
        return before[-2].fault if len(before) > 1 else None

    def now(self) -> Fault | None:
        """The fault at work now."""
        changes = self._changes()
        return changes[-1].fault if changes else None

    def _changes(self) -> list[Change]:
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        whole = text[: text.rfind("\n") + 1]
        return [_change(json.loads(line)) for line in whole.splitlines() if line.strip()]


class Repairs:
    """Tells the line's simulator that somebody has done the work: one line for each order, however often we start."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def done(self, order_id: str, cause_id: str, at: datetime) -> None:
        """Append ``{"orderId", "causeId", "at"}`` unless it is there already."""
        if self._path is None or self._has(order_id):
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"orderId": order_id, "causeId": cause_id, "at": at.isoformat()}) + "\n")

    def _has(self, order_id: str) -> bool:
        assert self._path is not None
        try:
            return f'"{order_id}"' in self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return False


def _change(line: dict[str, str | None]) -> Change:
    cause = line.get("causeId")
    fault = Fault(cause_id=cause, text=line.get("causeText") or "") if cause else None
    return Change(at=datetime.fromisoformat(str(line["at"])), fault=fault)
