"""Who vouches for a model: a detached signature over its card, which names the sha256 of the file."""

from dataclasses import dataclass
from pathlib import Path

from edge_agent.domain.faults import ConfigError
from edge_agent.signing.jws import MAX_CHARS, BadSignature, Signed, sign, verify
from edge_agent.signing.keys import SigningKey
from edge_agent.signing.trust import TrustedKeys

FILE = "card.sig"
"""Beside ``card.json``: a detached JWS."""
_TYPE = "edge-agent-model-card"
"""What the signer meant the bytes for: a signature made for something else does not count here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTrust:
    """Whose models are used.

    Attributes:
        keys: public keys, by who holds them.
        demanded: a model without a signature of theirs is refused.
    """

    keys: TrustedKeys
    demanded: bool = False

    def check(self, model_dir: Path) -> str:
        """Who has signed this model's card; empty where nobody known has and nobody need.

        Raises:
            ConfigError: it is not signed as it must be, or its signature is a wrong one.
        """
        name = f"{model_dir.parent.name}/{model_dir.name}"
        signature = _read(model_dir)
        if not signature:
            return self._unknown(f"model {name} is not signed: there is no {model_dir / FILE}")
        try:
            signed = verify(signature, _card(model_dir), self.keys.find)
        except BadSignature as error:
            if error.reason == "unknown-key":
                return self._unknown(f"model {name}: {error.detail}")
            raise ConfigError(f"model {name}: {model_dir / FILE}: {error.detail}") from error
        return self._holder(signed, name)

    def _holder(self, signed: Signed, name: str) -> str:
        if signed.header.get("typ") != _TYPE:
            found = signed.header.get("typ")
            raise ConfigError(f"model {name}: its signature was made for {found!r}, expected {_TYPE!r}")
        return self.keys.holder(signed.key)

    def _unknown(self, why: str) -> str:
        if self.demanded:
            raise ConfigError(f"{why}; security.signed_models demands a signature of security.model_keys")
        return ""


def sign_card(model_dir: Path, key: SigningKey) -> Path:
    """Write the signature of a model's card beside it; the file.

    Raises:
        ConfigError: there is no card, or it cannot be written.
    """
    file = model_dir / FILE
    signature = sign(_card(model_dir), key, typ=_TYPE)
    part = file.with_suffix(".part")
    try:
        part.write_text(signature + "\n", "ascii")
        part.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
    return file


def _read(model_dir: Path) -> str:
    try:
        with (model_dir / FILE).open("rb") as opened:
            return opened.read(MAX_CHARS + 2).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"signature {model_dir / FILE} cannot be read: {error.strerror}") from error


def _card(model_dir: Path) -> bytes:
    try:
        return (model_dir / "card.json").read_bytes()
    except OSError as error:
        raise ConfigError(f"model card {model_dir / 'card.json'}: {error.strerror}") from error
