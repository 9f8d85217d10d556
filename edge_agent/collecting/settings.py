"""The collector's own file, ``collect.yaml``."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from edge_agent.config.explained import explain
from edge_agent.config.load import InvalidConfiguration
from edge_agent.config.located import UnreadableFile, read
from edge_agent.config.plant import MqttSection
from edge_agent.config.section import Name, Section
from edge_agent.domain.faults import ConfigError

ANY_BOX = "+/+/+/+/+/_inspect/v1/+"
ReceiptClass = Literal["defect", "rca", "report", "workorder"]


class CollectFile(Section):
    """Everything a worker must know."""

    mqtt: MqttSection
    """The broker. ``window``, ``drain_per_s``, ``receipt_retry_s`` and the quota mean nothing here."""
    database: str
    """``postgresql+psycopg://collect@db.plant/fleet``; without a password (``database_password_file``, ~/.pgpass)."""
    database_password_file: Path | None = None
    database_password_credential: str | None = None
    """Name of a file below $CREDENTIALS_DIRECTORY (systemd LoadCredential)."""
    group: Name = "ingest"
    """The share's name: the workers of one group have each message once between them."""
    root: str = ANY_BOX
    """The boxes' topic roots, ``+`` where any will do."""
    client_prefix: Name = "collect"
    """A worker's client id is ``<prefix>-<its name>``: the session that the broker keeps for it."""
    receipts: tuple[ReceiptClass, ...] = ("defect", "rca", "report")
    """What the collector confirms to the boxes. Work orders only where no MES does: a receipt ends the sending."""
    retention_days: float | None = Field(default=None, gt=0, le=36_500)
    """What is older is deleted; ``null``: nothing is."""
    gap_after_s: float = Field(default=900, ge=0, le=604_800)
    """A number that is missing for so long is told as a gap; less urgent messages come later than urgent ones."""

    @field_validator("root")
    @classmethod
    def _eight_levels(cls, value: str) -> str:
        levels = value.split("/")
        if len(levels) != 8 or levels[5:7] != ["_inspect", "v1"] or "#" in value:
            raise ValueError(f"eight levels as in {ANY_BOX}")
        return value

    def client_id(self, worker: str) -> str:
        """The MQTT client id of a worker."""
        return f"{self.client_prefix}-{worker}"

    @property
    def subscription(self) -> str:
        """The shared subscription of all workers."""
        return f"$share/{self.group}/{self.root}/out/#"

    def state_topic(self, worker: str) -> str:
        """Where a worker says that it is there (retained, with a will)."""
        fixed = [level for level in self.root.split("/")[:2] if level != "+"]
        return "/".join([*fixed, "_collect", "v1", self.client_id(worker), "state"])


def load(file: Path) -> CollectFile:
    """Read the file; relative paths in it start at its folder.

    Raises:
        InvalidConfiguration: with all problems found.
    """
    try:
        located = read(file)
        parsed = CollectFile.model_validate(located.data)
    except UnreadableFile as error:
        raise InvalidConfiguration([error.problem]) from error
    except ValidationError as error:
        raise InvalidConfiguration(list(explain(located, error))) from error
    return _anchored(parsed, file.resolve().parent)


def broker_password(settings: CollectFile) -> str | None:
    """From a file or systemd's folder. Raises ConfigError: it was named and cannot be read."""
    found = _secret(settings.mqtt.password_credential, settings.mqtt.password_file)
    if settings.mqtt.username is not None and found is None:
        raise ConfigError(f"mqtt: user {settings.mqtt.username!r} has no password: set password_file")
    return found


def database_url(settings: CollectFile) -> URL:
    """With its password. Raises ConfigError: not PostgreSQL, or the password cannot be read."""
    try:
        url = make_url(settings.database)
    except ArgumentError as error:
        raise ConfigError(f"database: {error}") from error
    if url.drivername != "postgresql+psycopg":
        raise ConfigError(f"database: {url.drivername} is not known here; use postgresql+psycopg://...")
    password = _secret(settings.database_password_credential, settings.database_password_file)
    return url if password is None else url.set(password=password)


def _secret(credential: str | None, file: Path | None) -> str | None:
    if credential is not None:
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise ConfigError(f"credential {credential!r} needs $CREDENTIALS_DIRECTORY (systemd LoadCredential=)")
        file = Path(folder) / credential
    if file is None:
        return None
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"secret {file} cannot be read: {error}") from error


def _anchored(settings: CollectFile, folder: Path) -> CollectFile:
    def at(path: Path | None) -> Path | None:
        return None if path is None else folder / path

    mqtt = settings.mqtt.model_copy(update={"password_file": at(settings.mqtt.password_file)})
    if mqtt.tls is not None:
        files = {"ca_file": mqtt.tls.ca_file, "cert_file": mqtt.tls.cert_file, "key_file": mqtt.tls.key_file}
        tls = mqtt.tls.model_copy(update={name: at(path) for name, path in files.items()})
        mqtt = mqtt.model_copy(update={"tls": tls})
    secret = at(settings.database_password_file)
    return settings.model_copy(update={"mqtt": mqtt, "database_password_file": secret})
