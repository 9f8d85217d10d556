"""Catalogues with mistakes in them, as real ones have: a wrong sign, a missing variant, a symptom too many."""

from dataclasses import replace

import numpy as np

from edge_agent.domain.cause import Catalogue, Cause, Signature, TokenExpectation


def spoiled(catalogue: Catalogue, share: float, *, seed: int) -> tuple[Catalogue, list[str]]:
    """The catalogue with about this share of its rows wrong, and what was done."""
    rng = np.random.default_rng([seed, 53])
    count = round(share * len(catalogue.causes))
    chosen = {int(place) for place in rng.choice(len(catalogue.causes), count, replace=False)}
    causes: list[Cause] = []
    changes: list[str] = []
    for place, cause in enumerate(catalogue.causes):
        if place in chosen:
            cause, what = _worsened(cause, catalogue, rng)
            changes.append(f"{cause.cause_id}: {what}")
        causes.append(cause)
    return replace(catalogue, causes=tuple(causes), version=f"{catalogue.version}-spoiled"), changes


def _worsened(cause: Cause, catalogue: Catalogue, rng: np.random.Generator) -> tuple[Cause, str]:
    signed = [one.token for signature in cause.signatures for one in signature.all_of if one.token[-1] in "+-"]
    options = ["symptom too many", *(["wrong sign"] if signed else [])]
    options += ["variant missing"] if len(cause.signatures) > 1 else []
    what = str(rng.choice(options))
    if what == "wrong sign":
        return replace(cause, signatures=tuple(_turned(one) for one in cause.signatures)), what
    if what == "variant missing":
        gone = int(rng.integers(len(cause.signatures)))
        return replace(cause, signatures=cause.signatures[:gone] + cause.signatures[gone + 1 :]), what
    token = str(rng.choice(sorted(token for token in catalogue.background if not token.startswith("sp:u"))))
    more = TokenExpectation(token=token, p=0.8)
    return replace(cause, signatures=tuple(replace(one, all_of=(*one.all_of, more)) for one in cause.signatures)), what


def _turned(signature: Signature) -> Signature:
    return replace(signature, all_of=tuple(replace(one, token=_other(one.token)) for one in signature.all_of))


def _other(token: str) -> str:
    return token[:-1] + ("-" if token[-1] == "+" else "+") if token[-1] in "+-" else token
