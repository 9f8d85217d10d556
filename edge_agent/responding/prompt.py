"""The prompt for a note about one analysis, and the grammar its answer must follow.

The constant part comes first, so that a back end keeps it in its cache. Nothing that the plant's people or systems
typed enters: evidence is rendered from its token and its placeholders, never from its statement.
"""

import itertools
import random
from collections.abc import Iterable
from typing import Any

from edge_agent.domain import token as tokens
from edge_agent.domain.cause import Cause
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.ports import WritingTask
from edge_agent.responding.placeholders import Brief, sign_of
from edge_agent.responding.words import clean

VERSION = "1"
MOST_CHARS = 240
"""Of the text as the model writes it, placeholders included."""

SYSTEM = """You help technicians in a factory. You write one short note that says why a suspected cause fits the facts.
Rules:
- Write one or two plain sentences, at most 40 words. No instructions, no advice.
- Name the cause only as {cause}. Name no other cause.
- Cite facts by their id, like E3. Use only the ids of the list.
- Write no numbers. Where a number belongs, copy a placeholder from the list, like {E3.value}.
- If facts speak against the cause, cite one of them in "against".
The answer is JSON: {"text": the note, "citations": ids that speak for the cause, "against": ids that speak against it}

Example
INCIDENT
spur defects on {incident.defective} of {incident.parts} parts, rate {incident.rate}, normally {incident.normal}
SUSPECT {cause}
EVIDENCE
E2 | for | oven temp rose from {E2.before} to {E2.value} | strong
E5 | for | near the edges of the part | weak
E4 | against | not seen: grew slowly | weak
ANSWER
{"text":"Oven temp rose from {E2.before} to {E2.value} (E2) and the defects are near the edges of the part (E5), \
which fits {cause}.","citations":["E2","E5"],"against":["E4"]}"""


def task(brief: Brief, *, max_tokens: int, refused: Iterable[str] = ()) -> WritingTask:
    """What the analyst is asked.

    Args:
        refused: the validator's complaints about the first answer, for the one retry; rendered by code. The retry
            is guided: a back end that takes grammars then chooses among facts and phrasings made by code.
    """
    return WritingTask(
        system=SYSTEM,
        prompt=_prompt(brief, tuple(refused)),
        schema=schema(brief),
        grammar=guided_grammar(brief) if refused else free_grammar(brief),
        max_tokens=max_tokens,
    )


def warm_up() -> WritingTask:
    """Loads the model and the constant part of the prompt, so that the first note does not wait for them."""
    return WritingTask(system=SYSTEM, prompt="READY", schema={"type": "object"}, grammar='root ::= "{}"', max_tokens=4)


def _prompt(brief: Brief, refused: tuple[str, ...]) -> str:
    candidates = _candidates(brief)
    suspect = candidates.index(brief.cause) + 1
    blocks = [
        "INCIDENT\n{incident.class} defects on {incident.defective} of {incident.parts} parts, "
        "rate {incident.rate}, normally {incident.normal}",
        "CANDIDATES\n" + "\n".join(_candidate(number, cause) for number, cause in enumerate(candidates, 1)),
        f"SUSPECT {{cause}}, which is K{suspect}: {brief.suspect.grade}",
        "EVIDENCE\n" + "\n".join(evidence_line(brief, key) for key in brief.evidence),
    ]
    if refused:
        blocks.append("Your first answer was refused:\n" + "\n".join(f"- {reason}" for reason in refused))
    return "\n".join([*blocks, "ANSWER"])


def _candidates(brief: Brief) -> list[Cause]:
    """Neutral ids in an order that does not tell the ranking, the same for all revisions of an incident."""
    causes = sorted((brief.cause, *brief.rivals), key=lambda cause: cause.cause_id)
    random.Random(brief.incident.incident_id.int).shuffle(causes)  # noqa: S311 - an order, not a secret
    return causes


def _candidate(number: int, cause: Cause) -> str:
    """Its name and what its first signature expects, in plant language."""
    expectations = [one for signature in cause.signatures[:1] for one in (*signature.all_of, *signature.any_of)]
    expected = "; ".join(tokens.phrase(one.token).replace("_", " ") for one in expectations[:3])
    return f"K{number} | {clean(cause.name)} | {expected}"


def evidence_line(brief: Brief, key: str) -> str:
    """One fact: ``E3 | for | expo mj fell from {E3.before} to {E3.value} | strong``."""
    one = brief.evidence[key]
    side = "for" if key in brief.speaks_for else "against"
    return f"{key} | {side} | {fact_words(one, brief)} | {'strong' if one.strength >= 0.9 else 'weak'}"


def fact_words(one: Evidence, brief: Brief) -> str:
    """The fact in closed vocabulary with placeholders for its figures."""
    words = one.words
    if one.polarity is Polarity.ABSENT:
        return f"not seen: {words}"
    key = one.evidence_id
    if sign_of(one) and f"{key}.before" in brief.values:
        return f"{words} from {{{key}.before}} to {{{key}.value}}"
    return words


def schema(brief: Brief) -> dict[str, Any]:
    """JSON schema of the answer, for servers that take one."""
    least_against = min(1, len(brief.speaks_against))
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["text", "citations", "against"],
        "properties": {
            "text": {"type": "string", "minLength": 20, "maxLength": MOST_CHARS},
            "citations": _ids(brief.speaks_for, 1),
            "against": _ids(brief.speaks_against, least_against),
        },
    }


def _ids(keys: tuple[str, ...], least: int) -> dict[str, Any]:
    items: dict[str, Any] = {"type": "string"} | ({"enum": list(keys)} if keys else {})
    return {"type": "array", "items": items, "minItems": least, "maxItems": len(keys)}


def free_grammar(brief: Brief) -> str:
    """GBNF of the answer. The text is letters, plain punctuation, and the placeholders and ids of the list.

    So no digit, quotation mark, backslash or control character can be written at all.
    """
    references = [f'"{{{name}}}"' for name in brief.values] + [f'"{key}"' for key in brief.evidence]
    return "\n".join(
        [
            'root ::= "{\\"text\\":\\"" text "\\",\\"citations\\":" for ",\\"against\\":" against "}"',
            'text ::= first piece{10,180} "."',
            "first ::= [A-Z] | reference",
            "piece ::= [A-Za-z ,.;()-] | reference",
            f"reference ::= {' | '.join(references)}",
            f"for ::= {_list_rule(brief.speaks_for, 'forid')}",
            f"against ::= {_list_rule(brief.speaks_against, 'againstid')}",
            *_id_rule("forid", brief.speaks_for),
            *_id_rule("againstid", brief.speaks_against),
        ]
    )


def guided_grammar(brief: Brief) -> str:
    """GBNF in which the text is one of the sentences that code can make; the model picks facts and phrasing."""
    facts, links, ends = sentence_parts(brief)
    if not facts:
        return free_grammar(brief)
    wholes = [f'"{text}" link end "\\",\\"citations\\":{_quoted(keys)}"' for text, keys in facts.items()]
    return "\n".join(
        [
            f'root ::= "{{\\"text\\":\\"" ({" | ".join(wholes)}) ",\\"against\\":{_quoted(brief.speaks_against)}}}"',
            f"link ::= {_any(links)}",
            f"end ::= {_any(ends)}",
        ]
    )


LINKS = (
    ", which fits {cause}.",
    ", which points to {cause}.",
    ", which supports {cause}.",
    ", consistent with {cause}.",
)


def sentence_parts(brief: Brief) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...], list[str]]:
    """Beginnings with the facts they tell (one or two that speak for the cause), links to it, and possible ends."""
    told = {key: _sentence(brief, key) + f" ({key})" for key in brief.speaks_for if _present(brief, key)}
    orders = [*((key,) for key in told), *itertools.permutations(list(told)[:3], 2)]
    texts = {" and ".join(told[key] for key in keys): keys for keys in orders}
    facts = {text[0].upper() + text[1:]: keys for text, keys in texts.items()}
    ends = ["", *(f" {key} speaks against it." for key in brief.speaks_against if _present(brief, key))]
    return facts, LINKS, ends


def _present(brief: Brief, key: str) -> bool:
    return brief.evidence[key].polarity is Polarity.PRESENT


def _sentence(brief: Brief, key: str) -> str:
    """The fact as a sentence without its capital letter."""
    words, kind = fact_words(brief.evidence[key], brief), (brief.evidence[key].token or "").partition(":")[0]
    if kind == "sp":
        return f"the defects {'are' if words.startswith(('near', 'on ', 'spread')) else 'show'} {words}"
    if kind == "tm" and not words.startswith("a "):
        return f"it began {words}" if words.startswith("after") else f"it {words}"
    return words if kind in {"tel", "insp"} else f"we found {words}"


def _any(texts: Iterable[str]) -> str:
    return " | ".join(f'"{text}"' for text in texts)


def _quoted(keys: Iterable[str]) -> str:
    """A JSON list of ids inside a GBNF string."""
    return "[" + ",".join(f'\\"{key}\\"' for key in keys) + "]"


def _list_rule(keys: tuple[str, ...], rule: str) -> str:
    if not keys:
        return '"[]"'
    more = f' ("," {rule}){{0,{len(keys) - 1}}}' if len(keys) > 1 else ""
    return f'"[" {rule}{more} "]"'


def _id_rule(rule: str, keys: tuple[str, ...]) -> list[str]:
    return [f"{rule} ::= " + " | ".join(f'"\\"{key}\\""' for key in keys)] if keys else []
