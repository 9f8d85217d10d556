"""Checks what a language model wrote, rule by rule, before anyone sees it. No model takes part in the check.

The vocabulary is closed: a word that is neither plain report English nor part of the facts refuses the text. That
costs good sentences and lets no invented cause, action, part or number through.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.responding.placeholders import PLACEHOLDER, Brief, expand, sign_of
from edge_agent.responding.prompt import MOST_CHARS

LEAST_WORDS, MOST_WORDS = 4, 60
MOST_EXPANDED_CHARS = 420


def _these(words: str) -> frozenset[str]:
    return frozenset(words.split())


UP = _these("rose rise rises risen rising increased increase increases higher above up grew grown exceeded")
DOWN = _these("fell fall falls fallen falling decreased decrease decreases lower below down dropped drop")
NUMBER_WORDS = _these(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands "
    "million half third quarter double doubled twice triple tripled thrice dozen dozens percent couple"
)
GENERAL = (
    UP
    | DOWN
    | _these(
        "a an the this that these those it its is are was were be been being has have had of in on at to from for with "
        "by and or as since after before while when which because so also both only but than then there here during "
        "between about over under near same other others most more less very suspect suspected cause causes caused "
        "reason evidence fact facts support supports supported supporting speak speaks point points pointing suggest "
        "suggests suggesting indicates indicate indicating show shows showing shown seen found fit fits fitting match "
        "matches matching agree agrees consistent explain explains explained against although however though yet still "
        "defect defects part parts board boards panel panels line place places position class rate rates share normal "
        "normally usual change changed changes began begin begins started start onset time signal value values reading "
        "measured level incident finding together alone strong weak main first technician we they now recent recently "
        "some all each several many much likely possible unclear where into within often usually"
    )
)
FOR_WORDS = _these(
    "support supports supported supporting suggest suggests suggesting indicates indicate indicating fit fits fitting "
    "match matches matching agree agrees consistent explain explains explained points pointing"
)
GRADES = ("very likely", "likely", "possible", "unclear")

_WORD = re.compile(r"[A-Za-z]+")
_IDS = re.compile(r"\bE\d+\b")
_CANDIDATE = re.compile(r"\bK\d+\b")
_NUMBER = re.compile(r"\d+(?:[.,:/’'eE^xX-]*\d+)*")
_PLAIN_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PLACES: Mapping[str, tuple[str, str]] = {
    "cause": ("", ""),
    "incident.class": ("", " defects?"),
    "incident.rate": (r"\b(?:rate|rate of|rate is|rate was|to|at) ", ""),
    "incident.normal": (r"\b(?:normally|normal rate|normal rate of|usual rate of|from) ", ""),
    "incident.defective": ("", r" of \{incident\.parts\}"),
    "incident.parts": (r"\{incident\.defective\} of ", " (?:parts|boards|panels)"),
    "before": (r"\bfrom ", ""),
    "value": (r"\b(?:to|at|of|is|was|now) ", ""),
}
"""Placeholder to what must stand right before and behind it: a figure in the wrong place tells a falsehood."""
_CLAUSE = re.compile(r"[.;,()]\s|\band\b|\bbut\b|\bwhile\b|\balthough\b|\bthough\b|\bhowever\b")
_DANGLING = re.compile(r"(?:^|[.;,])\s*\(E\d+\)")
"""An id that belongs to nothing: a reader takes it to the next words."""
_CAUSED = re.compile(r"\bcaus\w*\s+(?:of|by)\b|\breason\s+(?:for|of)\b|\b(?:causes|caused)\b")
_MARKUP = re.compile(r"[<>\[\]*_`#|~^\\@=$&]|https?:|www\.|//|\b\w+\.(?:com|org|net|io)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that a text broke. ``text`` is for the model's second try and quotes nothing it wrote."""

    rule: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text that passed.

    Attributes:
        text: as people read it, placeholders expanded.
        draft: as the model wrote it (JSON): it can be checked again against a later revision.
    """

    text: str
    citations: tuple[str, ...]
    against: tuple[str, ...]
    draft: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A well-formed answer, not yet checked for truth."""

    text: str
    citations: tuple[str, ...]
    against: tuple[str, ...]

    @property
    def bare(self) -> str:
        """The text without placeholders: all that the model wrote itself."""
        return PLACEHOLDER.sub(" ", self.text)

    @property
    def words(self) -> list[str]:
        """Its own words, lower case, without ids."""
        return [word.lower() for word in _WORD.findall(_IDS.sub(" ", self.bare))]


def check(draft: str, brief: Brief) -> Note | tuple[Violation, ...]:
    """The note, or every rule the draft breaks."""
    answer = _parsed(draft)
    if isinstance(answer, Violation):
        return (answer,)
    broken = tuple(violation for rule in RULES for violation in rule(answer, brief))
    if broken:
        return broken
    text = expand(answer.text, brief.values)
    return Note(text=text, citations=answer.citations, against=answer.against, draft=draft)


def _parsed(draft: str) -> _Answer | Violation:
    """V1: JSON of the agreed shape and nothing else."""
    try:
        data = json.loads(draft)
    except (ValueError, RecursionError):
        return Violation(rule="V1.json", text="the answer must be one complete JSON object")
    shape = {"text": str, "citations": list, "against": list}
    if not isinstance(data, dict) or set(data) != set(shape):
        return Violation(rule="V1.schema", text="the answer must have text, citations and against, and nothing else")
    if not all(isinstance(data[key], kind) for key, kind in shape.items()):
        return Violation(rule="V1.schema", text="text must be a string, citations and against lists of ids")
    if not all(isinstance(one, str) for one in (*data["citations"], *data["against"])):
        return Violation(rule="V1.schema", text="citations and against must hold ids only")
    return _Answer(
        text=data["text"],
        citations=tuple(dict.fromkeys(data["citations"])),
        against=tuple(dict.fromkeys(data["against"])),
    )


def _choice(answer: _Answer, brief: Brief) -> Iterator[Violation]:
    """V2: no cause but the suspect."""
    text = answer.text.casefold()
    if _CANDIDATE.search(answer.text) or any(name.casefold() in text for name in brief.catalogue_names if name):
        yield Violation(rule="V2.choice", text="name no cause but {cause}")


def _citation(answer: _Answer, brief: Brief) -> Iterator[Violation]:
    """V3: what is cited is in the list, and what is mentioned is cited."""
    cited = {*answer.citations, *answer.against}
    mentioned = {*_IDS.findall(answer.bare), *_placed(answer)}
    if not answer.citations:
        yield Violation(rule="V3.citation", text="cite at least one fact that speaks for the cause")
    if not cited <= set(brief.evidence):
        yield Violation(rule="V3.citation", text="cite only ids of the evidence list")
    if not mentioned <= cited:
        yield Violation(rule="V3.citation", text="every fact in the text must be in citations or against")


def _placed(answer: _Answer) -> Iterator[str]:
    """Ids of the facts whose figures the text uses."""
    for name in PLACEHOLDER.findall(answer.text):
        if re.fullmatch(r"E\d+\.\w+", name):
            yield name.partition(".")[0]


def _number(answer: _Answer, brief: Brief) -> Iterator[Violation]:
    """V4: every number is a placeholder, or exactly a figure of a cited fact."""
    if not set(PLACEHOLDER.findall(answer.text)) <= set(brief.values):
        yield Violation(rule="V4.placeholder", text="use only placeholders of the list")
    elif any(not _in_place(match) for match in PLACEHOLDER.finditer(answer.text)):
        yield Violation(rule="V4.placeholder", text="use placeholders as in the evidence list: from before to value")
    bare = _CANDIDATE.sub(" ", _IDS.sub(" ", _without_phrases(answer, brief)))
    cited = [key for key in answer.citations if key in brief.evidence]
    strange = any(char.isnumeric() and not (char.isascii() and char.isdigit()) for char in bare)
    glued = re.search(r"[^\W\d]\d|\d[^\W\d]", bare)
    foreign = any(not _is_figure(match[0], _due(match, cited, brief)) for match in _NUMBER.finditer(bare))
    if strange or glued or foreign or NUMBER_WORDS & set(_WORD.findall(bare.lower())):
        yield Violation(rule="V4.number", text="write no numbers, also not as words; use placeholders")


def _without_phrases(answer: _Answer, brief: Brief) -> str:
    """The text without the standing phrases of the cited facts, whose names may hold digits (``particles m3``)."""
    bare = answer.bare
    for key in {*answer.citations, *answer.against} & set(brief.evidence):
        if phrase := " ".join(_present_phrase(brief.evidence[key]).split()):
            bare = re.sub(re.escape(phrase), " ", bare, flags=re.IGNORECASE)
    return bare


def _in_place(match: re.Match[str]) -> bool:
    name = match[1]
    before, behind = _PLACES[name if name in _PLACES else name.partition(".")[2]]
    text = match.string
    return bool(re.search(f"(?:{before})$", text[: match.start()])) and bool(re.match(behind, text[match.end() :]))


def _due(match: re.Match[str], cited: Sequence[str], brief: Brief) -> list[float]:
    """The figures that may stand there: what it was behind "from", what it is anywhere else."""
    was = bool(re.search(r"\bfrom\s+$", match.string[: match.start()], re.IGNORECASE))
    found = [brief.evidence[key] for key in cited]
    scaled = [(100 if one.unit == "share" else 1, one.baseline if was else one.value) for one in found]
    return [abs(scale * figure) for scale, figure in scaled if figure is not None]


def _is_figure(number: str, figures: list[float]) -> bool:
    """Equal after rounding to the digits written, of which at least two count (``4`` for 4.3 says too little)."""
    if not _PLAIN_NUMBER.fullmatch(number):
        return False
    value = float(number)
    decimals = len(number.partition(".")[2])
    telling = len(number.replace(".", "").lstrip("0")) >= 2
    return any(value == figure or (telling and abs(value - figure) <= 0.5 * 10**-decimals) for figure in figures)


def _direction(answer: _Answer, brief: Brief) -> Iterator[Violation]:
    """V5: words like rose and fell agree with every fact of their clause."""
    for clause in _clauses(answer):
        words = set(_WORD.findall(clause.lower()))
        said = (1 if words & UP else 0) - (1 if words & DOWN else 0)
        mixed = bool(words & UP) and bool(words & DOWN)
        if (said or mixed) and (mixed or not _agrees(said, clause, answer, brief)):
            yield Violation(rule="V5.direction", text="rose and fell must agree with the fact they speak of")
            return


def _clauses(answer: _Answer) -> list[str]:
    """Parts of the text that speak of one thing; an id in brackets belongs to the clause before it."""
    joined = re.sub(r"\s*\((E\d+)\)", r" \1", answer.text)
    return [clause for clause in _CLAUSE.split(joined) if clause.strip()]


def _agrees(said: int, clause: str, answer: _Answer, brief: Brief) -> bool:
    keys = [*_IDS.findall(clause)] or list(answer.citations)
    signs = {_sign(key, brief) for key in keys if key in brief.evidence}
    if not _IDS.search(clause) and re.search(r"\{incident\.|\brate\b|\bdefects?\b", clause):
        signs = {1 if brief.incident.rate >= brief.incident.baseline_rate else -1}
    return signs == {said}


def _sign(key: str, brief: Brief) -> int:
    """Where the fact's own words say that something grew, that counts; else its figures."""
    words = set(_present_words(brief.evidence[key]))
    return (1 if words & UP else -1 if words & DOWN else 0) or sign_of(brief.evidence[key])


def _polarity(answer: _Answer, brief: Brief) -> Iterator[Violation]:
    """V5: what was looked for and not seen cannot be told as if it had been; it may only be cited."""
    mentioned = {*_IDS.findall(answer.bare), *_placed(answer)}
    if any(key in brief.evidence and not _present_words(brief.evidence[key]) for key in mentioned):
        yield Violation(rule="V5.polarity", text="keep facts that were not seen out of the text, only cite them")


def _entailment(answer: _Answer, brief: Brief) -> Iterator[Violation]:
    """V6: what is cited for the cause adds to it by the ranker's own arithmetic, and what is against takes away."""
    if not set(answer.citations) <= set(brief.speaks_for) or not set(answer.against) <= set(brief.speaks_against):
        yield Violation(rule="V6.entailment", text="citations must speak for the cause, against must speak against it")
        return
    if _CAUSED.search(answer.text.lower()):
        yield Violation(rule="V6.entailment", text="facts fit the cause; do not say that one causes the other")
    for clause in _clauses(answer):
        words, keys = set(_WORD.findall(clause.lower())), set(_IDS.findall(clause))
        contrary, said = keys & set(brief.speaks_against), "against" in words
        if (words & FOR_WORDS and contrary) or said != bool(contrary) or (said and keys - contrary):
            yield Violation(rule="V6.entailment", text="do not turn a fact against the side it speaks for")
            return


def _both_sides(answer: _Answer, brief: Brief) -> Iterator[Violation]:
    """V7: what speaks against the cause is not kept quiet."""
    if brief.speaks_against and not answer.against:
        yield Violation(rule="V7.against", text="name at least one fact that speaks against the cause")


def _vocabulary(answer: _Answer, brief: Brief) -> Iterator[Violation]:
    """V8: plain report words and the words of the facts; no grade but the ranker's."""
    known = GENERAL | _fact_words(brief)
    if any(word not in known for word in answer.words if word not in NUMBER_WORDS):
        yield Violation(rule="V8.vocabulary", text="use only plain words and the words of the evidence list")
    if not all(_bound(clause, answer, brief) for clause in _clauses(answer)):
        yield Violation(rule="V8.binding", text="tell each fact in its own words, and only next to its own id")
    text = " ".join(answer.words)
    grades = set(re.findall(r"very likely|likely|possible|unclear", text))
    if grades - {brief.suspect.grade}:
        yield Violation(rule="V8.grade", text="say no other grade than the one given")


def _fact_words(brief: Brief) -> frozenset[str]:
    told = {word for one in brief.evidence.values() for word in _present_words(one)}
    return _names(brief) | told


def _names(brief: Brief) -> frozenset[str]:
    """Words of the suspect and of the defect class: they fit anywhere."""
    cause, code = brief.cause, brief.incident.code.replace("_", " ")
    named = " ".join((cause.name, cause.process_step, cause.equipment, code))
    return frozenset(word.lower() for word in _WORD.findall(named))


def _bound(clause: str, answer: _Answer, brief: Brief) -> bool:
    """The words of facts in a clause are those of one fact: the one it names, else one of those cited.

    Beside an id even the words of the suspect and of the class are that fact's, or do not belong there.
    """
    own = PLACEHOLDER.sub(" ", clause)
    named = [key for key in _IDS.findall(own) if key in brief.evidence]
    placed = [name.partition(".")[0] for name in PLACEHOLDER.findall(clause) if _IDS.match(name)]
    if named and set(placed) - set(named):
        return False
    named = named or [key for key in placed if key in brief.evidence]
    if named:
        own = re.sub(rf"\b{re.escape(brief.incident.code.replace('_', ' '))} defects?\b", " ", own, flags=re.IGNORECASE)
    free = GENERAL if named else GENERAL | _names(brief)
    telling = {word.lower() for word in _WORD.findall(_IDS.sub(" ", own))} - free
    if len(set(named)) > 1:
        return not telling
    if "{incident." in clause:
        return not telling
    candidates = named or [key for key in (*answer.citations, *answer.against) if key in brief.evidence]
    return not telling or any(telling <= set(_present_words(brief.evidence[key])) for key in candidates)


def _present_words(one: Evidence) -> list[str]:
    """The words of a fact that was seen; none for what was not."""
    return [word.lower() for word in _WORD.findall(_present_phrase(one))]


def _present_phrase(one: Evidence) -> str:
    if one.polarity is not Polarity.PRESENT or one.token is None:
        return ""
    return one.words


def _form(answer: _Answer, brief: Brief) -> Iterator[Violation]:
    """V9: short, plain ASCII, a finished sentence, no markup, no loops."""
    words = answer.words
    values: Mapping[str, str] = brief.values
    expanded = PLACEHOLDER.sub(lambda match: values.get(match[1], ""), answer.text)
    if (
        len(answer.text) > MOST_CHARS
        or len(expanded) > MOST_EXPANDED_CHARS
        or not LEAST_WORDS <= len(words) <= MOST_WORDS
    ):
        yield Violation(rule="V9.length", text=f"write between {LEAST_WORDS} and 40 words")
    if not answer.text.isascii() or not answer.text.isprintable() or not answer.text.rstrip().endswith("."):
        yield Violation(rule="V9.form", text="write finished sentences in plain English letters")
    if _DANGLING.search(answer.text):
        yield Violation(rule="V9.form", text="an id in brackets stands behind the words it belongs to")
    if _MARKUP.search(answer.bare) or re.search(r"[{}]", answer.bare):
        yield Violation(rule="V9.markup", text="write no markup, braces or addresses")
    if "{cause}" not in answer.text or not _IDS.search(answer.text):
        yield Violation(rule="V9.aim", text="name {cause}, and the id of at least one fact behind what it says")
    if _repeats(answer):
        yield Violation(rule="V9.repetition", text="do not repeat yourself")


def _repeats(answer: _Answer) -> bool:
    """The same five words twice, the same placeholder or id over and over, or one word as a third of the text."""
    pieces = re.findall(r"\{[^}]*\}|[A-Za-z0-9]+", answer.text.lower())
    runs = Counter(zip(pieces, pieces[1:], pieces[2:], pieces[3:], pieces[4:], strict=False))
    references = Counter(piece for piece in pieces if piece.startswith("{") or re.fullmatch(r"e\d+", piece))
    most = max(Counter(answer.words).values(), default=0)
    return (
        any(count > 1 for count in runs.values())
        or any(count > 2 for count in references.values())
        or (len(answer.words) >= 6 and most > len(answer.words) / 3)
    )


RULES: tuple[Callable[[_Answer, Brief], Iterator[Violation]], ...] = (
    _choice,
    _citation,
    _number,
    _direction,
    _polarity,
    _entailment,
    _both_sides,
    _vocabulary,
    _form,
)
