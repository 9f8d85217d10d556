"""`edge-agent doctor`: each finding, from a small real condition or a steered answer of the system."""

import ctypes.util
import json
import shutil
import socket
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from edge_agent.cli import build
from edge_agent.commands import doctor
from edge_agent.commands.doctor import Finding, Level
from edge_agent.config import Configuration, load

PROJECT = Path(__file__).resolve().parents[2]
Usage = namedtuple("Usage", "total used free")
runner = CliRunner()
Make = Callable[..., Configuration]


@pytest.fixture(autouse=True)
def no_leftovers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets folders of the service in the environment; they must not outlive a test."""
    for name in ("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A configuration with some sections replaced; its state is in ``tmp_path``."""

    def made(*, station: dict[str, Any] | None = None, **plant: Any) -> Configuration:
        example = PROJECT / "plant_config" / "examples" / "simulated"
        folder = tmp_path / "config"
        shutil.copytree(example, folder)
        for file, changes in (("plant.yaml", plant), ("stations/aoi-1.yaml", station or {})):
            data = yaml.safe_load((folder / file).read_text("utf-8"))
            data |= changes
            if file == "plant.yaml":
                data |= {"state_dir": str(tmp_path / "state")}
                data["diagnosis"]["catalogue"] = str(PROJECT / "plant_config" / "fmea" / "pcb.yaml")
            (folder / file).write_text(yaml.safe_dump(data), "utf-8")
        recipe = folder / "recipes" / "pcb-a.yaml"
        recipe.write_text(recipe.read_text("utf-8").replace("../simulated/", ""), "utf-8")
        return load(folder)

    return made


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody else gets and nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def versions(*installed: str) -> Callable[[str], str]:
    return lambda name: "1.0" if name in installed else ""


def check(finding: Finding, level: Level, *words: str) -> None:
    """The finding's level, words of its text, and a way out wherever something is wrong."""
    assert finding.level is level, finding
    for word in words:
        assert word in f"{finding.subject} {finding.detail} {finding.todo}"
    assert bool(finding.todo) is (level is not Level.OK)


@pytest.mark.parametrize(
    ("installed", "level", "words"),
    [
        (("onnxruntime",), Level.OK, ("CPUExecutionProvider",)),
        (("onnxruntime", "onnxruntime-gpu"), Level.FAIL, ("both installed", "uninstall both")),
        ((), Level.FAIL, ("not installed", "edge-agent[cpu]")),
    ],
)
def test_onnxruntime(
    installed: tuple[str, ...], level: Level, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_version", versions(*installed))
    check(doctor._onnxruntime(), level, *words)


@pytest.mark.parametrize("clash", ["opencv-python", "opencv-contrib-python"])
def test_another_opencv(clash: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", versions(clash, "opencv-python-headless"))
    check(doctor._opencv(), Level.WARN, clash, "reinstall opencv-python-headless")


def test_opencv_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", versions("opencv-python-headless"))
    check(doctor._opencv(), Level.OK, "5.")


@pytest.mark.parametrize(
    ("missing", "level", "todo"),
    [
        ((), Level.OK, ""),
        (("harfbuzz-subset",), Level.WARN, "apt-get install libharfbuzz-subset0"),
        (("pango-1.0",), Level.FAIL, "apt-get install libpango-1.0-0"),
        (("pangoft2-1.0", "harfbuzz-subset"), Level.FAIL, "apt-get install libpangoft2-1.0-0 libharfbuzz-subset0"),
    ],
)
def test_document_libraries(missing: tuple[str, ...], level: Level, todo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None if name in missing else f"lib{name}.so")
    check(doctor._documents(), level, todo)


@pytest.mark.parametrize(
    ("listed", "level", "words"),
    [
        ("Noto Sans\nNoto Serif\n", Level.OK, "2 families"),
        ("DejaVu Sans\n", Level.WARN, "fonts-noto-core"),
        (None, Level.WARN, "fontconfig"),
    ],
)
def test_fonts(listed: str | None, level: Level, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_run", lambda *_: listed)
    check(doctor._fonts(), level, words)


@pytest.mark.parametrize(
    ("answer", "level", "words"),
    [("yes\n", Level.OK, "synchronised"), ("no\n", Level.WARN, "set-ntp"), (None, Level.WARN, "timesyncd")],
)
def test_clock(answer: str | None, level: Level, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_run", lambda *_: answer)
    check(doctor._clock(), level, words)


@pytest.mark.parametrize(
    ("free_gib", "fsync_ms", "level", "words"),
    [
        (100, 2.0, Level.OK, "100.0 GiB free"),
        (1, 2.0, Level.FAIL, "retention.images_gib"),
        (100, 90.0, Level.WARN, "use an SSD"),
    ],
)
def test_disk(
    free_gib: int, fsync_ms: float, level: Level, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free_gib * 1024**3))
    monkeypatch.setattr(doctor, "_fsync_ms", lambda _: fsync_ms)
    check(doctor._disk(tmp_path), level, words)


def test_the_probe_of_the_disk_leaves_nothing(tmp_path: Path) -> None:
    assert doctor._fsync_ms(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_finding_too(tmp_path: Path) -> None:
    check(doctor._disk(tmp_path / "gone"), Level.FAIL, "No such file")


def test_too_many_threads(make: Make) -> None:
    check(doctor._cores(make(station={"detector": {"threads": 64}})), Level.WARN, "64 threads", "detector.threads")


def test_few_enough_threads(make: Make) -> None:
    check(doctor._cores(make()), Level.OK, "1 threads for detectors, 0 for the language model")


def test_models_of_the_product_are_sound() -> None:
    findings = list(doctor._models(None))
    assert findings
    for finding in findings:
        assert "golden parity holds" in finding.detail or "feature network" in finding.detail, finding
        check(finding, Level.OK)


@pytest.mark.parametrize(("missing", "level"), [("", Level.OK), ("工", Level.WARN)])
def test_characters_that_no_font_has(make: Make, monkeypatch: pytest.MonkeyPatch, missing: str, level: Level) -> None:
    monkeypatch.setattr(doctor, "undrawable", lambda text: missing)
    check(doctor._glyphs(make()), level, *([missing, "boxes"] if missing else []))


def test_a_model_that_was_changed(make: Make, tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "models", tmp_path / "models")
    for file in (tmp_path / "models" / "board").rglob("*.onnx"):
        file.write_bytes(file.read_bytes()[:-1] + b"\0")
    (finding,) = doctor._models(make(models_dir=str(tmp_path / "models")))
    check(finding, Level.FAIL, "model board", "sha256")


def test_a_model_that_is_not_there(make: Make, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (finding,) = doctor._models(make(models_dir=str(tmp_path / "models")))
    check(finding, Level.FAIL, "board", str(tmp_path / "models"))


def test_a_broker_that_does_not_answer(make: Make, closed_port: int) -> None:
    finding = doctor._broker(make(mqtt={"host": "127.0.0.1", "port": closed_port}))
    check(finding, Level.FAIL, f"127.0.0.1:{closed_port}", "no connection", "firewall")


def test_a_password_that_is_not_there(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        mqtt = {"host": "127.0.0.1", "port": listening.getsockname()[1], "password_credential": "mqtt-password"}
        finding = doctor._broker(make(mqtt=mqtt))
    check(finding, Level.FAIL, str(tmp_path / "mqtt-password"), "put the password where the message says")


def test_a_camera_that_connects(make: Make) -> None:
    (finding,) = doctor._cameras(make())
    check(finding, Level.OK, "station aoi-1 (simulated)")


def test_a_camera_that_is_not_there(make: Make) -> None:
    (finding,) = doctor._cameras(make(station={"camera": {"kind": "v4l2", "device": "/dev/video77"}}))
    check(finding, Level.FAIL, "station aoi-1 (v4l2)", "/dev/video77")


@pytest.mark.parametrize(
    ("analyst", "installed", "level", "words"),
    [
        ({"kind": "none"}, (), Level.OK, "rules"),
        ({"kind": "server", "url": "http://10.0.0.5:8000", "model": "m"}, (), Level.OK, "http://10.0.0.5:8000"),
        ({"kind": "local", "model": "tiny.gguf"}, (), Level.FAIL, "edge-agent[llm]"),
        ({"kind": "local", "model": "tiny.gguf"}, ("xllamacpp",), Level.OK, "on xllamacpp"),
    ],
)
def test_language_model(
    analyst: dict[str, Any],
    installed: tuple[str, ...],
    level: Level,
    words: str,
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "model" in analyst and analyst["kind"] == "local":
        (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
        analyst = analyst | {"model": str(tmp_path / "tiny.gguf")}
    monkeypatch.setattr(doctor, "_version", versions(*installed))
    check(doctor._language_model(make(analyst=analyst)), level, words)


def test_the_language_models_library_lacks_one(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(doctor, "_version", versions("xllamacpp"))
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    finding = doctor._language_model(make(analyst={"kind": "local", "model": str(tmp_path / "tiny.gguf")}))
    check(finding, Level.FAIL, "apt-get install libgomp1")


def test_a_web_port_that_is_taken(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        finding = doctor._web(make(web={"port": listening.getsockname()[1]}))
    check(finding, Level.WARN, "in use", "web.port")


@pytest.mark.parametrize(("web", "words"), [({"port": 0}, "free"), ({"enabled": False}, "switched off")])
def test_a_web_port_that_is_fine(web: dict[str, Any], words: str, make: Make) -> None:
    check(doctor._web(make(web=web)), Level.OK, words)


def test_a_wrong_configuration_ends_the_examination_with_every_error(tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_text("agent: a\ncolour: red\n")
    last = list(doctor.examine(tmp_path))[-1]
    check(last, Level.FAIL, "colour", "stations", "plant.yaml:2")


def test_a_state_folder_that_cannot_be_made(make: Make, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    first = next(iter(doctor._configured(make())))
    check(first, Level.FAIL, "state folder", str(tmp_path / "state"))


def test_the_command_ends_with_1_when_something_fails_and_prints_json(make: Make, closed_port: int) -> None:
    folder = make(mqtt={"host": "127.0.0.1", "port": closed_port}, web={"port": 0}).folder
    done = runner.invoke(build("doctor"), ["doctor", "--json", "--config", str(folder)])
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert [one["subject"] for one in findings if one["level"] == "fail"] == [f"broker 127.0.0.1:{closed_port}"]
    assert {"level", "subject", "detail", "todo"} == set(findings[0])


def test_the_command_ends_with_0_on_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [doctor.ok("a", "good"), doctor.warn("b", "odd", "look at it")]
    monkeypatch.setattr(doctor, "examine", lambda _: iter(found))
    done = runner.invoke(build("doctor"), ["doctor"])
    assert done.exit_code == 0
    assert done.stdout.splitlines() == ["  ok   a: good", " warn  b: odd", "        -> look at it"]


def test_the_services_folders_are_found_beside_its_configuration(make: Make) -> None:
    configuration = make()
    doctor._as_the_service(configuration)
    assert doctor.os.environ["CREDENTIALS_DIRECTORY"] == str(configuration.folder / "credentials")
    assert "STATE_DIRECTORY" not in doctor.os.environ
