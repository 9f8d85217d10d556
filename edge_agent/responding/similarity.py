"""Which confirmed cases an incident is like: by the meaning of a sentence, or, without a model, by its words."""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Protocol

import numpy as np
import numpy.typing as npt
import structlog

from edge_agent.domain.faults import Transient
from edge_agent.domain.token import phrase
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.ports import SentenceModel
from edge_agent.responding.words import defect_name

log = structlog.get_logger(__name__)

NEW_AT_ONCE = 32
"""So many findings are read by the model in one go, the newest first: the tool has 200 ms, the rest comes next time."""
KEPT = 2_000
LEAST_ALIKE = 0.2
"""Cases less alike than this are not."""
_UNITS = re.compile(r"_(c|bar|mv|n|kpa|pct|g_l|m_min|mj_cm2|m3)$")

Scored = list[tuple[float, ConfirmedCase]]


class Similar(Protocol):
    """Finds similar cases."""

    @property
    def by(self) -> str:
        """What it goes by, for people: ``words (FTS5)``, or the model's name."""
        ...

    def nearest(self, sentence: str, cases: Sequence[ConfirmedCase], count: int) -> Scored:
        """The cases most like a sentence, best first, with a score of 0 to 1; only those that are alike at all."""
        ...


def sentence(tokens: Iterable[str]) -> str:
    """What was seen, as one normalised sentence: classes first, no numbers, the same for the same tokens."""
    ranked = sorted(set(tokens), key=lambda token: (not token.startswith("class:"), token))
    return "; ".join(_said(token) for token in ranked) + "." if ranked else ""


def sentence_of(case: ConfirmedCase) -> str:
    """A confirmed case's sentence, with the technician's own words behind it."""
    seen = sentence(token for token, sign in case.tokens.items() if sign > 0)
    return f"{seen} {case.text[:200]}".strip()


def _said(token: str) -> str:
    prefix, _, name = token.partition(":")
    if prefix == "class":
        return defect_name(name)
    if prefix == "tel":
        return f"{_UNITS.sub('', name[:-1]).replace('_', ' ')} {'rose' if name.endswith('+') else 'fell'}"
    return phrase(token).replace("_", " ")


class ByWords:
    """Implements `Similar` with SQLite's full-text search (BM25): needs no model."""

    by = "words (FTS5)"

    def nearest(self, sentence: str, cases: Sequence[ConfirmedCase], count: int) -> Scored:
        """Scores are relative to what the sentence itself would score."""
        words = sorted(set(re.findall(r"[^\W_]+", sentence.lower())))
        if not words or not cases:
            return []
        rows = [(0, sentence), *((place, sentence_of(case)) for place, case in enumerate(cases, start=1))]
        with closing(sqlite3.connect(":memory:")) as db:
            db.execute("CREATE VIRTUAL TABLE seen USING fts5(said, tokenize = 'porter unicode61')")
            db.executemany("INSERT INTO seen (rowid, said) VALUES (?, ?)", rows)
            query = " OR ".join(f'"{word}"' for word in words)
            found = db.execute(
                "SELECT rowid, -bm25(seen) FROM seen WHERE seen MATCH ? ORDER BY 2 DESC LIMIT ?", (query, count + 1)
            ).fetchall()
        best = max((score for place, score in found if place == 0), default=found[0][1] if found else 1.0)
        return [
            (min(1.0, max(0.0, score / best)) if best > 0 else 0.0, cases[place - 1]) for place, score in found if place
        ][:count]


class BySentences:
    """Implements `Similar` with a sentence model and the words together.

    Each finding of the one is held against the most alike finding of the other, both ways round (one vector for a whole
    sentence finds less, docs/benchmarks.md); the words' own score is added, because among sentences of the agent's own
    making the words are the better half. A model that fails costs its meaning, not the cases.
    """

    def __init__(self, model: SentenceModel) -> None:
        self._model = model
        self._words = ByWords()
        self._known: dict[str, npt.NDArray[np.float32]] = {}

    @property
    def by(self) -> str:
        """The model and the words."""
        return f"{self._model.name} and {self._words.by}"

    def nearest(self, sentence: str, cases: Sequence[ConfirmedCase], count: int) -> Scored:
        """Scores are mean cosines. Cases that the model has not read yet do not take part.

        Args:
            cases: newest first.
        """
        asked = clauses(sentence)
        told = [clauses(sentence_of(case)) for case in cases]
        if not asked or not told:
            return []
        try:
            self._read([*asked, *[clause for one in told for clause in one]])
        except Transient as error:
            log.warning("similar cases are found by their words", error=str(error))
            return self._words.nearest(sentence, cases, count)
        words = {case.order_id: score for score, case in self._words.nearest(sentence, cases, len(cases))}
        scored = [
            (self._alike(asked, said), words.get(case.order_id, 0.0), -place)
            for place, (said, case) in enumerate(zip(told, cases, strict=True))
            if said and all(clause in self._known for clause in (*asked, *said))
        ]
        ranked = sorted(scored, key=lambda one: (one[0] + one[1], one[2]), reverse=True)
        return [(alike, cases[-place]) for alike, _, place in ranked[:count] if alike >= LEAST_ALIKE]

    def _alike(self, asked: Sequence[str], said: Sequence[str]) -> float:
        product = np.stack([self._known[one] for one in asked]) @ np.stack([self._known[one] for one in said]).T
        return min(1.0, max(0.0, float(product.max(axis=1).mean() + product.max(axis=0).mean()) / 2))

    def _read(self, wanted: Sequence[str]) -> None:
        new = [one for one in dict.fromkeys(wanted) if one not in self._known][:NEW_AT_ONCE]
        if new:
            kept = list(self._known.items())[-(KEPT - len(new)) :]
            self._known = {**dict(kept), **dict(zip(new, self._model.vectors(new), strict=True))}


def clauses(sentence: str) -> tuple[str, ...]:
    """The findings that a sentence strings together."""
    return tuple(dict.fromkeys(one for part in re.split(r"[;,.]\s+|[;,.]$", sentence) if (one := part.strip())))
