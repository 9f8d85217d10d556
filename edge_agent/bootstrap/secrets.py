"""Secrets: read from files that only the service may read."""

import os
from pathlib import Path

from edge_agent.config import Configuration
from edge_agent.config.plant import MqttSection, SecuritySection
from edge_agent.contract.signed import Signatures
from edge_agent.domain.faults import ConfigError
from edge_agent.signing.keys import SigningKey, read_signing_key
from edge_agent.signing.trust import TrustedKeys


def mqtt_password(configuration: Configuration, mqtt: MqttSection) -> str | None:
    """The broker's password: from systemd's credentials folder or a file; never from the environment or argv.

    Raises:
        ConfigError: it was named and cannot be read.
    """
    if mqtt.password_credential:
        return _secret(_credential("mqtt.password", mqtt.password_credential))
    return _secret(configuration.resolve(mqtt.password_file)) if mqtt.password_file else None


def signing_key(configuration: Configuration, security: SecuritySection) -> SigningKey | None:
    """The box's own key, where it has one.

    Raises:
        ConfigError: it was named and cannot be used.
    """
    if security.signing_key_credential:
        credential = _credential("security.signing_key", security.signing_key_credential)
        return read_signing_key(credential, guarded=True)
    return read_signing_key(configuration.resolve(security.signing_key_file)) if security.signing_key_file else None


def signatures(configuration: Configuration, security: SecuritySection) -> Signatures:
    """Who must sign what.

    Raises:
        ConfigError: a file of keys cannot be used.
    """
    trusted = TrustedKeys({name: configuration.resolve(file) for name, file in security.trusted_keys.items()})
    return Signatures(trusted, required=security.signed_verbs if security.signed_commands else ())


def _credential(key: str, name: str) -> Path:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ConfigError(
            f"{key}_credential {name!r} needs $CREDENTIALS_DIRECTORY "
            f"(systemd LoadCredential=); outside systemd use {key}_file"
        )
    return Path(folder) / name


def _secret(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"secret {file} cannot be read: {error}") from error
