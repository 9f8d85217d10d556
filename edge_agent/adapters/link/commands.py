"""Commands from the plant: done once, answered on ``out/reply``, a repetition gets the first reply again.

Deed, reply, audit entry and the note that the command was seen are one transaction; the broker is thanked after it.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import paho.mqtt.client as paho
import structlog

from edge_agent.adapters.link.relay import ErrorReporter
from edge_agent.contract import inbound, outbound, topics
from edge_agent.contract.commands import INVALID_COMMAND, INVALID_REQUEST, UNABLE, CommandOutcome, Deed, Verb
from edge_agent.contract.envelope import Sender, compact
from edge_agent.domain.message import InboundMessage
from edge_agent.ports import Clock, Store, UnitOfWork

log = structlog.get_logger(__name__)


class CommandHandler:
    """The handler of ``in/cmd/+``.

    Args:
        verbs: the commands this box knows.
        elsewhere: verbs that another subscriber answers for (``trigger``).
        reply_topics: filters of response topics that are followed; all others are answered on ``out/reply``.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        sender: Sender,
        verbs: Mapping[str, Verb],
        *,
        elsewhere: Collection[str] = (),
        reply_topics: Collection[str] = (),
    ) -> None:
        self._store, self._clock, self._sender = store, clock, sender
        self._verbs, self._elsewhere = verbs, frozenset(elsewhere)
        self._reply_topics = tuple(reply_topics)
        self._errors = ErrorReporter(sender=sender, clock=clock)

    def on_command(self, message: InboundMessage) -> None:
        """Do it and answer.

        Raises:
            Transient: the store is not available; nothing was done, the message stays with the broker.
        """
        verb = topics.verb_of(message.topic)
        if verb in self._elsewhere:
            return
        try:
            request = inbound.any_command(message)
        except inbound.InvalidMessage as error:
            with self._store.unit() as unit:
                self._unreadable(unit, message, error)
                unit.commit()
            return
        deed = self._deed(request, message)
        with self._store.unit() as unit:
            outcome = self._handled(unit, request, message, deed)
            unit.commit()
        outcome.then()

    def _handled(
        self, unit: UnitOfWork, request: inbound.CommandRequest, message: InboundMessage, deed: Deed
    ) -> CommandOutcome:
        seen = _identity(message, request)
        known = unit.inbox.outcome(seen.source, seen.message_id)
        if known is not None:
            return self._repeated(unit, request, message, json.loads(known))
        outcome = deed(unit, request)
        unit.inbox.add(seen, outcome=_record(request, outcome))
        self._reply(unit, request.command_id, outcome, message)
        verb, actor = request.verb, request.requested_by or seen.source
        for subject in outcome.subjects:
            unit.audit.append(actor=actor, action=f"command.{verb}", subject=subject, detail=outcome.detail)
        log.info("command answered", verb=verb, command=request.command_id, status=outcome.status, why=outcome.detail)
        return outcome

    def _deed(self, request: inbound.CommandRequest, message: InboundMessage) -> Deed:
        """What is to be done: the verb's own, or only to say why not."""
        wanted = self._verbs.get(request.verb)
        if wanted is None:
            known = ", ".join(sorted({*self._verbs, *self._elsewhere}))
            text = f"command {request.verb!r} is not known; there are: {known}"
            return _answering(CommandOutcome.rejected(INVALID_COMMAND, text))
        refusal = self._refusal(wanted, request, message)
        if refusal is not None:
            return _answering(refusal)
        return wanted.run if wanted.prepare is None else wanted.prepare(request)

    def _refusal(self, wanted: Verb, request: inbound.CommandRequest, message: InboundMessage) -> CommandOutcome | None:
        too_late = inbound.too_late(request, message)
        if too_late:
            return CommandOutcome(status="expired", return_status=UNABLE, detail=too_late)
        if wanted.ages and request.not_after is None and "mqtt.expiry_s" not in message.properties:
            text = "notAfter is missing: without it (or an MQTT message expiry) a command may be of any age"
            return CommandOutcome.rejected(INVALID_REQUEST, text)
        return None

    def _repeated(
        self, unit: UnitOfWork, request: inbound.CommandRequest, message: InboundMessage, first: Mapping[str, Any]
    ) -> CommandOutcome:
        """The first reply again; the deed is not done again."""
        if first["asked"] == _asked(request):
            outcome = CommandOutcome(**{name: value for name, value in first.items() if name != "asked"})
        else:
            text = f"commandId {request.command_id!r} was used before, for another command"
            outcome = CommandOutcome.rejected(INVALID_REQUEST, text)
        self._reply(unit, request.command_id, outcome, message)
        log.info("repeated command answered", verb=request.verb, command=request.command_id, status=outcome.status)
        return outcome

    def _unreadable(self, unit: UnitOfWork, message: InboundMessage, error: inbound.InvalidMessage) -> None:
        about = self._errors.made(
            "inbound-invalid",
            topic=message.topic,
            reason_code=error.reason,
            detail=error.detail,
            original=message.body,
        )
        if about is not None:  # a flood must fill neither the log nor the outbox
            log.warning("a command from the plant is not valid", topic=message.topic, error=str(error))
            unit.outbox.add(about)
            command_id = inbound.command_id(message)
            if command_id:
                self._reply(unit, command_id, CommandOutcome.rejected(INVALID_REQUEST, error.detail), message)

    def _reply(self, unit: UnitOfWork, command_id: str, outcome: CommandOutcome, message: InboundMessage) -> None:
        made = outbound.reply(
            command_id,
            outcome.status,
            sender=self._sender,
            clock=self._clock,
            return_status=outcome.return_status,
            detail=outcome.detail,
            result=outcome.result,
        )
        wanted = message.properties.get("mqtt.response_topic", "")
        if self._may_answer_on(wanted):
            correlation = message.properties.get("mqtt.correlation") or made.correlation
            made = replace(made, topic=f"/{wanted}", correlation=correlation)
        unit.outbox.add(made)

    def _may_answer_on(self, topic: str) -> bool:
        """Only where the plant allows it: the box writes with its own rights, and anybody may ask it to."""
        sound = bool(topic) and not set("+#\0") & set(topic) and not topic.startswith("$")
        return sound and any(paho.topic_matches_sub(allowed, topic) for allowed in self._reply_topics)


def _answering(outcome: CommandOutcome) -> Deed:
    return lambda _unit, _request: outcome


def _identity(message: InboundMessage, request: inbound.CommandRequest) -> InboundMessage:
    """Known by its commandId: a repetition may come in an envelope of its own."""
    named = inbound.identified(message)
    return InboundMessage(
        source=named.source,
        message_id=f"command:{request.command_id}",
        topic=message.topic,
        body=message.body,
        received_at=message.received_at,
        properties=message.properties,
    )


def _asked(request: inbound.CommandRequest) -> str:
    """What was asked, as a hash: the same id with other content is no repetition."""
    return sha256(f"{request.verb} {json.dumps(request.args, sort_keys=True)}".encode()).hexdigest()


def _record(request: inbound.CommandRequest, outcome: CommandOutcome) -> str:
    return compact(
        {
            "asked": _asked(request),
            "status": outcome.status,
            "return_status": outcome.return_status,
            "detail": outcome.detail,
            "result": None if outcome.result is None else dict(outcome.result),
        }
    ).decode()
