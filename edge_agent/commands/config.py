"""``edge-agent config``: move a configuration about."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
import yaml

from edge_agent.commands.check import verify
from edge_agent.config import load
from edge_agent.config.load import Configuration
from edge_agent.domain.faults import ConfigError

_SECRETS = frozenset({"password_file", "key_file", "signing_key_file"})
"""Keys whose files stay where they are: a copy of a secret is one more place to guard."""
_BIG_BYTES = 32 * 1024**2
"""Bigger files (language models, videos) stay where they are too."""

app = typer.Typer(no_args_is_help=True, help="Copy a configuration.")


@app.callback()
def main() -> None:
    """Move a configuration about."""


@app.command("copy")
def command(
    source: Annotated[Path, typer.Argument(help="plant.yaml, or the folder that holds it.")],
    target: Annotated[Path, typer.Argument(help="Folder to make; it must not hold a plant.yaml yet.")],
) -> None:
    """Copy a configuration with everything it names into one folder that needs nothing else.

    Files named by a relative path (a shared catalogue, golden images) are copied in and their paths rewritten;
    comments stay. Absolute paths stay as they are; secrets and files over 32 MB are named by their absolute path.

    Example: edge-agent config copy plant_config/examples/folder my_plant

    Exit codes: 0 done, 78 the configuration is wrong, or the target has one already.
    """
    configuration = load(source)
    verify(configuration)
    if (target / "plant.yaml").exists():
        raise ConfigError(f"{target / 'plant.yaml'} exists: a configuration is never overwritten")
    try:
        copied = gather(configuration, target.resolve())
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or target}: {error.strerror}") from error
    load(target)
    typer.echo(f"{copied} files copied to {target}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A relative path in a YAML file that names something that exists.

    Attributes:
        span: first and last-plus-one character of the value in the text, with quotes and anchor.
        written: the path as it is written there.
        path: what it names, absolute.
    """

    key: str
    span: tuple[int, int]
    written: str
    path: Path


def gather(configuration: Configuration, target: Path) -> int:
    """Copy every file of a configuration below ``target``; how many."""
    folder = configuration.folder
    texts = {Path(file): Path(file).read_text("utf-8") for file in configuration.files}
    mentions = {file: set(_mentions(text, folder)) for file, text in texts.items()}  # a set: aliases come twice
    named = [one.path for found in mentions.values() for one in found if _is_taken(one, folder)]
    taken = [*texts, *named, *_companions(configuration)]
    places = {file: _place(file, folder) for file in taken}
    # plant.yaml comes last: a copy that was cut short is none.
    for file, place in sorted(places.items(), key=lambda item: item[1].name == "plant.yaml"):
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            (target / place).mkdir(exist_ok=True)
        elif file in texts:
            (target / place).write_text(_rewritten(texts[file], mentions[file], places), "utf-8")
        else:
            shutil.copyfile(file, target / place)
    return sum(not file.is_dir() for file in places)


def _companions(configuration: Configuration) -> list[Path]:
    """The catalogue's background file: named in the catalogue, by its place beside it."""
    catalogue = configuration.resolve(configuration.plant.diagnosis.catalogue)
    named = yaml.safe_load(catalogue.read_text("utf-8")).get("background_file")
    return [catalogue.parent / named] if named else []


def _mentions(text: str, folder: Path) -> Iterator[Mention]:
    for key, node in _scalars(yaml.compose(text, yaml.SafeLoader), ""):
        path = Path(node.value)
        if not node.value or path.is_absolute() or "\n" in node.value:
            continue
        found = Path(os.path.normpath(folder / path))
        if found != folder and (found.is_file() or found.is_dir()):
            span = (node.start_mark.index, node.end_mark.index)
            yield Mention(key=key, span=span, written=node.value, path=found)


def _scalars(node: yaml.Node | None, key: str) -> Iterator[tuple[str, yaml.ScalarNode]]:
    """Every value of a YAML document, with the key it stands under; keys themselves are not values."""
    match node:
        case yaml.MappingNode():
            for name, value in node.value:
                yield from _scalars(value, str(name.value))
        case yaml.SequenceNode():
            for item in node.value:
                yield from _scalars(item, key)
        case yaml.ScalarNode():
            yield key, node


def _is_taken(mention: Mention, folder: Path) -> bool:
    """Is it copied (True; of a folder only the empty folder), or named by its absolute path (False)?"""
    if mention.key in _SECRETS:
        return False
    if mention.path.is_dir():
        return mention.path.is_relative_to(folder)
    return mention.path.stat().st_size <= _BIG_BYTES


def _place(path: Path, folder: Path) -> Path:
    """Where something goes: where it was, if it was inside; else in a folder named like the one it was in."""
    if path.is_relative_to(folder):
        return path.relative_to(folder)
    return Path(path.parent.name) / path.name


def _rewritten(text: str, mentions: set[Mention], places: dict[Path, Path]) -> str:
    """The text with every mentioned path as it must be written in the new place."""
    for mention in sorted(mentions, key=lambda one: one.span, reverse=True):
        begin, end = mention.span
        value = text[begin:end].replace(mention.written, str(places.get(mention.path, mention.path)))
        text = text[:begin] + value + text[end:]
    return text
