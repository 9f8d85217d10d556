"""Similar cases: by words, by meaning, and what happens when the model is not to be had."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.sentences.minilm import MiniLm
from edge_agent.adapters.sentences.wordpiece import WordPiece, words
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.responding.diagnostician import Diagnostician
from edge_agent.responding.similarity import NEW_AT_ONCE, BySentences, ByWords, Similar, clauses, sentence, sentence_of
from edge_agent.simulation.runs import Disturbance, record
from tests.fakes.clock import START, FakeClock
from tests.fakes.diagnosed_line import DiagnosedLine
from tests.fakes.made import a_case

MINILM = Path(__file__).parents[2] / ".cache" / "models" / "minilm"
COLD = frozenset({"class:short", "tel:etch_temp_c-", "tm:step", "sp:uniform"})
DIRTY = frozenset({"class:open", "sp:repeat", "strat:phototool"})
DUSTY = frozenset({"class:pin_hole", "tel:room_particles_m3+", "tm:filter_change"})


class Meaning:
    """A sentence model that knows two words for each thing: first letters."""

    name = "first letters/1"

    def __init__(self, *, fails: bool = False) -> None:
        self.fails, self.read = fails, 0

    def vectors(self, sentences: Sequence[str]) -> npt.NDArray[np.float32]:
        if self.fails:
            raise Transient("no")
        self.read += len(sentences)
        rows = np.zeros((len(sentences), 26), np.float32)
        for row, said in zip(rows, sentences, strict=True):
            row[ord(said[0].lower()) % 26] = 1
        return rows


def a_memory(*shown: frozenset[str]) -> list[ConfirmedCase]:
    clock = FakeClock()
    return [a_case(clock, tokens=dict.fromkeys(sorted(tokens), 1), text="") for tokens in shown]


@pytest.mark.parametrize("finder", [ByWords(), BySentences(Meaning())], ids=["words", "meaning"])
def test_the_same_findings_are_the_nearest(finder: Similar) -> None:
    cases = a_memory(DIRTY, COLD, DUSTY)
    for case in cases:
        (best, found), *_ = finder.nearest(sentence_of(case), cases, 3)
        assert found is case
        assert best == pytest.approx(1.0, abs=0.01)


def test_a_sentence_is_the_same_for_the_same_findings_and_names_no_number() -> None:
    assert sentence(sorted(COLD)) == sentence(sorted(COLD, reverse=True))
    assert sentence(COLD) == "short; spread evenly over the part; etch temp fell; began in a step."
    assert clauses(sentence(COLD)) == ("short", "spread evenly over the part", "etch temp fell", "began in a step")
    assert sentence(()) == ""


def test_the_technicians_words_are_part_of_a_case() -> None:
    (case,) = a_memory(COLD)
    assert sentence_of(replace(case, text="heater relay burnt")).endswith("began in a step. heater relay burnt")


@pytest.mark.parametrize("finder", [ByWords(), BySentences(Meaning())], ids=["words", "meaning"])
def test_nothing_to_ask_or_to_find_is_no_case(finder: Similar) -> None:
    assert finder.nearest("", a_memory(COLD), 3) == []
    assert finder.nearest("short", [], 3) == []


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_breaks_the_words(question: str, told: str) -> None:
    (case,) = a_memory(COLD)
    for score, _ in ByWords().nearest(question, [replace(case, text=told)], 3):
        assert 0.0 <= score <= 1.0


def test_a_model_that_fails_costs_its_meaning_not_the_cases() -> None:
    cases = a_memory(DIRTY, COLD)
    assert BySentences(Meaning(fails=True)).nearest(sentence(COLD), cases, 1)[0][1] is cases[1]


def test_the_model_reads_a_bounded_number_at_a_time_and_each_finding_once() -> None:
    model = Meaning()
    finder = BySentences(model)
    cases = a_memory(*(frozenset({f"class:{letter}{number}"}) for letter in "abcdef" for number in range(20)))
    finder.nearest("a0.", cases, 3)
    assert model.read == NEW_AT_ONCE
    for _ in range(5):
        finder.nearest("a0.", cases, 3)
    assert model.read == len({clause for case in cases for clause in clauses(sentence_of(case))})


def test_a_missing_model_leaves_the_words(tmp_path: Path) -> None:
    line = DiagnosedLine(tmp_path)

    def missing(folder: Path) -> Any:
        raise ConfigError(f"{folder}: no card")

    there = Diagnostician(
        open_store=lambda *_, **__: line.store,
        store_url="",
        clock=FakeClock,
        catalogue=line.catalogue,
        settings=replace(line.settings, sentence_model=tmp_path),
        encode=repr,
        open_sentences=missing,
    )
    assert isinstance(there._similar, ByWords)


def test_the_fact_says_what_found_the_cases_and_which_they_are(tmp_path: Path) -> None:
    line = DiagnosedLine(tmp_path)
    (case,) = a_memory(COLD)
    with line.store.unit() as uow:
        uow.answers.save_case(case)
        uow.commit()
    cold = Disturbance(at_part=120, rate=0.4, classes=("short",), signals={"etch_temp_c": -5})
    line.write(record(2, parts=200, rate=0.005, start=START, disturbances=[cold]))
    line.respond()
    with line.store.reader() as uow:
        analysis = uow.analyses.latest(line.orders()[0].incident_id)
    assert analysis is not None
    (fact,) = [one for one in analysis.evidence if one.tool.startswith("cases.similar")]
    assert fact.token is None
    assert fact.provenance["cases"] == str(case.order_id)
    assert fact.provenance["compared by"] == "words (FTS5)"


# --- the model ------------------------------------------------------------------------------------------------------


def test_words_are_split_as_bert_splits_them() -> None:
    assert list(words("Naïve  café, etch_temp−5°C!")) == ["naive", "cafe", ",", "etch", "_", "temp−5°c", "!"]
    assert list(words("a\x07b\tc 蚀刻")) == ["ab", "c", "蚀", "刻"]


def test_pieces_are_the_longest_the_vocabulary_has(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\netch\n##ant\n##a\nt\n##t\n")
    pieces = WordPiece(tmp_path / "vocab.txt", 6)
    assert pieces.numbers("etchant t") == [2, 4, 5, 7, 3]
    assert pieces.numbers("zinc etchat") == [2, 1, 4, 6, 8, 3]
    assert pieces.numbers("t " * 9) == [2, 7, 7, 7, 7, 3]


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda folder: None, "card.json"),
        (lambda folder: (folder / "card.json").write_text("{}"), "card.json"),
        (lambda folder: _card(folder, "0" * 64), "model.onnx"),
    ],
    ids=["nothing there", "an empty card", "another file"],
)
def test_a_folder_that_is_not_as_it_was_made_is_refused(tmp_path: Path, spoil: Any, named: str) -> None:
    spoil(tmp_path)
    with pytest.raises(ConfigError, match=named):
        MiniLm(tmp_path)


def _card(folder: Path, digest: str) -> None:
    (folder / "model.onnx").write_bytes(b"x")
    card = {"name": "minilm", "version": 1, "width": 384, "longest": 128, "sha256": {"model.onnx": digest}}
    (folder / "card.json").write_text(json.dumps(card))


TOKENIZED = {  # by the package `tokenizers` with the model's own tokenizer.json
    "Short circuit; etchant temperature fell, 45.2 -> 40.9 °C.": [
        101,
        2460,
        4984,
        1025,
        4385,
        4819,
        2102,
        4860,
        3062,
        1010,
        3429,
        1012,
        1016,
        1011,
        1028,
        2871,
        1012,
        1023,
        6362,
        1012,
        102,
    ],
    "naïve café Überätzung! 蚀刻 x": [101, 15743, 7668, 19169, 20501, 5575, 999, 100, 100, 1060, 102],
    "tel:etch_temp_c- ‘quoted’ — dash": [
        101,
        10093,
        1024,
        4385,
        2232,
        1035,
        8915,
        8737,
        1035,
        1039,
        1011,
        1520,
        9339,
        1521,
        1517,
        11454,
        102,
    ],
    "supercalifragilistic mousebites at the phototool’s edge": [
        101,
        3565,
        9289,
        10128,
        29181,
        24411,
        4588,
        8000,
        16313,
        2229,
        2012,
        1996,
        6302,
        3406,
        4747,
        1521,
        1055,
        3341,
        102,
    ],
    "µm Ω ½ ﬁ": [101, 1085, 2213, 1179, 1092, 1984, 102],
}


@pytest.mark.skipif(not MINILM.is_dir(), reason="scripts/fetch_sentences has not run")
@pytest.mark.parametrize("said", TOKENIZED)
def test_pieces_equal_those_of_the_reference_tokenizer(said: str) -> None:
    assert WordPiece(MINILM / "vocab.txt", 128).numbers(said) == TOKENIZED[said]


@pytest.mark.skipif(not MINILM.is_dir(), reason="scripts/fetch_sentences has not run")
def test_the_model_knows_what_means_the_same() -> None:
    model = MiniLm(MINILM)
    said = ["the etching bath is too cold", "etchant temperature fell", "a scratch from handling"]
    found = model.vectors(said)
    assert found.shape == (3, 384)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(3), abs=1e-4)
    assert found[0] @ found[1] > found[0] @ found[2] + 0.2
    together = model.vectors([said[1], "etch " * 60])[0]
    assert together @ found[1] == pytest.approx(1.0, abs=0.02)  # padding changes nothing but rounding
