"""An independent reader of finished texts: which of their claims does nothing support?

It is written against what people read, not against drafts, and shares no code with the validator: texts are cut into
tokens here again, figures are rounded here again, and its word lists are its own. What it calls unsupported and the
validator let through is a hole in one of the two.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edge_agent.domain.analysis import Analysis, Hypothesis
from edge_agent.domain.cause import Catalogue, Cause
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.incident import Incident


def _these(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ROSE = {
    "rose",
    "rise",
    "risen",
    "rising",
    "increased",
    "increase",
    "higher",
    "above",
    "grew",
    "up",
    "exceeded",
    "raised",
}
_FELL = {"fell", "fall", "fallen", "falling", "decreased", "decrease", "lower", "below", "dropped", "drop", "down"}
_FUNCTION = _these(
    "a an the this that these those it its is are was were be been being has have had of in on at to from for "
    "with by and or as since after before while when which because so also both only but than then there here "
    "during between about over under near same other others most more less very suspect suspected reason evidence "
    "fact facts support supports supported supporting speak speaks point points pointing suggest suggests "
    "suggesting indicates indicate indicating show shows showing shown seen found fit fits fitting match matches "
    "matching agree agrees consistent explain explains explained against although however though yet still defect "
    "defects part parts board boards panel panels line place places position class rate rates share normal "
    "normally usual change changed changes began begin begins started start onset time signal value values "
    "reading measured level incident finding together alone strong weak main first technician we they now recent "
    "recently some all each several many much likely possible unclear where into within often usually cause "
    "causes caused not none no does do may could can something listed separate chance nothing else times check "
    "min utc undecidable images"
)
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])\d+(?:\.\d+)?(?![A-Za-z0-9_])")
_WRITTEN_OUT = _these(
    "zero one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred "
    "thousand half third quarter double doubled twice triple tripled dozen percent"
)
_ID = re.compile(r"\bE\d+\b")
_BLAME = re.compile(
    r"\b(?:caused|causing|(?<!the )(?<!other )causes|because of|due to|leads? to|led to|result(?:s|ed)? (?:in|from))\b",
    re.IGNORECASE,
)
_PROVES = {"proves", "proven", "proved", "certain", "certainly", "definitely", "always", "never", "must", "surely"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a text may rest on."""

    analysis: Analysis
    incident: Incident
    catalogue: Catalogue


def unsupported(text: str, facts: Facts) -> list[str]:
    """The claims of a finished text that nothing supports, in words."""
    found = {one.evidence_id: one for one in facts.analysis.evidence}
    wrong = [f"no such fact: {key}" for key in _ID.findall(text) if key not in found]
    wrong += [f"cites what could not be looked for: {key}" for key in _ID.findall(text) if _is_unknown(found.get(key))]
    plain = _without_catalogue_text(text.replace(facts.incident.station_id, "STATION"), facts)
    code = re.escape(facts.incident.code.replace("_", " "))
    plain = re.sub(rf"\b{code} (?=defects?\b)", "", plain, flags=re.IGNORECASE)  # the incident is about them
    wrong += _numbers(plain, facts)
    wrong += _causes(text, facts)
    wrong += _words(plain, facts)
    for sentence in re.split(r"(?<=[.;])\s+", plain):
        wrong += _sentence(sentence, facts, found)
    return list(dict.fromkeys(wrong))


def _is_unknown(one: Evidence | None) -> bool:
    return one is not None and one.polarity is Polarity.UNKNOWN


def _first(facts: Facts) -> tuple[Hypothesis | None, Cause | None]:
    hypothesis = next((h for h in facts.analysis.hypotheses if h.cause_id not in ("NONE", "OTHER")), None)
    return hypothesis, facts.catalogue.cause(hypothesis.cause_id) if hypothesis else None


def _without_catalogue_text(text: str, facts: Facts) -> str:
    """Without what is copied letter by letter from the catalogue's entries of the causes that were ranked."""
    for one in facts.analysis.hypotheses:
        cause = facts.catalogue.cause(one.cause_id)
        for check in cause.checks if cause else ():
            text = text.replace(f"Check first ({check.minutes:g} min): {check.text}", "")
    _, first = _first(facts)
    for name in (first.name,) if first else ():
        text = re.sub(re.escape(name[:79]), " SUSPECT ", text, flags=re.IGNORECASE)
        text = text.replace(name[79:], " ") if len(name) > 79 else text
    return text


def _figures(facts: Facts) -> Iterator[float]:
    incident = facts.incident
    yield from (float(incident.defective_parts), float(incident.parts))
    yield from (100 * incident.rate, 100 * incident.baseline_rate)
    if incident.baseline_rate:
        yield incident.rate / incident.baseline_rate
    yield from (float(part) for part in incident.onset_from.strftime("%H %M %S").split())
    for one in facts.analysis.evidence:
        scale = 100.0 if one.unit == "share" else 1.0
        yield from (abs(scale * figure) for figure in (one.value, one.baseline) if figure is not None)


def _numbers(text: str, facts: Facts) -> Iterator[str]:
    """Each number is one of the figures, to the digits it is written with (two at least, or the figure itself)."""
    figures = list(_figures(facts))
    named = " ".join(_phrases(facts))
    bare = re.sub(r"\d\d:\d\d:\d\d", lambda match: match[0].replace(":", " "), _ID.sub(" ", text))
    bare = re.sub(r"[A-Za-z]+\d+|\b\d+[A-Za-z]+|\w+/\w*\d", " ", bare)
    for written in _NUMBER.findall(bare):
        value, decimals = float(written), len(written.partition(".")[2])
        digits = len(written.replace(".", "").strip("0")) or 1
        step = 0.5 * 10.0**-decimals + 1e-9
        close = any(value == figure or (abs(value - figure) <= step) for figure in figures)
        coarse = any(digits >= 2 and figure >= 100 and abs(value - figure) <= 0.5 + 1e-9 for figure in figures)
        if not (close or coarse) and written not in named:
            yield f"a number from nowhere: {written}"
    for word in re.findall(r"[a-z]+", text.lower()):
        if word in _WRITTEN_OUT and word not in named.split() and word not in {"one", "third"}:
            yield f"a number in words: {word}"
    if re.search(r"[^\x00-\x7f]", re.sub("…", "", text)) and re.search(r"[²³½¼¾０-９٠-٩]", text):
        yield "a number in other signs"


def _causes(text: str, facts: Facts) -> Iterator[str]:
    """No cause is named but the suspect."""
    _, first = _first(facts)
    for cause in facts.catalogue.causes:
        if first is not None and cause.cause_id == first.cause_id:
            continue
        inside = first is not None and cause.name.lower() in first.name.lower()
        if cause.name.lower() in text.lower() and not inside:
            yield f"another cause: {cause.name}"
        for action in cause.actions:
            if action.text.lower() in text.lower():
                yield f"an action: {action.action_id}"


def _spoken(one: Evidence) -> str:
    return one.words.lower()


def _phrases(facts: Facts) -> Iterator[str]:
    for one in facts.analysis.evidence:
        if one.polarity is Polarity.PRESENT and one.token:
            yield _spoken(one)


def _words(text: str, facts: Facts) -> Iterator[str]:
    """Each content word is one of a fact that was seen, of the suspect, or of the incident."""
    _, cause = _first(facts)
    named = " ".join([cause.name, cause.process_step, cause.equipment] if cause else [])
    units = " ".join(one.unit for one in facts.analysis.evidence)
    classes = " ".join([facts.incident.code, *facts.incident.class_counts]).replace("_", " ")
    known = set(re.findall(r"[a-z]+", " ".join([*_phrases(facts), named, units, classes]).lower()))
    known |= _ROSE | _FELL | _FUNCTION | {"suspect", "station"}
    for word in re.findall(r"[A-Za-z]+", _ID.sub(" ", text)):
        low = word.lower()
        if low not in known and low.rstrip("s") not in known and low + "s" not in known and low not in _WRITTEN_OUT:
            yield f"a word from nowhere: {word}"
    yield from (f"too sure: {word}" for word in re.findall(r"[a-z]+", text.lower()) if word in _PROVES)


def _sentence(sentence: str, facts: Facts, found: dict[str, Evidence]) -> Iterator[str]:
    """Directions, sides and grades, clause by clause."""
    hypothesis, _ = _first(facts)
    terms = {term.evidence_id: term.delta for term in hypothesis.terms} if hypothesis else {}
    if _BLAME.search(sentence):
        yield "says that one thing makes another"
    grades = re.findall(r"very likely|likely|possible|unclear", sentence.lower())
    if hypothesis and any(one != hypothesis.grade for one in grades):
        yield f"another grade: {grades[0]}"
    against = re.search(r"\bagainst\b", sentence, re.IGNORECASE) is not None
    for key in dict.fromkeys(_ID.findall(sentence)):
        if key in found and against and terms.get(key, 0.0) >= 0:
            yield f"{key} does not speak against it"
        if key in found and not against and terms.get(key, 0.0) <= 0:
            yield f"{key} does not speak for it"
    for clause, key in _clauses(sentence):
        yield from _clause(clause, found.get(key))


def _clauses(sentence: str) -> Iterator[tuple[str, str]]:
    """What stands before each id, back to the id before it or a conjunction, with that id."""
    start = 0
    for match in _ID.finditer(sentence):
        piece = re.split(r"\band\b|;|:", sentence[start : match.start()])[-1]
        yield piece.strip(" (),."), match[0]
        start = match.end()


def _clause(clause: str, fact: Evidence | None) -> Iterator[str]:
    """The words before an id are that fact's own, and point the same way."""
    if fact is None:
        return
    own = set(re.findall(r"[a-z]+", _spoken(fact)))
    said = set(re.findall(r"[a-z]+", clause.lower()))
    content = {word for word in said - _FUNCTION - _ROSE - _FELL - {"suspect"} if len(word) > 2}
    units = set(re.findall(r"[a-z]+", fact.unit.lower()))
    if fact.polarity is not Polarity.PRESENT and content:
        yield f"tells {fact.evidence_id} as if it had been seen"
    foreign = content - own - units - {word.rstrip("s") for word in own}
    if foreign:
        yield f"{fact.evidence_id} says nothing of {', '.join(sorted(foreign))}"
    up, down = bool(said & (_ROSE - own)) or bool(said & _ROSE & own), bool(said & _FELL)
    truth = _direction(fact)
    if (up and truth < 0) or (down and truth > 0) or (up and down):
        yield f"{fact.evidence_id} went the other way"
    if said & {"not", "no"} and not own & {"not", "no"}:
        yield f"denies {fact.evidence_id}"
    yield from _order(clause, fact)


def _direction(fact: Evidence) -> int:
    words = set(re.findall(r"[a-z]+", _spoken(fact)))
    if words & _ROSE:
        return 1
    if words & _FELL:
        return -1
    if fact.value is None or fact.baseline is None:
        return 0
    return (fact.value > fact.baseline) - (fact.value < fact.baseline)


def _order(clause: str, fact: Evidence) -> Iterator[str]:
    """``from X to Y``: X is what it was, Y what it is."""
    match = re.search(r"from (\d+(?:\.\d+)?)\b.*? to (\d+(?:\.\d+)?)", clause)
    if match and fact.value is not None and fact.baseline is not None:
        was, now = float(match[1]), float(match[2])
        scale = 100.0 if fact.unit == "share" else 1.0
        if not (_near(was, scale * fact.baseline) and _near(now, scale * fact.value)):
            yield f"{fact.evidence_id} has other figures"


def _near(written: float, figure: float) -> bool:
    return abs(written - abs(figure)) <= max(0.006 * abs(figure), 0.5 if abs(figure) >= 100 else 0.0)


def every(texts: Iterable[tuple[str, Facts]]) -> list[tuple[str, list[str]]]:
    """The texts with unsupported claims, with them."""
    judged = ((text, unsupported(text, facts)) for text, facts in texts)
    return [(text, wrong) for text, wrong in judged if wrong]
