"""TLS with client certificates: identity, refusal, renewal without a restart."""

import contextlib
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge_agent.adapters.link import connection
from edge_agent.adapters.link.mqtt import MqttLink
from edge_agent.adapters.link.tls import TlsIdentity, good_until
from edge_agent.commands.doctor import Level
from edge_agent.commands.doctor import certificates as certificates_of
from edge_agent.config import load
from edge_agent.config.plant import TlsSection
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.message import Ack, OutboxState
from edge_agent.simulation.broker import Broker
from tests.integration.link.plant import AGENT, CLOCK, ROOT, Box, box, message, options, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: no certificates can be made"),
]


def openssl(*words: str, folder: Path) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)


def make_ca(folder: Path, name: str) -> None:
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
        *("-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}"),
        folder=folder,
    )


def make_certificate(folder: Path, name: str, common_name: str, *, ca: str = "ca") -> None:
    (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl(
        *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={common_name}"),
        folder=folder,
    )
    openssl(
        *("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial"),
        *("-days", "2", "-extfile", "extensions", "-out", f"{name}.crt"),
        folder=folder,
    )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_ca(folder, "ca")
    make_ca(folder, "stranger")
    make_certificate(folder, "broker", "broker")
    make_certificate(folder, "box", AGENT)
    make_certificate(folder, "renewed", AGENT)
    return folder


@pytest.fixture
def secure(tmp_path: Path, certificates: Path, _mosquitto: None) -> Iterator[Broker]:
    settings = {
        "cafile": str(certificates / "ca.crt"),
        "certfile": str(certificates / "broker.crt"),
        "keyfile": str(certificates / "broker.key"),
        "require_certificate": "true",
        "use_identity_as_username": "true",
        "log_type": "all",
    }
    with Broker(tmp_path / "broker", settings=settings) as running:
        yield running


def tls(folder: Path, *, ca: str = "ca", own: str | None = "box") -> TlsSection:
    return TlsSection(
        ca_file=folder / f"{ca}.crt",
        cert_file=folder / f"{own}.crt" if own else None,
        key_file=folder / f"{own}.key" if own else None,
    )


def delivered(agent: Box) -> None:
    agent.add(message(1, ack=Ack.PUBACK))
    until(lambda: agent.counts()[OutboxState.CONFIRMED] >= 1, "delivered")


def test_the_certificate_is_the_identity(secure: Broker, certificates: Path, tmp_path: Path) -> None:
    with box(secure, tmp_path, username=None, tls=tls(certificates)) as agent:
        delivered(agent)
    assert f"u'{AGENT}'" in secure.log_file.read_text()


@pytest.mark.parametrize("which", [{"own": None}, {"ca": "stranger"}])
def test_no_certificate_or_a_strange_broker_is_no_connection(
    secure: Broker, certificates: Path, tmp_path: Path, which: dict[str, str | None]
) -> None:
    with box(secure, tmp_path, connected=False, username=None, tls=tls(certificates, **which)) as agent:
        until(lambda: agent.link.status().detail, "the trouble is told")
        assert not agent.link.status().connected


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> str | None:
    """The version both agree on; raises SSLError when they do not."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ends[0].version()


def test_an_older_tls_than_agreed_is_refused(certificates: Path) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(certificates / "broker.crt", certificates / "broker.key")
    assert shake_hands(TlsIdentity(tls(certificates)).context, old) == "TLSv1.3"
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake_hands(TlsIdentity(tls(certificates)).context, old) == "TLSv1.2"
    strict = tls(certificates).model_copy(update={"at_least": "1.3"})
    with pytest.raises(ssl.SSLError):
        shake_hands(TlsIdentity(strict).context, old)


def test_a_renewed_certificate_is_used_without_a_restart(
    secure: Broker, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TLS_CHECK_S", 0.1)
    own = tmp_path / "own"
    own.mkdir()
    for name in ("ca.crt", "box.crt", "box.key"):
        shutil.copy(certificates / name, own / name)
    with box(secure, tmp_path, username=None, tls=tls(own)) as agent:
        shutil.copy(certificates / "renewed.key", own / "box.key")
        shutil.copy(certificates / "renewed.crt", own / "box.crt")
        until(lambda: agent.link.status().reconnects == 1, "connected again")
        until(lambda: agent.link.status().connected, "and up")
        delivered(agent)


def test_the_trouble_with_a_certificate_is_named(secure: Broker, certificates: Path, tmp_path: Path) -> None:
    strange, nameless = tls(certificates, ca="stranger"), tls(certificates)
    for section, host, why in (
        (strange, "127.0.0.1", "certificate is not accepted"),
        (nameless, "127.1", "mismatch"),
    ):
        folder = tmp_path / host
        with box(secure, folder, connected=False, username=None, tls=section, host=host) as agent:
            told = until(lambda agent=agent: agent.link.status().detail, "the trouble is told")
            assert why in told


def test_the_doctor_says_how_long_certificates_are_good(certificates: Path, tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "plant_config" / "examples" / "folder"
    loaded = load(example)
    mqtt = loaded.plant.mqtt.model_copy(update={"tls": tls(certificates)})
    configured = replace(loaded, plant=loaded.plant.model_copy(update={"mqtt": mqtt}))
    until_then = good_until(certificates / "box.crt")
    for days, level in ((-40, Level.OK), (-3, Level.WARN), (1, Level.FAIL)):
        found = list(certificates_of(configured, until_then + timedelta(days=days)))
        assert [finding.level for finding in found] == [level, level]
    (tmp_path / "none.crt").write_text("nothing")
    with pytest.raises(ConfigError, match="none"):
        good_until(tmp_path / "none.crt")


def test_a_file_that_is_no_certificate_is_a_configuration_error(secure: Broker, tmp_path: Path) -> None:
    (tmp_path / "bad.crt").write_text("not a certificate")
    section = TlsSection(ca_file=tmp_path / "bad.crt")
    with pytest.raises(ConfigError, match=r"bad\.crt cannot be used"):
        MqttLink(
            options(secure, username=None, tls=section),
            agent=AGENT,
            topic_root=ROOT,
            store=None,
            clock=CLOCK,
            state_body=lambda online: b"",
        )
