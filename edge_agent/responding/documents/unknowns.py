"""What could not be looked for, in a few short sentences: a list of sixty would be read by nobody."""

from collections.abc import Iterable, Sequence

from edge_agent.domain.evidence import Evidence, Polarity

_NAMED = 3
_OTHERS = 2
_SPOKEN = 90


def unknowns(facts: Iterable[Evidence]) -> list[str]:
    """At most seven clauses without a full stop, e.g. ``too few readings to say: 19 signals``."""
    open_questions = [fact for fact in facts if fact.polarity is Polarity.UNKNOWN]
    by_kind: dict[str, list[Evidence]] = {}
    for fact in open_questions:
        kind = (fact.token or "").partition(":")[0]
        by_kind.setdefault(kind if kind in _KINDS else "", []).append(fact)
    told = [_KINDS[kind](found) for kind, found in sorted(by_kind.items()) if kind]
    return [*told, *_others(by_kind.get("", []))]


def _signals(found: Sequence[Evidence]) -> str:
    names = list(dict.fromkeys(fact.signal_name or "" for fact in found))
    listed = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} signals"
    return f"no trustworthy or not enough readings yet: {listed}"


def _places(_: Sequence[Evidence]) -> str:
    return "too few defects to tell a pattern on the part"


def _times(_: Sequence[Evidence]) -> str:
    return "too few parts to tell how it grew or what it came with"


def _strata(found: Sequence[Evidence]) -> str:
    names = [(fact.token or "").partition(":")[2].replace("_", " ") for fact in found]
    return f"the parts do not tell enough about: {', '.join(dict.fromkeys(names))}"


def _images(_: Sequence[Evidence]) -> str:
    return "too few images to tell whether the inspection itself changed"


_KINDS = {"tel": _signals, "sp": _places, "tm": _times, "strat": _strata, "insp": _images}


def _others(found: Sequence[Evidence]) -> list[str]:
    spoken = [_clause(fact.statement) for fact in found[:_OTHERS]]
    more = len(found) - len(spoken)
    return [*spoken, *([f"{more} more in the record"] if more else [])]


def _clause(statement: str) -> str:
    text = statement.strip().rstrip(".")
    return text if len(text) <= _SPOKEN else text[: _SPOKEN - 1].rstrip() + "…"
