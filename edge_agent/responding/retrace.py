"""Check stored answers of a language model again: the same rules, the same facts, no model."""

from dataclasses import dataclass, replace

from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.incident import Incident
from edge_agent.domain.step import Step, StepKind
from edge_agent.responding import choosing
from edge_agent.responding.placeholders import brief
from edge_agent.responding.validator import Note, check


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraced:
    """A stored answer, judged again. ``rules`` is None where it could not be judged; ``text`` is what people read."""

    step: Step
    rules: tuple[str, ...] | None
    text: str = ""

    @property
    def same(self) -> bool:
        """The same verdict as then."""
        return self.rules is not None and self.rules == self.step.rules


def retrace(step: Step, analysis: Analysis | None, incident: Incident, catalogue: Catalogue) -> Retraced | None:
    """The verdict of today's rules on a stored answer; None for a step that holds no answer of a model.

    Another verdict than then means that the rules, the catalogue or the incident's figures are others now.
    """
    if step.kind not in {StepKind.NOTE, StepKind.CHOICE}:
        return None
    if analysis is None:
        return Retraced(step=step, rules=None)
    if step.kind is StepKind.NOTE:
        about = brief(analysis, incident, catalogue)
        if about is None:
            return Retraced(step=step, rules=None)
        verdict = check(step.answer, about)
        if isinstance(verdict, Note):
            return Retraced(step=step, rules=(), text=verdict.text)
        return Retraced(step=step, rules=tuple(dict.fromkeys(one.rule for one in verdict)))
    return _retrace_choice(step, analysis, catalogue)


def _retrace_choice(step: Step, analysis: Analysis, catalogue: Catalogue) -> Retraced:
    asked = choosing.question(analysis, catalogue, more=step.detail.get("shown", "").split())
    order = [int(place) for place in step.detail.get("order", "").split(",") if place.isdigit()]
    if asked is None or sorted(order) != list(range(len(asked.candidates))):
        return Retraced(step=step, rules=None)
    tools = dict.fromkeys(step.detail.get("tools", "").split("; "), "") if step.detail.get("tools") else {}
    verdict = choosing.check(step.answer, replace(asked.ordered(order), tools=tools))
    if isinstance(verdict, choosing.Choice):
        return Retraced(step=step, rules=(), text=verdict.cause_id)
    return Retraced(step=step, rules=tuple(dict.fromkeys(one.rule for one in verdict)))
