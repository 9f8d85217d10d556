"""What a catalogue leaves open although every line of it is right: for whoever reviews it."""

from collections.abc import Iterator
from dataclasses import dataclass

from edge_agent.domain.cause import MEASUREMENT, Catalogue, Cause, Signature
from edge_agent.domain.inference import Observation, backgrounds, posterior

SURE = 0.95
LIKELY = 0.5
APART = 0.7
"""Log-odds between two causes on the ideal evidence of one of them, below which nothing tells them apart (2 to 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One thing to look at.

    Attributes:
        grave: a diagnosis will suffer; the others are homework.
    """

    subject: str
    message: str
    grave: bool = False


def review(catalogue: Catalogue) -> tuple[Remark, ...]:
    """All remarks, grave ones first."""
    found = [
        *_measurement(catalogue),
        *_classes(catalogue),
        *_alike(catalogue),
        *_unreachable(catalogue),
        *(remark for cause in catalogue.causes for remark in _homework(cause)),
    ]
    return tuple(sorted(found, key=lambda one: not one.grave))


def ideal(cause: Cause, signature: Signature, catalogue: Catalogue) -> dict[str, Observation]:
    """What is seen when a cause shows itself by one signature as well as it can, and nothing else happens."""
    expected = {one.token for one in (*signature.all_of, *signature.any_of) if one.p >= LIKELY}
    expected |= {one.token for one in signature.all_of}
    excluded = {one.token for one in signature.none_of}
    seen = {
        token: Observation(token=token, seen=SURE if token in expected else 1 - SURE)
        for token in catalogue.background
        if token in expected or token in excluded or catalogue.background[token] < LIKELY
    }
    shown = {code: p >= LIKELY for code, p in cause.classes.items()}
    return seen | {
        f"class:{code}": Observation(token=f"class:{code}", seen=SURE if shown.get(code) else 1 - SURE)
        for code in catalogue.severity
    }


def _measurement(catalogue: Catalogue) -> Iterator[Remark]:
    if catalogue.cause(MEASUREMENT) is None:
        yield Remark(
            subject=MEASUREMENT, message="no such cause: the inspection itself is always a suspect", grave=True
        )


def _classes(catalogue: Catalogue) -> Iterator[Remark]:
    for code in catalogue.severity:
        causes = [one for one in catalogue.causes if code in one.classes and one.cause_id != MEASUREMENT]
        if not causes and code != "not_decidable":
            yield Remark(subject=f"class {code}", message="no cause shows it", grave=True)
        elif causes and all(one.classes[code] < LIKELY for one in causes):
            yield Remark(subject=f"class {code}", message="no cause shows it more than weakly")


def _alike(catalogue: Catalogue) -> Iterator[Remark]:
    """Pairs that stay within 2 to 1 on the ideal evidence of every signature of the first."""
    logits = {
        cause.cause_id: [_logits(catalogue, cause, signature) for signature in cause.signatures]
        for cause in catalogue.causes
    }
    for place, first in enumerate(catalogue.causes):
        for second in catalogue.causes[place + 1 :]:
            pair = first.cause_id, second.cause_id
            gaps = [abs(table[pair[0]] - table[pair[1]]) for one in pair for table in logits[one]]
            if max(gaps) < APART:
                checks = {check.check_id for check in first.checks} != {check.check_id for check in second.checks}
                message = f"{'only their checks tell' if checks else 'nothing tells'} them apart"
                yield Remark(subject=f"{pair[0]}, {pair[1]}", message=message, grave=not checks)


def _unreachable(catalogue: Catalogue) -> Iterator[Remark]:
    """Signatures whose ideal evidence another cause explains far better."""
    for cause in catalogue.causes:
        for number, signature in enumerate(cause.signatures, start=1):
            table = _logits(catalogue, cause, signature)
            best = max(table, key=lambda one: table[one])
            if table[best] - table[cause.cause_id] > 2 * APART:
                message = f"signature {number}, seen as well as can be, still points at {best}"
                yield Remark(subject=cause.cause_id, message=message, grave=True)


def _logits(catalogue: Catalogue, cause: Cause, signature: Signature) -> dict[str, float]:
    """Logit of every cause, without its prior, on the ideal evidence of a signature."""
    scored = posterior(catalogue, ideal(cause, signature, catalogue), backgrounds(catalogue))
    return {one.cause_id: one.support for one in scored}


def _homework(cause: Cause) -> Iterator[Remark]:
    for what, there in (("check", cause.checks), ("action", cause.actions), ("source", cause.sources)):
        if not there:
            yield Remark(subject=cause.cause_id, message=f"no {what}")
    if cause.status == "seed":
        yield Remark(subject=cause.cause_id, message="still a seed: no engineer has reviewed it")
