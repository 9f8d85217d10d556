"""The lock file knows every package that pyproject.toml asks for, in a version that it allows."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]
NOT_INSTALLED_BY_SETUP = {"gpu", "train"}


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
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    words = [word for name, listed in extras.items() if name not in NOT_INSTALLED_BY_SETUP for word in listed]
    return [word for word in [*project["dependencies"], *words] if not word.startswith("edge-agent[")]


@pytest.mark.parametrize("word", wanted())
def test_every_requirement_is_locked_and_allowed(word: str) -> None:
    requirement = Requirement(word)
    versions = locked().get(canonicalize_name(requirement.name), set())
    assert versions, (
        f"{requirement.name} is not in requirements.lock: compile it again (`uv pip compile --universal --extra dev pyproject.toml`)"
    )
    assert all(requirement.specifier.contains(version) for version in versions), versions
