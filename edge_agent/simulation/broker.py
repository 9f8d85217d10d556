"""The real mosquitto, on a free port with its own configuration, a password for each user, and persistence."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from edge_agent.domain.faults import ConfigError, Transient

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 10.0
_OUTSIDE_PATH = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")


def find_program(name: str) -> str:
    """Path of one of mosquitto's programs; a service's PATH often leaves out /usr/sbin.

    Raises:
        ConfigError: it is not installed.
    """
    path = os.environ.get("PATH", os.defpath)
    found = shutil.which(name, path=os.pathsep.join([path, *_OUTSIDE_PATH]))
    if found is None:
        raise ConfigError(f"{name} is not installed: install the package mosquitto (apt-get install mosquitto)")
    return found


class Broker:
    """One mosquitto process. ``kill`` and ``start`` again keep port, passwords and folder: a broker that crashed.

    Attributes:
        host, port: where it listens (the loopback interface only).
        passwords: user to password, generated.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        users: Iterable[str] = ("agent", "mes", "plant"),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare; passwords of an earlier run in this folder are kept.

        Args:
            port: 0 takes a free one.
            settings: replace or add lines of mosquitto.conf, e.g. ``{"max_packet_size": "20000"}``.
        """
        self.host = "127.0.0.1"
        self.port = port or _free_port()
        self.folder = folder
        self.passwords = {user: self._kept_password(user) or secrets.token_urlsafe(18) for user in users}
        self._settings = settings or {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Is the process alive?"""
        return self._process is not None and self._process.poll() is None

    @property
    def log_file(self) -> Path:
        """Where mosquitto writes."""
        return self.folder / "mosquitto.log"

    def password_file(self, user: str) -> Path:
        """A file (0600) that holds this user's password and nothing else."""
        return self.folder / f"password-{user}"

    def start(self) -> None:
        """Start it and wait until it accepts connections.

        Raises:
            ConfigError: mosquitto is not installed.
            Transient: it did not come up.
        """
        program = find_program("mosquitto")
        self._write_files()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(self.folder / "mosquitto.conf")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a terminal's Ctrl-C is for us: we stop it last
            )
        self._await_listening()

    def stop(self) -> None:
        """Stop it in order (it writes its database); safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """As a power cut would: nothing is written any more."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(STOP_TIMEOUT_S)

    def _kept_password(self, user: str) -> str:
        """The one of an earlier run in this folder, or nothing."""
        try:
            return self.password_file(user).read_text()
        except OSError:
            return ""

    def _write_files(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for user, password in self.passwords.items():
            _write_secret(self.password_file(user), password)
        self._write_password_database()
        (self.folder / "mosquitto.conf").write_text(self._configuration())

    def _write_password_database(self) -> None:
        database = self.folder / "passwords"
        _write_secret(database, "".join(f"{user}:{password}\n" for user, password in self.passwords.items()))
        hashing = subprocess.run(
            [find_program("mosquitto_passwd"), "-U", str(database)], capture_output=True, text=True, timeout=30
        )
        if hashing.returncode != 0:
            database.unlink(missing_ok=True)
            raise Transient(f"mosquitto_passwd failed: {hashing.stderr.strip()}")

    def _configuration(self) -> str:
        lines = {
            "listener": f"{self.port} {self.host}",
            "allow_anonymous": "false",
            "password_file": str(self.folder / "passwords"),
            "persistence": "true",
            "persistence_location": f"{self.folder}/",
            "autosave_interval": "10",
            "set_tcp_nodelay": "true",
            "max_inflight_messages": "200",
            "max_queued_messages": "100000",
            "max_packet_size": "1048576",
            "log_dest": "stderr",
            "log_timestamp_format": "%Y-%m-%dT%H:%M:%S",
            **self._settings,
        }
        if os.geteuid() == 0:
            lines.setdefault("user", "root")
        return "".join(f"{key} {value}\n" for key, value in lines.items())

    def _await_listening(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.running:
                raise Transient(f"mosquitto ended at once; its log: {self._log_tail()}")
            try:
                socket.create_connection((self.host, self.port), timeout=0.5).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        self.kill()
        raise Transient(f"mosquitto does not accept connections on port {self.port} after {START_TIMEOUT_S:.0f} s")

    def _log_tail(self) -> str:
        return self.log_file.read_text(errors="replace")[-500:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_secret(path: Path, content: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
