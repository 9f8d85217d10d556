"""Keys and detached signatures, against the vectors of RFC 8037, and what is refused."""

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.domain.faults import ConfigError
from edge_agent.signing.jws import BadSignature, sign, verify
from edge_agent.signing.keys import PublicKey, SigningKey, base64url, read_public_keys, read_signing_key
from edge_agent.signing.trust import TrustedKeys

SEED = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
"""RFC 8037, appendix A.1."""
DATA = b'{"a":1}'
PKCS8 = serialization.PrivateFormat.PKCS8


def rfc_key() -> SigningKey:
    return SigningKey(ed25519.Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(SEED + "=")))


KEY, OTHER = rfc_key(), SigningKey.new()
STRANGER = SigningKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))


def trusting(*keys: SigningKey) -> Callable[[str], PublicKey | None]:
    return {key.public.key_id: key.public for key in keys}.get


def test_the_vectors_of_rfc_8037() -> None:
    assert KEY.public.jwk == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",  # A.3
    }
    signed = KEY.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc")  # A.4
    assert base64url(signed) == "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"


def test_what_was_signed_is_believed() -> None:
    signed = verify(sign(DATA, KEY, topic="a/b"), DATA, trusting(OTHER, KEY))
    assert signed.key.raw == KEY.public.raw
    assert signed.header == {"alg": "EdDSA", "kid": KEY.public.key_id, "topic": "a/b"}


def with_header(header: object) -> str:
    head = base64url(json.dumps(header).encode())
    return f"{head}..{base64url(KEY.sign(f'{head}.{base64url(DATA)}'.encode()))}"


KID = KEY.public.key_id


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        ("", "malformed"),
        ("..", "malformed"),
        ("a.b.c", "malformed"),
        ("é..é", "malformed"),
        (sign(DATA, KEY).replace("..", ".."[:1]), "malformed"),
        (sign(DATA, KEY) + "=", "malformed"),
        (sign(DATA, KEY) + "A", "wrong"),
        ("x" * 5_000 + "..x", "malformed"),
        (with_header([1]), "malformed"),
        (with_header({"alg": "EdDSA"}), "malformed"),
        (with_header({"alg": "EdDSA", "kid": 7}), "malformed"),
        (with_header({"alg": "none", "kid": KID}), "malformed"),
        (with_header({"alg": "HS256", "kid": KID}), "malformed"),
        (with_header({"alg": "EdDSA", "kid": KID, "crit": ["b64"], "b64": False}), "malformed"),
        (sign(DATA, STRANGER), "unknown-key"),
        (sign(b'{"a":2}', KEY), "wrong"),
        (sign(DATA, KEY).partition("..")[0] + ".." + sign(DATA, KEY, topic="b").partition("..")[2], "wrong"),
    ],
)
def test_what_proves_nothing_is_refused(signature: str, reason: str) -> None:
    with pytest.raises(BadSignature) as caught:
        verify(signature, DATA, trusting(KEY, OTHER))
    assert caught.value.reason == reason


def test_the_new_name_of_the_algorithm_is_understood() -> None:
    assert verify(with_header({"alg": "Ed25519", "kid": KID}), DATA, trusting(KEY)).key.key_id == KID


@settings(max_examples=40)
@given(st.text(max_size=200) | st.from_regex(r"[\w-]{1,60}\.\.[\w-]{1,90}", fullmatch=True))
def test_whatever_comes_is_no_signature(text: str) -> None:
    with pytest.raises(BadSignature):
        verify(text, DATA, trusting(KEY))


@settings(max_examples=40)
@given(st.binary(max_size=300), st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_one_changed_byte_is_noticed(data: bytes, place: int, change: int) -> None:
    signature = sign(data, KEY)
    assert verify(signature, data, trusting(KEY))
    changed = bytearray(data or b"\0")
    changed[place % len(changed)] ^= change
    with pytest.raises(BadSignature):
        verify(signature, bytes(changed), trusting(KEY))


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_key_file_is_its_owners_only(tmp_path: Path) -> None:
    file = tmp_path / "box.key"
    KEY.write(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_signing_key(file).public.raw == KEY.public.raw
    with pytest.raises(ConfigError, match="there already"):
        OTHER.write(file)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_signing_key(file)
    assert read_signing_key(file, guarded=True).public.key_id == KID


def test_a_key_does_not_show_itself(tmp_path: Path) -> None:
    assert SEED not in repr(KEY)
    assert repr(KEY) == f"SigningKey({KID})"


def _elliptic(private: bool) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    if private:
        return key.private_bytes(serialization.Encoding.PEM, PKCS8, serialization.NoEncryption())
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key"),
        (_elliptic(private=True), "expected an Ed25519 key"),
        (b"x" * 70_000, "at most 65536 bytes"),
    ],
    ids=["empty", "no key", "another curve", "too long"],
)
def test_what_is_no_private_key(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "box.key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=said):
        read_signing_key(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "found 0"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
        (_elliptic(private=False), "expected an Ed25519 key"),
        (KEY.public.pem.encode() * 21, "found 21"),
        (KEY.public.pem.encode() + b"-----BEGIN PRIVATE KEY-----", "found 0"),
    ],
    ids=["empty", "no key", "another curve", "too many", "a private one"],
)
def test_what_are_no_public_keys(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mes.pem"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        read_public_keys(file)


def test_keys_are_replaced_while_the_agent_runs(tmp_path: Path) -> None:
    file = tmp_path / "mes.pem"
    file.write_text(KEY.public.pem)
    trusted = TrustedKeys({"mes": file})
    assert trusted.find(KID) is not None
    assert trusted.find(OTHER.public.key_id) is None

    file.write_text(KEY.public.pem + OTHER.public.pem)  # both, for a while
    found = trusted.find(OTHER.public.key_id)
    assert found is not None
    assert trusted.holder(found) == "mes"
    assert trusted.find(KID) is not None

    file.write_text(OTHER.public.pem)
    assert trusted.find(KID) is None
    assert trusted.holder(KEY.public) == ""

    file.write_text("half written")
    assert trusted.find(OTHER.public.key_id) is None
    file.unlink()
    assert trusted.find(OTHER.public.key_id) is None


def test_keys_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mes\.pem"):
        TrustedKeys({"mes": tmp_path / "mes.pem"})
