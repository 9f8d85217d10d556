"""TLS to the broker, with certificates that may be renewed while the agent runs."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.config.plant import TlsSection
from edge_agent.domain.faults import ConfigError

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsIdentity:
    """One SSL context for the life of the process; renewed files are loaded into the same context."""

    def __init__(self, section: TlsSection) -> None:
        """Raises ConfigError: a file is missing, unreadable or no certificate."""
        self._section = section
        try:
            self.context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(section.ca_file))
            self.context.minimum_version = _VERSIONS[section.at_least]
            self._load()
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"mqtt.tls: {_names(section)} cannot be used: {error}") from error
        self._seen = self._stamps()

    def renew(self) -> bool:
        """Load the files again if they changed; True when they did.

        A half-written pair is left alone until the next call.
        """
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        try:
            self.context.load_verify_locations(cafile=str(self._section.ca_file))
            self._load()
        except (OSError, ssl.SSLError):
            return False
        self._seen = stamps
        return True

    def _load(self) -> None:
        if self._section.cert_file is not None:
            self.context.load_cert_chain(self._section.cert_file, self._section.key_file)

    def _stamps(self) -> tuple[int, ...]:
        return tuple(_changed_ns(path) for path in _files(self._section))


def _files(section: TlsSection) -> list[Path]:
    return [path for path in (section.ca_file, section.cert_file, section.key_file) if path is not None]


def _names(section: TlsSection) -> str:
    return ", ".join(str(path) for path in _files(section))


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def good_until(file: Path) -> datetime:
    """When the first certificate of a PEM file expires.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        decoded = ssl._ssl._test_decode_cert(str(file))  # type: ignore[attr-defined]  # the library has no public one
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{file}: {error}") from error
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(decoded["notAfter"]), UTC)


def trouble(error: ssl.SSLError) -> str:
    """What is wrong, for people: the broker's certificate (expired, another name, another CA), or ours."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not accepted: {error.verify_message}"
    reason = (error.reason or str(error)).replace("_", " ").lower()
    return f"TLS with the broker failed: {reason}"
