"""What a language model's text about one analysis may refer to, and what each reference stands for.

The model writes ``{E3.value}``, ``{incident.rate}`` or ``{cause}``; code puts the figures and names in. So no number
and no name in an order comes from the model, and no text from the plant (lots, notes, names) reaches the model.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from edge_agent.domain import token as tokens
from edge_agent.domain.analysis import Analysis, Hypothesis
from edge_agent.domain.cause import NONE, OTHER, Catalogue, Cause
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.incident import Incident
from edge_agent.responding.words import clean, defect_name, number, share

PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_.]*)\}")
_MOST_FOR, _MOST_AGAINST = 4, 2
_SMALLEST_TERM = 0.05
"""A term below this (log-odds) says nothing either way."""
_CAUSE_CHARS = 80
_OPEN_PREFIXES = ("sp:", "tm:", "insp:", "mix:")
"""Tokens with these prefixes come from a closed list; others count when the catalogue knows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """Everything a text about one analysis may say.

    Attributes:
        suspect: the first hypothesis; the text may name no other.
        cause: its catalogue entry.
        evidence: by id, what may be cited: known to be there or not there, and moving the suspect.
        speaks_for, speaks_against: ids, strongest first.
        values: placeholder (without braces) to the text it stands for.
        catalogue_names: names of the other causes.
    """

    incident: Incident
    suspect: Hypothesis
    cause: Cause
    evidence: Mapping[str, Evidence]
    speaks_for: tuple[str, ...]
    speaks_against: tuple[str, ...]
    values: Mapping[str, str]
    rivals: tuple[Cause, ...] = ()
    catalogue_names: tuple[str, ...] = field(default=())


def brief(analysis: Analysis, incident: Incident, catalogue: Catalogue) -> Brief | None:
    """What may be said, or None where a model has nothing to add: no suspect, or nothing that speaks for it."""
    top = analysis.hypotheses[0] if analysis.hypotheses else None
    cause = catalogue.cause(top.cause_id) if top and top.cause_id not in {NONE, OTHER} else None
    if top is None or cause is None:
        return None
    quotable = {one.evidence_id: one for one in analysis.evidence if citable(one, known_tokens(catalogue))}
    speaks_for = _strongest(top, quotable, +1)[:_MOST_FOR]
    if not speaks_for:
        return None
    speaks_against = _strongest(top, quotable, -1)[:_MOST_AGAINST]
    chosen = {key: quotable[key] for key in (*speaks_for, *speaks_against)}
    rivals = [catalogue.cause(one.cause_id) for one in analysis.hypotheses[1:4]]
    return Brief(
        incident=incident,
        suspect=top,
        cause=cause,
        evidence=chosen,
        speaks_for=speaks_for,
        speaks_against=speaks_against,
        values=dict(_values(incident, cause, chosen.values())),
        rivals=tuple(one for one in rivals if one is not None),
        catalogue_names=tuple(one.name for one in catalogue.causes if one.cause_id != cause.cause_id),
    )


def expand(text: str, values: Mapping[str, str]) -> str:
    """The text with every placeholder replaced.

    Raises:
        KeyError: a placeholder that stands for nothing.
    """
    return PLACEHOLDER.sub(lambda match: values[match[1]], text)


def sign_of(one: Evidence) -> int:
    """+1 rose, -1 fell, 0 no direction (or it is the absence of something)."""
    if one.polarity is not Polarity.PRESENT:
        return 0
    if one.token and one.token.startswith("tel:"):
        return 1 if one.token.endswith("+") else -1
    if one.value is None or one.baseline is None:
        return 0
    return (one.value > one.baseline) - (one.value < one.baseline)


def citable(one: Evidence, known: frozenset[str]) -> bool:
    """Could be looked for, and its words come from a closed list or from the catalogue."""
    if one.polarity is Polarity.UNKNOWN or one.token is None or not re.fullmatch(r"E\d{1,3}", one.evidence_id):
        return False
    return tokens.well_formed(one.token) and (one.token in known or one.token.startswith(_OPEN_PREFIXES))


def known_tokens(catalogue: Catalogue) -> frozenset[str]:
    """Every token that some cause expects or excludes, and every class."""
    signatures = [signature for cause in catalogue.causes for signature in cause.signatures]
    expected = {one.token for each in signatures for one in (*each.all_of, *each.any_of, *each.none_of)}
    classes = {f"class:{code}" for cause in catalogue.causes for code in cause.classes}
    return frozenset(expected | classes)


def _strongest(top: Hypothesis, quotable: Mapping[str, Evidence], sign: int) -> tuple[str, ...]:
    terms = [term for term in top.terms if term.evidence_id in quotable and sign * term.delta > _SMALLEST_TERM]
    ordered = sorted(terms, key=lambda term: (-abs(term.delta), term.evidence_id))
    return tuple(dict.fromkeys(term.evidence_id for term in ordered))


def _values(incident: Incident, cause: Cause, evidence: Iterable[Evidence]) -> Iterator[tuple[str, str]]:
    yield "cause", clean(cause.name, _CAUSE_CHARS)
    yield "incident.class", defect_name(incident.code)
    yield "incident.rate", share(incident.rate)
    yield "incident.normal", share(incident.baseline_rate)
    yield "incident.defective", str(incident.defective_parts)
    yield "incident.parts", str(incident.parts)
    for one in evidence:
        if one.polarity is Polarity.PRESENT and one.value is not None:
            yield f"{one.evidence_id}.value", _quantity(one.value, one.unit)
            if one.baseline is not None:
                yield f"{one.evidence_id}.before", _quantity(one.baseline, one.unit)


def _quantity(value: float, unit: str) -> str:
    return share(value) if unit == "share" else f"{number(value)} {unit}".strip()
