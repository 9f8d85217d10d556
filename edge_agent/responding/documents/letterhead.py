"""Who prints a document, and how it shows times and names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

_SHORT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterhead:
    """The sender of a document.

    Attributes:
        plant: where the box stands, for people, e.g. ``acme / nord / pcb / L2``.
        agent: id of the box.
        software: product and version.
        timezone: the plant's own; documents show local time and name its offset.
        labels: defect class to the word that people read; a class without one is shown with spaces for ``_``.
    """

    plant: str
    agent: str
    software: str
    timezone: tzinfo = UTC
    labels: Mapping[str, str] = field(default_factory=dict)

    def label(self, code: str) -> str:
        """The defect class as people read it."""
        return self.labels.get(code, code.replace("_", " "))

    def date_time(self, at: datetime) -> str:
        """``2026-11-20 10:42``, local."""
        return at.astimezone(self.timezone).strftime("%Y-%m-%d %H:%M")

    def time(self, at: datetime, *, seconds: bool = False) -> str:
        """``10:42``, or ``10:42:07`` where minutes do not tell enough; local."""
        return at.astimezone(self.timezone).strftime("%H:%M:%S" if seconds else "%H:%M")

    @staticmethod
    def is_short(start: datetime, end: datetime) -> bool:
        """Would minutes alone not tell the times of this span apart?"""
        return end - start < _SHORT

    def span(self, start: datetime, end: datetime) -> str:
        """``2026-11-20 10:42 to 11:10``, with seconds where it is short and the second date where it differs; local."""
        fine = self.is_short(start, end)
        first, last = (at.astimezone(self.timezone) for at in (start, end))
        other_day = f"{last:%Y-%m-%d} " if first.date() != last.date() else ""
        return f"{first:%Y-%m-%d} {self.time(start, seconds=fine)} to {other_day}{self.time(end, seconds=fine)}"

    def zone(self, at: datetime) -> str:
        """``UTC+01:00``."""
        text = at.astimezone(self.timezone).strftime("%z")
        return "UTC" if text in {"+0000", ""} else f"UTC{text[:3]}:{text[3:]}"

    def shown(self, made_at: datetime) -> dict[str, str]:
        """For the foot of every page."""
        return {
            "plant": self.plant,
            "agent": self.agent,
            "software": self.software,
            "made_at": self.date_time(made_at),
            "made_at_iso": made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "zone": self.zone(made_at),
        }
