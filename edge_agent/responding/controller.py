"""A model looks into a close ranking: a few turns, a few tools, then its choice in several orders. Nothing it says
changes the diagnosis by itself: the choices become a vote (`vote`), and every step is kept.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.faults import Transient
from edge_agent.domain.step import Step, StepKind
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.ports import Analyst, Clock, Written
from edge_agent.responding import choosing
from edge_agent.responding.choosing import Choice, Question
from edge_agent.responding.fact_tools import Found, Surroundings, call, offered
from edge_agent.responding.qualification import PROMPTS
from edge_agent.responding.validator import Violation
from edge_agent.responding.vote import LEAST_ORDERS, vote_of

MOST_TURNS = 3
_REFUSED_AT_MOST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What came of it.

    Attributes:
        vote: mean log-odds by cause; empty where too few orders were answered.
        agreed: the same choice in every order.
    """

    steps: tuple[Step, ...]
    vote: dict[str, float]
    choices: tuple[str, ...]

    @property
    def agreed(self) -> bool:
        return len(set(self.choices)) == 1


class Controller:
    """Holds one conversation about one analysis.

    Args:
        deadline_s: for the whole conversation.
    """

    def __init__(
        self, analyst: Analyst, clock: Clock, catalogue: Catalogue, *, deadline_s: float, max_tokens: int = 160
    ) -> None:
        self._analyst = analyst
        self._clock = clock
        self._catalogue = catalogue
        self._deadline_s = deadline_s
        self._max_tokens = max_tokens

    def converse(
        self, analysis: Analysis, cases: Sequence[ConfirmedCase] = (), earlier: Sequence[Step] = ()
    ) -> Conversation | None:
        """Turns with tools, then the choice in at least three orders; None where there is nothing to choose.

        Args:
            earlier: steps about this incident: what was looked up then is shown at once.

        Raises:
            Transient: the model is not there, or the time was over before it answered anything.
        """
        if choosing.question(analysis, self._catalogue) is None:
            return None
        around = Surroundings(analysis=analysis, catalogue=self._catalogue, cases=tuple(cases))
        return _Talk(self, around, earlier).hold()

    def ask(self, asked: Question, found: Sequence[str], refused: Sequence[str], left_s: float) -> Written:
        """One call of the model."""
        task = choosing.task(asked, max_tokens=self._max_tokens, found=found, refused=refused)
        return self._analyst.write(task, left_s)


class _Talk:
    """The state of one conversation."""

    def __init__(self, owner: Controller, around: Surroundings, earlier: Sequence[Step]) -> None:
        self._owner = owner
        self._around = around
        self._clock, self._catalogue = owner._clock, owner._catalogue
        self._ends_ns = self._clock.monotonic_ns() + int(owner._deadline_s * 1e9)
        self._found: dict[str, Found] = {}
        for step in earlier:
            if step.kind is StepKind.CALL:
                self._found[step.prompt] = call(around, step.prompt)
        self._steps: list[Step] = []

    def hold(self) -> Conversation:
        choices: list[str] = []
        orders = itertools.cycle(_rotations(len(self._question().candidates)))
        for turn in range(1, MOST_TURNS + 1):
            last = turn == MOST_TURNS
            answer = self._turn(turn, next(orders), tools=not last)
            if answer is None:
                break
            if not answer.calls or last:
                choices.append(answer.cause_id)
                break
            for named in answer.calls[: choosing.MOST_CALLS]:
                self._call(named, turn)
        while choices and len(choices) < LEAST_ORDERS:
            answer = self._turn(len(self._steps) + 1, next(orders), tools=False)
            if answer is None:
                break
            choices.append(answer.cause_id)
        candidates = [one.cause_id for one in self._question().candidates]
        vote = vote_of(choices, candidates)
        self._vote(vote, choices)
        return Conversation(steps=tuple(self._steps), vote=vote, choices=tuple(choices))

    def _question(self) -> Question:
        more = [key for found in self._found.values() for key in found.facts]
        asked = choosing.question(self._around.analysis, self._catalogue, more=more)
        assert asked is not None  # checked before the conversation began; facts are only added
        return asked

    def _turn(self, turn: int, order: Sequence[int], *, tools: bool) -> Choice | None:
        """One answer, asked for again once with the complaints; None where it stays refused or the time is over."""
        asked = self._question()
        calls = offered(self._around, asked, frozenset(self._found)) if tools else {}
        asked = replace(asked.ordered(order), tools=calls)
        lines = [f"{named}: {found.line(asked)}" for named, found in self._found.items()]
        refused: tuple[str, ...] = ()
        for _ in range(_REFUSED_AT_MOST):
            left_s = (self._ends_ns - self._clock.monotonic_ns()) / 1e9
            if left_s <= 0:
                return None
            try:
                written = self._owner.ask(asked, lines, refused, left_s)
            except Transient:
                if not self._steps:
                    raise
                return None
            verdict = choosing.check(written.text, asked)
            self._asked(turn, asked, order, lines, refused, written, verdict)
            if isinstance(verdict, Choice):
                return verdict
            refused = tuple(dict.fromkeys(one.text for one in verdict))
        return None

    def _asked(
        self,
        turn: int,
        asked: Question,
        order: Sequence[int],
        lines: Sequence[str],
        refused: Sequence[str],
        written: Written,
        verdict: Choice | tuple[Violation, ...],
    ) -> None:
        self._keep(
            StepKind.CHOICE,
            turn,
            prompt=choosing.task(asked, found=lines, refused=refused).prompt,
            answer=written.text,
            rules=() if isinstance(verdict, Choice) else tuple(dict.fromkeys(one.rule for one in verdict)),
            outcome=verdict.cause_id if isinstance(verdict, Choice) else "refused",
            model=written.model_sha256,
            latency_ms=written.latency_ms,
            detail={
                "order": ",".join(str(place) for place in order),
                "shown": " ".join(asked.evidence),
                "tools": "; ".join(asked.tools),
                "prompts": PROMPTS,
            },
        )

    def _call(self, named: str, turn: int) -> None:
        found = self._found[named] = call(self._around, named)
        told = found.line(self._question())
        self._keep(StepKind.CALL, turn, prompt=named, answer=told, outcome=" ".join(found.facts) or "no new fact")

    def _vote(self, vote: dict[str, float], choices: Sequence[str]) -> None:
        ranking = {one.cause_id: one.p for one in self._around.analysis.hypotheses}
        self._keep(
            StepKind.VOTE,
            len(self._steps) + 1,
            model=next((one.model for one in self._steps if one.model), ""),
            answer=json.dumps(vote),
            outcome="no vote" if not vote else "agreed" if len(set(choices)) == 1 else "orders disagree: for a person",
            detail={"choices": " ".join(choices), "ranking": json.dumps(ranking)},
        )

    def _keep(self, kind: StepKind, turn: int, **fields: object) -> None:
        analysis = self._around.analysis
        self._steps.append(
            Step(
                step_id=self._clock.new_id(),
                incident_id=analysis.incident_id,
                analysis_id=analysis.analysis_id,
                kind=kind,
                at=self._clock.now(),
                turn=turn,
                **fields,  # type: ignore[arg-type]
            )
        )


def _rotations(count: int) -> Iterator[tuple[int, ...]]:
    """Each candidate once in each place."""
    for start in range(count):
        yield tuple((start + place) % count for place in range(count))
