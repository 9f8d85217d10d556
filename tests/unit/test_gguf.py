"""Reading what a model file says about itself."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.analysts.gguf import ModelFile, describe
from edge_agent.domain.faults import Transient
from tests.fakes.gguf import instruct_model, write_gguf


def test_it_describes_an_instruct_model(tmp_path: Path) -> None:
    found = describe(instruct_model(tmp_path / "m.gguf"))
    assert (found.name, found.architecture, found.context_tokens) == ("Tiny Instruct", "llama", 2_048)
    assert "messages" in found.chat_template


def test_a_missing_file_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(Transient, match="scripts/fetch_llm"):
        describe(tmp_path / "none.gguf")


def test_a_model_without_its_own_chat_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Transient, match="chat template"):
        describe(write_gguf(tmp_path / "base.gguf", {"general.architecture": "llama"}))


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Transient, match="version 9"):
        describe(write_gguf(tmp_path / "new.gguf", {}, version=9))


@given(cut=st.integers(min_value=0, max_value=250), noise=st.binary(max_size=40))
def test_no_damage_raises_anything_but_transient(
    tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes
) -> None:
    path = instruct_model(tmp_path_factory.mktemp("gguf") / "m.gguf")
    path.write_bytes(path.read_bytes()[:cut] + noise)
    with suppress(Transient):
        assert isinstance(describe(path), ModelFile)
