"""The broker configuration that we ship, in a real mosquitto: who may do what, with passwords and with certificates."""

import json
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.config.plant import TlsSection
from edge_agent.domain.message import Ack, OutboxState
from edge_agent.simulation.broker import Broker
from tests.integration.link.conftest import _mosquitto  # noqa: F401  fixture
from tests.integration.link.plant import ROOT, box, message, response, until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("_mosquitto")]

EXAMPLE = Path(__file__).resolve().parents[2] / "plant_config" / "examples" / "mosquitto"
USERS = ("box-1", "box-2", "mes", "hmi", "scada")
OTHER = ROOT.replace("box-1", "box-2")
ORDER = "01a202de-2a6f-7000-a1dd-b8ec1449b383"
ALLOWED, DENIED, NOBODY = "Success", "Not authorized", "No matching subscribers"


class Shipped(Broker):
    """mosquitto with a file of the example; only paths, port and address are this test's."""

    def __init__(self, folder: Path, file: str) -> None:
        super().__init__(folder, users=USERS)
        self.certificates = folder if file == "certificates.conf" else None
        self._text = (EXAMPLE / file).read_text("utf-8")

    def _write_files(self) -> None:
        super()._write_files()
        shutil.copy(EXAMPLE / "acl", self.folder / "acl")
        (self.folder / "acl").chmod(0o600)

    def _configuration(self) -> str:
        text = re.sub(r"(?m)^listener \d+$", f"listener {self.port} {self.host}", self._text)
        text = text.replace("/etc/mosquitto/edge-agent", str(self.folder))
        text = text.replace("/var/lib/mosquitto", str(self.folder))
        assert "/etc/" not in text
        return f"{text}\nuser root\n"


def make(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the script that we ship."""
    command = ["sh", str(EXAMPLE / "make-certificates"), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificates can be made")
    folder = tmp_path_factory.mktemp("ca")
    for words in (["ca"], ["broker", "localhost", "127.0.0.1"], *(["client", user] for user in USERS)):
        made = make(folder, *words)
        assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module", params=["password.conf", "certificates.conf"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    folder = tmp_path_factory.mktemp("broker")
    if request.param == "certificates.conf":
        shutil.copytree(request.getfixturevalue("certificates"), folder, dirs_exist_ok=True)
    with Shipped(folder, request.param) as running:
        yield running


class Client:
    """Somebody at the broker; what he was told of each thing he said, and what he heard."""

    def __init__(
        self, broker: Shipped, user: str | None, *, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5
    ) -> None:
        self.heard: list[str] = []
        self.refused = ""
        self._told: dict[int, str] = {}
        self._subscribed = threading.Event()
        self._up = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
        if broker.certificates is not None:
            self._client.tls_set_context(_context(broker.certificates, user))
        elif user is not None:
            self._client.username_pw_set(user, broker.passwords[user])
        self._client.on_connect = self._connected
        self._client.on_publish = lambda _c, _u, mid, reason, _p: self._told.__setitem__(mid, str(reason))
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _c, _u, got: self.heard.append(got.topic)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    def _connected(self, _c: object, _u: object, _f: object, reason: ReasonCode, _p: object) -> None:
        self.refused = str(reason) if reason.is_failure else ""
        self._up.set()

    def up(self) -> "Client":
        assert self._up.wait(15)
        return self

    def follow(self, *filters: str) -> "Client":
        self._client.subscribe([(each, 1) for each in filters])
        assert self._subscribed.wait(15)
        return self

    def say(self, topic: str, body: str = "{}") -> str:
        """What the broker answers."""
        mid = self._client.publish(topic, body, 1).mid
        return str(until(lambda: self._told.get(mid), f"an answer to {topic}"))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def _context(folder: Path, user: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(folder / "ca.crt"))
    if user is not None:
        context.load_cert_chain(folder / f"{user}.crt", folder / f"{user}.key")
    return context


@contextmanager
def client(broker: Shipped, user: str) -> Iterator[Client]:
    made = Client(broker, user).up()
    try:
        yield made
    finally:
        made.close()


SITE = "acme/north/_mes/v1/state"
MAY_WRITE = {
    "box-1": [f"{ROOT}/out/state", f"{ROOT}/out/wo/{ORDER}/order", "spBv1.0/g/NBIRTH/box-1", "spBv1.0/g/DDATA/box-1/s"],
    "mes": [f"{ROOT}/in/receipt", f"{OTHER}/in/wo/{ORDER}/response", f"{ROOT}/in/cmd/pause", SITE],
    "hmi": [f"{ROOT}/in/cmd/pause"],
    "scada": ["spBv1.0/g/NCMD/box-1", "spBv1.0/STATE/scada"],
}
MAY_NOT_WRITE = {
    "box-1": [
        *(f"{ROOT}/in/cmd/pause", f"{ROOT}/in/receipt", f"{ROOT}/in/wo/{ORDER}/response"),
        *(f"{OTHER}/out/result", f"{OTHER}/in/cmd/pause", SITE, ROOT, f"{ROOT}/x"),
        *("spBv1.0/g/NCMD/box-1", "spBv1.0/g/DCMD/box-1/s", "spBv1.0/g/NDATA/box-2", "spBv1.0/STATE/scada", "a"),
    ],
    "mes": [f"{ROOT}/out/result", f"{ROOT}/out/wo/{ORDER}/order", "spBv1.0/g/NCMD/box-1", f"{ROOT}/in/else"],
    "hmi": [f"{ROOT}/in/receipt", f"{ROOT}/in/wo/{ORDER}/response", f"{ROOT}/out/state"],
    "scada": ["spBv1.0/g/NDATA/box-1", f"{ROOT}/in/cmd/pause"],
}


@pytest.mark.parametrize("user", MAY_WRITE)
def test_each_writes_what_is_his_and_nothing_else(broker: Shipped, user: str) -> None:
    with client(broker, user) as one:
        answers = {topic: one.say(topic) for topic in MAY_WRITE[user]}
        assert all(answer in (ALLOWED, NOBODY) for answer in answers.values()), answers
        refused = {topic: one.say(topic) for topic in MAY_NOT_WRITE[user]}
        assert set(refused.values()) == {DENIED}, refused


def test_a_box_hears_what_is_meant_for_it_and_nothing_of_the_others(broker: Shipped) -> None:
    with client(broker, "box-1") as one, client(broker, "box-2") as two, client(broker, "mes") as mes:
        one.follow("#", "spBv1.0/#")
        mes.follow("+/+/+/+/+/_inspect/#")
        assert two.say(f"{OTHER}/out/result") == ALLOWED
        mes.say(f"{OTHER}/in/cmd/pause")
        mes.say(f"{ROOT}/in/cmd/pause")
        mes.say(SITE)
        until(lambda: SITE in one.heard, "the last one was heard")
        assert one.heard == [f"{ROOT}/in/cmd/pause", SITE]
        assert f"{OTHER}/out/result" in mes.heard


def test_nobody_without_a_name_is_let_in(broker: Shipped) -> None:
    try:
        stranger = Client(broker, None)
    except (ssl.SSLError, OSError):
        return  # TLS without a certificate may already end here
    try:
        if broker.certificates is None:
            assert stranger.up().refused == DENIED
        else:
            assert not stranger._up.wait(1.0)
    finally:
        stranger.close()


def test_a_version_3_client_is_told_nothing_of_its_refusal_but_nothing_is_delivered(broker: Shipped) -> None:
    old = Client(broker, "box-1", version=MQTTProtocolVersion.MQTTv311).up()
    with client(broker, "box-2") as two:
        two.follow(f"{OTHER}/in/#")
        assert old.say(f"{OTHER}/in/cmd/pause") == ALLOWED
        with client(broker, "mes") as mes:
            mes.say(f"{OTHER}/in/cmd/resume")
        until(lambda: two.heard, "the allowed one was heard")
        assert two.heard == [f"{OTHER}/in/cmd/resume"]
    old.close()


def test_the_box_itself_works_with_it(broker: Shipped, tmp_path: Path) -> None:
    folder = broker.certificates
    tls = folder and TlsSection(
        ca_file=folder / "ca.crt", cert_file=folder / "box-1.crt", key_file=folder / "box-1.key"
    )
    login: dict[str, Any] = {
        "username": None if tls else "box-1",
        "password": None if tls else broker.passwords["box-1"],
        "tls": tls,
    }
    broker.passwords.setdefault("agent", "-")
    with client(broker, "mes") as mes, box(broker, tmp_path, **login) as agent:
        mes.follow(f"{ROOT}/out/#")
        sent = message(1, ack=Ack.RECEIPT)
        agent.add(sent)
        until(lambda: f"{ROOT}/out/defect" in mes.heard, "the MES hears the box")
        mes.say(f"{ROOT}/in/receipt", json.dumps({"ids": [str(sent.message_id)]}))
        until(lambda: agent.counts().get(OutboxState.CONFIRMED), "the box hears the MES")
        mes.say(f"{ROOT}/in/wo/{ORDER}/response", json.dumps(response(UUID(ORDER))))
        until(agent.inbox, "the answer is kept")


@pytest.mark.parametrize("words", [[], ["client"], ["client", "a/b"], ["client", "+"], ["else"]])
def test_the_script_refuses_what_it_cannot_do(words: list[str], tmp_path: Path) -> None:
    made = make(tmp_path, *words)
    assert made.returncode == 2
    assert made.stderr
    assert list(tmp_path.iterdir()) == []
