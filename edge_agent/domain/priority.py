"""Action priority: severity, occurrence and detection looked up in the plant's own table."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

Span = tuple[int, int]
"""First and last rating, both included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityRow:
    """One severity band: for each occurrence band four letters, detection 7-10, 5-6, 2-4, 1."""

    severity: Span
    by_occurrence: tuple[tuple[Span, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityTable:
    """The plant's table.

    Attributes:
        occurrence_from_rate: occurrence rating to the share of defective parts at or above which it holds.
        now_severity, now_scrap_rate: what makes an H a priority 1.
        due: priority 1 to 4 to the time allowed.
    """

    rows: tuple[PriorityRow, ...]
    occurrence_from_rate: Mapping[int, float]
    now_severity: int
    now_scrap_rate: float
    due: Mapping[int, timedelta]

    def letter(self, severity: int, occurrence: int, detection: int) -> str:
        """``H``, ``M`` or ``L``. Ratings are 1 to 10; the table covers them all (checked when it is loaded)."""
        column = 0 if detection >= 7 else 1 if detection >= 5 else 2 if detection >= 2 else 3
        row = next(row for row in self.rows if row.severity[0] <= severity <= row.severity[1])
        letters = next(letters for span, letters in row.by_occurrence if span[0] <= occurrence <= span[1])
        return letters[column]

    def occurrence(self, rate: float) -> int:
        """The occurrence rating of an observed share of defective parts."""
        return max((rating for rating, least in self.occurrence_from_rate.items() if rate >= least), default=1)
