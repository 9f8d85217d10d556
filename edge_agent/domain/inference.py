"""From evidence to a posterior over causes: signature likelihood ratios, corrected by what is normal on this line.

For cause c and signature v, over the observed tokens j::

    L_cv = sum_j  tau * kappa_j * s_j * [ e_j log(q_cj / b_j) + (1 - e_j) log((1 - q_cj) / (1 - b_j)) ]
    q_cj = 1 - (1 - p_cj) (1 - b_j)

p is what the catalogue expects, b how often the token is seen when nothing is wrong, q the chance of seeing it when
the cause is at work on this line: because of the cause, or anyway. So a condition that is normal here earns nothing,
and its absence still counts against a cause that would bring it about. What a cause excludes never speaks for it. e
is whether it was seen, s the strength of the finding, kappa lowers confounded tokens, each term is capped, and a token
that could not be looked for adds nothing. A cause with several signatures is their mixture, each as likely as the
other: the best one counts, less what it costs to have had several chances. The learned part is added to the logits:
``log prior + gain * L + W (e - b) + bias``. Design and measurements: docs/diagnosis.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp, log
from typing import Any

from edge_agent.domain.cause import NONE, OTHER, Catalogue, Cause, Signature
from edge_agent.domain.evidence import Evidence, Polarity

TAU = 0.8
CONFOUNDED = 0.4
CAP = 3.0
LEAST_B = 0.005
PRIOR_NONE = 0.12
PRIOR_OTHER = 0.08
UNLISTED_CLASS = 0.05
"""How often a cause shows a class that its row does not list."""
UNLISTED_SIBLING = 0.35
"""The same for a class of a family that the row does list: what makes a mousebite makes an open when it is grosser, and
a detector takes the one for the other."""
OTHER_SHOWS = 0.5
"""How probably something unknown shows a token that belongs to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A token that was looked for.

    Attributes:
        seen: probability that it is really there; 1/2 says nothing.
    """

    token: str
    seen: float
    confounded: bool = False
    evidence_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What was learned on top of the catalogue; the seed is the catalogue alone.

    Attributes:
        matrix: cause to token to weight.
        temperature: what logits are divided by, so that probabilities say what they are worth.
    """

    version: str = "seed"
    gain: float = 1.15
    temperature: float = 1.0
    matrix: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    bias: Mapping[str, float] = field(default_factory=dict)


SEED = Weights()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A cause with its posterior and what each token added to its logit.

    Attributes:
        support: the best signature's log-likelihood ratio, before the gain.
    """

    cause_id: str
    p: float
    logit: float
    support: float
    deltas: Mapping[str, float]


def observe(evidence: Iterable[Evidence]) -> dict[str, Observation]:
    """One observation per token: the same fact found twice counts once, the surest sighting wins."""
    best: dict[str, Observation] = {}
    for fact in evidence:
        if fact.token is None or fact.polarity is Polarity.UNKNOWN:
            continue
        seen = (1 + fact.strength) / 2 if fact.polarity is Polarity.PRESENT else (1 - fact.strength) / 2
        known = best.get(fact.token)
        if known is None or seen > known.seen:
            best[fact.token] = Observation(
                token=fact.token,
                seen=seen,
                confounded=bool(fact.confounded_with),
                evidence_id=fact.evidence_id,
            )
    return best


def remembered(tokens: Mapping[str, int]) -> dict[str, Observation]:
    """Observations of a confirmed case (+1 present, -1 absent)."""
    return {token: Observation(token=token, seen=0.95 if sign > 0 else 0.05) for token, sign in tokens.items()}


def prior(catalogue: Catalogue) -> dict[str, float]:
    """Causes by occurrence, doubling with each rating, with room for chance and for the unknown."""
    raw = {cause.cause_id: 2.0 ** (cause.occurrence - 5) for cause in catalogue.causes}
    room = (1 - PRIOR_NONE - PRIOR_OTHER) / sum(raw.values())
    return {cause_id: weight * room for cause_id, weight in raw.items()} | {NONE: PRIOR_NONE, OTHER: PRIOR_OTHER}


def class_background(catalogue: Catalogue) -> dict[str, float]:
    """How often an incident of whatever cause shows each class: the prior's mixture of the class matrix."""
    weights = prior(catalogue)
    total = sum(weights[cause.cause_id] for cause in catalogue.causes)
    return {
        f"class:{code}": sum(
            weights[cause.cause_id] * shows_class(cause, code, catalogue) for cause in catalogue.causes
        )
        / total
        for code in catalogue.severity
    }


def backgrounds(catalogue: Catalogue, measured: Mapping[str, float] | None = None) -> dict[str, float]:
    """Background rate of every token the ranking uses; what was measured on this line replaces the catalogue's.

    A measured token that no cause expects is kept: feedback may show that it matters.
    """
    known = {token: rate for token, rate in (measured or {}).items() if not token.startswith("class:")}
    return {**catalogue.background, **class_background(catalogue), **known}


def shows_class(cause: Cause, code: str, catalogue: Catalogue) -> float:
    """Probability that a cause shows a defect class."""
    if code in cause.classes:
        return cause.classes[code]
    siblings = catalogue.classes_of(catalogue.family_of(code))
    return UNLISTED_SIBLING if any(one in cause.classes for one in siblings) else UNLISTED_CLASS


def shown_by(cause: Cause | None, token: str, catalogue: Catalogue, background: Mapping[str, float]) -> float:
    """How often a cause shows a token by its row: the mean over its signatures; what is normal where it says nothing.

    None stands for NONE and OTHER, which have no row.
    """
    usual = _usual(token, background)
    if token.startswith("class:"):
        return shows_class(cause, token.partition(":")[2], catalogue) if cause else usual
    rates = []
    for signature in cause.signatures if cause else ():
        expected = {one.token: one.p for one in (*signature.any_of, *signature.all_of)}
        excluded = {one.token: one.p for one in signature.none_of}
        p = 1 - (1 - expected[token]) * (1 - usual) if token in expected else usual
        rates.append(min(excluded[token], usual) if token in excluded else p)
    return min(max(sum(rates) / len(rates), LEAST_B), 1 - LEAST_B) if rates else usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What the evidence says for one cause (log-likelihood ratios).

    Attributes:
        deltas: by token, under the best signature.
        chances: what the other signatures take away for not fitting: between -log(number of signatures) and 0.
    """

    deltas: Mapping[str, float]
    chances: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self.deltas.values()) + self.chances


def support(
    cause: Cause, catalogue: Catalogue, observed: Mapping[str, Observation], background: Mapping[str, float]
) -> Support:
    """What each token says for a cause; tokens without say nothing."""
    classes = {
        token: _term(shows_class(cause, token.partition(":")[2], catalogue), seen, background)
        for token, seen in observed.items()
        if token.startswith("class:") and token in background
    }
    variants = [_signature(signature, observed, background) for signature in cause.signatures]
    if not variants:
        return Support(deltas=classes)
    totals = [sum(deltas.values()) for deltas in variants]
    best = max(range(len(variants)), key=lambda place: totals[place])
    mixture = log(sum(exp(total - totals[best]) for total in totals) / len(totals))
    return Support(deltas={**classes, **variants[best]}, chances=mixture)


def _signature(
    signature: Signature, observed: Mapping[str, Observation], background: Mapping[str, float]
) -> dict[str, float]:
    deltas: dict[str, float] = {}
    for expectation in signature.all_of:
        if seen := observed.get(expectation.token):
            deltas[expectation.token] = _expected(expectation.p, seen, background)
    for expectation in signature.none_of:
        if seen := observed.get(expectation.token):
            rarer = min(expectation.p, background.get(expectation.token, 0.5) / 2)
            deltas[expectation.token] = _term(rarer, seen, background)
    either = {
        expectation.token: _expected(expectation.p, observed[expectation.token], background)
        for expectation in signature.any_of
        if expectation.token in observed
    }
    found = {token: delta for token, delta in either.items() if delta > 0}
    return deltas | _capped(found or either)


def _capped(deltas: dict[str, float], cap: float = CAP) -> dict[str, float]:
    total = abs(sum(deltas.values()))
    return deltas if total <= cap else {token: delta * cap / total for token, delta in deltas.items()}


def _expected(p: float, seen: Observation, background: Mapping[str, float]) -> float:
    """What a token says for a cause that brings it about with probability ``p``, besides its being there anyway."""
    b = _usual(seen.token, background)
    return _term(1 - (1 - p) * (1 - b), seen, background)


def _usual(token: str, background: Mapping[str, float]) -> float:
    return min(max(background.get(token, 0.5), LEAST_B), 1 - LEAST_B)


def _term(p: float, seen: Observation, background: Mapping[str, float]) -> float:
    b = _usual(seen.token, background)
    raw = log(p / b) if seen.seen >= 0.5 else log((1 - p) / (1 - b))
    return max(-CAP, min(CAP, TAU * abs(2 * seen.seen - 1) * (CONFOUNDED if seen.confounded else 1.0) * raw))


def posterior(
    catalogue: Catalogue,
    observed: Mapping[str, Observation],
    background: Mapping[str, float],
    weights: Weights = SEED,
    *,
    none_penalty: float = 0.0,
) -> list[Scored]:
    """All causes, NONE and OTHER, most probable first; equal ones in the catalogue's order.

    Args:
        none_penalty: how much the rate itself speaks against chance (log units; negative: for it).
    """
    priors = prior(catalogue)
    rows = [
        (cause.cause_id, priors[cause.cause_id], support(cause, catalogue, observed, background))
        for cause in catalogue.causes
    ]
    rows.append((NONE, priors[NONE] * exp(-none_penalty), Support(deltas={})))
    rows.append((OTHER, priors[OTHER], Support(deltas=unexplained(catalogue, observed, background))))
    logits = {cause_id: _logit(cause_id, p, raw, observed, background, weights) for cause_id, p, raw in rows}
    top = max(logit for logit, _ in logits.values())
    total = sum(exp(logit - top) for logit, _ in logits.values())
    scored = [
        Scored(
            cause_id=cause_id,
            p=exp(logits[cause_id][0] - top) / total,
            logit=logits[cause_id][0],
            support=raw.total,
            deltas=logits[cause_id][1],
        )
        for cause_id, _, raw in rows
    ]
    return sorted(scored, key=lambda one: -one.p)


def _logit(
    cause_id: str,
    prior_weight: float,
    raw: Support,
    observed: Mapping[str, Observation],
    background: Mapping[str, float],
    weights: Weights,
) -> tuple[float, dict[str, float]]:
    deltas = {token: weights.gain * delta for token, delta in raw.deltas.items()}
    for token, weight in weights.matrix.get(cause_id, {}).items():
        if token in observed:
            shift = weight * (observed[token].seen - background.get(token, 0.5))
            deltas[token] = deltas.get(token, 0.0) + shift
    start = log(prior_weight) + weights.bias.get(cause_id, 0.0) + weights.gain * raw.chances
    cooled = {token: delta / weights.temperature for token, delta in deltas.items()}
    return start / weights.temperature + sum(cooled.values()), cooled


def unexplained(
    catalogue: Catalogue, observed: Mapping[str, Observation], background: Mapping[str, float]
) -> dict[str, float]:
    """What evidence says for "something else": a cause of which nothing is known.

    It may show any token of the vocabulary, each as probably as a cause of the catalogue has it among what it expects.
    A sensor that no cause has to do with proves nothing.
    """
    chance = _reach(catalogue)
    return {
        token: _term(chance * OTHER_SHOWS + (1 - chance) * _usual(token, background), one, background)
        for token, one in observed.items()
        if token in catalogue.background
    }


def _reach(catalogue: Catalogue) -> float:
    """How probably a token belongs to what a cause shows: the mean share of the vocabulary in a signature."""
    sizes = [
        len(signature.all_of) + sum(one.p for one in signature.any_of)
        for cause in catalogue.causes
        for signature in cause.signatures
    ]
    return min(0.3, sum(sizes) / len(sizes) / max(len(catalogue.background), 1)) if sizes else 0.05


def as_record(weights: Weights) -> dict[str, object]:
    """Weights as JSON, for the store."""
    return {
        "version": weights.version,
        "gain": weights.gain,
        "temperature": weights.temperature,
        "matrix": {cause: dict(row) for cause, row in weights.matrix.items()},
        "bias": dict(weights.bias),
    }


def from_record(record: Mapping[str, Any] | None) -> Weights:
    """Weights from the store; the seed where there are none."""
    if not record:
        return SEED
    return Weights(
        version=str(record["version"]),
        gain=float(record["gain"]),
        temperature=float(record.get("temperature", 1.0)),
        matrix={cause: {token: float(w) for token, w in row.items()} for cause, row in record["matrix"].items()},
        bias={cause: float(value) for cause, value in record["bias"].items()},
    )
