"""An analysis: ranked causes with what speaks for and against each, or an abstention."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from edge_agent.domain.evidence import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """What one piece of evidence adds to (or takes from) a cause, in log-odds."""

    evidence_id: str
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """One ranked cause (or NONE, or OTHER). ``p`` is the posterior; ``grade`` is the word people see."""

    cause_id: str
    name: str
    p: float
    rank: int
    grade: str
    """``very likely``, ``likely``, ``possible`` or ``unclear``."""
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrative:
    """The text of an analysis and who wrote it.

    Attributes:
        source: ``template`` or ``llm``.
        shown_as: ``text`` (it stands in the order) or ``note`` (beside it, marked as unqualified).
        citations: evidence ids the text rests on.
        model: sha256 of the model file, for ``llm``.
        rejected: the validator's rules an LLM text broke, if it was refused.
    """

    source: str
    text: str
    citations: tuple[str, ...] = ()
    shown_as: str = "text"
    model: str = ""
    latency_ms: float = 0.0
    rejected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """The diagnosis of one incident at one revision."""

    analysis_id: UUID
    incident_id: UUID
    revision: int
    made_at: datetime
    evidence: tuple[Evidence, ...]
    hypotheses: tuple[Hypothesis, ...]
    unknown_score: float
    """0 to 1: how much the numbers say "not in the catalogue"."""
    decision: str
    """``act``, ``check``, ``watch`` or ``log``."""
    narratives: tuple[Narrative, ...]
    engine: Mapping[str, str] = field(default_factory=dict)
    """Versions: catalogue, weights, tools."""

    @property
    def first_suspect(self) -> Hypothesis | None:
        """The top hypothesis that names a cause of the catalogue, or None."""
        return next((h for h in self.hypotheses if h.cause_id not in {"NONE", "OTHER"}), None)
