"""Evidence: a stored fact with an id, the only thing a diagnosis may rest on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from edge_agent.domain import token as tokens

NAMED = "signal_name"
"""Where a fact's provenance keeps the plant's own name for its signal."""


class Polarity(StrEnum):
    """Present; looked for and not there; or could not be looked for (sensor missing)."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One fact about an incident.

    Attributes:
        evidence_id: ``E1``, ``E2``, ... unique in the incident and stable over its revisions.
        tool: the tool that found it, ``name@version``.
        token: the canonical key the ranker uses, e.g. ``tel:expo_mj-`` or ``sp:repeat``; None: for reading only.
        statement: one sentence rendered by code from a template; it holds every number that may be quoted.
        value, unit, baseline, sigma: the measured change, where there is one.
        strength: P(not a false trigger), from the tool's own error rate on normal runs.
        n: sample size behind it.
        confounded_with: tokens it cannot be told apart from here; lowers its weight.
        provenance: what was queried, so that the fact can be found again.
    """

    evidence_id: str
    tool: str
    token: str | None
    statement: str
    polarity: Polarity
    strength: float
    n: int
    window_from: datetime | None = None
    window_to: datetime | None = None
    value: float | None = None
    unit: str = ""
    baseline: float | None = None
    sigma: float | None = None
    scope: Mapping[str, str] = field(default_factory=dict)
    confounded_with: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def signal_name(self) -> str | None:
        """What the plant calls the fact's process signal; None for a fact of anything else."""
        signal = tokens.signal_of(self.token or "")
        return signal and (self.provenance.get(NAMED) or signal.replace("_", " "))

    @property
    def words(self) -> str:
        """The fact's token in plant language, without numbers; empty without a token."""
        if self.token is None:
            return ""
        if self.signal_name is None:
            return tokens.phrase(self.token).replace("_", " ")
        name = self.signal_name
        # Within a sentence: a name's first letter is small unless it is an abbreviation (``ORP of the etchant``).
        said = name if name[1:2].isupper() else name[:1].lower() + name[1:]
        return f"{said} {'rose' if self.token.endswith('+') else 'fell'}"
