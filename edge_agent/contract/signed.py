"""Signed events: a detached JWS (RFC 7515, appendix F) as the last member of the JSON, the extension ``signature``.

Signed is the text as it is, from its first brace to its last, without that member and the comma before it, so that
nobody needs a canonical form: make the event, sign its text, add the signature as the last member, make the text again.
The JWS's protected header says with ``topic`` where the message was meant to go: a command for one box, or one verb, is
no command for another.
"""

import json
import re
from collections.abc import Collection
from dataclasses import replace

from edge_agent.contract.inbound import MAX_BYTES, InvalidMessage
from edge_agent.domain.message import InboundMessage
from edge_agent.signing import jws
from edge_agent.signing.keys import SigningKey
from edge_agent.signing.trust import TrustedKeys

_BLANK = b" \t\r\n"
_WORD = b'"signature"'
_MEMBER = re.compile(rb'"signature"[ \t\r\n]*:[ \t\r\n]*"([A-Za-z0-9_.-]*)"')


class Untrusted(InvalidMessage):
    """A message whose signature is missing or wrong.

    Attributes:
        reason: ``unsigned``, ``signature-malformed``, ``signature-unknown-key``, ``signature-wrong`` or
            ``signature-wrong-topic``.
    """

    error_class = "security"


def signed(body: bytes, topic: str, key: SigningKey) -> bytes:
    """An event with its signature; a body that is no JSON object is returned as it is.

    Args:
        topic: absolute, where it will be published.
    """
    if not body.startswith(b"{") or not body.endswith(b"}"):
        return body
    return b'%s,"signature":"%s"}' % (body[:-1], jws.sign(body, key, topic=topic).encode())


def taken_apart(body: bytes) -> tuple[bytes, str]:
    """What was signed, and the signature; the body as it is and nothing where none stands at its end."""
    text = body.strip(_BLANK)
    at = text.rfind(_WORD)
    found = _MEMBER.match(text, at) if at > 0 else None
    before = text[:at].rstrip(_BLANK)
    if found is None or not before.endswith(b",") or text[found.end() :].strip(_BLANK) != b"}":
        return body, ""
    return before[:-1] + text[found.end() :], found[1].decode()


class Signatures:
    """Who must sign what.

    Args:
        trusted: whose signatures count.
        required: verbs of commands that are not done without one.
    """

    def __init__(self, trusted: TrustedKeys, *, required: Collection[str] = ()) -> None:
        self._trusted, self._required = trusted, frozenset(required)

    def opened(self, message: InboundMessage, verb: str) -> tuple[InboundMessage, str]:
        """The message without its signature, and who signed it: what is read from it is what was signed.

        A signature must be right, also where none is required; where nobody is trusted, signatures say nothing.

        Raises:
            Untrusted: it has no signature and needs one, or one that proves nothing.
        """
        if not self._trusted or len(message.body) > MAX_BYTES:
            return self._unsigned(message, verb)
        body, signature = taken_apart(message.body)
        if not signature:
            return self._unsigned(message, verb)
        try:
            proven = jws.verify(signature, body, self._trusted.find)
        except jws.BadSignature as error:
            raise Untrusted(f"signature-{error.reason}", error.detail) from None
        if proven.header.get("topic") != message.topic:
            meant = json.dumps(proven.header.get("topic"))[:300]
            raise Untrusted("signature-wrong-topic", f"it was signed for the topic {meant}")
        return replace(message, body=body), self._trusted.holder(proven.key)

    def _unsigned(self, message: InboundMessage, verb: str) -> tuple[InboundMessage, str]:
        if verb in self._required:
            text = f"{verb!r} must be signed (security.signed_commands): the last member of the event is its signature"
            raise Untrusted("unsigned", text)
        return message, ""
