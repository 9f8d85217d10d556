"""Whose documents these are, noted in the store: a report can be printed from a state folder alone."""

from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge_agent.domain.cause import Catalogue, Cause
from edge_agent.ports import UnitOfWork
from edge_agent.responding.documents.letterhead import Letterhead

HOUSE = "documents.house"


def note_house(
    uow: UnitOfWork, letterhead: Letterhead, catalogue: Catalogue, *, shift_ends: Sequence[str] = ()
) -> None:
    """Note the letterhead, the names of the causes, and when shifts end (local ``HH:MM``)."""
    noted = {
        "plant": letterhead.plant,
        "agent": letterhead.agent,
        "software": letterhead.software,
        "timezone": str(letterhead.timezone),
        "labels": dict(letterhead.labels),
        "domain": catalogue.domain,
        "version": catalogue.version,
        "causes": [[cause.cause_id, cause.name] for cause in catalogue.causes],
        "shift_ends": list(shift_ends),
    }
    if uow.facts.get(HOUSE) != noted:
        uow.facts.set(HOUSE, noted)


def noted_house(uow: UnitOfWork) -> tuple[Letterhead, Catalogue]:
    """What was noted; an anonymous letterhead and an empty catalogue where nothing was."""
    noted: dict[str, Any] = uow.facts.get(HOUSE) or {}
    letterhead = Letterhead(
        plant=noted.get("plant", ""),
        agent=noted.get("agent", "edge-agent"),
        software=noted.get("software", "edge-agent"),
        timezone=_zone(noted.get("timezone", "UTC")),
        labels=noted.get("labels", {}),
    )
    causes = tuple(_named(cause_id, name) for cause_id, name in noted.get("causes", []))
    catalogue = Catalogue(domain=noted.get("domain", ""), version=noted.get("version", ""), causes=causes, severity={})
    return letterhead, catalogue


def noted_shift_ends(uow: UnitOfWork) -> list[str]:
    """When shifts end, local ``HH:MM``; empty where nothing was noted."""
    noted: dict[str, Any] = uow.facts.get(HOUSE) or {}
    return list(noted.get("shift_ends", []))


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _named(cause_id: str, name: str) -> Cause:
    """A cause of which only the name is needed."""
    return Cause(
        cause_id=cause_id,
        name=name,
        category_6m="",
        process_step="",
        occurrence=1,
        detection=1,
        classes={},
        signatures=(),
    )
