"""Read-only tools that a model may call: what they tell it comes from their own docstrings.

They look at what was found and stored already; nothing they return holds text from the plant. Arguments are not free:
the calls that make sense are listed one by one, and a model picks from the list.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.responding.choosing import Question
from edge_agent.responding.evidence.similar_cases import nearest, present_tokens

MOST_OFFERED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What tools may look at."""

    analysis: Analysis
    catalogue: Catalogue
    cases: tuple[ConfirmedCase, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a call brought: facts to show besides, words, and counts of causes (shown under their neutral ids)."""

    facts: tuple[str, ...] = ()
    words: str = ""
    causes: Mapping[str, int] = field(default_factory=dict)

    def line(self, asked: Question) -> str:
        """For the prompt; causes that are not candidates are counted together."""
        named = {one.cause_id: asked.key_of(one.cause_id) for one in asked.candidates}
        counts = Counter(named.get(cause, "another cause") for cause, n in self.causes.items() for _ in range(n))
        told = ", ".join(f"{name} {n} times" for name, n in sorted(counts.items()))
        return "; ".join(part for part in (self.words, told) if part) or "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool with its arguments that make sense here. ``told`` is its docstring's first line."""

    name: str
    told: str
    arguments: Callable[[Surroundings, Question], Iterator[str]]
    run: Callable[[Surroundings, str], Found]


TOOLS: dict[str, Tool] = {}


def tool(
    arguments: Callable[[Surroundings, Question], Iterator[str]],
) -> Callable[[Callable[[Surroundings, str], Found]], Callable[[Surroundings, str], Found]]:
    """Register a tool under its function's name, described by its docstring."""

    def register(run: Callable[[Surroundings, str], Found]) -> Callable[[Surroundings, str], Found]:
        told = (run.__doc__ or "").strip().partition("\n")[0]
        TOOLS[run.__name__] = Tool(name=run.__name__, told=told, arguments=arguments, run=run)
        return run

    return register


def offered(around: Surroundings, asked: Question, done: frozenset[str] = frozenset()) -> dict[str, str]:
    """The calls that make sense now, with what each tells; those already made are left out."""
    calls = {
        f"{one.name} {argument}".strip(): one.told
        for one in TOOLS.values()
        for argument in one.arguments(around, asked)
    }
    return dict([(call, told) for call, told in calls.items() if call not in done][:MOST_OFFERED])


def call(around: Surroundings, named: str) -> Found:
    """Make one call. What is not a tool, or finds nothing, says so."""
    name, _, argument = named.partition(" ")
    known = TOOLS.get(name)
    return known.run(around, argument) if known else Found(words="no such tool")


def _expected(asked: Question, prefix: str) -> Iterator[str]:
    """Names that some candidate expects and that are not shown yet."""
    shown = {one.token for one in asked.evidence.values()}
    for cause in asked.candidates:
        for signature in cause.signatures:
            for one in (*signature.all_of, *signature.any_of):
                if one.token.startswith(prefix) and one.token not in shown:
                    yield one.token.partition(":")[2].rstrip("+-")


def _signals(around: Surroundings, asked: Question) -> Iterator[str]:
    yield from dict.fromkeys(_expected(asked, "tel:"))


def _attributes(around: Surroundings, asked: Question) -> Iterator[str]:
    yield from dict.fromkeys(_expected(asked, "strat:"))


def _shown(around: Surroundings, asked: Question) -> Iterator[str]:
    yield from (key for key, one in asked.evidence.items() if one.polarity is Polarity.PRESENT)


def _none(around: Surroundings, asked: Question) -> Iterator[str]:
    if around.cases:
        yield ""


def _about(around: Surroundings, tokens: set[str]) -> list[Evidence]:
    return [one for one in around.analysis.evidence if one.token in tokens]


@tool(_signals)
def signal(around: Surroundings, name: str) -> Found:
    """Did this process signal move around the onset, or can its sensor not be trusted?"""
    facts = _about(around, {f"tel:{name}+", f"tel:{name}-"})
    known = tuple(one.evidence_id for one in facts if one.polarity is not Polarity.UNKNOWN)
    if known:
        return Found(facts=known, words="see the evidence list")
    return Found(words="the sensor cannot be trusted: unknown" if facts else "there is no such signal: unknown")


@tool(_attributes)
def stratum(around: Surroundings, attribute: str) -> Found:
    """Is one of these worse than the others, and is that mixed up with time?"""
    facts = [one for one in _about(around, {f"strat:{attribute}"}) if one.polarity is not Polarity.UNKNOWN]
    if not facts:
        return Found(words="the parts do not tell enough: unknown")
    return Found(facts=tuple(one.evidence_id for one in facts), words=_mixed(facts[0]))


@tool(_shown)
def counter(around: Surroundings, key: str) -> Found:
    """Is what this fact says also so where there are no defects, or can it not be told from something else?"""
    fact = next((one for one in around.analysis.evidence if one.evidence_id == key), None)
    if fact is None:
        return Found(words="no such fact")
    sure = "sure" if fact.strength >= 0.95 else "fairly sure" if fact.strength >= 0.8 else "weak"
    return Found(words=f"{sure}; {_mixed(fact)}")


@tool(_none)
def similar(around: Surroundings, _: str) -> Found:
    """What were the causes of the most similar confirmed cases?"""
    found = nearest(present_tokens(list(around.analysis.evidence)), around.cases)
    return Found(causes=Counter(case.cause_id for _, case in found), words="" if found else "no case is similar")


def _mixed(fact: Evidence) -> str:
    if not fact.confounded_with:
        return "not mixed up with anything else"
    return "mixed up with time" if "time" in fact.confounded_with else "mixed up with another attribute"
