"""Analyses: every revision is kept."""

from uuid import UUID

from sqlalchemy import ColumnElement, select

from edge_agent.adapters.store.codec import decode, encode, label, to_us
from edge_agent.adapters.store.schema import analyses
from edge_agent.adapters.store.session import Session
from edge_agent.domain.analysis import Analysis


class SqlAnalyses:
    """Implements ``ports.Analyses``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def save(self, analysis: Analysis) -> None:
        """Idempotent on (incident_id, revision); a later save of the same revision replaces it."""
        key = {"incident_id": analysis.incident_id, "revision": analysis.revision}
        values = {
            "analysis_id": analysis.analysis_id,
            "made_us": to_us(analysis.made_at),
            "decision": label(analysis.decision),
            "document": encode(analysis),
        }
        if not self._session.write(analyses.update().filter_by(**key).values(values)):
            self._session.write(analyses.insert(), {"seq": self._session.take("analyses")} | key | values)

    def get(self, analysis_id: UUID) -> Analysis | None:
        """The newest revision with this id."""
        return self._newest(analyses.c.analysis_id == analysis_id)

    def latest(self, incident_id: UUID) -> Analysis | None:
        """The analysis of the incident's highest analysed revision."""
        return self._newest(analyses.c.incident_id == incident_id)

    def _newest(self, condition: ColumnElement[bool]) -> Analysis | None:
        query = select(analyses.c.document).where(condition).order_by(analyses.c.revision.desc()).limit(1)
        document = self._session.first(query)
        return None if document is None else decode(Analysis, document)
