"""Whose signatures count: public keys in files that may be renewed while the agent runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge_agent.domain.faults import ConfigError
from edge_agent.signing.keys import PublicKey, read_public_keys

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _File:
    path: Path
    stamp: tuple[int, int, int]
    keys: list[PublicKey]


class TrustedKeys:
    """Keys by their id, with the name of who holds them.

    A file is read again when it has changed. One that cannot be read any more is trusted by nobody.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Read them.

        Args:
            files: who holds the keys, and the file with the public ones.

        Raises:
            ConfigError: a file cannot be used.
        """
        self._files = {name: _File(path, _stamp(path), read_public_keys(path)) for name, path in files.items()}

    def __bool__(self) -> bool:
        return bool(self._files)

    def find(self, key_id: str) -> PublicKey | None:
        """The key with this id; None when it is not trusted."""
        return next((key for key in self._all() if key.key_id == key_id), None)

    def holder(self, key: PublicKey) -> str:
        """Who holds it; empty when nobody does any more."""
        return next((name for name, file in self._files.items() if any(one.raw == key.raw for one in file.keys)), "")

    def _all(self) -> Iterator[PublicKey]:
        for name, file in self._files.items():
            self._refresh(name, file)
            yield from file.keys

    def _refresh(self, name: str, file: _File) -> None:
        stamp = _stamp(file.path)
        if stamp == file.stamp:
            return
        try:
            file.keys = read_public_keys(file.path)
        except ConfigError as error:
            file.keys = []
            log.error("the keys of a signer cannot be read any more, nobody is trusted by it", of=name, why=str(error))
        else:
            log.info("the keys of a signer were read again", of=name, keys=[key.key_id for key in file.keys])
        file.stamp = stamp


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino
