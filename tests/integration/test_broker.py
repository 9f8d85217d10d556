"""The real mosquitto as the demo and the tests use it."""

import stat
from pathlib import Path

import pytest

from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.simulation import broker as module
from edge_agent.simulation.broker import Broker, find_program
from tests.integration.link.conftest import _mosquitto  # noqa: F401  fixture

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("_mosquitto")]


def test_a_second_run_in_the_same_folder_keeps_the_passwords(tmp_path: Path) -> None:
    with Broker(tmp_path, users=("a", "b")) as first:
        port, passwords = first.port, first.passwords
    with Broker(tmp_path, port=port, users=("a", "b")) as second:
        assert second.passwords == passwords
    assert len(set(passwords.values())) == 2


def test_secrets_are_for_their_owner_only_and_hashed_for_the_broker(tmp_path: Path) -> None:
    with Broker(tmp_path, users=("a",)) as running:
        file = running.password_file("a")
        assert file.read_text() == running.passwords["a"]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert running.passwords["a"] not in (tmp_path / "passwords").read_text()


def test_killed_and_started_again_on_the_same_port(tmp_path: Path) -> None:
    with Broker(tmp_path) as running:
        port = running.port
        running.kill()
        assert not running.running
        running.start()
        assert (running.running, running.port) == (True, port)


def test_a_broken_configuration_is_told_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(Transient, match="no_such_key"):
        Broker(tmp_path, settings={"no_such_key": "1"}).start()


def test_a_missing_program_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "_OUTSIDE_PATH", ())
    with pytest.raises(ConfigError, match="apt-get install mosquitto"):
        find_program("mosquitto")
