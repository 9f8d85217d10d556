"""What the plant tells us about orders and deliveries: committed to the store before the broker hears our thanks."""

from collections.abc import Mapping

import structlog

from edge_agent.contract import inbound, outbound
from edge_agent.contract.complaints import Complaints
from edge_agent.contract.envelope import Sender
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.verdict import JobResponse
from edge_agent.ports import Clock, Store, UnitOfWork

_STATUSES: Mapping[str, outbound.AckStatus] = {"applied": "applied", "ignored": "ignored", "invalid": "invalid"}

log = structlog.get_logger(__name__)


class InboxHandlers:
    """Handlers for ``PlantLink.subscribe``; each commits before it returns.

    Raises (all handlers):
        Transient: the store is not available; the message stays with the broker.
    """

    def __init__(self, store: Store, clock: Clock, sender: Sender) -> None:
        self._store, self._clock, self._sender = store, clock, sender
        self._complaints = Complaints(store=store, sender=sender, clock=clock)
        self._mes_online = False

    def on_response(self, message: InboundMessage) -> None:
        """Keep a job response for responding; a duplicate changes nothing, but what was said to it is said again."""
        with self._store.unit() as unit:
            try:
                known = inbound.identified(message)
                response = inbound.job_response(known)
            except inbound.InvalidMessage as error:
                self._complaints.add(unit, message, error)
                if error.keep:
                    unit.inbox.add(inbound.identified(message))
            else:
                self._keep(unit, known, response)
            unit.commit()

    def _keep(self, unit: UnitOfWork, message: InboundMessage, response: JobResponse) -> None:
        if not unit.inbox.add(message):
            self._acknowledge_again(unit, message, response)
        elif (odd := inbound.future_dated(message)) is not None:
            self._complaints.add(unit, message, odd)

    def _acknowledge_again(self, unit: UnitOfWork, message: InboundMessage, response: JobResponse) -> None:
        """The MES asks again because our acknowledgement was lost (a broker that was killed forgets it)."""
        outcome = unit.inbox.outcome(message.source, message.message_id)
        if outcome is None:  # not applied yet: the acknowledgement comes with that
            return
        said, _, detail = outcome.partition(": ")
        status: outbound.AckStatus | None = _STATUSES.get(said)
        if status is None:
            return
        learned = status == "applied" and any(case.order_id == response.order_id for case in unit.answers.cases())
        unit.outbox.add(
            outbound.response_ack(
                response, status, sender=self._sender, clock=self._clock, learned_from=learned, detail=detail
            )
        )

    def on_receipt(self, message: InboundMessage) -> None:
        """Close the rows the MES has."""
        with self._store.unit(durable=False) as unit:
            try:
                receipts = inbound.receipts(message)
            except inbound.InvalidMessage as error:
                self._complaints.add(unit, message, error)
            else:
                unit.outbox.confirm(receipts.message_ids, at=self._clock.now())
                if receipts.status == "rejected":
                    log.error("the MES rejected messages", count=len(receipts.message_ids), reason=receipts.reason)
            unit.commit()

    def on_mes_state(self, message: InboundMessage) -> None:
        """When the MES comes back, send again what it has not confirmed."""
        with self._store.unit(durable=False) as unit:
            try:
                online = inbound.mes_online(message)
            except inbound.InvalidMessage as error:
                self._complaints.add(unit, message, error)
            else:
                self._mes_changed(unit, online)
            unit.commit()

    def _mes_changed(self, unit: UnitOfWork, online: bool) -> None:
        if online and not self._mes_online:
            again = unit.outbox.resend_unreceipted(self._clock.now())
            log.info("the MES is there", sent_again=again)
        if not online and self._mes_online:
            log.warning("the MES went away; messages wait for its receipt")
        self._mes_online = online
