"""Signs a command for a box: `python3 sign_command.py KEY.pem TOPIC < event.json > signed.json`.

Needs the package `cryptography`. The key is Ed25519 in PEM (`edge-agent keys new`, or `openssl genpkey -algorithm
ed25519`). The topic is the absolute one on which the result will be published: the signature holds for no other.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization


def base64url(data: bytes) -> str:
    """Without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(value: dict) -> bytes:
    """JSON without blanks."""
    return json.dumps(value, separators=(",", ":")).encode()


def signed(event: dict, topic: str, private_pem: bytes) -> bytes:
    """The event with a detached JWS (EdDSA) as its last member; signed is the text without that member."""
    key = serialization.load_pem_private_key(private_pem, password=None)
    point = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": base64url(point)}
    kid = base64url(hashlib.sha256(compact(jwk)).digest())  # RFC 7638
    header = base64url(compact({"alg": "EdDSA", "kid": kid, "topic": topic}))
    signature = key.sign(f"{header}.{base64url(compact(event))}".encode())
    return compact({**event, "signature": f"{header}..{base64url(signature)}"})


if __name__ == "__main__":
    print(signed(json.load(sys.stdin), sys.argv[2], Path(sys.argv[1]).read_bytes()).decode())
