"""``edge-agent config``: move a configuration about."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.config import load
from edge_agent.config.load import Configuration
from edge_agent.domain.faults import ConfigError

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

    Files from outside (a shared catalogue, golden images) are copied in and their paths rewritten; comments stay.

    Example: edge-agent config copy plant_config/examples/folder my-plant
    """
    configuration = load(source)
    if (target / "plant.yaml").exists():
        raise ConfigError(f"{target / 'plant.yaml'} exists: a configuration is never overwritten")
    copied = gather(configuration, target)
    load(target)
    typer.echo(f"{copied} files copied to {target}")


def gather(configuration: Configuration, target: Path) -> int:
    """Copy every file of a configuration below ``target``; how many."""
    texts = _yaml_files(configuration)
    places = {file: _place(file, configuration.folder) for file in [*texts, *_named_files(configuration)]}
    for file, place in places.items():
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        if file not in texts:
            shutil.copyfile(file, target / place)
            continue
        text = file.read_text("utf-8")
        for other, other_place in places.items():
            for written in _ways_to_write(other, configuration.folder):
                text = _replace_path(text, written, str(other_place))
        (target / place).write_text(text, "utf-8")
    return len(places)


def _yaml_files(configuration: Configuration) -> list[Path]:
    """plant.yaml, stations and recipes: the files whose text names other files."""
    return [Path(file) for file in configuration.files]


def _named_files(configuration: Configuration) -> list[Path]:
    plant = configuration.plant
    named = [plant.diagnosis.catalogue, plant.diagnosis.priority_table]
    files = [configuration.resolve(path) for path in named if path is not None]
    background = files[0].with_name(f"{files[0].stem}_background.yaml")
    if background.is_file():
        files.append(background)
    for station in configuration.stations:
        goldens = [recipe.golden.image_path for recipe in station.recipes.values() if recipe.golden]
        files.extend(Path(path) for path in goldens if path)
    return files


def _place(file: Path, folder: Path) -> Path:
    """Where a file goes: where it was, if it was inside; else in a folder named like the one it was in."""
    if file.is_relative_to(folder):
        return file.relative_to(folder)
    return Path(file.parent.name) / file.name


def _ways_to_write(file: Path, folder: Path) -> list[str]:
    """How a configuration in ``folder`` may have written the path of ``file``, the longest first."""
    relative = Path(*[".."] * _levels_up(file, folder), *file.parts[_common(file, folder) :])
    return sorted({str(file), str(relative)}, key=len, reverse=True)


def _common(file: Path, folder: Path) -> int:
    return next(
        (n for n, (a, b) in enumerate(zip(file.parts, folder.parts, strict=False)) if a != b),
        min(len(file.parts), len(folder.parts)),
    )


def _levels_up(file: Path, folder: Path) -> int:
    return len(folder.parts) - _common(file, folder)


def _replace_path(text: str, old: str, new: str) -> str:
    """Replace a path where it stands alone as a YAML value, quoted or not."""
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        words = line.replace("[", " ").replace("]", " ").replace(",", " ").replace("{", " ").replace("}", " ").split()
        if any(word.strip("\"'") == old for word in words) and not line.lstrip().startswith("#"):
            lines[index] = line.replace(old, new)
    return "".join(lines)
