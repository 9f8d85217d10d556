"""The words in which a picture may be described: closed lists, so that an answer can be checked and compared."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

NOTHING = "nothing"
"""Of a class: nothing is wrong there."""
UNCLEAR = "unclear"
TEXTURE = ("smooth", "rough", "grainy", "shiny", "dull", "stained", UNCLEAR)
SHAPE = ("round", "elongated", "thin_line", "notch", "gap", "bridge", "irregular", UNCLEAR)
WHERE = ("on_an_edge", "between_two_edges", "in_an_open_area", "in_a_filled_area", UNCLEAR)
FIELDS = ("class", "texture", "shape", "where")


def words(codes: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Each field with its words; the classes are the catalogue's."""
    classes = (*sorted(code for code in codes if code != "not_decidable"), NOTHING, UNCLEAR)
    return dict(zip(FIELDS, (classes, TEXTURE, SHAPE, WHERE), strict=True))


def schema(known: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """JSON schema of an answer, for servers that take one."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(known),
        "properties": {field: {"enum": list(choices)} for field, choices in known.items()},
    }


def grammar(known: Mapping[str, tuple[str, ...]]) -> str:
    """GBNF of the same: nothing else can be written."""
    fields = ' "," '.join(f'"\\"{field}\\":" {field}' for field in known)
    rules = [f'root ::= "{{" {fields} "}}"']
    for field, choices in known.items():
        rules.append(f"{field} ::= " + " | ".join(f'"\\"{choice}\\""' for choice in choices))
    return "\n".join(rules)


def broken_rule(text: str, known: Mapping[str, tuple[str, ...]]) -> tuple[str, dict[str, str]]:
    """The rule that an answer breaks (empty: none), and what it says.

    ``not-json``, ``fields`` (others than asked for), ``word`` (none of the list).
    """
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return "not-json", {}
    if not isinstance(said, dict) or set(said) != set(known):
        return "fields", {}
    if not all(isinstance(said[field], str) and said[field] in choices for field, choices in known.items()):
        return "word", {}
    return "", {field: said[field] for field in known}


def sentence(said: Mapping[str, str]) -> str:
    """In words: ``looks like open; rough, gap, on an edge``."""
    looks = "shows nothing wrong" if said["class"] == NOTHING else f"looks like {said['class'].replace('_', ' ')}"
    looks = "class unclear" if said["class"] == UNCLEAR else looks
    rest = [said[field].replace("_", " ") for field in FIELDS[1:] if said[field] != UNCLEAR]
    return f"{looks}; {', '.join(rest)}" if rest else looks
