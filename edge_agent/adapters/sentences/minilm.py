"""MiniLM on ONNX Runtime: sentences to vectors whose product says how alike they are."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edge_agent.adapters.detectors.session import RUNTIME_ERRORS, open_session
from edge_agent.adapters.sentences.wordpiece import WordPiece
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.faults import ConfigError, Transient

CARD, MODEL, VOCABULARY = "card.json", "model.onnx", "vocab.txt"
TOGETHER = 16
"""Sentences in one run: more is not faster on one core."""


class MiniLm:
    """Implements ``ports.SentenceModel``.

    Args:
        folder: as `scripts/fetch_sentences` writes it.

    Raises:
        ConfigError: the folder is not complete, or a file is not the one that its card names.
    """

    def __init__(self, folder: Path) -> None:
        card = _card(folder)
        content = _verified(folder, MODEL, card)
        _verified(folder, VOCABULARY, card)
        self.name = f"{card['name']}/{card['version']}"
        self._width = int(card["width"])
        self._pieces = WordPiece(folder / VOCABULARY, int(card["longest"]))
        self._session: ort.InferenceSession = open_session(content, self.name, DetectorOptions(threads=1))

    def vectors(self, sentences: Sequence[str]) -> npt.NDArray[np.float32]:
        """One row of unit length for each sentence, (n, 384).

        Raises:
            Transient: the model failed, or what it gave is not finite.
        """
        rows = [self._run(sentences[at : at + TOGETHER]) for at in range(0, len(sentences), TOGETHER)]
        return np.concatenate(rows) if rows else np.zeros((0, self._width), np.float32)

    def _run(self, sentences: Sequence[str]) -> npt.NDArray[np.float32]:
        numbers = [self._pieces.numbers(one) for one in sentences]
        longest = max(len(one) for one in numbers)
        ids = np.zeros((len(numbers), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, one in enumerate(numbers):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = 1
        try:
            (found,) = self._session.run(["vector"], {"ids": ids, "mask": mask})
        except RUNTIME_ERRORS as error:
            raise Transient(f"sentence model {self.name}: {error}") from error
        vectors = np.asarray(found, np.float32)
        if not np.isfinite(vectors).all():
            raise Transient(f"sentence model {self.name}: its vectors are not finite")
        return vectors


def _card(folder: Path) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
        for key in ("name", "version", "width", "longest"):
            card[key]
        return card
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder / CARD}: no card of a sentence model ({error}); scripts/fetch_sentences") from error


def _verified(folder: Path, name: str, card: dict[str, Any]) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise ConfigError(f"{folder / name}: {error.strerror}; scripts/fetch_sentences makes it") from error
    expected, found = card.get("sha256", {}).get(name), hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ConfigError(f"{folder / name}: expected sha256 {expected}, got {found}")
    return content
