"""Detached signatures: JSON Web Signature (RFC 7515) in compact form without its middle (appendix F), EdDSA (RFC 8037).

``header..signature``: whoever has the data and the public key puts ``base64url(data)`` between the dots and gives it to
any JOSE library.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.signing.keys import PublicKey, SigningKey, base64url, from_base64url

MAX_CHARS = 4_096
ALGORITHMS = frozenset({"EdDSA", "Ed25519"})
"""One algorithm under its old name and its new one (RFC 9864). Nothing else is accepted, ``none`` least of all."""

_DETACHED = re.compile(r"[\w-]+\.\.[\w-]+", re.ASCII)


class BadSignature(Exception):
    """A signature that proves nothing.

    Attributes:
        reason: ``malformed``, ``unknown-key`` or ``wrong``.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signature that is right.

    Attributes:
        header: the protected header, e.g. what the signer meant the data for.
    """

    key: PublicKey
    header: Mapping[str, Any]


def sign(data: bytes, key: SigningKey, **header: str) -> str:
    """The detached signature of some bytes.

    Args:
        header: members of the protected header beside ``alg`` and ``kid``; they are signed with the data.
    """
    protected = {"alg": "EdDSA", "kid": key.public.key_id, **header}
    head = base64url(json.dumps(protected, separators=(",", ":"), ensure_ascii=False).encode())
    return f"{head}..{base64url(key.sign(_signed_bytes(head, data)))}"


def verify(signature: str, data: bytes, find: Callable[[str], PublicKey | None]) -> Signed:
    """Check a detached signature.

    Args:
        find: the key of a key id, where it is trusted.

    Raises:
        BadSignature: it is none, of a key that is not trusted, or of other data.
    """
    if len(signature) > MAX_CHARS or not _DETACHED.fullmatch(signature):
        raise BadSignature("malformed", f"not a detached JWS (header..signature) of at most {MAX_CHARS} characters")
    head, _, tail = signature.partition("..")
    header, proof = _header(head), _decoded(tail)
    key = find(header["kid"])
    if key is None:
        raise BadSignature("unknown-key", f"the key {header['kid'][:64]!r} is not trusted here")
    if not key.verifies(proof, _signed_bytes(head, data)):
        raise BadSignature("wrong", f"what came is not what was signed with the key {key.key_id}")
    return Signed(key=key, header=header)


def _header(encoded: str) -> dict[str, Any]:
    try:
        header = json.loads(_decoded(encoded))
    except (ValueError, RecursionError):
        raise BadSignature("malformed", "the header is not JSON") from None
    if not isinstance(header, dict) or not isinstance(header.get("kid"), str):
        raise BadSignature("malformed", "the header names no key (kid)")
    if header.get("alg") not in ALGORITHMS:
        raise BadSignature("malformed", f"alg must be EdDSA, found {header.get('alg')!r}"[:200])
    if "crit" in header:
        raise BadSignature("malformed", "the header has extensions that must be understood (crit), and are not")
    return header


def _decoded(text: str) -> bytes:
    try:
        return from_base64url(text)
    except ValueError:
        raise BadSignature("malformed", "not base64url") from None


def _signed_bytes(head: str, data: bytes) -> bytes:
    return f"{head}.{base64url(data)}".encode()
