"""Steps: what a language model was asked about an incident, what it answered, and what became of the answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class StepKind(StrEnum):
    """A decision which way to go; a note or a choice asked for; a tool called; the vote that came out; a picture
    described."""

    ROUTE = "route"
    NOTE = "note"
    CHOICE = "choice"
    CALL = "call"
    VOTE = "vote"
    DESCRIPTION = "description"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step; with the analysis it is about it holds all that is needed to check the answer again.

    Attributes:
        analysis_id: the revision of the diagnosis that was asked about.
        turn: which turn of the conversation, from 1.
        model: sha256 of the model; empty where none took part.
        prompt: as sent, without its constant beginning; for a call what was asked for.
        answer: as it came back, unchecked; for a call what the tool found.
        rules: the validator's rules that the answer broke; none where it was accepted.
        outcome: what became of it, in a word or two.
        detail: settings that shaped the question (order of the candidates, versions).
    """

    step_id: UUID
    incident_id: UUID
    analysis_id: UUID
    kind: StepKind
    at: datetime
    turn: int = 1
    model: str = ""
    prompt: str = ""
    answer: str = ""
    rules: tuple[str, ...] = ()
    outcome: str = ""
    latency_ms: float = 0.0
    detail: Mapping[str, str] = field(default_factory=dict)
