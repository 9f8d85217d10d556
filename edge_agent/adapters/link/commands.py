"""Commands from the plant: done once, answered on ``out/reply``, a repetition gets the first reply again.

Deed, reply, audit entry and the note that the command was seen are one transaction; the broker is thanked after it.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import paho.mqtt.client as paho
import structlog

from edge_agent.contract import inbound, outbound, topics
from edge_agent.contract.commands import INVALID_COMMAND, INVALID_REQUEST, UNABLE, CommandOutcome, Deed, Verb
from edge_agent.contract.complaints import Complaints
from edge_agent.contract.envelope import Sender, compact
from edge_agent.contract.signed import Signatures
from edge_agent.domain.message import InboundMessage
from edge_agent.ports import Clock, Store, UnitOfWork
from edge_agent.signing.trust import TrustedKeys

log = structlog.get_logger(__name__)

SIGNED_FOR = timedelta(hours=1)
"""A signed command is good for so long at most: its id must be remembered until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A command as it came. ``signer`` is who signed it; empty when nobody did, or nobody is asked to."""

    request: inbound.CommandRequest
    message: InboundMessage
    signer: str


class CommandHandler:
    """The handler of ``in/cmd/+``.

    Args:
        verbs: the commands this box knows.
        elsewhere: verbs that another subscriber answers for (``trigger``).
        reply_topics: filters of response topics that are followed; all others are answered on ``out/reply``.
        signatures: which commands must be signed, and by whom; None: none.
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
        signatures: Signatures | None = None,
    ) -> None:
        self._store, self._clock, self._sender = store, clock, sender
        self._verbs, self._elsewhere = verbs, frozenset(elsewhere)
        self._reply_topics = tuple(reply_topics)
        self._signatures = signatures or Signatures(TrustedKeys({}))
        self._complaints = Complaints(store=store, sender=sender, clock=clock)

    def on_command(self, message: InboundMessage) -> None:
        """Do it and answer.

        Raises:
            Transient: the store is not available; nothing was done, the message stays with the broker.
        """
        verb = topics.verb_of(message.topic)
        if verb in self._elsewhere:
            return
        try:
            opened, signer = self._signatures.opened(message, verb)
            asked = Asked(request=inbound.any_command(opened), message=opened, signer=signer)
        except inbound.InvalidMessage as error:
            with self._store.unit() as unit:
                self._unreadable(unit, message, error)
                unit.commit()
            return
        deed = self._deed(asked)
        with self._store.unit() as unit:
            outcome = self._handled(unit, asked, deed)
            unit.commit()
        outcome.then()

    def _handled(self, unit: UnitOfWork, asked: Asked, deed: Deed) -> CommandOutcome:
        seen, request = _identity(asked), asked.request
        known = unit.inbox.outcome(seen.source, seen.message_id)
        if known is not None:
            return self._repeated(unit, asked, json.loads(known))
        outcome = deed(unit, request)
        unit.inbox.add(seen, outcome=_record(request, outcome))
        self._reply(unit, request.command_id, outcome, asked.message)
        odd = inbound.future_dated(asked.message)
        if outcome.status == "expired":
            odd = inbound.TooLate("expired", outcome.detail)
        if odd is not None:
            self._complaints.add(unit, asked.message, odd)
        detail = outcome.detail + (f"; signed by {asked.signer}" if asked.signer else "")
        for subject in outcome.subjects:
            actor = request.requested_by or seen.source
            unit.audit.append(actor=actor, action=f"command.{request.verb}", subject=subject, detail=detail)
        log.info("command answered", verb=request.verb, command=request.command_id, status=outcome.status, why=detail)
        return outcome

    def _deed(self, asked: Asked) -> Deed:
        """What is to be done: the verb's own, or only to say why not."""
        request = asked.request
        wanted = self._verbs.get(request.verb)
        if wanted is None:
            known = ", ".join(sorted({*self._verbs, *self._elsewhere}))
            text = f"command {request.verb!r} is not known; there are: {known}"
            return _answering(CommandOutcome.rejected(INVALID_COMMAND, text))
        refusal = self._refusal(wanted, asked)
        if refusal is not None:
            return _answering(refusal)
        return wanted.run if wanted.prepare is None else wanted.prepare(request)

    def _refusal(self, wanted: Verb, asked: Asked) -> CommandOutcome | None:
        request, message = asked.request, asked.message
        too_late = inbound.too_late(request, message)
        if too_late:
            return CommandOutcome(status="expired", return_status=UNABLE, detail=too_late)
        if wanted.ages and request.not_after is None and "mqtt.expiry_s" not in message.properties:
            text = "notAfter is missing: without it (or an MQTT message expiry) a command may be of any age"
            return CommandOutcome.rejected(INVALID_REQUEST, text)
        if asked.signer and not _soon(request.not_after, message.received_at):
            text = f"a signed command says in notAfter until when it is good, at most {SIGNED_FOR} ahead"
            return CommandOutcome.rejected(INVALID_REQUEST, f"{text}: MQTT's expiry is not signed")
        return None

    def _repeated(self, unit: UnitOfWork, asked: Asked, first: Mapping[str, Any]) -> CommandOutcome:
        """The first reply again; the deed is not done again."""
        request = asked.request
        if first["asked"] == _asked(request):
            outcome = CommandOutcome(**{name: value for name, value in first.items() if name != "asked"})
        else:
            text = f"commandId {request.command_id!r} was used before, for another command"
            outcome = CommandOutcome.rejected(INVALID_REQUEST, text)
        self._reply(unit, request.command_id, outcome, asked.message)
        log.info("repeated command answered", verb=request.verb, command=request.command_id, status=outcome.status)
        return outcome

    def _unreadable(self, unit: UnitOfWork, message: InboundMessage, error: inbound.InvalidMessage) -> None:
        if self._complaints.add(unit, message, error):
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


def _identity(asked: Asked) -> InboundMessage:
    """Known by its commandId: a repetition may come in an envelope of its own.

    A signed one is its signer's: a source that came beside the body is not signed, and would make it new.
    """
    source = f"urn:signed:{asked.signer}" if asked.signer else inbound.identified(asked.message).source
    return replace(asked.message, source=source, message_id=f"command:{asked.request.command_id}")


def _soon(not_after: datetime | None, now: datetime) -> bool:
    return not_after is not None and not_after - now <= SIGNED_FOR


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
