"""YAML with positions: every value knows the file and line it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Path_ = tuple[str | int, ...]
MAX_FILE_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in the configuration."""

    file: Path
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else f"{self.file}"
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


@dataclass(slots=True, kw_only=True)
class Located:
    """A parsed file: its plain data, and the line of each key path."""

    file: Path
    data: Any
    raw: bytes
    lines: Mapping[Path_, int] = field(default_factory=dict)

    def line_of(self, path: Path_) -> int:
        """The line of the longest known prefix of ``path``, 1-based."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class UnreadableFile(Exception):
    """The file is missing, too large, or not YAML."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read(file: Path) -> Located:
    """Parse one YAML file.

    Raises:
        UnreadableFile: missing, unreadable, larger than 2 MiB, not UTF-8, not YAML, or with a duplicate key.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise UnreadableFile(Problem(file=file, line=0, key="", message=error.strerror or str(error))) from error
    if len(raw) > MAX_FILE_BYTES:
        message = f"{len(raw)} bytes; a configuration file has at most {MAX_FILE_BYTES}"
        raise UnreadableFile(Problem(file=file, line=0, key="", message=message))
    try:
        loader = yaml.SafeLoader(raw)
        try:
            node = loader.get_single_node()
            lines: dict[Path_, int] = {}
            if node is not None:
                _locate(node, (), lines)
            data = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise UnreadableFile(Problem(file=file, line=line, key="", message=error.problem or "not YAML")) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnreadableFile(Problem(file=file, line=0, key="", message=f"not UTF-8 YAML: {error}")) from error
    return Located(file=file, data=data, raw=raw, lines=lines)


def _locate(node: yaml.Node, path: Path_, lines: dict[Path_, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            child = (*path, key.value)
            if child in lines:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key.value!r}", problem_mark=key.start_mark)
            lines[child] = key.start_mark.line + 1
            _locate(value, child, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _locate(value, (*path, index), lines)
