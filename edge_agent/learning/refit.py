"""Learning from confirmed cases: the catalogue's rows put right by counting, and a gate that lets no fit do harm.

    logit_c = (log prior + g * L_c + h * D_c + bias_c) / T

L is the catalogue's likelihood ratio. D is what counting changes about a row: how much more or less often a cause
showed a token here than its row expects, for tokens that are there and for those that are not::

    D_c = sum_j  log(r_cj / q_cj)  or  log((1 - r_cj) / (1 - q_cj))

with r shrunk to the row's q as if the row had been seen ``LISTED_CASES`` times (``USUAL_CASES`` for a token that the
row does not name). So with no cases it is the catalogue, and a wrong sign is put right by a handful. How often tokens
are seen in incidents of causes that have nothing to do with them is counted over all causes together. What was
confirmed as something else is kept as it looked: it may come again. g, h, the biases and T are chosen on predictions
whose own case was left out of the counts. A label may be wrong: a case that nothing supports counts little (mixture
with chance). Old cases fade.

A fit is used only if its left-out predictions are not worse than the catalogue's on all cases, nor than the present
weights' on the cases that those have not seen. Design and measurements: docs/diagnosis.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np
import numpy.typing as npt
from scipy import optimize

from edge_agent.domain.cause import NONE, OTHER, Catalogue
from edge_agent.domain.inference import (
    SEED,
    Weights,
    none_penalty,
    posterior,
    prior,
    remembered,
    shown_by,
    supported,
)
from edge_agent.domain.verdict import ConfirmedCase

BIAS = 6.0
"""How strongly biases are held at 0 (precision)."""
GAIN, GAIN_SD = SEED.gain, 0.3
COUNTS, COUNTS_SD = 0.7, 0.3
"""How far counting is believed before the cases say so (``h``)."""
MIN_CASES = 5
FOLDS = 5
LISTED_CASES, USUAL_CASES, BACKGROUND_CASES = 3.0, 6.0, 15.0
"""Cases that are worth as much as what the row says of a token, as its silence about one, as what is normal."""
WRONG_LABELS = 0.05
HALF_LIFE_DAYS = 180.0
CALIBRATE_FROM = 30
LEAST_T, MOST_T = 0.4, 3.0
TOLERANCE = 1e-6
MAX_TOP_LOST = 2
KEEP_BELOW = 0.02
"""Shifts smaller than this are not kept: they say nothing and fill the store."""
MOST_SHIFT = 4.0
REMEMBERED = 0.9
"""How far the sighting of a confirmed case is believed (`inference.remembered`)."""
MOST_UNLISTED, LEAST_TRUST = 100, 0.25
"""Incidents of unlisted causes that are kept, and how far their label must be trusted."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """A fit and what the gate says of it.

    Attributes:
        loss, seed_loss: mean weighted log loss, left out and of the catalogue alone.
        activate: it may be used.
        reason: why, or why not.
    """

    weights: Weights
    cases: int
    loss: float
    seed_loss: float
    top: int
    seed_top: int
    activate: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Confirmed cases as numbers. n cases, c causes, t tokens."""

    causes: tuple[str, ...]
    tokens: tuple[str, ...]
    seen: Floats  # (n, t) 1 present, 0 absent, nan unknown
    expected: Floats  # (c, t) how often the catalogue expects the token of the cause
    worth: Floats  # (c, t) cases that the row is worth
    support: Floats  # (n, c) the catalogue's
    start: Floats  # (n, c) log prior, with what the rate says
    truth: npt.NDArray[np.int64]  # (n,)
    weight: Floats  # (n,)


def refit(
    cases: Sequence[ConfirmedCase],
    catalogue: Catalogue,
    background: Mapping[str, float],
    current: Weights = SEED,
    *,
    unseen: Sequence[ConfirmedCase] = (),
    version: str,
) -> Refit:
    """Fit on all cases and judge the fit on cases it has not seen.

    Args:
        unseen: the cases confirmed since ``current`` was fitted: the only fair test of it.
        version: the name of the new weights.
    """
    usable = [case for case in cases if case.weight > 0]
    seed_loss, seed_top = _judge(SEED, usable, catalogue, background)
    if len(usable) < MIN_CASES:
        return _refused(current, len(usable), seed_loss, seed_top, f"{len(usable)} cases; {MIN_CASES} are needed")
    here = _usual_here(usable, catalogue, background)
    table = _table(usable, catalogue, {**background, **here})
    shifts = _left_out_shifts(table)
    logits = _left_out(table, shifts)
    temperature = _temperature(table, logits) if len(usable) >= CALIBRATE_FROM else SEED.temperature
    predictions = [_as_predictions(table, row / temperature) for row in logits]
    loss, top = _loss(predictions, usable)
    weights = replace(
        _fit(table, shifts, version), temperature=round(temperature, 4), background=here, unlisted=_unlisted(usable)
    )
    activate, reason = _gate(loss, top, seed_loss, seed_top, len(usable))
    if activate and unseen:
        now, _ = _judge(current, unseen, catalogue, background)
        places = {case.order_id: place for place, case in enumerate(usable)}
        shared = [case for case in unseen if case.order_id in places]
        then, _ = _loss([predictions[places[case.order_id]] for case in shared], shared)
        if then > now + TOLERANCE:
            activate, reason = False, f"worse than the present weights on {len(shared)} new cases"
    return Refit(
        weights=weights,
        cases=len(usable),
        loss=loss,
        seed_loss=seed_loss,
        top=top,
        seed_top=seed_top,
        activate=activate,
        reason=reason,
    )


def _refused(current: Weights, cases: int, loss: float, top: int, reason: str) -> Refit:
    return Refit(
        weights=current,
        cases=cases,
        loss=loss,
        seed_loss=loss,
        top=top,
        seed_top=top,
        activate=False,
        reason=reason,
    )


def _gate(loss: float, top: int, seed_loss: float, seed_top: int, cases: int) -> tuple[bool, str]:
    if loss > seed_loss + TOLERANCE:
        return False, f"left-out log loss {loss:.3f} is worse than the catalogue's {seed_loss:.3f}"
    if top < seed_top - (MAX_TOP_LOST if cases >= 100 else 0):
        return False, f"left-out first places fell from {seed_top} to {top}"
    return True, f"left-out log loss {loss:.3f}, the catalogue's is {seed_loss:.3f}"


# --- cases as numbers -----------------------------------------------------------------------------------------------


def _ages(cases: Sequence[ConfirmedCase]) -> Floats:
    """Weight of each case: trust in its label, halved every ``HALF_LIFE_DAYS``."""
    newest = max(case.confirmed_at for case in cases)
    days = np.array([(newest - case.confirmed_at).total_seconds() / 86_400 for case in cases])
    return np.asarray(np.array([case.weight for case in cases]) * 0.5 ** (days / HALF_LIFE_DAYS), dtype=np.float64)


def _usual_here(
    cases: Sequence[ConfirmedCase], catalogue: Catalogue, background: Mapping[str, float]
) -> dict[str, float]:
    """How often incidents here show a token that their cause's row does not name (what is normal is not all of it)."""
    named = {cause.cause_id: _named(catalogue, cause.cause_id) for cause in catalogue.causes} | {NONE: frozenset()}
    sums: dict[str, tuple[float, float]] = {}
    for case, weight in zip(cases, _ages(cases), strict=True):
        for token, sign in case.tokens.items():
            known = token in background and not token.startswith("class:")
            if known and case.cause_id in named and token not in named[case.cause_id]:
                found, looked = sums.get(token, (0.0, 0.0))
                sums[token] = found + weight * (sign > 0), looked + weight
    return {
        token: round(float(BACKGROUND_CASES * background[token] + found) / float(BACKGROUND_CASES + looked), 4)
        for token, (found, looked) in sums.items()
    }


def _named(catalogue: Catalogue, cause_id: str) -> frozenset[str]:
    cause = catalogue.cause(cause_id)
    return frozenset(
        one.token
        for signature in (cause.signatures if cause else ())
        for one in (*signature.all_of, *signature.any_of, *signature.none_of)
    )


def _table(cases: Sequence[ConfirmedCase], catalogue: Catalogue, background: Mapping[str, float]) -> _Table:
    causes = (*(cause.cause_id for cause in catalogue.causes), NONE, OTHER)
    tokens = tuple(sorted({token for case in cases for token in case.tokens if token in background}))
    priors = prior(catalogue)
    seen = np.array(
        [[np.nan if t not in case.tokens else float(case.tokens[t] > 0) for t in tokens] for case in cases],
        dtype=np.float64,
    ).reshape(len(cases), len(tokens))
    start = np.tile(np.log([priors[cause] for cause in causes]), (len(cases), 1))
    start[:, causes.index(NONE)] -= [none_penalty(case.excess) for case in cases]
    weight = _ages(cases)
    return _Table(
        causes=causes,
        tokens=tokens,
        seen=seen,
        expected=_expected(catalogue, causes, tokens, background),
        worth=np.array([[_worth(catalogue, cause, token) for token in tokens] for cause in causes]).reshape(
            len(causes), len(tokens)
        ),
        support=_supports(cases, causes, catalogue, background),
        start=start,
        truth=np.array([causes.index(case.cause_id) for case in cases], dtype=np.int64),
        weight=weight,
    )


def _worth(catalogue: Catalogue, cause_id: str, token: str) -> float:
    return LISTED_CASES if token in _named(catalogue, cause_id) or token.startswith("class:") else USUAL_CASES


def _supports(
    cases: Sequence[ConfirmedCase], causes: Sequence[str], catalogue: Catalogue, background: Mapping[str, float]
) -> Floats:
    """(n, c) likelihood ratios of the catalogue; OTHER knows the other cases of unlisted causes."""
    unlisted = _unlisted_cases(cases)
    rows = []
    for case in cases:
        observed = remembered(case.tokens)
        others = tuple(one.tokens for one in unlisted if one is not case)
        found = supported(catalogue, observed, background, others)
        rows.append([found[cause].total for cause in causes])
    return np.array(rows, dtype=np.float64).reshape(len(cases), len(causes))


def _unlisted_cases(cases: Sequence[ConfirmedCase]) -> list[ConfirmedCase]:
    return [case for case in cases if case.cause_id == OTHER and case.weight >= LEAST_TRUST][-MOST_UNLISTED:]


def _unlisted(cases: Sequence[ConfirmedCase]) -> tuple[Mapping[str, int], ...]:
    return tuple(dict(case.tokens) for case in _unlisted_cases(cases))


def _expected(
    catalogue: Catalogue, causes: Sequence[str], tokens: Sequence[str], background: Mapping[str, float]
) -> Floats:
    """How often each cause shows each token by its row: the mean over its signatures, or what is normal."""
    rows = []
    for cause_id in causes:
        cause = catalogue.cause(cause_id)
        rows.append([shown_by(cause, token, catalogue, background) for token in tokens])
    return np.array(rows, dtype=np.float64).reshape(len(causes), len(tokens))


# --- counting -------------------------------------------------------------------------------------------------------


def _counts(table: _Table) -> tuple[Floats, Floats]:
    """(c, t) how often each token was found and looked for under each cause, weighted by trust."""
    belongs = np.zeros((len(table.causes), len(table.truth)))
    belongs[table.truth, np.arange(len(table.truth))] = table.weight
    belongs[table.causes.index(OTHER)] = 0.0  # many causes under one name: they are kept one by one
    return belongs @ np.nan_to_num(table.seen), belongs @ (~np.isnan(table.seen))


def _shifts(expected: Floats, worth: Floats, found: Floats, looked: Floats) -> tuple[Floats, Floats]:
    """What counting adds to a cause where a token is there, and where it is not."""
    rate = np.clip((worth * expected + found) / (worth + looked), 0.005, 0.995)
    there = np.clip(np.log(rate / expected), -MOST_SHIFT, MOST_SHIFT)
    missing = np.clip(np.log((1 - rate) / (1 - expected)), -MOST_SHIFT, MOST_SHIFT)
    return there, missing


def _left_out_shifts(table: _Table) -> Floats:
    """(n, c) what counting adds to each cause for each case, without that case."""
    found, looked = _counts(table)
    there, missing = _shifts(table.expected, table.worth, found, looked)
    present, absent = np.nan_to_num(table.seen), np.nan_to_num(1 - table.seen)
    added = present @ there.T + absent @ missing.T
    for row, (own, weight) in enumerate(zip(table.truth, table.weight, strict=True)):
        if table.causes[own] == OTHER:
            continue
        known = ~np.isnan(table.seen[row])
        one, other = _shifts(
            table.expected[own],
            table.worth[own],
            found[own] - weight * present[row],
            np.maximum(looked[own] - weight * known, 0.0),
        )
        added[row, own] = present[row] @ one + absent[row] @ other
    return np.asarray(added * REMEMBERED, dtype=np.float64)


# --- fitting --------------------------------------------------------------------------------------------------------


def _left_out(table: _Table, shifts: Floats) -> Floats:
    """(n, c) logits of each case from a fit without it (the cases are dealt in turn)."""
    n = len(table.truth)
    logits = np.zeros((n, len(table.causes)))
    folds = min(n, FOLDS)
    for fold in range(folds):
        held = np.arange(fold, n, folds)
        kept = np.setdiff1d(np.arange(n), held)
        gain, counts, bias = _solve(table, shifts, kept)
        logits[held] = table.start[held] + gain * table.support[held] + counts * shifts[held] + bias
    return logits


def _solve(table: _Table, shifts: Floats, rows: npt.NDArray[np.int64]) -> tuple[float, float, Floats]:
    """Gain, belief in counts and bias (c,): maximum a posteriori by L-BFGS with the analytic gradient."""
    causes = len(table.causes)
    support, added, start = table.support[rows], shifts[rows], table.start[rows]
    truth, weight = table.truth[rows], table.weight[rows]

    def objective(values: Floats) -> tuple[float, Floats]:
        gain, counts, bias = values[0], values[1], values[2:]
        p = _softmax(start + gain * support + counts * added + bias)
        own, label = _mixed(p, truth)
        error = p.copy()
        error[np.arange(len(truth)), truth] -= 1
        error *= (weight * (1 - WRONG_LABELS) * own / label)[:, None]
        loss = -(weight * np.log(label)).sum() + 0.5 * BIAS * (bias**2).sum()
        loss += 0.5 * ((gain - GAIN) / GAIN_SD) ** 2 + 0.5 * ((counts - COUNTS) / COUNTS_SD) ** 2
        gradient = np.concatenate(
            [
                [(error * support).sum() + (gain - GAIN) / GAIN_SD**2],
                [(error * added).sum() + (counts - COUNTS) / COUNTS_SD**2],
                error.sum(axis=0) + BIAS * bias,
            ]
        )
        return float(loss), gradient

    begin = np.concatenate([[GAIN, COUNTS], np.zeros(causes)])
    bounds = [(0.3, 2.0), (0.0, 1.5), *[(None, None)] * causes]
    found = optimize.minimize(objective, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 100})
    return float(found.x[0]), float(found.x[1]), np.asarray(found.x[2:], dtype=np.float64)


def _fit(table: _Table, shifts: Floats, version: str) -> Weights:
    gain, counts, bias = _solve(table, shifts, np.arange(len(table.truth)))
    there, missing = _shifts(table.expected, table.worth, *_counts(table))
    return Weights(
        version=version,
        gain=round(gain, 4),
        bias={c: round(float(b), 4) for c, b in zip(table.causes, bias, strict=True) if abs(b) >= KEEP_BELOW},
        matrix={
            cause: kept
            for cause, row, other in zip(table.causes, counts * there, counts * missing, strict=True)
            if (
                kept := {
                    token: (round(float(one), 4), round(float(two), 4))
                    for token, one, two in zip(table.tokens, row, other, strict=True)
                    if max(abs(one), abs(two)) >= KEEP_BELOW
                }
            )
        },
    )


def _temperature(table: _Table, logits: Floats) -> float:
    """What left-out logits must be divided by to say what they are worth; drawn to 1 as if by ten cases."""
    grid = np.geomspace(LEAST_T, MOST_T, 41)
    costs = [
        -float((table.weight * np.log(_mixed(_softmax(logits / t), table.truth)[1])).sum()) + 10 * log(t) ** 2
        for t in grid
    ]
    return float(grid[int(np.argmin(costs))])


def _softmax(logits: Floats) -> Floats:
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True), dtype=np.float64)


def _mixed(p: Floats, truth: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """P(truth) by the model, and P(label) when one label in twenty is drawn at random."""
    own = np.maximum(p[np.arange(len(truth)), truth], 1e-12)
    return own, (1 - WRONG_LABELS) * own + WRONG_LABELS / p.shape[1]


# --- judging --------------------------------------------------------------------------------------------------------


def _as_predictions(table: _Table, logits: Floats) -> dict[str, float]:
    return dict(zip(table.causes, _softmax(logits[None, :])[0].tolist(), strict=True))


def _predict(
    case: ConfirmedCase, weights: Weights, catalogue: Catalogue, background: Mapping[str, float]
) -> dict[str, float]:
    found = posterior(catalogue, remembered(case.tokens), background, weights, none_penalty=none_penalty(case.excess))
    return {one.cause_id: one.p for one in found}


def _judge(
    weights: Weights, cases: Sequence[ConfirmedCase], catalogue: Catalogue, background: Mapping[str, float]
) -> tuple[float, int]:
    return _loss([_predict(case, weights, catalogue, background) for case in cases], cases)


def _loss(predictions: Sequence[Mapping[str, float]], cases: Sequence[ConfirmedCase]) -> tuple[float, int]:
    """Mean log loss weighted by trust, where a label may be wrong, and how often the truth came first."""
    total = sum(case.weight for case in cases)
    if not total:
        return 0.0, 0
    loss = sum(
        -case.weight * log((1 - WRONG_LABELS) * p.get(case.cause_id, 0.0) + WRONG_LABELS / max(len(p), 1))
        for p, case in zip(predictions, cases, strict=True)
    )
    top = sum(max(p, key=lambda c: p[c]) == case.cause_id for p, case in zip(predictions, cases, strict=True))
    return loss / total, top
