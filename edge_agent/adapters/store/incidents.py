"""Incidents: the current revision, and all revisions."""

from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from edge_agent.adapters.store.codec import decode, encode, label, to_us
from edge_agent.adapters.store.schema import incident_revisions, incidents
from edge_agent.adapters.store.session import Session
from edge_agent.domain.incident import Incident, IncidentState

_CURRENT = select(incidents.c.revision).where(incidents.c.incident_id == bindparam("id"))


class SqlIncidents:
    """Implements ``ports.Incidents``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def save(self, incident: Incident) -> None:
        """Replace the current revision (an older one goes into the history only)."""
        document = encode(incident)
        self._keep(incident, document)
        current = self._session.first(_CURRENT, {"id": incident.incident_id})
        if current is None:
            first = {"seq": self._session.take("incidents"), "incident_id": incident.incident_id}
            self._session.write(incidents.insert(), first | _columns(incident, document))
        elif incident.revision >= current:
            same = incidents.c.incident_id == incident.incident_id
            self._session.write(incidents.update().where(same).values(_columns(incident, document)))

    def get(self, incident_id: UUID) -> Incident | None:
        query = select(incidents.c.document).where(incidents.c.incident_id == incident_id)
        document = self._session.first(query)
        return None if document is None else decode(Incident, document)

    def history(self, incident_id: UUID) -> list[Incident]:
        """All revisions, oldest first."""
        query = (
            select(incident_revisions.c.document)
            .where(incident_revisions.c.incident_id == incident_id)
            .order_by(incident_revisions.c.revision)
        )
        return [decode(Incident, row["document"]) for row in self._session.rows(query)]

    def open(self) -> list[Incident]:
        """All open ones, oldest first."""
        query = (
            select(incidents.c.document)
            .where(incidents.c.state == IncidentState.OPEN.value)
            .order_by(incidents.c.opened_us, incidents.c.seq)
        )
        return [decode(Incident, row["document"]) for row in self._session.rows(query)]

    def recent(self, limit: int) -> list[Incident]:
        """Newest (first saved last) first, open and closed."""
        query = select(incidents.c.document).order_by(incidents.c.seq.desc()).limit(limit)
        return [decode(Incident, row["document"]) for row in self._session.rows(query)]

    def _keep(self, incident: Incident, document: str) -> None:
        table = incident_revisions
        same = (table.c.incident_id == incident.incident_id) & (table.c.revision == incident.revision)
        if not self._session.write(table.update().where(same).values(document=document)):
            key = {"incident_id": incident.incident_id, "revision": incident.revision}
            self._session.write(table.insert(), key | {"document": document})


def _columns(incident: Incident, document: str) -> dict[str, Any]:
    return {
        "revision": incident.revision,
        "key": label(incident.key),
        "line_id": label(incident.line_id),
        "station_id": label(incident.station_id),
        "code": label(incident.code),
        "state": incident.state.value,
        "opened_us": to_us(incident.opened_at),
        "updated_us": to_us(incident.updated_at),
        "document": document,
    }
