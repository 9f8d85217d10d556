"""Learning from confirmed cases: a softmax anchored to the catalogue, and a gate that lets no fit do harm.

    logit_c = (log prior + g * L_c + sum_j W_cj (e_j - b_j) + bias_c) / T

with no cases it is the catalogue, with many it is what happened here. W ~ N(M, 1/4), bias ~ N(0, 1/6) and
g ~ N(1.15, 0.3^2). M is what counting says: how much more or less often a cause showed a token here than its row
expects (log-odds, shrunk as if the row had been seen ``PSEUDO_CASES`` times); a row with a wrong sign is put right
after a handful of cases. How much of the counts to believe is chosen by left-out predictions, T by the same ones from
30 cases on. A label may be wrong: a case that nothing supports counts little (mixture with chance). Old cases fade.

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
    posterior,
    prior,
    remembered,
    shown_by,
    support,
    unexplained,
)
from edge_agent.domain.verdict import ConfirmedCase

LAMBDA, BIAS = 4.0, 6.0
"""How strongly weights and biases are held where they begin (precisions)."""
GAIN, GAIN_SD = SEED.gain, 0.3
MIN_CASES = 5
FOLDS, MANY = 10, 200
PSEUDO_CASES = 3.0
TRUST_COUNTS = (0.0, 0.5, 1.0)
WRONG_LABELS = 0.05
HALF_LIFE_DAYS = 180.0
CALIBRATE_FROM = 30
LEAST_T, MOST_T = 0.4, 3.0
TOLERANCE = 1e-6
MAX_TOP_LOST = 2
KEEP_BELOW = 0.01
"""Weights smaller than this are not kept: they say nothing and fill the store."""

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
    evidence: Floats  # (n, t) e - b; 0 where unknown
    seen: Floats  # (n, t) 1 present, 0 absent, nan unknown
    expected: Floats  # (c, t) how often the catalogue expects the token of the cause
    support: Floats  # (n, c)
    log_prior: Floats  # (c,)
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
    table = _table(usable, catalogue, background)
    trust, logits = min(
        ((one, _left_out(table, one)) for one in TRUST_COUNTS), key=lambda pair: _table_loss(table, pair[1])
    )
    temperature = _temperature(table, logits) if len(usable) >= CALIBRATE_FROM else SEED.temperature
    predictions = [_as_predictions(table, row / temperature) for row in logits]
    loss, top = _loss(predictions, usable)
    weights = replace(_fit(table, trust, version), temperature=round(temperature, 4))
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


def _left_out(table: _Table, trust: float) -> Floats:
    """(n, c) logits of each case from a fit without it (ten folds, five of many; the cases are dealt in turn)."""
    n = len(table.truth)
    logits = np.zeros((n, len(table.causes)))
    folds = min(n, FOLDS if n <= MANY else FOLDS // 2)
    for fold in range(folds):
        held = np.arange(fold, n, folds)
        gain, bias, matrix = _solve(_without(table, held), trust)
        logits[held] = table.log_prior + gain * table.support[held] + bias + table.evidence[held] @ matrix.T
    return logits


def _as_predictions(table: _Table, logits: Floats) -> dict[str, float]:
    p = np.exp(logits - logits.max())
    return dict(zip(table.causes, (p / p.sum()).tolist(), strict=True))


def _table_loss(table: _Table, logits: Floats) -> float:
    """Weighted log loss, where a label may be wrong."""
    return -float((table.weight * np.log(_mixed(_softmax(logits), table)[1])).sum())


def _softmax(logits: Floats) -> Floats:
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True), dtype=np.float64)


def _mixed(p: Floats, table: _Table) -> tuple[Floats, Floats]:
    """P(truth) by the model, and P(label) when one label in twenty is drawn at random."""
    own = np.maximum(p[np.arange(len(table.truth)), table.truth], 1e-12)
    return own, (1 - WRONG_LABELS) * own + WRONG_LABELS / len(table.causes)


def _temperature(table: _Table, logits: Floats) -> float:
    """What left-out logits must be divided by to say what they are worth; drawn to 1 as if by ten cases."""
    grid = np.geomspace(LEAST_T, MOST_T, 41)
    costs = [_table_loss(table, logits / t) + 10 * log(t) ** 2 for t in grid]
    return float(grid[int(np.argmin(costs))])


def _without(table: _Table, held: npt.NDArray[np.int64]) -> _Table:
    kept = np.setdiff1d(np.arange(len(table.truth)), held)
    return replace(
        table,
        evidence=table.evidence[kept],
        seen=table.seen[kept],
        support=table.support[kept],
        truth=table.truth[kept],
        weight=table.weight[kept],
    )


def _predict(
    case: ConfirmedCase, weights: Weights, catalogue: Catalogue, background: Mapping[str, float]
) -> dict[str, float]:
    return {one.cause_id: one.p for one in posterior(catalogue, remembered(case.tokens), background, weights)}


def _judge(
    weights: Weights, cases: Sequence[ConfirmedCase], catalogue: Catalogue, background: Mapping[str, float]
) -> tuple[float, int]:
    return _loss([_predict(case, weights, catalogue, background) for case in cases], cases)


def _loss(predictions: Sequence[Mapping[str, float]], cases: Sequence[ConfirmedCase]) -> tuple[float, int]:
    """Mean log loss weighted by trust, and how often the truth came first."""
    total = sum(case.weight for case in cases)
    if not total:
        return 0.0, 0
    loss = sum(
        -case.weight * log(max(p.get(case.cause_id, 0.0), 1e-6)) for p, case in zip(predictions, cases, strict=True)
    )
    top = sum(max(p, key=lambda c: p[c]) == case.cause_id for p, case in zip(predictions, cases, strict=True))
    return loss / total, top


def _table(cases: Sequence[ConfirmedCase], catalogue: Catalogue, background: Mapping[str, float]) -> _Table:
    causes = (*(cause.cause_id for cause in catalogue.causes), NONE, OTHER)
    tokens = tuple(sorted({token for case in cases for token in case.tokens if token in background}))
    priors = prior(catalogue)
    observed = [remembered(case.tokens) for case in cases]
    evidence = np.array(
        [[one[t].seen - background[t] if t in one else 0.0 for t in tokens] for one in observed], dtype=np.float64
    ).reshape(len(cases), len(tokens))
    seen = np.array(
        [[np.nan if t not in case.tokens else float(case.tokens[t] > 0) for t in tokens] for case in cases],
        dtype=np.float64,
    ).reshape(len(cases), len(tokens))
    supports = np.array(
        [
            [
                *(support(cause, catalogue, one, background).total for cause in catalogue.causes),
                0.0,
                sum(unexplained(catalogue, one, background).values()),
            ]
            for one in observed
        ],
        dtype=np.float64,
    ).reshape(len(cases), len(causes))
    newest = max(case.confirmed_at for case in cases)
    ages = np.array([(newest - case.confirmed_at).total_seconds() / 86_400 for case in cases])
    return _Table(
        causes=causes,
        tokens=tokens,
        evidence=evidence,
        seen=seen,
        expected=_expected(catalogue, causes, tokens, background),
        support=supports,
        log_prior=np.log([priors[cause] for cause in causes]),
        truth=np.array([causes.index(case.cause_id) for case in cases], dtype=np.int64),
        weight=np.array([case.weight for case in cases], dtype=np.float64) * 0.5 ** (ages / HALF_LIFE_DAYS),
    )


def _expected(
    catalogue: Catalogue, causes: Sequence[str], tokens: Sequence[str], background: Mapping[str, float]
) -> Floats:
    """How often each cause shows each token by its row: the mean over its signatures, or what is normal."""
    rows = []
    for cause_id in causes:
        cause = catalogue.cause(cause_id)
        rows.append([shown_by(cause, token, catalogue, background) for token in tokens])
    return np.array(rows, dtype=np.float64).reshape(len(causes), len(tokens))


def _counted(table: _Table, trust: float) -> Floats:
    """(c, t) what counting adds to the log-odds of a token under a cause, against what its row expects."""
    if not trust:
        return np.zeros_like(table.expected)
    known = ~np.isnan(table.seen)
    belongs = np.zeros((len(table.causes), len(table.truth)))
    belongs[table.truth, np.arange(len(table.truth))] = table.weight
    looked = belongs @ known
    found = belongs @ np.where(known, table.seen, 0.0)
    rate = np.clip((PSEUDO_CASES * table.expected + found) / (PSEUDO_CASES + looked), 0.01, 0.99)
    shift = np.log(rate / (1 - rate)) - np.log(table.expected / (1 - table.expected))
    return np.asarray(trust * np.clip(shift, -4.0, 4.0), dtype=np.float64)


def _solve(table: _Table, trust: float) -> tuple[float, Floats, Floats]:
    """Gain, bias (c,) and matrix (c, t): maximum a posteriori by L-BFGS with the analytic gradient."""
    causes, tokens = len(table.causes), len(table.tokens)
    anchor = _counted(table, trust)

    def unpack(values: Floats) -> tuple[float, Floats, Floats]:
        return float(values[0]), values[1 : 1 + causes], values[1 + causes :].reshape(causes, tokens)

    def objective(values: Floats) -> tuple[float, Floats]:
        gain, bias, matrix = unpack(values)
        p = _softmax(table.log_prior + gain * table.support + bias + table.evidence @ matrix.T)
        own, label = _mixed(p, table)
        loss = -(table.weight * np.log(label)).sum()
        error = p.copy()
        error[np.arange(len(table.truth)), table.truth] -= 1
        error *= (table.weight * (1 - WRONG_LABELS) * own / label)[:, None]
        off = matrix - anchor
        loss += 0.5 * LAMBDA * (off**2).sum() + 0.5 * BIAS * (bias**2).sum() + 0.5 * ((gain - GAIN) / GAIN_SD) ** 2
        gradient = np.concatenate(
            [
                [(error * table.support).sum() + (gain - GAIN) / GAIN_SD**2],
                error.sum(axis=0) + BIAS * bias,
                (error.T @ table.evidence + LAMBDA * off).ravel(),
            ]
        )
        return float(loss), gradient

    start = np.concatenate([[GAIN], np.zeros(causes), anchor.ravel()])
    found = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return unpack(found.x)


def _fit(table: _Table, trust: float, version: str) -> Weights:
    gain, bias, matrix = _solve(table, trust)
    return Weights(
        version=version,
        gain=round(gain, 4),
        bias={cause: round(float(b), 4) for cause, b in zip(table.causes, bias, strict=True) if abs(b) >= KEEP_BELOW},
        matrix={
            cause: kept
            for cause, row in zip(table.causes, matrix, strict=True)
            if (kept := {t: round(float(w), 4) for t, w in zip(table.tokens, row, strict=True) if abs(w) >= KEEP_BELOW})
        },
    )
