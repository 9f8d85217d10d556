"""Secrets: read from files that only the service may read."""

import os
from pathlib import Path

from edge_agent.config import Configuration
from edge_agent.config.plant import MqttSection
from edge_agent.domain.faults import ConfigError


def mqtt_password(configuration: Configuration, mqtt: MqttSection) -> str | None:
    """The broker's password: from systemd's credentials folder or a file; never from the environment or argv.

    Raises:
        ConfigError: it was named and cannot be read.
    """
    if mqtt.password_credential:
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise ConfigError(
                f"mqtt.password_credential {mqtt.password_credential!r} needs $CREDENTIALS_DIRECTORY "
                "(systemd LoadCredential=); outside systemd use mqtt.password_file"
            )
        return _secret(Path(folder) / mqtt.password_credential)
    return _secret(configuration.resolve(mqtt.password_file)) if mqtt.password_file else None


def _secret(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"secret {file} cannot be read: {error}") from error
