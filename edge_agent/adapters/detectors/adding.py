"""A model from outside into the box's own folder: complete, verified, and in one step."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from edge_agent.adapters.detectors import signatures
from edge_agent.adapters.detectors.catalogue import ModelCard, read_card_file
from edge_agent.adapters.detectors.parity import read_answer
from edge_agent.domain.faults import ConfigError

MAX_BYTES = 2 << 30
"""Of one file."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def add(
    source: Path,
    card_file: Path | None,
    into: Path,
    *,
    verify: Callable[[Path], object],
    others: tuple[Path, ...] = (),
    dry_run: bool = False,
) -> ModelCard:
    """Copy a model to ``into/<name>/<version>``: verified where it will lie, then put in place by one rename.

    Args:
        source: a model folder, or an ONNX file whose card is ``card_file`` (its other files lie beside the card).
        verify: loads the model in a folder; raises ConfigError when it is not what its card says.
        others: more folders of models in which the version must not exist.
        dry_run: do everything but the last step.

    Raises:
        ConfigError: it is incomplete, wrong, or a version that is there already.
    """
    files = _files(source, card_file)
    card = read_card_file(files["card.json"])
    _refuse_known(card, into, others)
    family = into / card.name
    try:
        family.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=family, prefix=".adding-") as scratch:
            made = Path(scratch) / "made"
            made.mkdir(mode=0o755)
            for name, file in {**files, **_named_by(card, files)}.items():
                _copy(file, made / name)
            verify(made)
            if not dry_run:
                made.rename(family / card.version)
                _sync(family)
    except OSError as error:
        raise ConfigError(f"model {card.name}/{card.version} cannot be added to {into}: {error}") from error
    finally:
        _remove_if_empty(family)
    return card


def _files(source: Path, card_file: Path | None) -> dict[str, Path]:
    """Name in the model's folder to where it comes from: the two that every model has, and the signature."""
    if source.is_dir():
        model, card, folder = source / "model.onnx", card_file or source / "card.json", source
    elif card_file is None:
        raise ConfigError(f"{source}: a model file needs its card; give it with --card, or give the model's folder")
    else:
        model, card, folder = source, card_file, card_file.parent
    missing = [file for file in (model, card) if not file.is_file()]
    if missing:
        raise ConfigError(f"no such file: {', '.join(map(str, missing))}")
    signature = folder / signatures.FILE
    signed = {signatures.FILE: signature} if signature.is_file() else {}
    return {"model.onnx": model, "card.json": card, **signed}


def _refuse_known(card: ModelCard, into: Path, others: tuple[Path, ...]) -> None:
    for key, value in (("name", card.name), ("version", card.version)):
        if not _NAME.fullmatch(value):
            raise ConfigError(f"card, {key} {value!r}: letters, digits, '_', '.' and '-' only, 64 at most")
    for folder in (into, *others):
        if (folder / card.name / card.version).exists():
            text = "a version is never written over: give the new one another version in its card"
            raise ConfigError(f"model {card.name}/{card.version} is in {folder} already; {text}")


def _named_by(card: ModelCard, files: Mapping[str, Path]) -> dict[str, Path]:
    """The files that the card and the parity test speak of."""
    folder = files["card.json"].parent
    found = {name: folder / name for name in _names(card, folder)}
    for name, file in found.items():
        if Path(name).name != name:
            raise ConfigError(f"model {card.name}/{card.version} names {name!r}: expected a file beside its card")
        if not file.is_file():
            raise ConfigError(f"model {card.name}/{card.version}: no such file: {file}")
    return found


def _names(card: ModelCard, folder: Path) -> Iterator[str]:
    if card.fp16 is not None:
        yield card.fp16.file
    if card.parity:
        answer = read_answer(folder)
        yield from ("golden.json", answer.image, *([answer.golden] if answer.golden else []))


def _copy(file: Path, target: Path) -> None:
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise ConfigError(f"{file} has {size} bytes, {MAX_BYTES} at most are taken")
    with file.open("rb") as read, target.open("wb") as written:
        shutil.copyfileobj(read, written)
        written.flush()
        os.fsync(written.fileno())


def _sync(folder: Path) -> None:
    """The rename must survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_if_empty(family: Path) -> None:
    """A model that was refused leaves nothing behind."""
    try:
        family.rmdir()
    except OSError:
        return
