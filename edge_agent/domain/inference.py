"""From evidence to a posterior over causes: signature likelihood ratios, corrected by what is normal on this line.

For cause c and signature v, over the observed tokens j::

    L_cv = sum_j  tau * kappa_j * s_j * [ e_j log(q_cj / b_j) + (1 - e_j) log((1 - q_cj) / (1 - b_j)) ]
    q_cj = 1 - (1 - x p_cj) (1 - b_j)

p is what the catalogue expects, b how often the token is seen when nothing is wrong, q the chance of seeing it when
the cause is at work on this line: because of the cause, or anyway. So a condition that is normal here earns nothing,
and its absence still counts against a cause that would bring it about. What a cause excludes never speaks for it. e
is whether it was seen, s the strength of the finding, kappa lowers confounded tokens, each term is capped, and a token
that could not be looked for adds nothing. A cause is the mixture of its signatures, each as likely as the other, and of
two extents x to which it shows them: symptoms of one fault are weak together, so that their absences must not be
multiplied as if they were independent. The best one counts, with what the others add or cost. Two causes may be at work
at once (`two_causes`). The learned part is added to the logits: ``log prior + gain * L + learned + bias``. Design and
measurements: docs/diagnosis.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from typing import Any

import numpy as np

from edge_agent.domain.cause import NONE, OTHER, Catalogue, Cause, Signature
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.two_causes import shared

TAU = 0.8
CONFOUNDED = 0.4
CAP = 3.0
LEAST_B = 0.005
PRIOR_NONE = 0.12
PRIOR_OTHER = 0.08
NONE_TRUST, NONE_EXCESS = 1.0, 11.0
NONE_BONUS, NONE_CAP = 5.0, 8.0
"""What the rate says about chance: per unit of log-likelihood ratio beyond this excess over the threshold, at most."""
EXTENTS = ((1.0, 0.8), (0.4, 0.2))
"""How far a cause shows what its row says, and how often so: weak faults and rash rows show less of everything."""
USUAL_EXTENT = sum(extent * share for extent, share in EXTENTS)
NEW_CAUSES = 5.0
"""As many confirmed incidents of unlisted causes as the chance of a new such cause is worth."""
UNLISTED_CLASS = 0.05
"""How often a cause shows a class that its row does not list."""
UNLISTED_SIBLING = 0.35
"""The same for a class of a family that the row does list: what makes a mousebite makes an open when it is grosser, and
a detector takes the one for the other."""
BACKGROUND = "background"
"""Fact in which a box keeps how often its tokens fired when nothing was wrong."""
PSEUDO_RUNS = 10
"""How many normal runs the catalogue's background rate is worth against those measured on this line."""
LEAST_RATE, MOST_RATE = 0.01, 0.99
UNLISTED_RATE = 0.1
"""Assumed of a token that the catalogue does not have, before it was measured."""
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
        temperature: what logits are divided by, so that probabilities say what they are worth.
        background: how often incidents here show a token that their cause has nothing to do with.
        matrix: cause to token to what it adds where the token is there, and where it is not.
        unlisted: tokens (+1 present, -1 absent) of confirmed incidents whose cause the catalogue does not have.
    """

    version: str = "seed"
    gain: float = 1.25
    temperature: float = 1.0
    background: Mapping[str, float] = field(default_factory=dict)
    matrix: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    bias: Mapping[str, float] = field(default_factory=dict)
    unlisted: tuple[Mapping[str, int], ...] = ()


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


def none_penalty(excess: float | None) -> float:
    """How much the rate itself speaks against chance (for it: negative). None: nothing is known of the rate.

    A run that crossed the threshold by chance stays near it; a fault's likelihood ratio soon leaves it far behind.

    Args:
        excess: how far the rate's statistic is above the threshold that opened the incident (log units).
    """
    return 0.0 if excess is None else min(NONE_CAP, max(-NONE_BONUS, NONE_TRUST * (excess - NONE_EXCESS)))


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


def measured_background(
    record: Mapping[str, Sequence[float]] | None, catalogue: Catalogue, pseudo_runs: float = PSEUDO_RUNS
) -> dict[str, float]:
    """Background rates drawn from the catalogue's towards what this line showed when nothing was wrong.

    Args:
        record: token to (times fired, times looked for).
    """
    rates: dict[str, float] = {}
    for token, (fired, runs) in (record or {}).items():
        seed = catalogue.background.get(token, UNLISTED_RATE)
        rate = (pseudo_runs * seed + fired) / (pseudo_runs + runs)
        rates[token] = min(max(rate, LEAST_RATE), MOST_RATE)
    return rates


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
        expected = {one.token: USUAL_EXTENT * one.p for one in (*signature.any_of, *signature.all_of)}
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
    variants = [
        (log(share / len(cause.signatures)), _signature(signature, observed, background, extent))
        for signature in cause.signatures
        for extent, share in EXTENTS
    ]
    if not variants:
        return Support(deltas=classes)
    totals = [start + sum(deltas.values()) for start, deltas in variants]
    best = max(range(len(variants)), key=lambda place: totals[place])
    mixture = variants[best][0] + log(sum(exp(total - totals[best]) for total in totals))
    return Support(deltas={**classes, **variants[best][1]}, chances=mixture)


def _signature(
    signature: Signature, observed: Mapping[str, Observation], background: Mapping[str, float], extent: float
) -> dict[str, float]:
    deltas: dict[str, float] = {}
    for expectation in signature.all_of:
        if seen := observed.get(expectation.token):
            deltas[expectation.token] = _expected(extent * expectation.p, seen, background)
    for expectation in signature.none_of:
        if seen := observed.get(expectation.token):
            rarer = min(expectation.p, background.get(expectation.token, 0.5) / 2)
            deltas[expectation.token] = _term(rarer, seen, background)
    either = {
        expectation.token: _expected(extent * expectation.p, observed[expectation.token], background)
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
    return max(-CAP, min(CAP, TAU * trust(seen) * raw))


def trust(seen: Observation) -> float:
    """How far a sighting is believed, 0 to 1."""
    return abs(2 * seen.seen - 1) * (CONFOUNDED if seen.confounded else 1.0)


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
    background = {**background, **weights.background}
    priors = prior(catalogue)
    supports = supported(catalogue, observed, background, weights.unlisted)
    priors[NONE] *= exp(-none_penalty)
    rows = [(cause_id, priors[cause_id], raw) for cause_id, raw in supports.items()]
    logits = {cause_id: _logit(cause_id, p, raw, observed, background, weights) for cause_id, p, raw in rows}
    masses = _probabilities(logits, observed, background, weights)
    scored = [
        Scored(
            cause_id=cause_id,
            p=masses[cause_id],
            logit=logits[cause_id][0],
            support=raw.total,
            deltas=logits[cause_id][1],
        )
        for cause_id, _, raw in rows
    ]
    return sorted(scored, key=lambda one: -one.p)


def supported(
    catalogue: Catalogue,
    observed: Mapping[str, Observation],
    background: Mapping[str, float],
    unlisted: Sequence[Mapping[str, int]] = (),
) -> dict[str, Support]:
    """What the evidence says for every cause, for NONE and for OTHER."""
    priors = prior(catalogue)
    found = {cause.cause_id: support(cause, catalogue, observed, background) for cause in catalogue.causes}
    usual = _usual_classes(found, priors)
    unknown = Support(deltas=unexplained(catalogue, observed, background), chances=usual)
    chance = Support(deltas={}, chances=max(usual, 0.0))  # a cluster by chance may have any classes
    return found | {NONE: chance, OTHER: _as_before(unknown, unlisted, observed, background)}


def _usual_classes(found: Mapping[str, Support], priors: Mapping[str, float]) -> float:
    """What the classes say for a cause of which nothing is known: the mixture over the catalogue's causes."""
    total = sum(priors[cause_id] for cause_id in found)
    if not total:
        return 0.0
    mixed = sum(
        priors[cause_id] * exp(sum(delta for token, delta in raw.deltas.items() if token.startswith("class:")))
        for cause_id, raw in found.items()
    )
    return log(mixed / total)


def _as_before(
    unknown: Support,
    unlisted: Sequence[Mapping[str, int]],
    observed: Mapping[str, Observation],
    background: Mapping[str, float],
) -> Support:
    """Something else may be what it was before: each confirmed incident of it is a signature of its own."""
    if not unlisted:
        return unknown
    known = [_recurrence(tokens, observed, background) for tokens in unlisted]
    totals = [unknown.total + log(NEW_CAUSES), *(sum(one.values()) for one in known)]
    best = max(totals)
    total = best + log(sum(exp(one - best) for one in totals) / (NEW_CAUSES + len(known)))
    place = totals.index(best)
    deltas = known[place - 1] if place else unknown.deltas
    return Support(deltas=deltas, chances=total - sum(deltas.values()))


def _recurrence(
    tokens: Mapping[str, int], observed: Mapping[str, Observation], background: Mapping[str, float]
) -> dict[str, float]:
    """What speaks for the same thing again: what it showed once it shows half of the time, or as anything does."""
    found = {}
    for token, sign in tokens.items():
        if token in observed and token in background:
            usual = _usual(token, background)
            found[token] = _term((1 + usual) / 2 if sign > 0 else usual / 2, observed[token], background)
    return found


def _probabilities(
    logits: Mapping[str, tuple[float, dict[str, float]]],
    observed: Mapping[str, Observation],
    background: Mapping[str, float],
    weights: Weights,
) -> dict[str, float]:
    """Logits with their terms as probabilities; two causes may be at work at once."""
    tokens = list(observed)
    causes = [name for name in logits if name not in {NONE, OTHER}]
    deltas = [[logits[name][1].get(token, 0.0) for token in tokens] for name in causes]
    # A class that is missing is missing for both; its background holds what some cause makes already.
    missing = sum(
        trust(one) * log(1 - _usual(one.token, background))
        for one in observed.values()
        if one.token.startswith("class:") and one.seen < 0.5
    )
    p = shared(
        np.array([logits[name][0] for name in (*causes, NONE, OTHER)]),
        np.array(deltas, dtype=np.float64).reshape(len(causes), len(tokens)),
        np.array([observed[token].seen >= 0.5 for token in tokens], dtype=bool),
        TAU * missing * weights.gain / weights.temperature,
        weights.temperature,
    )
    return dict(zip((*causes, NONE, OTHER), p.tolist(), strict=True))


def _logit(
    cause_id: str,
    prior_weight: float,
    raw: Support,
    observed: Mapping[str, Observation],
    background: Mapping[str, float],
    weights: Weights,
) -> tuple[float, dict[str, float]]:
    deltas = {token: weights.gain * delta for token, delta in raw.deltas.items()}
    for token, (there, missing) in weights.matrix.get(cause_id, {}).items():
        if one := observed.get(token):
            deltas[token] = deltas.get(token, 0.0) + trust(one) * (there if one.seen >= 0.5 else missing)
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
        "background": dict(weights.background),
        "matrix": {cause: {token: list(pair) for token, pair in row.items()} for cause, row in weights.matrix.items()},
        "bias": dict(weights.bias),
        "unlisted": [dict(one) for one in weights.unlisted],
    }


def from_record(record: Mapping[str, Any] | None) -> Weights:
    """Weights from the store; the seed where there are none."""
    if not record:
        return SEED
    return Weights(
        version=str(record["version"]),
        gain=float(record["gain"]),
        temperature=float(record.get("temperature", 1.0)),
        background={token: float(rate) for token, rate in record.get("background", {}).items()},
        matrix={cause: {token: _pair(w) for token, w in row.items()} for cause, row in record["matrix"].items()},
        bias={cause: float(value) for cause, value in record["bias"].items()},
        unlisted=tuple({token: int(sign) for token, sign in one.items()} for one in record.get("unlisted", ())),
    )


def _pair(value: Any) -> tuple[float, float]:
    """What a token adds, there and not there; records made before had one number, for a token that is there."""
    return (float(value[0]), float(value[1])) if isinstance(value, list | tuple) else (float(value), 0.0)
