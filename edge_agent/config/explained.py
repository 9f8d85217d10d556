"""Pydantic's errors in the words of a configuration file."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from edge_agent.config.located import Located, Problem


def explain(located: Located, error: ValidationError) -> Iterator[Problem]:
    """Each of pydantic's errors with the file, the line and the key it is about, and what was found there."""
    for one in error.errors(include_url=False):
        path = _yaml_path(located.data, one["loc"])
        shown = repr(one["input"])
        found = f", found {shown[:80]}" if one["type"] not in {"missing", "extra_forbidden"} else ""
        if one["type"] == "extra_forbidden":
            message = "unknown key"
        elif one["type"] == "missing":
            message = "missing"
        else:
            message = one["msg"]
        dotted = ".".join(str(part) for part in path)
        yield Problem(file=located.file, line=located.line_of(path), key=dotted, message=message + found)


def _yaml_path(data: Any, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Pydantic's location without the union tags that are not keys of the file; missing last keys are kept."""
    path: list[str | int] = []
    node = data
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        ):
            node = node[part]  # type: ignore[index]
            path.append(part)
        elif last and isinstance(node, dict) and isinstance(part, str) and "[" not in part:
            path.append(part)
    return tuple(path)
