"""A model from outside: complete, verified, signed as demanded, and never over another."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.detectors import adding
from edge_agent.adapters.detectors.adding import add
from edge_agent.adapters.detectors.catalogue import all_models
from edge_agent.adapters.detectors.signatures import FILE, ModelTrust, sign_card
from edge_agent.domain.faults import ConfigError
from edge_agent.signing.jws import sign
from edge_agent.signing.keys import SigningKey
from edge_agent.signing.trust import TrustedKeys
from tests.unit.test_model_catalogue import CARD

GOLDEN = {
    "image": "part.png",
    "golden": "golden.png",
    "expected": [{"code": "open", "score": 1, "xyxy_px": [0, 0, 1, 1]}],
}
NOBODY = ModelTrust(keys=TrustedKeys({}))


def model(folder: Path, *, golden: dict[str, Any] | None = None, **card: Any) -> Path:
    """A complete model folder; its file is no network, `verify` is a fake here."""
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps(CARD | card))
    (folder / "golden.json").write_text(json.dumps(GOLDEN | (golden or {})))
    for name in ("model.onnx", "part.png", "golden.png"):
        (folder / name).write_bytes(name.encode())
    return folder


def holds(folder: Path) -> None:
    """What verifies: everything is there under its name."""
    assert sorted(file.name for file in folder.glob("*.png")) == ["golden.png", "part.png"]
    assert (folder / "model.onnx").read_bytes() == b"model.onnx"


def fails(folder: Path) -> None:
    raise ConfigError("parity test failed")


def test_a_model_is_copied_whole_and_only_after_it_was_verified(tmp_path: Path) -> None:
    into = tmp_path / "models"
    card = add(model(tmp_path / "new"), None, into, verify=holds)
    assert (card.name, card.version) == ("m", "1")
    assert all_models(into) == ["m/1"]
    names = sorted(file.name for file in (into / "m" / "1").iterdir())
    assert names == ["card.json", "golden.json", "golden.png", "model.onnx", "part.png"]
    assert [entry.name for entry in (into / "m").iterdir()] == ["1"]


def test_a_file_and_its_card_make_a_model(tmp_path: Path) -> None:
    source = model(tmp_path / "new")
    (source / "card.json").rename(source / "board-card.json")
    (source / "model.onnx").rename(tmp_path / "trained.onnx")
    (tmp_path / "trained.onnx").write_bytes(b"model.onnx")
    add(tmp_path / "trained.onnx", source / "board-card.json", tmp_path / "models", verify=holds)
    assert all_models(tmp_path / "models") == ["m/1"]


@pytest.mark.parametrize("known", ["own", "shipped"])
def test_a_version_is_never_written_over(tmp_path: Path, known: str) -> None:
    source, into, shipped = model(tmp_path / "new"), tmp_path / "models", tmp_path / "shipped"
    model((into if known == "own" else shipped) / "m" / "1")
    with pytest.raises(ConfigError, match="in its card"):
        add(source, None, into, verify=holds, others=(shipped,))
    assert not (into / "m" / "1").exists() or known == "own"


def test_a_dry_run_verifies_and_leaves_nothing(tmp_path: Path) -> None:
    add(model(tmp_path / "new"), None, tmp_path / "models", verify=holds, dry_run=True)
    assert all_models(tmp_path / "models") == []
    assert list((tmp_path / "models").iterdir()) == []
    with pytest.raises(ConfigError, match="parity test failed"):
        add(tmp_path / "new", None, tmp_path / "models", verify=fails, dry_run=True)


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _written(name: str, content: dict[str, Any]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(json.dumps(content)) and None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without("card.json"), "no such file: .*card.json"),
        (_without("model.onnx"), "no such file: .*model.onnx"),
        (_without("golden.json"), "golden.json"),
        (_without("part.png"), "no such file: .*part.png"),
        (_written("card.json", CARD | {"name": "../m"}), r"name '\.\./m': letters"),
        (_written("card.json", CARD | {"version": "a/b"}), "version 'a/b'"),
        (_written("card.json", CARD | {"classes": []}), "classes"),
        (_written("golden.json", GOLDEN | {"image": "../card.json"}), "expected a file beside its card"),
        (_written("card.json", CARD | {"fp16": {"file": "half.onnx", "sha256": "0" * 64}}), "half.onnx"),
    ],
)
def test_what_is_incomplete_or_wrong_leaves_nothing_behind(
    tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    source = model(tmp_path / "new")
    spoil(source)
    with pytest.raises(ConfigError, match=words):
        add(source, None, tmp_path / "models", verify=holds)
    assert all_models(tmp_path / "models") == []
    assert list(tmp_path.glob("models/*")) == []


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "MAX_BYTES", 8)
    with pytest.raises(ConfigError, match="8 at most"):
        add(model(tmp_path / "new"), None, tmp_path / "models", verify=holds)
    with pytest.raises(ConfigError, match="give it with --card"):
        add(tmp_path / "new" / "model.onnx", None, tmp_path / "models", verify=holds)


# --- signatures -----------------------------------------------------------------------------------------------------

KEY, OTHER = SigningKey.new(), SigningKey.new()


def trust(folder: Path, *, demanded: bool = True) -> ModelTrust:
    file = folder / "quality.pub"
    file.write_text(KEY.public.pem)
    return ModelTrust(keys=TrustedKeys({"quality": file}), demanded=demanded)


def test_a_signed_model_is_trusted_and_its_signature_goes_with_it(tmp_path: Path) -> None:
    source = model(tmp_path / "new")
    sign_card(source, KEY)
    add(source, None, tmp_path / "models", verify=trust(tmp_path).check)
    assert trust(tmp_path).check(tmp_path / "models" / "m" / "1") == "quality"


def _unsigned(folder: Path) -> None: ...


def _signed_by_a_stranger(folder: Path) -> None:
    sign_card(folder, OTHER)


def _card_changed(folder: Path) -> None:
    sign_card(folder, KEY)
    (folder / "card.json").write_text(json.dumps(CARD | {"min_score": 0.9}))


def _signed_for_something_else(folder: Path) -> None:
    (folder / FILE).write_text(sign((folder / "card.json").read_bytes(), KEY, typ="edge-agent-command"))


def _garbage(folder: Path) -> None:
    (folder / FILE).write_bytes(b"\xff\x00" * 5_000)


@pytest.mark.parametrize(
    ("spoil", "words", "also_undemanded"),
    [
        (_unsigned, "is not signed", False),
        (_signed_by_a_stranger, "is not trusted", False),
        (_card_changed, "not what was signed", True),
        (_signed_for_something_else, "was made for 'edge-agent-command'", True),
        (_garbage, "not a detached JWS", True),
    ],
)
def test_an_unsigned_or_wrongly_signed_model_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], words: str, also_undemanded: bool
) -> None:
    folder = model(tmp_path / "m" / "1")
    spoil(folder)
    with pytest.raises(ConfigError, match=words):
        trust(tmp_path).check(folder)
    if also_undemanded:
        with pytest.raises(ConfigError, match=words):
            trust(tmp_path, demanded=False).check(folder)
    else:
        assert trust(tmp_path, demanded=False).check(folder) == ""
        assert NOBODY.check(folder) == ""
