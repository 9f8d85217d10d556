"""BERT's own tokenizer for uncased English: words, then the longest pieces that the vocabulary has.

Sixty lines instead of a dependency: a test holds it against what the package `tokenizers` makes of the same sentences.
"""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

LONGEST_WORD = 100
START, END, UNKNOWN, REST = "[CLS]", "[SEP]", "[UNK]", "##"


class WordPiece:
    """Sentences to numbers.

    Args:
        vocabulary: one piece a line; the line's number is the piece's.
        longest: pieces at most, with the two that mark the ends.

    Raises:
        KeyError: the vocabulary lacks one of the marks.
    """

    def __init__(self, vocabulary: Path, longest: int) -> None:
        pieces = vocabulary.read_text(encoding="utf-8").split("\n")
        self._numbers = {piece: number for number, piece in enumerate(pieces) if piece}
        self._start, self._end, self._unknown = (self._numbers[mark] for mark in (START, END, UNKNOWN))
        self._longest = longest

    def numbers(self, sentence: str) -> list[int]:
        """The pieces of a sentence, between the marks of its ends; what is too long is cut."""
        found = [number for word in words(sentence) for number in self._pieces(word)]
        return [self._start, *found[: self._longest - 2], self._end]

    def _pieces(self, word: str) -> list[int]:
        if len(word) > LONGEST_WORD:
            return [self._unknown]
        found: list[int] = []
        begin = 0
        while begin < len(word):
            mark = REST if begin else ""
            end = next((end for end in range(len(word), begin, -1) if mark + word[begin:end] in self._numbers), None)
            if end is None:
                return [self._unknown]
            found.append(self._numbers[mark + word[begin:end]])
            begin = end
        return found


def words(sentence: str) -> Iterator[str]:
    """Small letters without accents; each punctuation mark and each CJK character is a word of its own."""
    word = ""
    for character in unicodedata.normalize("NFD", _clean(sentence).lower()):
        if unicodedata.category(character) == "Mn":
            continue
        if character.isspace() or _stands_alone(character):
            if word:
                yield word
            word = ""
            if not character.isspace():
                yield character
        else:
            word += character
    if word:
        yield word


def _clean(sentence: str) -> str:
    """Without control characters; line ends are spaces."""
    return "".join(
        " " if one in "\t\n\r" else one
        for one in sentence
        if one in "\t\n\r" or not (one in "\0\ufffd" or unicodedata.category(one).startswith("C"))
    )


def _stands_alone(character: str) -> bool:
    code = ord(character)
    ascii_mark = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    cjk = 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x2FA1F
    return ascii_mark or cjk or unicodedata.category(character).startswith("P")
