"""``edge-agent doctor``: what is missing on this box, and what to do about it."""

import ctypes.util
import json
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.documents.glyphs import undrawable
from edge_agent.adapters.link.tls import good_until
from edge_agent.bootstrap import parts
from edge_agent.bootstrap.adapters import CAMERAS, adapter
from edge_agent.bootstrap.folders import Folders
from edge_agent.bootstrap.secrets import mqtt_password
from edge_agent.config import Configuration, load
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.observability import logs

_SERVICE_CONFIGURATION = Path("/etc/edge-agent")
_SERVICE_STATE = Path("/var/lib/edge-agent")
_BROKER_TIMEOUT_S = 5.0
_LITTLE_BYTES = 2 * 1024**3
_SLOW_FSYNC_MS = 50.0
_FEW_DAYS = 30


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found, and what to do about it (empty when nothing)."""

    level: Level
    subject: str
    detail: str
    todo: str = ""


def ok(subject: str, detail: str) -> Finding:
    return Finding(level=Level.OK, subject=subject, detail=detail)


def warn(subject: str, detail: str, todo: str) -> Finding:
    return Finding(level=Level.WARN, subject=subject, detail=detail, todo=todo)


def fail(subject: str, detail: str, todo: str) -> Finding:
    return Finding(level=Level.FAIL, subject=subject, detail=detail, todo=todo)


def command(
    config: Annotated[Path | None, typer.Option(help="Also check what this plant.yaml names.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line for each finding.")] = False,
) -> None:
    """Check this box.

    Looks at the Python packages, the inference providers, models, fonts and libraries, the disk and the clock; with
    --config also at the broker, the cameras, the state folder and the language model that it names. Every finding
    says what to do. Cameras are opened: an agent that runs may have them.

    Example: sudo edge-agent doctor --config /etc/edge-agent

    Exit codes: 0 all well or warnings only, 1 something fails.
    """
    logs.configure(level="critical")  # what fails is a finding, not a log line
    worst = Level.OK
    for finding in examine(config):
        worst = max(worst, finding.level, key=list(Level).index)
        typer.echo(json.dumps(asdict(finding)) if as_json else _line(finding))
    raise typer.Exit(1 if worst is Level.FAIL else 0)


def _line(finding: Finding) -> str:
    mark = {Level.OK: "  ok ", Level.WARN: " warn", Level.FAIL: " FAIL"}[finding.level]
    todo = f"\n        -> {finding.todo}" if finding.todo else ""
    return f"{mark}  {finding.subject}: {finding.detail}{todo}"


def examine(config: Path | None) -> Iterator[Finding]:
    """All findings, as they come."""
    yield from (check() for check in (_python, _onnxruntime, _opencv, _documents, _fonts, _clock))
    if config is None:
        yield _disk(Path.cwd())
        yield from _models(None)
        return
    try:
        configuration = load(config)
    except ConfigError as error:
        yield fail("configuration", str(error), "mend the lines named above; edge-agent check shows them again")
        return
    yield ok("configuration", f"{len(configuration.files)} files read")
    yield from _configured(configuration)


def _configured(configuration: Configuration) -> Iterator[Finding]:
    _as_the_service(configuration)
    try:
        folders = Folders.of(configuration.plant)
        yield _disk(folders.state)
    except ConfigError as error:
        yield fail("state folder", str(error), "make it and give it to the user that runs the agent")
    yield _cores(configuration)
    yield _glyphs(configuration)
    yield from _models(configuration)
    yield from certificates(configuration, SystemClock().now())
    yield _broker(configuration)
    yield from _cameras(configuration)
    yield _language_model(configuration)
    yield _web(configuration)


# --- this machine ---------------------------------------------------------------------------------------------------


def _python() -> Finding:
    detail = f"{platform.python_version()} on {platform.platform()}"
    return ok("python", detail)


def _onnxruntime() -> Finding:
    wheels = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name)]
    if len(wheels) == 2:
        todo = "both own the same folder: uninstall both, then install edge-agent[cpu] or edge-agent[gpu]"
        return fail("onnxruntime", "onnxruntime and onnxruntime-gpu are both installed", todo)
    if not wheels:
        return fail("onnxruntime", "not installed", "install edge-agent[cpu] or edge-agent[gpu]")
    import onnxruntime

    providers = ", ".join(onnxruntime.get_available_providers())
    return ok("onnxruntime", f"{wheels[0]} {_version(wheels[0])}; providers {providers}")


def _opencv() -> Finding:
    clash = [name for name in ("opencv-python", "opencv-contrib-python") if _version(name)]
    if clash:
        todo = f"uninstall {clash[0]} and reinstall opencv-python-headless: they own the same folder"
        return warn("opencv", f"{clash[0]} is installed beside opencv-python-headless", todo)
    import cv2

    return ok("opencv", f"{cv2.__version__}, headless")


def _documents() -> Finding:
    wanted = {
        "pango-1.0": "libpango-1.0-0",
        "pangoft2-1.0": "libpangoft2-1.0-0",
        "harfbuzz-subset": "libharfbuzz-subset0",
    }
    missing = [package for library, package in wanted.items() if ctypes.util.find_library(library) is None]
    if not missing:
        return ok("document libraries", "pango and harfbuzz-subset found")
    todo = f"apt-get install {' '.join(missing)}"
    if missing == ["libharfbuzz-subset0"]:
        return warn("document libraries", "without harfbuzz-subset a PDF takes ten times as long", todo)
    return fail("document libraries", "PDFs cannot be made", todo)


def _fonts() -> Finding:
    listed = _run("fc-list", ":", "family")
    if listed is None:
        return warn("fonts", "fc-list is not installed, fonts were not checked", "apt-get install fontconfig")
    families = set(listed.splitlines())
    if not any("Noto Sans" in family for family in families):
        return warn(
            "fonts", f"{len(families)} families, Noto Sans is not among them", "apt-get install fonts-noto-core"
        )
    return ok("fonts", f"{len(families)} families, Noto Sans among them")


def _glyphs(configuration: Configuration) -> Finding:
    """The plant's own words are printed in orders and reports."""
    catalogue = configuration.resolve(configuration.plant.diagnosis.catalogue)
    files = {Path(name) for name in configuration.files} | {catalogue}
    words = "".join(file.read_text(encoding="utf-8", errors="ignore") for file in files if file.is_file())
    missing = undrawable(words)
    if missing:
        detail = f"no installed font has {len(missing)} characters of the configuration: {missing[:40]}"
        return warn("glyphs", detail, "install a font that has them (apt-get install fonts-noto), or PDFs show boxes")
    return ok("glyphs", "every character of the configuration can be printed")


def _clock() -> Finding:
    answer = _run("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if answer is None:
        todo = "make sure that chrony or systemd-timesyncd runs: evidence compares times of cameras, PLCs and the box"
        return warn("clock", "timedatectl does not answer, synchronisation was not checked", todo)
    if answer.strip() != "yes":
        return warn("clock", "not synchronised", "timedatectl set-ntp true, or configure chrony")
    return ok("clock", "synchronised")


def _disk(folder: Path) -> Finding:
    try:
        usage = shutil.disk_usage(folder)
        fsync_ms = _fsync_ms(folder)
    except OSError as error:
        return fail("disk", f"{folder}: {error.strerror}", "use a folder that the agent's user may write to")
    detail = f"{folder}: {usage.free / 1024**3:.1f} GiB free, fsync {fsync_ms:.1f} ms"
    if usage.free < _LITTLE_BYTES:
        return fail("disk", detail, "free some space, or lower retention.images_gib")
    if fsync_ms > _SLOW_FSYNC_MS:
        return warn("disk", detail, "every part waits for one or two of these: use an SSD, not an SD card or a share")
    return ok("disk", detail)


def _fsync_ms(folder: Path) -> float:
    probe = folder / f".doctor-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            begun = time.perf_counter()
            for _ in range(5):
                file.write(b"x" * 4096)
                file.flush()
                os.fsync(file.fileno())
            return (time.perf_counter() - begun) / 5 * 1e3
    finally:
        probe.unlink(missing_ok=True)


# --- what the configuration names -----------------------------------------------------------------------------------


def _cores(configuration: Configuration) -> Finding:
    vision = sum(station.config.detector.threads for station in configuration.stations)
    analyst = configuration.plant.analyst
    writing = analyst.threads if analyst.kind == "local" else 0
    cores = len(os.sched_getaffinity(0))
    detail = f"{cores} cores; {vision} threads for detectors, {writing} for the language model"
    if vision + writing > cores:
        todo = "lower detector.threads or analyst.threads: threads that share a core wait for each other"
        return warn("cores", detail, todo)
    return ok("cores", detail)


def _models(configuration: Configuration | None) -> Iterator[Finding]:
    from edge_agent.adapters.detectors.catalogue import read_card, resolve
    from edge_agent.adapters.detectors.making_taught import feature_network
    from edge_agent.config.stations import DetectorOptions

    if configuration is None:
        folder = parts.OWN_MODELS
        wanted = [(path.name, DetectorOptions()) for path in sorted(folder.glob("*")) if path.is_dir()]
    else:
        folder = parts.models_folder(configuration.plant)
        wanted = [
            (recipe.model, station.config.detector)
            for station in configuration.stations
            for recipe in station.recipes.values()
        ]
    for name, options in dict(wanted).items():
        try:
            if read_card(resolve(folder, name)).decode == "features":
                network = feature_network(resolve(folder, name))
                yield ok(f"model {name}", f"feature network {network.name[:40]}, for `edge-agent teach`")
                continue
            detector = parts.detector(folder, name, options, SystemClock())
        except ConfigError as error:
            yield fail(f"model {name}", str(error), "restore the model's folder, or mend detector.providers")
        else:
            ref = detector.ref
            detail = f"version {ref.version}, sha256 {ref.sha256[:12]}, golden parity holds on {detector.providers[0]}"
            yield ok(f"model {name}", detail)


def _as_the_service(configuration: Configuration) -> None:
    """Outside the service nobody has set its folders: look where it would."""
    os.environ.setdefault("CREDENTIALS_DIRECTORY", str(configuration.folder / "credentials"))
    if configuration.folder == _SERVICE_CONFIGURATION and _SERVICE_STATE.is_dir():
        os.environ.setdefault("STATE_DIRECTORY", str(_SERVICE_STATE))


def certificates(configuration: Configuration, now: datetime) -> Iterator[Finding]:
    """How long the certificates for the broker are still good."""
    tls = configuration.plant.mqtt.tls
    for name, file in (("mqtt.tls.ca_file", tls.ca_file), ("mqtt.tls.cert_file", tls.cert_file)) if tls else ():
        if file is None:
            continue
        try:
            until = good_until(file)
        except ConfigError as error:
            yield fail(name, str(error), "name a certificate in PEM form that the agent's user may read")
            continue
        days = (until - now).total_seconds() / 86_400
        text = f"good until {until:%Y-%m-%d}, {days:.0f} days left"
        todo = "have it renewed; the agent takes the new file without a restart"
        if days < 0:
            yield fail(name, f"expired on {until:%Y-%m-%d}", todo)
        else:
            yield warn(name, text, todo) if days < _FEW_DAYS else ok(name, text)


def _broker(configuration: Configuration) -> Finding:
    mqtt = configuration.plant.mqtt
    subject = f"broker {mqtt.host}:{mqtt.port}"
    try:
        with socket.create_connection((mqtt.host, mqtt.port), _BROKER_TIMEOUT_S):
            pass
        password = mqtt_password(configuration, mqtt)
    except OSError as error:
        todo = "check host, port, cable and firewall; the agent runs without it and delivers later"
        return fail(subject, f"no connection: {error}", todo)
    except ConfigError as error:
        return fail(subject, str(error), "put the password where the message says")
    refusal = _mqtt_login(configuration, password)
    if refusal:
        return fail(subject, f"refused the login: {refusal}", "check mqtt.username, the password and the broker's ACL")
    return ok(subject, "login accepted")


def _mqtt_login(configuration: Configuration, password: str | None) -> str:
    """Log in with a client id of our own (the agent's would throw a running agent out); why it was refused."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    plant = configuration.plant
    answers: list[str] = []
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=f"{plant.agent}-doctor-{os.getpid()}", protocol=paho.MQTTv5
    )
    client.on_connect = lambda *given: answers.append(str(given[3]) if given[3].is_failure else "")
    if plant.mqtt.username:
        client.username_pw_set(plant.mqtt.username, password)
    try:
        if plant.mqtt.tls:
            tls = plant.mqtt.tls
            client.tls_set(str(tls.ca_file), str(tls.cert_file or "") or None, str(tls.key_file or "") or None)
        client.connect(plant.mqtt.host, plant.mqtt.port, keepalive=10)
        deadline = time.monotonic() + _BROKER_TIMEOUT_S
        while not answers and time.monotonic() < deadline:
            client.loop(timeout=0.2)
        client.disconnect()
    except OSError as error:
        return str(error)
    return answers[0] if answers else f"no answer within {_BROKER_TIMEOUT_S:g} s"


def _cameras(configuration: Configuration) -> Iterator[Finding]:
    for station in configuration.stations:
        options = station.config.camera
        subject = f"camera of station {station.config.id} ({options.kind})"
        try:
            camera = adapter(CAMERAS, options.kind)(options, camera_id=station.config.id, clock=SystemClock())
            camera.open()
            camera.close()
        except ConfigError as error:
            yield fail(subject, str(error), "mend the camera section of the station's file")
        except Transient as error:
            yield fail(subject, str(error), "check power, cable, address, and that no other program has the camera")
        else:
            yield ok(subject, "connects")


def _language_model(configuration: Configuration) -> Finding:
    analyst = configuration.plant.analyst
    match analyst.kind:
        case "none":
            return ok("language model", "none configured: orders are written by rules")
        case "server":
            return ok("language model", f"server {analyst.url}, model {analyst.model}")
        case "local":
            backends = [name for name in ("llama-cpp-python", "xllamacpp") if _version(name)]
            if not backends:
                todo = "install edge-agent[llm], or run scripts/build_llama"
                return fail("language model", "no back end is installed; orders go out on rules", todo)
            if ctypes.util.find_library("gomp") is None:
                return fail("language model", "libgomp is missing; orders go out on rules", "apt-get install libgomp1")
            files = [configuration.resolve(path) for path in (analyst.model, analyst.adapter) if path is not None]
            for path in files:
                if not path.is_file():
                    todo = "scripts/fetch_llm fetches the default model" if path == files[0] else "mend analyst.adapter"
                    return fail("language model", f"no file {path}; orders go out on rules", todo)
            size = sum(path.stat().st_size for path in files)
            names = " with ".join(path.name for path in files)
            return ok("language model", f"{names} ({size / 1e6:.0f} MB) on {', '.join(backends)}")


def _web(configuration: Configuration) -> Finding:
    web = configuration.plant.web
    subject = f"web page {web.host}:{web.port}"
    if not web.enabled:
        return ok("web page", "switched off")
    try:
        with socket.socket(socket.AF_INET6 if ":" in web.host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((web.host, web.port))
    except OSError as error:
        return warn(subject, f"{error.strerror}", "is the agent running already? else choose another web.port")
    return ok(subject, "free")


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _run(*words: str) -> str | None:
    """A program's output, or None when it is missing, fails or takes longer than five seconds."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
