"""Job responses and confirmed cases."""

from uuid import UUID

from sqlalchemy import select

from edge_agent.adapters.store.codec import decode, encode, label, to_us
from edge_agent.adapters.store.schema import cases, responses
from edge_agent.adapters.store.session import Session
from edge_agent.domain.verdict import ConfirmedCase, JobResponse


class SqlAnswers:
    """Implements ``ports.Answers``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add_response(self, response: JobResponse) -> bool:
        """False when (source, response_id) is known already."""
        key = {"source": label(response.source), "response_id": label(response.response_id)}
        if self._session.first(select(responses.c.seq).filter_by(**key)) is not None:
            return False
        row = {
            "seq": self._session.take("responses"),
            "order_id": response.order_id,
            "event": response.event.value,
            "received_us": to_us(response.received_at),
            "document": encode(response),
        }
        self._session.write(responses.insert(), row | key)
        return True

    def responses(self, order_id: UUID) -> list[JobResponse]:
        """Oldest (recorded first) first."""
        query = select(responses.c.document).where(responses.c.order_id == order_id).order_by(responses.c.seq)
        return [decode(JobResponse, row["document"]) for row in self._session.rows(query)]

    def save_case(self, case: ConfirmedCase) -> None:
        """One per order; a later one replaces it."""
        self._session.write(cases.delete().where(cases.c.order_id == case.order_id))
        row = {
            "seq": self._session.take("cases"),
            "order_id": case.order_id,
            "incident_id": case.incident_id,
            "cause_id": label(case.cause_id),
            "code": label(case.code),
            "confirmed_us": to_us(case.confirmed_at),
            "document": encode(case),
        }
        self._session.write(cases.insert(), row)

    def cases(self, *, limit: int = 2000) -> list[ConfirmedCase]:
        """Newest (saved last) first."""
        query = select(cases.c.document).order_by(cases.c.seq.desc()).limit(limit)
        return [decode(ConfirmedCase, row["document"]) for row in self._session.rows(query)]
