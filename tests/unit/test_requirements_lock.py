"""The lock file knows every package that pyproject.toml asks for, in a version that it allows."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]


def locked() -> dict[str, set[str]]:
    """Versions by package; a package has two where they differ by platform."""
    versions: dict[str, set[str]] = {}
    for line in (PROJECT / "requirements.lock").read_text("utf-8").splitlines():
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        versions.setdefault(canonicalize_name(requirement.name), set()).add(pin.version)
    return versions


def wanted() -> list[str]:
    """What scripts/setup installs at most: the dependencies and the extra `dev` with those that it names."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    words = [*project["dependencies"], *extras["dev"]]
    own = [Requirement(word) for word in words if word.startswith("edge-agent[")]
    named = [word for one in own for extra in sorted(one.extras) for word in extras[extra]]
    return [word for word in [*words, *named] if not word.startswith("edge-agent[")]


@pytest.mark.parametrize("word", wanted())
def test_every_requirement_is_locked_and_allowed(word: str) -> None:
    requirement = Requirement(word)
    versions = locked().get(canonicalize_name(requirement.name), set())
    assert versions, f"{requirement.name} is not in requirements.lock: `uv pip compile --universal --extra dev`"
    assert all(requirement.specifier.contains(version) for version in versions), versions
