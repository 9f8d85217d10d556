"""Causes: the entries of the plant's FMEA catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass, field

NONE = "NONE"
"""No assignable cause: the rate moved by chance."""
OTHER = "OTHER"
"""A cause that is not in the catalogue."""
MEASUREMENT = "MEAS"
"""The inspection itself is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExpectation:
    """A signature's expectation: ``token`` is seen with probability ``p`` when the cause is at work."""

    token: str
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One way a cause shows itself: all of ``all_of``, at least one of ``any_of``, none of ``none_of``."""

    all_of: tuple[TokenExpectation, ...] = ()
    any_of: tuple[TokenExpectation, ...] = ()
    none_of: tuple[TokenExpectation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something a technician can look at to tell causes apart.

    Attributes:
        lr_pos, lr_neg: likelihood ratios of a positive and a negative outcome for the cause.
        loto: needs lock-out / tag-out.
    """

    check_id: str
    text: str
    minutes: float
    lr_pos: float
    lr_neg: float
    loto: bool = False
    criterion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartNeed:
    """A spare part an action needs."""

    part_number: str
    quantity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What removes a cause."""

    action_id: str
    text: str
    minutes: float
    kind: str = "correct"
    """``contain``, ``correct`` or ``prevent``."""
    parts: tuple[PartNeed, ...] = ()
    loto: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause of the catalogue.

    Attributes:
        occurrence, detection: FMEA ratings 1 to 10; the prior comes from ``occurrence``.
        classes: defect class to probability that the cause produces it (S 0.8, M 0.5, W 0.25).
        severity_by_class: FMEA severity 1 to 10 where it differs from the class's own.
        status: ``seed``, ``reviewed`` or ``learned``.
    """

    cause_id: str
    name: str
    category_6m: str
    process_step: str
    occurrence: int
    detection: int
    classes: Mapping[str, float]
    signatures: tuple[Signature, ...]
    checks: tuple[Check, ...] = ()
    actions: tuple[Action, ...] = ()
    equipment: str = ""
    parent_cause: str | None = None
    severity_by_class: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    status: str = "seed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All causes of one domain, with the background rate of each evidence token on normal runs."""

    domain: str
    version: str
    causes: tuple[Cause, ...]
    severity: Mapping[str, int]
    """Defect class to FMEA severity 1 to 10."""
    background: Mapping[str, float] = field(default_factory=dict)
    """Token to its false-trigger probability on a normal line; the measured one replaces the seed.

    Its keys are the catalogue's vocabulary: every token that some cause expects.
    """
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Family name to the defect classes that share a mechanism: they make one incident, not several."""

    def family_of(self, code: str) -> str:
        """The family of a defect class; a class without one is its own."""
        return next((name for name, codes in self.families.items() if code in codes), code)

    def classes_of(self, family: str) -> tuple[str, ...]:
        """The defect classes of a family."""
        return self.families.get(family, (family,))

    def cause(self, cause_id: str) -> Cause | None:
        """The cause with this id, or None."""
        return next((cause for cause in self.causes if cause.cause_id == cause_id), None)
