"""`edge-agent keys`: made, shown, used; the private half stays where it is."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.commands.keys import app
from edge_agent.domain.faults import ConfigError
from edge_agent.signing.keys import read_public_keys, read_signing_key

runner = CliRunner()
TOPIC = "acme/north/a1/l1/c1/_inspect/v1/box-1/in/cmd/recipe"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    done = runner.invoke(app, ["new", str(tmp_path / "mes.key")])
    assert done.exit_code == 0
    return tmp_path / "mes.key"


def test_a_new_key_is_two_files(key: Path) -> None:
    public = Path(f"{key}.pub")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert read_public_keys(public)[0].key_id == read_signing_key(key).public.key_id
    again = runner.invoke(app, ["new", str(key)])
    assert isinstance(again.exception, ConfigError)
    key.unlink()
    assert "never written over" in str(runner.invoke(app, ["new", str(key)]).exception)


@pytest.mark.parametrize("suffix", ["", ".pub"])
def test_only_the_public_half_is_shown(key: Path, suffix: str) -> None:
    key_id = read_signing_key(key).public.key_id
    shown = {form: runner.invoke(app, ["show", f"{key}{suffix}", "--format", form]).stdout for form in ("pem", "jwk")}
    assert shown["pem"].strip() == Path(f"{key}.pub").read_text().strip()
    assert json.loads(shown["jwk"])["keys"][0]["kid"] == key_id
    assert set(json.loads(shown["jwk"])["keys"][0]) == {"kty", "crv", "x", "kid"}
    assert runner.invoke(app, ["show", f"{key}{suffix}"]).stdout == f"{key_id}  Ed25519\n"


def test_what_is_signed_is_right_for_its_topic_only(key: Path, tmp_path: Path) -> None:
    event = json.dumps({"specversion": "1.0", "data": {"commandId": "c-1"}}, indent=2)
    made = runner.invoke(app, ["sign", "-", "--key", str(key), "--topic", TOPIC], input=event).stdout
    file = tmp_path / "signed.json"
    file.write_text(made)

    def verified(topic: str) -> tuple[int, str]:
        done = runner.invoke(app, ["verify", str(file), "--trusted", f"{key}.pub", "--topic", topic])
        return done.exit_code, done.output

    assert verified(TOPIC) == (0, f"right: signed with {read_signing_key(key).public.key_id}\n")
    assert verified("else") == (1, f"signed for another topic: {TOPIC}\n")
    file.write_text(made.replace("c-1", "c-2"))
    assert verified(TOPIC)[0] == 1
    file.write_text(event)
    assert verified(TOPIC) == (1, "not to be believed: it is not signed\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "JSON"), ("[1]", "found list"), ('{"data":1,"signature":"a..b"}', "signed already")],
)
def test_what_cannot_be_signed(key: Path, text: str, said: str) -> None:
    done = runner.invoke(app, ["sign", "-", "--key", str(key), "--topic", TOPIC], input=text)
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    assert isinstance(runner.invoke(app, ["show", str(tmp_path / "none")]).exception, ConfigError)
