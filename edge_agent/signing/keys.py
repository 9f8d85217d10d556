"""Keys in PEM files. A key is known by its thumbprint (RFC 7638), which other JOSE libraries compute as well."""

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge_agent.domain.faults import ConfigError

MAX_BYTES = 64 * 1024
"""Of a key file."""
MAX_KEYS = 20
"""In one file: a few that overlap while one replaces another."""

_END = b"-----END PUBLIC KEY-----"


class PublicKey:
    """Who may have signed.

    Attributes:
        raw: the point on the curve, 32 bytes.
    """

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    @cached_property
    def key_id(self) -> str:
        """The JWK thumbprint (RFC 7638, RFC 8037): base64url of a sha256."""
        members = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": base64url(self.raw)}, separators=(",", ":"))
        return base64url(sha256(members.encode()).digest())

    @property
    def jwk(self) -> dict[str, str]:
        """As JSON Web Key (RFC 8037)."""
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url(self.raw), "kid": self.key_id}

    @property
    def pem(self) -> str:
        """As a PEM file has it (SubjectPublicKeyInfo)."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_bytes(serialization.Encoding.PEM, form).decode()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Was exactly this signed with the private half?"""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The private half. It shows itself to nobody: no text form, no copy but in its file."""

    _key: Ed25519PrivateKey

    @classmethod
    def new(cls) -> "SigningKey":
        """A key of the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @property
    def public(self) -> PublicKey:
        """What may be shown to everybody."""
        return PublicKey(self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """The signature, 64 bytes; the same for the same data."""
        return self._key.sign(data)

    def write(self, file: Path) -> None:
        """Into a new file that only its owner may read (0600).

        Raises:
            ConfigError: there is such a file, or it cannot be written.
        """
        form = serialization.PrivateFormat.PKCS8
        text = self._key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        try:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
                opened.write(text)
        except FileExistsError:
            raise ConfigError(f"{file} is there already; a key is never written over") from None
        except OSError as error:
            raise ConfigError(f"{file} cannot be written: {error}") from error

    def __repr__(self) -> str:
        return f"SigningKey({self.public.key_id})"


def read_signing_key(file: Path, *, guarded: bool = False) -> SigningKey:
    """The private key of a PEM file (PKCS 8, without a passphrase).

    Args:
        guarded: systemd guards the file (a credential), by other means than its mode.

    Raises:
        ConfigError: it cannot be read, is no Ed25519 key, or others than its owner may read it.
    """
    text, mode = _content(file)
    if mode & 0o077 and not guarded:
        raise ConfigError(f"{file}: others than its owner may read this private key; chmod 600 {file}")
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{file} holds no private key that can be read (PEM, no passphrase): {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{file}: expected an Ed25519 key, found {type(key).__name__}")
    return SigningKey(key)


def read_public_keys(file: Path) -> list[PublicKey]:
    """All public keys of a PEM file: more than one while a key is being replaced.

    Raises:
        ConfigError: it cannot be read, holds none, or one that is no Ed25519 key.
    """
    keys = [_public(block, file) for block in _blocks(_content(file)[0])]
    if not 1 <= len(keys) <= MAX_KEYS:
        raise ConfigError(f"{file}: expected 1 to {MAX_KEYS} public keys (PEM), found {len(keys)}")
    return keys


def _blocks(text: bytes) -> Iterator[bytes]:
    if b"PRIVATE KEY" in text:
        text = b""  # whoever may check must not be able to sign
    while _END in text:
        block, _, text = text.partition(_END)
        yield block + _END + b"\n"


def _public(block: bytes, file: Path) -> PublicKey:
    try:
        key = serialization.load_pem_public_key(block)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{file} holds a public key that cannot be read: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{file}: expected an Ed25519 key, found {type(key).__name__}")
    return PublicKey(key)


def _content(file: Path) -> tuple[bytes, int]:
    """What is in it, and its mode."""
    try:
        with file.open("rb") as opened:
            text, mode = opened.read(MAX_BYTES + 1), os.fstat(opened.fileno()).st_mode
    except OSError as error:
        raise ConfigError(f"key {file} cannot be read: {error}") from error
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{file}: a key file has at most {MAX_BYTES} bytes")
    return text, mode


def base64url(data: bytes) -> str:
    """Without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Raises ValueError: not base64url, or with padding."""
    decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if base64url(decoded) != text:
        raise ValueError("not base64url in its shortest form")
    return decoded
