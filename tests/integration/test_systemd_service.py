"""The service under a systemd that has booted: in a container made from a folder, with no network at all.

Needs root, systemd-nspawn, and a folder with a bootable Debian in which `scripts/install --program-only` has run from
/root/edge-agent; its path is in EDGE_AGENT_NSPAWN_ROOT. `scripts/prove_service` makes one and runs this file. The
folder is not changed. With EDGE_AGENT_PROOF the measured figures are written to that file, as JSON.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
ROOT = Path(os.environ.get("EDGE_AGENT_NSPAWN_ROOT", ""))
PROOF = os.environ.get("EDGE_AGENT_PROOF")
SOURCE = "/root/edge-agent"
CONFIG = "/etc/edge-agent"
STATE = "/var/lib/edge-agent"
UNIT = "edge-agent.service"
PASSWORD = "word-of-the-box"
INTERVAL_MS = 20
"""Faster than the box can inspect, so that parts are always waiting when it is killed."""
EXPOSURE_LIMIT = 1.2


def _lacking() -> str:
    """What this test would need, or nothing."""
    if not os.environ.get("EDGE_AGENT_NSPAWN_ROOT"):
        return "EDGE_AGENT_NSPAWN_ROOT is not set (scripts/prove_service makes a bootable folder and sets it)"
    if os.geteuid() != 0:
        return "needs root"
    if not shutil.which("systemd-nspawn"):
        return "systemd-nspawn is not installed (package systemd-container)"
    return "" if (ROOT / "usr/lib/systemd/systemd").exists() else f"{ROOT} has no systemd"


pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(_lacking()), reason=_lacking()),
]


class Box:
    """A booted container without a network."""

    def __init__(self, log: Path) -> None:
        self.figures: dict[str, Any] = {}
        words = ["systemd-nspawn", "--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe"]
        with log.open("wb") as sink:
            self._nspawn = subprocess.Popen(
                [*words, "--volatile=overlay", f"--directory={ROOT}"],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        try:
            self._leader = until(self._first_child, "the container starts")
            until(lambda: "running" in self.run("systemctl is-system-running", check=False), "systemd has booted", 90)
        except BaseException:
            self.off()
            raise

    def _first_child(self) -> str:
        assert self._nspawn.poll() is None, "systemd-nspawn ended"
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        return children[0] if children else ""

    def run(self, script: str, *, check: bool = True, timeout: float = 120) -> str:
        """Run a shell script inside as root; its standard output, with the error output where it failed."""
        environment = ["env", "-i", "HOME=/root", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        inside = ["nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        done = subprocess.run(
            [*inside, *environment, "bash", "-c", script], capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0 or not check, f"{script}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def show(self, name: str) -> str:
        """A property of the service."""
        return self.run(f"systemctl show --property={name} --value {UNIT}")

    def journal(self) -> list[str]:
        """Messages of the service's unit, the manager's among them."""
        return self.run(f"journalctl --boot --output=cat --no-pager --unit={UNIT}").splitlines()

    def events(self, event: str) -> list[dict[str, Any]]:
        """The agent's own log lines of one kind."""
        lines = [json.loads(line) for line in self.journal() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def sql(self, statement: str) -> list[list[Any]]:
        """Ask the service's database, as its own user."""
        program = (
            "import json, sqlite3;"
            f"db = sqlite3.connect('{STATE}/edge-agent.sqlite3', timeout=10);"
            f'print(json.dumps(db.execute("{statement}").fetchall()))'
        )
        path = "/tmp/ask.py"
        self.run(f"cat > {path} <<'END'\n{program}\nEND\nchmod 644 {path}")
        answer: list[list[Any]] = json.loads(
            self.run(f"setpriv --reuid=edge-agent --regid=edge-agent --clear-groups python3 {path}")
        )
        return answer

    def is_up(self) -> bool:
        """Has the service said READY?"""
        return self.run(f"systemctl is-active {UNIT}", check=False) == "active"

    def pid(self) -> str:
        return self.show("MainPID")

    def off(self) -> None:
        """Pull the plug."""
        self._nspawn.terminate()
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait(20)


def until(found: Callable[[], T], what: str, seconds: float = 60) -> T:
    """Poll until there is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """One box for the whole file: the tests tell its story, in order."""
    box = Box(tmp_path_factory.mktemp("nspawn") / "console.log")
    box.run("systemctl disable --now --quiet mosquitto.service", check=False)
    yield box
    box.off()
    if PROOF:
        Path(PROOF).write_text(json.dumps(box.figures, indent=2) + "\n")


def seconds_until(found: Callable[[], object], what: str, seconds: float) -> float:
    begun = time.monotonic()
    until(found, what, seconds)
    return round(time.monotonic() - begun, 1)


def test_installing_needs_no_network_and_ends_with_a_service_that_is_ready(box: Box) -> None:
    box.run(f"cp -r {SOURCE}/plant_config /root/plant_config && printf %s {PASSWORD} > /root/password")
    example = "/root/plant_config/examples/simulated"
    box.run(
        f"sed -i 's|port: 1883}}|port: 1883, username: box, password_credential: mqtt-password}}|' {example}/plant.yaml"
    )
    box.run(f"sed -i 's|every_ms: 500|every_ms: {INTERVAL_MS}|' {example}/stations/*.yaml")
    begun = time.monotonic()
    box.run(f"{SOURCE}/scripts/install --config {example} --mqtt-password-file /root/password", timeout=200)
    box.figures["install_offline_s"] = round(time.monotonic() - begun, 1)
    assert box.is_up()
    assert box.show("Type") == "notify"
    assert box.show("NRestarts") == "0"
    assert box.show("StatusText")
    started, ready = (int(box.show(f"{name}TimestampMonotonic")) for name in ("ExecMainStart", "ActiveEnter"))
    box.figures["start_to_ready_s"] = round((ready - started) / 1e6, 1)
    box.figures["resident_mib"] = box.run(f"awk '/VmRSS/ {{ print int($2 / 1024) }}' /proc/{box.pid()}/status")


def test_it_inspects_without_a_broker_and_keeps_its_state_where_it_says(box: Box) -> None:
    until(lambda: box.sql("select count(*) from inspections where evaluation = 'OK'")[0][0] > 3, "parts are inspected")
    assert not box.events("connected to the broker")
    assert box.run(f"stat -c '%U %a' {STATE} {STATE}/edge-agent.sqlite3").split() == [
        "edge-agent",
        "750",
        "edge-agent",
        "640",
    ]
    assert box.run(f"stat -c '%U:%G %a' {CONFIG} {CONFIG}/credentials").split() == [
        "root:edge-agent",
        "750",
        "root:root",
        "700",
    ]


def test_its_journal_is_json(box: Box) -> None:
    own = [line for line in box.journal() if not line.startswith(("Start", "edge-agent.service:", "Stop"))]
    assert len(own) > 5
    assert {"event", "level", "timestamp"} <= set.intersection(*(set(json.loads(line)) for line in own))


def test_it_logs_in_with_the_password_that_systemd_hands_over(box: Box) -> None:
    assert PASSWORD not in box.run(
        f"tr '\\0' '\\n' < /proc/{box.pid()}/environ; tr '\\0' ' ' < /proc/{box.pid()}/cmdline"
    )
    denied = f"setpriv --reuid=edge-agent --regid=edge-agent --clear-groups cat {CONFIG}/credentials/mqtt-password"
    assert PASSWORD not in box.run(denied, check=False)
    box.run(
        "mkdir -p /run/broker && cd /run/broker && touch passwords && chmod 700 . && "
        f"mosquitto_passwd -b passwords box {PASSWORD} && "
        "printf 'listener 1883 127.0.0.1\\npassword_file /run/broker/passwords\\nuser root\\n' > broker.conf && "
        "systemd-run --unit=test-broker --quiet /usr/sbin/mosquitto -c /run/broker/broker.conf"
    )
    until(lambda: box.events("connected to the broker"), "the agent logs in")
    until(lambda: box.sql("select count(*) from outbox where state = 'pending'")[0][0] < 20, "what waited is sent")


def test_kill_9_it_comes_back_and_answers_what_was_left(box: Box) -> None:
    before = box.pid()
    until(lambda: box.sql("select count(*) from expected_shots")[0][0] > 2, "parts wait")
    box.run(f"kill -9 {before}")
    took = seconds_until(lambda: box.pid() not in {before, "0"} and box.is_up(), "the service is back", 60)
    box.figures["kill_9_to_ready_s"] = took
    left = "select count(*) from inspections where document like '%agent.restarted%'"
    answered = until(lambda: box.sql(left)[0][0], "what was left is answered")
    box.figures["parts_answered_after_kill_9"] = answered
    held = box.sql("select distinct evaluation, disposition from inspections where document like '%agent.restarted%'")
    assert held == [["NOT_INSPECTED", "HOLD"]]
    assert box.show("NRestarts") == "1"


def test_a_process_that_hangs_is_replaced_and_tells_where_it_hung(box: Box) -> None:
    before = box.pid()
    box.run(f"kill -STOP {before}")
    took = seconds_until(lambda: box.pid() not in {before, "0"} and box.is_up(), "the service is replaced", 120)
    box.figures["hang_to_ready_s"] = took
    lines = box.journal()
    assert any("Watchdog timeout" in line for line in lines)
    assert any(line.startswith("Fatal Python error: Aborted") for line in lines)
    assert any("supervisor.py" in line for line in lines), "the stack of the main thread"


def test_stopping_is_ordered_and_within_its_time(box: Box) -> None:
    begun = time.monotonic()
    box.run(f"systemctl stop {UNIT}")
    took = round(time.monotonic() - begun, 1)
    box.figures["stop_s"] = took
    assert took < 15
    assert box.show("Result") == "success"
    assert box.events("stopped")[-1]["late"] == []
    assert box.sql("select count(*) from expected_shots") == [[0]]


def test_a_broken_configuration_ends_with_78_and_is_not_tried_again(box: Box) -> None:
    box.run(f"cp {CONFIG}/plant.yaml /root/right.yaml && echo 'colour: red' >> {CONFIG}/plant.yaml")
    restarts = box.show("NRestarts")
    box.run(f"systemctl reset-failed {UNIT}; systemctl start {UNIT}", check=False)
    assert box.show("ExecMainStatus") == "78"
    time.sleep(4)  # twice RestartSec: this is the time in which it would have been started again
    assert box.show("ActiveState") == "failed"
    assert box.show("NRestarts") in {restarts, "0"}
    complaint = [line for line in box.journal() if "colour" in line]
    assert complaint
    assert f"{CONFIG}/plant.yaml:" in complaint[0]
    box.run(f"cp /root/right.yaml {CONFIG}/plant.yaml && systemctl reset-failed {UNIT} && systemctl start {UNIT}")
    assert box.is_up()


def test_its_sandbox_leaves_little_exposed(box: Box) -> None:
    table = box.run(f"systemd-analyze security --no-pager {UNIT}")
    exposure = float(table.rpartition("Overall exposure level")[2].split(":")[1].split()[0])
    box.figures["exposure"] = exposure
    assert exposure <= EXPOSURE_LIMIT


def test_doctor_reads_the_credential_and_has_no_complaint_about_the_broker(box: Box) -> None:
    lines = box.run(f"edge-agent doctor --json --config {CONFIG}", check=False).splitlines()
    findings = {one["subject"]: one for one in map(json.loads, lines)}
    assert findings["broker 127.0.0.1:1883"]["level"] == "ok", findings["broker 127.0.0.1:1883"]


def test_an_upgrade_keeps_configuration_and_state_and_can_be_taken_back(box: Box) -> None:
    first = box.run("readlink -f /opt/edge-agent")
    parts = box.sql("select count(*) from inspections")[0][0]
    box.run(f"echo '# newer' >> {SOURCE}/edge_agent/__init__.py && {SOURCE}/scripts/install", timeout=250)
    second = box.run("readlink -f /opt/edge-agent")
    assert second != first
    assert box.is_up()
    assert second in box.run(f"tr '\\0' ' ' < /proc/{box.pid()}/cmdline")
    assert box.sql("select count(*) from inspections")[0][0] >= parts
    assert box.run(f"cat {CONFIG}/credentials/mqtt-password") == PASSWORD
    box.run(f"{SOURCE}/scripts/install --rollback")
    assert box.run("readlink -f /opt/edge-agent") == first
    assert box.is_up()


def test_a_release_that_does_not_come_up_is_taken_back(box: Box) -> None:
    good = box.run("readlink -f /opt/edge-agent")
    box.run(f"printf 'def command(**_):\\n    raise SystemExit(78)\\n' > {SOURCE}/edge_agent/commands/run.py")
    told = box.run(f"{SOURCE}/scripts/install 2>&1; echo rc=$?", timeout=250)
    assert "rc=1" in told
    assert "going back" in told
    assert box.run("readlink -f /opt/edge-agent") == good
    until(box.is_up, "the release before it runs")


def test_uninstalling_leaves_configuration_and_state(box: Box) -> None:
    box.run(f"{SOURCE}/scripts/install --uninstall")
    assert (
        box.run(
            f"test ! -e /opt/edge-agent && test -f {CONFIG}/plant.yaml && test -f {STATE}/edge-agent.sqlite3; echo $?"
        )
        == "0"
    )
    assert not box.is_up()
