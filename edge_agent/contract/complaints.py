"""What came and could not be used, or went and was refused, told on ``out/error``: a bounded number in an hour."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from edge_agent.contract import outbound, payloads
from edge_agent.contract.envelope import Sender
from edge_agent.contract.inbound import InvalidMessage
from edge_agent.domain.message import InboundMessage, OutboundMessage
from edge_agent.ports import Clock, Store, UnitOfWork

log = structlog.get_logger(__name__)

Complain = Callable[[InboundMessage, InvalidMessage], None]
"""Tells the plant what is wrong with a message of its own."""


class ErrorReporter:
    """Makes error messages, a bounded number of them in an hour."""

    PER_HOUR = 60

    def __init__(self, *, sender: Sender, clock: Clock) -> None:
        self._sender, self._clock = sender, clock
        self._hour_began: datetime | None = None
        self._made = 0

    def made(
        self, kind: payloads.ErrorClass, *, topic: str, reason_code: str, detail: str, original: bytes
    ) -> OutboundMessage | None:
        """An error message; None when there were too many in this hour."""
        now = self._clock.now()
        if self._hour_began is None or not timedelta(0) <= now - self._hour_began < timedelta(hours=1):
            self._hour_began, self._made = now, 0
        self._made += 1
        if self._made > self.PER_HOUR:
            return None
        return outbound.error(
            kind,
            topic=topic,
            reason_code=reason_code,
            detail=detail,
            original=original,
            sender=self._sender,
            clock=self._clock,
        )


class Complaints:
    """Says what is wrong with what the plant sent. A flood must fill neither the log nor the outbox."""

    def __init__(self, *, store: Store, sender: Sender, clock: Clock) -> None:
        self._store = store
        self._errors = ErrorReporter(sender=sender, clock=clock)
        self._last: InboundMessage | None = None

    def add(self, unit: UnitOfWork, message: InboundMessage, error: InvalidMessage) -> bool:
        """Write it with what else the transaction does; False when there were too many in this hour."""
        about = self._made(message, error)
        if about is not None:
            unit.outbox.add(about)
        return about is not None

    def write(self, message: InboundMessage, error: InvalidMessage) -> None:
        """Write it by itself; once, when several readers of one message complain.

        Raises:
            Transient: the store is not available.
        """
        about = None if message is self._last else self._made(message, error)
        if about is None:
            return
        with self._store.unit(durable=False) as unit:
            unit.outbox.add(about)
            unit.commit()
        self._last = message

    def _made(self, message: InboundMessage, error: InvalidMessage) -> OutboundMessage | None:
        about = self._errors.made(
            error.error_class,
            topic=message.topic,
            reason_code=error.reason,
            detail=error.detail,
            original=message.body,
        )
        if about is not None:
            log.warning("a message from the plant is not valid", topic=message.topic, error=str(error))
        return about
