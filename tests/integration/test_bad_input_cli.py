"""Bad configurations, models and images through the real program: exit codes, and messages that a user can act on."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLE = PROJECT / "plant_config" / "examples" / "simulated"
CONFIG_WRONG = 78
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def edge_agent(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end. A traceback is never an answer to a user's mistake."""
    program = [sys.executable, "-m", "edge_agent.cli", *map(str, words)]
    done = subprocess.run(
        program, capture_output=True, text=True, timeout=90, check=False, env=os.environ | environment
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration that stands alone and is right."""
    folder = tmp_path_factory.mktemp("pristine") / "plant"
    assert edge_agent("config", "copy", EXAMPLE, folder).returncode == 0
    with (folder / "plant.yaml").open("a") as file:
        file.write("web: {enabled: false}\n")
    return folder


@pytest.fixture
def plant(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(pristine, tmp_path / "plant"))


Spoil = Callable[[Path], object]


def line(file: str, old: str, new: str) -> Spoil:
    """Replace text that must be there."""

    def spoil(plant: Path) -> None:
        text = (plant / file).read_text("utf-8")
        assert old in text
        (plant / file).write_text(text.replace(old, new, 1), "utf-8")

    return spoil


def more(file: str, text: str) -> Spoil:
    """Add lines at the end."""
    return lambda plant: (plant / file).write_text((plant / file).read_text("utf-8") + text, "utf-8")


def content(file: str, data: bytes) -> Spoil:
    return lambda plant: (plant / file).write_bytes(data)


def gone(file: str) -> Spoil:
    return lambda plant: (plant / file).unlink()


def second_station(text: str) -> Spoil:
    """A second station file, made from the first."""

    def spoil(plant: Path) -> None:
        first = (plant / "stations/aoi-1.yaml").read_text("utf-8")
        (plant / "stations/aoi-2.yaml").write_text(eval(text, {"first": first}), "utf-8")
        line("plant.yaml", "stations: [stations/aoi-1.yaml]", "stations: [stations/aoi-1.yaml, stations/aoi-2.yaml]")(
            plant
        )

    return spoil


GIGE = (
    "first.split('camera:')[0] + 'camera: {kind: gige, device: \"22334455\"}\\ntrigger:' + first.split('trigger:')[1]"
)
PLANT, STATION, RECIPE, CAUSES = "plant.yaml", "stations/aoi-1.yaml", "recipes/pcb-a.yaml", "fmea/pcb.yaml"

CONFIGURATIONS: dict[str, tuple[Spoil, list[str]]] = {
    "unknown key": (more(PLANT, "colour: red\n"), ["plant.yaml:12", "colour", "unknown key"]),
    "unknown key in a station": (more(STATION, "exposure: 3\n"), ["aoi-1.yaml:", "exposure", "unknown key"]),
    "key written wrongly": (line(RECIPE, "model: board", "modle: board"), ["pcb-a.yaml:5: modle", "model: missing"]),
    "a word for a number": (
        line(STATION, "every_ms: 500", "every_ms: 0.5 s"),
        ["aoi-1.yaml:10", "trigger.every_ms", "'0.5 s'", "number"],
    ),
    "negative": (line(RECIPE, "max_shift_px: 12", "max_shift_px: -3"), ["pcb-a.yaml:8", "greater than 0", "-3"]),
    "port out of range": (line(PLANT, "port: 1883", "port: 70000"), ["plant.yaml:7", "mqtt.port", "65535", "70000"]),
    "unknown kind of camera": (line(STATION, "kind: simulated", "kind: webcam"), ["camera", "webcam", "'v4l2'"]),
    "option of another camera": (line(STATION, "layout: A", "url: rtsp://x"), ["aoi-1.yaml:5", "camera.url"]),
    "no such recipe": (gone(RECIPE), ["aoi-1.yaml:12", "recipes.PCB-A", "no such file", "pcb-a.yaml"]),
    "no such station": (gone(STATION), ["plant.yaml:8", "stations.0", "no such file"]),
    "no such catalogue": (gone(CAUSES), ["plant.yaml:9", "diagnosis.catalogue", "no such file"]),
    "no such golden image": (gone("golden/PCB-A.png"), ["pcb-a.yaml:11", "golden.image", "no such file"]),
    "golden image is text": (
        content("golden/PCB-A.png", b"garbage\n"),
        ["pcb-a.yaml:11", "golden.image", "neither PNG"],
    ),
    "golden image is cut": (
        lambda plant: content("golden/PCB-A.png", (plant / "golden/PCB-A.png").read_bytes()[:2000])(plant),
        ["pcb-a.yaml:11", "golden.image"],
    ),
    "recipe of another product": (
        line(RECIPE, "product: PCB-A", "product: PCB-Z"),
        ["aoi-1.yaml:12", "'PCB-A'", "'PCB-Z'"],
    ),
    "no such model": (line(RECIPE, "model: board", "model: bord"), ["pcb-a.yaml:5", "model", "'bord'", "board/1"]),
    "class that the model does not know": (
        line(RECIPE, "  short:", "  shrot:"),
        ["pcb-a.yaml:", "limits.shrot", "no such class", "short"],
    ),
    "no such TLS file": (
        line(PLANT, "port: 1883", "port: 8883, tls: {ca_file: ca.pem}"),
        ["plant.yaml:7", "mqtt.tls.ca_file", "no such file", "ca.pem"],
    ),
    "no such password file": (
        line(PLANT, "port: 1883", "port: 1883, username: box, password_file: pw"),
        ["plant.yaml:7", "mqtt.password_file", "no such file"],
    ),
    "no such folder of models": (more(PLANT, "models_dir: nowhere\n"), ["plant.yaml:12", "models_dir", "nowhere"]),
    "two stations with one id": (second_station("first"), ["aoi-2.yaml:2", "'aoi-1'", "already defined"]),
    "two stations with one camera": (
        lambda plant: [
            second_station(GIGE + ".replace('aoi-1', 'aoi-2')")(plant),
            (plant / STATION).write_text(
                (plant / "stations/aoi-2.yaml").read_text("utf-8").replace("aoi-2", "aoi-1"), "utf-8"
            ),
        ],
        ["aoi-2.yaml:", "camera", "the same camera as station 'aoi-1'", "22334455"],
    ),
    "empty": (content(PLANT, b""), ["plant.yaml:1", "dictionary"]),
    "a list": (content(PLANT, b"- a\n- b\n"), ["plant.yaml:1", "dictionary"]),
    "not text": (content(PLANT, bytes(range(128, 256))), ["plant.yaml", "not UTF-8 YAML"]),
    "not YAML": (more(RECIPE, "zones: [1\n"), ["pcb-a.yaml:", "expected ',' or ']'"]),
    "a key twice": (more(PLANT, "agent: two\n"), ["plant.yaml:12", "duplicate key 'agent'"]),
    "far too large": (content(PLANT, b"#" * (3 * 1024**2)), ["plant.yaml", "3145728 bytes", "2097152"]),
    "a folder for a file": (
        lambda plant: [gone(STATION)(plant), (plant / STATION).mkdir()],
        ["plant.yaml:8", "no such file"],
    ),
    "wrong word in the catalogue": (line(CAUSES, "causes:", "cuases:"), ["pcb.yaml:", "cuases", "unknown key"]),
    "broken background": (content("fmea/pcb_background.yaml", b"{"), ["pcb_background.yaml:1"]),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_check_names_file_line_key_value_and_expectation(case: str, plant: Path) -> None:
    spoil, words = CONFIGURATIONS[case]
    spoil(plant)
    done = edge_agent("check", plant)
    assert done.returncode == CONFIG_WRONG, done.stdout + done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr


def test_all_mistakes_are_told_at_once(plant: Path) -> None:
    for case in ("unknown key", "a word for a number", "negative", "no such golden image"):
        CONFIGURATIONS[case][0](plant)
    done = edge_agent("check", plant)
    assert done.stderr.startswith("4 problems in the configuration:\n")


@pytest.mark.parametrize("given", ["nowhere", "nowhere/plant.yaml"])
def test_a_configuration_that_is_not_there(given: str, tmp_path: Path) -> None:
    done = edge_agent("check", tmp_path / given)
    assert done.returncode == CONFIG_WRONG
    assert str(tmp_path / given) in done.stderr
    assert "No such file" in done.stderr


def test_a_right_configuration(plant: Path) -> None:
    done = edge_agent("check", plant)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no errors" in done.stdout


@pytest.mark.parametrize("case", ["unknown key", "golden image is cut", "class that the model does not know"])
def test_run_refuses_what_check_refuses(case: str, plant: Path) -> None:
    spoil, words = CONFIGURATIONS[case]
    spoil(plant)
    done = edge_agent("run", "--config", plant, STATE_DIRECTORY=str(plant.parent / "state"))
    assert done.returncode == CONFIG_WRONG
    assert [word for word in words if word not in done.stderr] == []
    assert not (plant.parent / "state").exists()


def spoilt_model(plant: Path, change: Callable[[Path], object]) -> None:
    """The product's models beside the configuration, changed."""
    shutil.copytree(PROJECT / "models" / "board", plant / "models" / "board")
    newest = max((plant / "models" / "board").iterdir(), key=lambda version: int(version.name))
    change(newest)
    more(PLANT, "models_dir: models\n")(plant)


def new_card(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    card = json.loads((folder / "card.json").read_text("utf-8"))
    change(card)
    (folder / "card.json").write_text(json.dumps(card), "utf-8")


def one_byte(folder: Path) -> None:
    file = folder / "model.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def other_model(folder: Path) -> None:
    """A valid file of the wrong kind, with its own right sha256 on the card."""
    from hashlib import sha256

    (folder / "model.onnx").write_bytes(b"not a model")
    digest = sha256(b"not a model").hexdigest()
    new_card(folder, lambda card: card.update(sha256=digest))


def other_shape(folder: Path) -> None:
    new_card(folder, lambda card: card["inputs"][0].update(shape=[1, 1, 320, 320]))


MODELS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "one byte changed": (one_byte, ["model.onnx", "sha256"]),
    "cut": (lambda folder: (folder / "model.onnx").write_bytes(b""), ["model.onnx"]),
    "gone": (lambda folder: (folder / "model.onnx").unlink(), ["model.onnx"]),
    "not a model": (other_model, ["model"]),
    "wrong input shape": (other_shape, ["320"]),
    "card is not JSON": (lambda folder: (folder / "card.json").write_text("{"), ["card.json"]),
    "card without sha256": (lambda folder: new_card(folder, lambda card: card.pop("sha256")), ["card.json", "sha256"]),
}


@pytest.mark.parametrize("case", MODELS)
def test_run_does_not_start_on_a_model_that_is_not_the_one(case: str, plant: Path) -> None:
    change, words = MODELS[case]
    spoilt_model(plant, change)
    done = edge_agent("run", "--config", plant, STATE_DIRECTORY=str(plant.parent / "state"))
    assert done.returncode == CONFIG_WRONG, done.stderr
    last = done.stderr[-2000:]
    assert [word for word in words if word not in last] == [], last


def test_run_refuses_a_gpu_that_is_not_there(plant: Path) -> None:
    more(STATION, "detector: {providers: [tensorrt]}\n")(plant)
    done = edge_agent("run", "--config", plant, STATE_DIRECTORY=str(plant.parent / "state"))
    assert done.returncode == CONFIG_WRONG
    assert "tensorrt" in done.stderr.lower()


def test_run_refuses_a_state_folder_that_is_a_file(plant: Path) -> None:
    (plant.parent / "state").write_text("")
    done = edge_agent("run", "--config", plant, STATE_DIRECTORY=str(plant.parent / "state"))
    assert done.returncode == CONFIG_WRONG
    assert f"state folder {plant.parent / 'state'} cannot be written to" in done.stderr


def test_run_refuses_a_store_that_is_no_database(plant: Path) -> None:
    (plant.parent / "state").mkdir()
    (plant.parent / "state" / "edge-agent.sqlite3").write_bytes(b"this is not a database at all" * 100)
    done = edge_agent("run", "--config", plant, STATE_DIRECTORY=str(plant.parent / "state"))
    assert done.returncode in {1, CONFIG_WRONG}
    assert "edge-agent.sqlite3" in done.stderr


def test_run_without_its_credential_says_where_it_should_be(plant: Path) -> None:
    line(PLANT, "port: 1883", "port: 1883, username: box, password_credential: mqtt-password")(plant)
    state = str(plant.parent / "state")
    outside = edge_agent("run", "--config", plant, STATE_DIRECTORY=state, CREDENTIALS_DIRECTORY="")
    assert outside.returncode == CONFIG_WRONG
    assert "password_file" in outside.stderr
    inside = edge_agent("run", "--config", plant, STATE_DIRECTORY=state, CREDENTIALS_DIRECTORY=str(plant))
    assert inside.returncode == CONFIG_WRONG
    assert str(plant / "mqtt-password") in inside.stderr


def test_run_stops_with_0_when_asked(plant: Path) -> None:
    program = [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(plant)]
    environment = os.environ | {"STATE_DIRECTORY": str(plant.parent / "state")}
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        for told in process.stderr:
            if json.loads(told)["event"] == "part inspected":
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(30) == 0
    assert json.loads(rest.splitlines()[-1])["event"] == "stopped"


# --- images ---------------------------------------------------------------------------------------------------------


def encoded(pixels: np.ndarray, ending: str = ".png") -> bytes:
    return bytes(cv2.imencode(ending, pixels)[1].tobytes())


def bomb() -> bytes:
    """A PNG of 20,000 by 20,000 pixels in a few hundred kilobytes."""
    return encoded(np.zeros((20_000, 20_000), np.uint8))


def good() -> bytes:
    return (EXAMPLE / "golden" / "PCB-A.png").read_bytes()


IMAGES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "NOT_INSPECTED"),
    "truncated": (lambda: good()[: len(good()) // 2], "NOT_INSPECTED"),
    "text": (lambda: b"hello, I am a picture", "NOT_INSPECTED"),
    "wrong size": (lambda: encoded(np.full((480, 640), 90, np.uint8)), "NOT_DECIDABLE"),
    "black": (lambda: encoded(np.zeros((640, 640), np.uint8)), "NOT_DECIDABLE"),
    "white": (lambda: encoded(np.full((640, 640), 255, np.uint8)), "NOT_DECIDABLE"),
    "far too large": (bomb, "NOT_INSPECTED"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_inspect_answers_every_image_and_never_with_ok(case: str, plant: Path, tmp_path: Path) -> None:
    make, evaluation = IMAGES[case]
    (tmp_path / "bad.png").write_bytes(make())
    (tmp_path / "good.png").write_bytes(good())
    done = edge_agent(
        "inspect", tmp_path / "bad.png", tmp_path / "good.png", "--recipe", plant / RECIPE, "--format", "json"
    )
    assert done.returncode == 0, done.stderr
    bad, fine = [json.loads(text) for text in done.stdout.splitlines()]
    assert (bad["evaluation"], bad["disposition"]) == (evaluation, "HOLD"), bad
    assert bad["reasons"]
    assert fine["evaluation"] == "OK"


def test_inspect_answers_an_image_of_another_depth(plant: Path, tmp_path: Path) -> None:
    picture = cv2.imdecode(np.frombuffer(good(), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    (tmp_path / "deep.png").write_bytes(encoded(picture.astype(np.uint16) * 257))
    done = edge_agent("inspect", tmp_path / "deep.png", "--recipe", plant / RECIPE, "--format", "json")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["disposition"] == "HOLD" or answer["evaluation"] == "OK"
    assert answer["disposition"] != "REJECT"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["inspect", "gone.png", "--model", "board"], None, "gone.png"),
        (["inspect", "--model", "board"], 2, ""),
        (["inspect", "a.png"], 2, "--recipe"),
        (["inspect", "a.png", "--recipe", "gone.yaml"], None, "gone.yaml"),
        (["inspect", "a.png", "--model", "bord"], CONFIG_WRONG, "board/1"),
        (["inspect", "--folder", "gone", "--model", "board"], None, "gone"),
    ],
)
def test_inspect_says_what_is_missing(words: list[str], code: int | None, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(good())
    there = [str(tmp_path / word) if word.endswith((".png", ".yaml", "gone")) else word for word in words]
    done = edge_agent(*there)
    assert done.returncode in ({2, CONFIG_WRONG, 0} if code is None else {code}), done.stderr + done.stdout
    assert told in done.stderr + done.stdout
    assert done.returncode or "NOT_INSPECTED" in done.stdout


def test_a_credential_that_comes_with_the_service_is_taken_on_trust_outside_of_it(plant: Path) -> None:
    key = "/run/credentials/edge-agent.service/client-key"
    (plant / "ca.pem").write_text("")
    line(PLANT, "port: 1883", f"port: 8883, tls: {{ca_file: ca.pem, cert_file: ca.pem, key_file: {key}}}")(plant)
    outside = {name: value for name, value in os.environ.items() if name != "CREDENTIALS_DIRECTORY"}
    program = [sys.executable, "-m", "edge_agent.cli", "check", str(plant)]
    assert subprocess.run(program, env=outside, capture_output=True, timeout=60, check=False).returncode == 0
    assert key in edge_agent("check", plant, CREDENTIALS_DIRECTORY="/run/credentials/edge-agent.service").stderr
