"""Secrets and keys: from systemd's credentials or from files, and what is said when they are not there."""

from pathlib import Path

import pytest

from edge_agent.bootstrap.secrets import mqtt_password, signatures, signing_key
from edge_agent.config import Configuration, load
from edge_agent.config.plant import MqttSection, SecuritySection
from edge_agent.contract.signed import Untrusted
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.message import InboundMessage
from edge_agent.signing.keys import SigningKey
from tests.fakes.clock import START

EXAMPLE = Path(__file__).resolve().parents[2] / "plant_config" / "examples" / "simulated"


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return load(EXAMPLE)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    made = SigningKey.new()
    made.write(tmp_path / "box.key")
    (tmp_path / "box.pub").write_text(made.public.pem)
    return tmp_path / "box.key"


def test_a_credential_is_read_from_systemds_folder(
    configuration: Configuration, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key.chmod(0o440)  # systemd guards it by other means: the mode shows the access list's mask
    key.with_name("mqtt").write_text("secret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(key.parent))
    found = signing_key(configuration, SecuritySection(signing_key_credential="box.key"))
    assert found is not None
    assert mqtt_password(configuration, MqttSection(host="h", password_credential="mqtt")) == "secret"


def test_outside_systemd_a_credential_is_said_to_be_missing(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match=r"security\.signing_key_credential 'k' needs .*signing_key_file"):
        signing_key(configuration, SecuritySection(signing_key_credential="k"))
    with pytest.raises(ConfigError, match=r"mqtt\.password_credential 'p' needs .*password_file"):
        mqtt_password(configuration, MqttSection(host="h", password_credential="p"))


def test_a_key_file_must_be_its_owners_only(configuration: Configuration, key: Path) -> None:
    assert signing_key(configuration, SecuritySection()) is None
    section = SecuritySection(signing_key_file=key)
    assert signing_key(configuration, section) is not None
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        signing_key(configuration, section)


@pytest.mark.parametrize(("asked", "refused"), [(True, ["recipe"]), (False, [])])
def test_what_must_be_signed(configuration: Configuration, key: Path, asked: bool, refused: list[str]) -> None:
    section = SecuritySection(signed_commands=asked, trusted_keys={"mes": key.with_name("box.pub")})
    made = signatures(configuration, section)
    message = InboundMessage(source="", message_id="", topic="t", body=b"{}", received_at=START)
    found = []
    for verb in ("recipe", "pause"):
        try:
            made.opened(message, verb)
        except Untrusted:
            found.append(verb)
    assert found == refused
