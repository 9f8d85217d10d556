"""How urgent: severity, observed occurrence and detection, looked up in the plant's own table."""

from dataclasses import dataclass
from datetime import timedelta

from edge_agent.domain.cause import Catalogue, Cause
from edge_agent.domain.incident import Incident
from edge_agent.domain.priority import PriorityTable
from edge_agent.responding.words import share

UNKNOWN_SEVERITY, UNKNOWN_DETECTION = 5, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Priority:
    """1 (now) to 4 (log), with its reason in one sentence and the time allowed."""

    level: int
    reason: str
    due: timedelta


def prioritise(incident: Incident, suspect: Cause | None, catalogue: Catalogue, table: PriorityTable) -> Priority:
    """The priority of an incident. Severity comes from the defect's class, never from a model's confidence."""
    severity = max((_severity(code, suspect, catalogue) for code in _classes(incident)), default=UNKNOWN_SEVERITY)
    occurrence = table.occurrence(incident.rate)
    detection = suspect.detection if suspect else UNKNOWN_DETECTION
    letter = table.letter(severity, occurrence, detection)
    now = severity >= table.now_severity or incident.rate >= table.now_scrap_rate
    level = {"H": 1 if now else 2, "M": 3, "L": 4}[letter]
    reason = (
        f"severity {severity}, occurrence {occurrence} (observed {share(incident.rate)}), detection {detection}: "
        f"action priority {letter}"
    )
    return Priority(level=level, reason=reason, due=table.due[level])


def _classes(incident: Incident) -> tuple[str, ...]:
    return tuple(incident.class_counts) or (incident.code,)


def _severity(code: str, suspect: Cause | None, catalogue: Catalogue) -> int:
    usual = catalogue.severity.get(code, UNKNOWN_SEVERITY)
    return suspect.severity_by_class.get(code, usual) if suspect else usual
