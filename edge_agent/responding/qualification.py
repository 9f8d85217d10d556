"""What a model's exam allows it to do, kept in the store under its digest and the version of the prompts.

Without an entry, or with one that cannot be read, nothing is allowed: the template's text stands, and a model's words
stand beside it, marked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.ports import UnitOfWork
from edge_agent.responding import choosing, prompt

PROMPTS = f"{prompt.VERSION}.{choosing.VERSION}"
"""An exam taken with other prompts says nothing about these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Qualification:
    """``writing``: its text may stand in orders. ``choosing``: it is asked for a vote, whose weight is learned."""

    writing: bool = False
    choosing: bool = False


NOTHING = Qualification()


def qualified_key(model_sha256: str) -> str:
    """The fact that holds what a model's exam allows."""
    return f"llm.qualified:{PROMPTS}:{model_sha256}"


def qualification(uow: UnitOfWork, model_sha256: str) -> Qualification:
    """What the model may do; nothing where no exam says so."""
    record = uow.facts.get(qualified_key(model_sha256))
    if not isinstance(record, Mapping):
        return NOTHING
    writing = record.get("writing") is True
    return Qualification(writing=writing, choosing=writing and record.get("choosing") is True)


def record(uow: UnitOfWork, model_sha256: str, report: Mapping[str, Any]) -> None:
    """Keep an exam's report; ``writing`` and ``choosing`` in it say what was passed."""
    uow.facts.set(qualified_key(model_sha256), dict(report))
