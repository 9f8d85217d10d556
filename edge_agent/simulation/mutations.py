"""True drafts made untrue (and some left true) in the ways that models get things wrong."""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edge_agent.responding import prompt
from edge_agent.responding.placeholders import Brief

Draft = dict[str, Any]
Change = Callable[[Draft, Brief, random.Random], Draft]

_SWAPS = (
    ("rose", "fell"), ("fell", "rose"), ("fits", "proves"), ("points to", "is caused by"), ("near", "far from"),
    ("the part", "the pump"), (" and ", " but not "), ("from {", "to {"), ("We found", "We did not find"),
    ("which", "which always"), ("E", "E1"), ("began", "ended"), ("worse", "better"), ("supports", "excludes"),
    ("after a", "before a"), ("same", "other"), ("supports", "causes"), ("slowly", "quickly"),
)  # fmt: skip
_ADDED = (
    " Replace the nozzle.", " The pump leaks.", " It rose by 12 %.", " About half of the parts are bad.",
    " Lock out the machine first.", " This is certain.", " The lot is bad.", " It is unclear.", " It is very likely.",
    " See http://example.com.", " The rate is {incident.rate}.",
    " The rate rose from {incident.normal} to {incident.rate}.",
    " The technician found it before.", " The defects are strong.", " The rate fell.", " Ten boards show it.",
    " E1 speaks against it.", " We suspect it since {incident.defective} of {incident.parts} parts show it.",
    " Other causes are less likely.", " This is possible.", " It is likely.",
)  # fmt: skip
_HARMLESS = (
    ("which fits", "which supports"), ("which points to", "which matches"), ("consistent with", "which agrees with"),
    ("we found", "there is"), ("We found", "The main finding is"), ("it began", "the change began"),
    ("the defects show", "all defects show"), ("which supports", "which also fits"), (" and ", " while "),
)  # fmt: skip


def _swap(draft: Draft, about: Brief, dice: random.Random) -> Draft:
    known = [pair for pair in _SWAPS if pair[0] in draft["text"]]
    before, after = dice.choice(known) if known else ("the", "a")
    return draft | {"text": draft["text"].replace(before, after, 1)}


def _harmless(draft: Draft, about: Brief, dice: random.Random) -> Draft:
    known = [pair for pair in _HARMLESS if pair[0] in draft["text"]]
    before, after = dice.choice(known) if known else ("the", "the")
    return draft | {"text": draft["text"].replace(before, after, 1)}


def _add(draft: Draft, about: Brief, dice: random.Random) -> Draft:
    return draft | {"text": draft["text"] + dice.choice(_ADDED)}


def _number(draft: Draft, about: Brief, dice: random.Random) -> Draft:
    """A literal figure in place of a placeholder: the true one, or a slightly or wholly different one."""
    names = [name for name in about.values if f"{{{name}}}" in draft["text"] and name != "cause"]
    if not names:
        return draft | {"text": draft["text"].replace(".", f" at {dice.randint(1, 99)}.", 1)}
    name = dice.choice(names)
    true = about.values[name]
    wrong = "".join(str((int(c) + dice.randint(1, 9)) % 10) if c.isdigit() and dice.random() < 0.5 else c for c in true)
    return draft | {"text": draft["text"].replace(f"{{{name}}}", dice.choice((true, wrong, wrong)), 1)}


def _exchange(draft: Draft, about: Brief, dice: random.Random) -> Draft:
    """Another placeholder or another fact's id in the same place."""
    here = [name for name in about.values if f"{{{name}}}" in draft["text"]]
    ids = [key for key in about.evidence if key in draft["text"]]
    if ids and (not here or dice.random() < 0.5):
        return draft | {"text": draft["text"].replace(dice.choice(ids), dice.choice(list(about.evidence)), 1)}
    name = dice.choice(here) if here else "cause"
    return draft | {"text": draft["text"].replace(f"{{{name}}}", f"{{{dice.choice(list(about.values))}}}", 1)}


def _other_cause(draft: Draft, about: Brief, dice: random.Random) -> Draft:
    name = dice.choice(about.catalogue_names) if about.catalogue_names else "a worn pump"
    return draft | {"text": draft["text"].replace("{cause}", dice.choice((name, name.lower(), name.split()[0])), 1)}


def _lists(draft: Draft, about: Brief, dice: random.Random) -> Draft:
    """Citations dropped, exchanged or turned to the other side."""
    changed = dict(draft)
    match dice.randrange(4):
        case 0:
            changed["against"] = []
        case 1:
            changed["citations"], changed["against"] = draft["against"], draft["citations"]
        case 2:
            changed["citations"] = [dice.choice(list(about.evidence))]
        case _:
            changed["citations"] = [*draft["citations"], "E99"]
    return changed


def _words(draft: Draft, about: Brief, dice: random.Random) -> Draft:
    """A word dropped, doubled or put elsewhere."""
    words = draft["text"].split(" ")
    place = dice.randrange(len(words))
    match dice.randrange(3):
        case 0:
            del words[place]
        case 1:
            words.insert(place, dice.choice(words))
        case _:
            words.insert(place, words.pop(dice.randrange(len(words))))
    return draft | {"text": " ".join(words)}


CHANGES: Mapping[str, Change] = {
    "direction and sense": _swap,
    "harmless wording": _harmless,
    "added sentence": _add,
    "number": _number,
    "exchanged reference": _exchange,
    "other cause": _other_cause,
    "citations": _lists,
    "words": _words,
}


def drafts(about: Brief, dice: random.Random, count: int) -> Iterator[tuple[str, str]]:
    """True drafts about one analysis, most of them changed once or twice: (kind of change, draft)."""
    facts, links, ends = prompt.sentence_parts(about)
    if not facts:
        return
    for _ in range(count):
        text, keys = dice.choice(list(facts.items()))
        draft: Draft = {
            "text": text + dice.choice(links) + dice.choice(ends),
            "citations": list(keys),
            "against": list(about.speaks_against),
        }
        kind = dice.choice(["none", *CHANGES])
        for _ in range(0 if kind == "none" else dice.choice((1, 1, 2))):
            draft = CHANGES[kind](draft, about, dice)
        yield kind, json.dumps(draft)
