"""Two causes at once: what one of them leaves unexplained, the other may explain.

A pair is worth what it explains together: of a token that is there, the better of the two explanations; of a token that
is missing, both pay. Each cause of a pair gets half of the pair's probability, so that the ranking stays one list.
"""

from math import log

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PRIOR_TWO = 0.15
"""How often a second cause joins a first one, before any evidence."""


def shared(logits: Floats, deltas: Floats, there: npt.NDArray[np.bool_], surcharge: float, cooling: float) -> Floats:
    """Probabilities of all hypotheses, where the first ones may come in pairs.

    Args:
        logits: (h,) one cause alone; the first c are causes, the others NONE and OTHER.
        deltas: (c, t) what each token adds to each cause's logit.
        there: (t,) which tokens are present.
        surcharge: what missing tokens cost a pair beyond what each of the two pays.
        cooling: the temperature that the logits were divided by.
    """
    causes = len(deltas)
    if causes < 2:
        return _softmax(logits)
    pairs = _pairs(logits[:causes], deltas, there) + surcharge + log(PRIOR_TWO) / cooling
    first, second = np.triu_indices(causes, 1)
    everything = _softmax(np.concatenate([logits, pairs[first, second]]))
    p = everything[: len(logits)]
    for side in (first, second):
        np.add.at(p, side, everything[len(logits) :] / 2)
    return p


def _pairs(logits: Floats, deltas: Floats, there: npt.NDArray[np.bool_]) -> Floats:
    """(c, c) logits of two causes together."""
    own = logits - deltas[:, there].sum(axis=1)  # prior and what is missing
    seen = deltas[:, there]
    explained = np.maximum(seen[:, None, :], seen[None, :, :]).sum(axis=2)
    return np.asarray(explained + own[:, None] + own[None, :], dtype=np.float64)


def _softmax(logits: Floats) -> Floats:
    p = np.exp(logits - logits.max())
    return np.asarray(p / p.sum(), dtype=np.float64)
