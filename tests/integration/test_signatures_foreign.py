"""Signatures between the box and programs of other hands: npm jose, openssl, and the examples for integrators."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_agent.contract import topics
from edge_agent.contract.envelope import with_sequence
from edge_agent.contract.signed import Signatures, signed
from edge_agent.domain.message import InboundMessage
from edge_agent.signing.keys import SigningKey, read_signing_key
from edge_agent.signing.trust import TrustedKeys
from tests.fakes.clock import START
from tests.fakes.plant_samples import SENDER
from tests.peers import npm

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "plant_config" / "examples" / "signing"
GOLDEN = REPOSITORY / "tests" / "golden" / "payloads"
TOPIC = topics.under(SENDER.topic_root, topics.command("recipe"))
EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "urn:mes:north",
    "type": "com.example.recipe.change",
    "data": {"commandId": "c-1", "args": {"productId": "Prüfling ½", "version": 3}, "notAfter": "2030-01-01T00:00:00Z"},
}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key's file; the public one is beside it."""
    made = SigningKey.new()
    made.write(tmp_path / "mes.key")
    (tmp_path / "mes.key.pub").write_text(made.public.pem)
    return tmp_path / "mes.key"


def believed(body: bytes, key: Path) -> Any:
    """What the box reads, when it believes it. Raises Untrusted."""
    trusted = TrustedKeys({"mes": Path(f"{key}.pub")})
    message = InboundMessage(source="", message_id="", topic=TOPIC, body=body, received_at=START)
    opened, signer = Signatures(trusted, required=["recipe"]).opened(message, "recipe")
    assert signer == "mes"
    return json.loads(opened.body)


def jose(key: Path, **more: Any) -> dict[str, Any]:
    npm.install()
    asked = {"privatePem": key.read_text(), "publicPem": Path(f"{key}.pub").read_text(), "topic": TOPIC, **more}
    done = subprocess.run(
        ["node", "jose.mjs"],
        cwd=npm.FOLDER,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_box_believes_what_jose_signed(key: Path) -> None:
    assert believed(jose(key, event=EVENT)["made"].encode(), key) == EVENT


@pytest.mark.parametrize("name", ["workorder", "report"])
def test_jose_believes_what_the_box_signed(key: Path, name: str) -> None:
    body = with_sequence((GOLDEN / f"{name}.json").read_bytes(), 7)
    mine = read_signing_key(key)
    found = jose(key, signed=signed(body, TOPIC, mine).decode())
    assert found["kid"] == mine.public.key_id
    assert found["header"] == {"alg": "EdDSA", "kid": mine.public.key_id, "topic": TOPIC}
    assert found["text"].encode() == body
    spoilt = signed(body, TOPIC, mine).replace(b'"sequence":"7"', b'"sequence":"8"')
    assert "signature verification failed" in jose(key, signed=spoilt.decode())["error"]


@pytest.mark.parametrize("program", ["sign_command.py", "sign_command.mjs"])
def test_the_box_believes_what_the_examples_sign(key: Path, program: str) -> None:
    npm.install()  # skips where there is no Node.js
    runs = [sys.executable if program.endswith(".py") else "node", str(EXAMPLES / program), str(key), TOPIC]
    made = subprocess.run(runs, input=json.dumps(EVENT).encode(), capture_output=True, timeout=60, check=True)
    assert believed(made.stdout, key) == EVENT  # with the newline after it
    assert jose(key, signed=made.stdout.decode().strip())["header"]["topic"] == TOPIC


def test_the_box_believes_openssls_key(tmp_path: Path) -> None:
    key = tmp_path / "mes.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, timeout=60)
    key.chmod(0o600)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", f"{key}.pub"], check=True, timeout=60)
    words = [sys.executable, "-m", "edge_agent.cli", "keys", "sign", "-", "--key", str(key), "--topic", TOPIC]
    made = subprocess.run(words, input=json.dumps(EVENT).encode(), capture_output=True, timeout=60, check=True)
    assert believed(made.stdout, key) == EVENT
