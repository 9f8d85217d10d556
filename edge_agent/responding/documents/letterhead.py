"""Who prints a document, and how it shows times and names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo


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

    def time(self, at: datetime) -> str:
        """``10:42``, local."""
        return at.astimezone(self.timezone).strftime("%H:%M")

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
