"""The language model's note about an analysis: asked for, checked, and put beside the template's text.

The order went out before, on rules; this adds words to it or nothing. It never touches the ranking, a figure or a
priority. An unqualified model's text is shown as a note, marked; a qualified one's may stand in the order.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from edge_agent.domain.analysis import Analysis, Narrative
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.faults import Transient
from edge_agent.domain.incident import Incident
from edge_agent.domain.step import Step, StepKind
from edge_agent.domain.work_order import WorkOrder
from edge_agent.observability.health import Condition
from edge_agent.ports import Analyst, Clock, Store, UnitOfWork, WritingTask, Written
from edge_agent.responding import prompt
from edge_agent.responding.controller import Controller
from edge_agent.responding.placeholders import Brief, brief
from edge_agent.responding.qualification import PROMPTS, qualification
from edge_agent.responding.routing import Route, Tier, route
from edge_agent.responding.validator import Note, Violation, check
from edge_agent.responding.vote import learn_weight

log = structlog.get_logger(__name__)

TALLY = "llm.tally"
"""Fact: how many notes were accepted, refused or not had, and how often each rule refused one."""
UNAVAILABLE = "unavailable"
LLM = "llm"
_LOOKED_AT = 20
_TRIES = 2
_CACHED = 64
_CASES = 500
_BETWEEN_NOTES_NS = 60 * 10**9
"""Between two notes about one incident, whatever revisions come."""
_REST_FIRST_S, _REST_MOST_S = 5.0, 300.0

OnCondition = Callable[[Condition, str], object]
AddNarrative = Callable[[UnitOfWork, Analysis, Narrative], object]


def keep_narrative(uow: UnitOfWork, analysis: Analysis, narrative: Narrative) -> Analysis:
    """The analysis with this narrative in place of an earlier one of the same source, saved."""
    others = tuple(one for one in analysis.narratives if one.source != narrative.source)
    kept = replace(analysis, narratives=(*others, narrative))
    uow.analyses.save(kept)
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """An analysis that waits for its note."""

    analysis: Analysis
    incident: Incident
    brief: Brief


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """What came of asking: the last draft and its check."""

    written: Written
    outcome: Note | tuple[Violation, ...]
    latency_ms: float
    tries: int
    steps: tuple[Step, ...] = ()


class Narrator:
    """Writes one note per step for the newest analysis that has none.

    Args:
        deadline_s: for each of the at most two calls of the analyst.
        max_age: older analyses are left with the template's text.
        add_narrative: puts an accepted narrative into analysis and order.
        on_condition: is told how the model is doing, with a sentence for people.
        is_stopping: the agent stops: a call that is cut short then is no failure of the model's.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        analyst: Analyst,
        catalogue: Catalogue,
        *,
        deadline_s: float = 60.0,
        max_tokens: int = 160,
        max_age: timedelta = timedelta(minutes=30),
        add_narrative: AddNarrative = keep_narrative,
        on_condition: OnCondition = lambda condition, detail: None,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_stopping = is_stopping
        self._store = store
        self._clock = clock
        self._analyst = analyst
        self._catalogue = catalogue
        self._deadline_s = deadline_s
        self._max_tokens = max_tokens
        self._max_age = max_age
        self._add_narrative = add_narrative
        self._on_condition = on_condition
        self._controller = Controller(analyst, clock, catalogue, deadline_s=3 * deadline_s, max_tokens=max_tokens)
        self._cache: dict[str, Written] = {}
        self._failed: dict[UUID, int] = {}
        self._settled: dict[UUID, int] = {}
        self._rest_until_ns = 0
        self._failures = 0
        on_condition(Condition.OK, f"{analyst.name}: no note has been asked for since the start")

    def warm_up(self) -> None:
        """Load the model before it is needed; trouble is told and left to the first note."""
        try:
            written = self._analyst.write(prompt.warm_up(), self._deadline_s)
        except Transient as error:
            if self._is_stopping():
                return
            log.warning("language model could not be warmed up", analyst=self._analyst.name, error=str(error))
            self._on_condition(Condition.DEGRADED, f"orders go out on rules; {self._analyst.name}: {error}")
        else:
            log.info("language model is ready", analyst=self._analyst.name, ms=round(written.latency_ms))
            self._on_condition(Condition.OK, f"{self._analyst.name}: ready")

    def step(self) -> bool:
        """Write at most one note; whether anything was done. Never raises for trouble of the model's."""
        if self._clock.monotonic_ns() < self._rest_until_ns:
            return False
        subject = self._next()
        if subject is None:
            return False
        try:
            attempt = self._attempt(subject)
        except Transient as error:
            if self._is_stopping():
                log.info("note given up, the agent is stopping", incident=str(subject.incident.incident_id))
                return False
            self._count_failure(subject, error)
            return True
        self._returned(attempt)
        self._settle(subject, attempt)
        self._look_into(subject, attempt.written.model_sha256)
        return True

    def _next(self) -> _Subject | None:
        """The newest analysis without a note that a note could be written for."""
        with self._store.reader() as uow:
            pairs = [
                (analysis, incident)
                for incident in uow.incidents.recent(_LOOKED_AT)
                if (analysis := uow.analyses.latest(incident.incident_id)) is not None and self._waits(uow, analysis)
            ]
        for analysis, incident in sorted(pairs, key=lambda pair: pair[0].made_at, reverse=True):
            found = brief(analysis, incident, self._catalogue)
            if found is not None:
                return _Subject(analysis=analysis, incident=incident, brief=found)
        return None

    def _waits(self, uow: UnitOfWork, analysis: Analysis) -> bool:
        """Young, without a note, not asked about a moment ago, and its order has no note on the same suspect."""
        if analysis.made_at < self._clock.now() - self._max_age or any(
            one.source == LLM for one in analysis.narratives
        ):
            return False
        settled_ns = self._settled.get(analysis.incident_id)
        if settled_ns is not None and self._clock.monotonic_ns() < settled_ns + _BETWEEN_NOTES_NS:
            return False
        order = uow.orders.for_incident(analysis.incident_id)
        return order is None or not (order.is_terminal or _has_note(order, analysis))

    def _attempt(self, subject: _Subject) -> _Attempt:
        """Ask, check, and ask once more with the complaints."""
        steps: list[Step] = []
        refused: tuple[str, ...] = ()
        latency_ms = 0.0
        for turn in range(1, _TRIES + 1):
            task = prompt.task(subject.brief, max_tokens=self._max_tokens, refused=refused)
            written = self._ask(task)
            latency_ms += written.latency_ms
            outcome = check(written.text, subject.brief)
            steps.append(self._noted(subject.analysis, turn, task, written, outcome))
            if isinstance(outcome, Note):
                break
            refused = tuple(dict.fromkeys(violation.text for violation in outcome))
        return _Attempt(written=written, outcome=outcome, latency_ms=latency_ms, tries=turn, steps=tuple(steps))

    def _noted(
        self,
        analysis: Analysis,
        turn: int,
        task: WritingTask,
        written: Written,
        outcome: Note | tuple[Violation, ...],
    ) -> Step:
        rules = () if isinstance(outcome, Note) else tuple(dict.fromkeys(one.rule for one in outcome))
        return Step(
            step_id=self._clock.new_id(),
            incident_id=analysis.incident_id,
            analysis_id=analysis.analysis_id,
            kind=StepKind.NOTE,
            at=self._clock.now(),
            turn=turn,
            model=written.model_sha256,
            prompt=task.prompt,
            answer=written.text,
            rules=rules,
            outcome="refused" if rules else "accepted",
            latency_ms=written.latency_ms,
            detail={"prompts": PROMPTS, "guided": str(turn > 1).lower()},
        )

    def _look_into(self, subject: _Subject, model: str) -> None:
        """Where the ranking is close and the model may choose: its vote, logged. It changes nothing by itself."""
        analysis = subject.analysis
        with self._store.reader() as uow:
            may = qualification(uow, model)
            cases, earlier = uow.answers.cases(limit=_CASES), uow.steps.list(analysis.incident_id)
        way = route(analysis, self._catalogue.severity, subject.incident.code, may, time_left=True)
        steps = [self._routed(analysis, way)]
        if way.tier is Tier.CHOOSER:
            try:
                talk = self._controller.converse(analysis, cases, earlier)
            except Transient as error:
                log.warning("no vote was had", analyst=self._analyst.name, error=str(error))
                talk = None
            steps += talk.steps if talk else ()
        with self._store.unit() as uow:
            for step in steps:
                uow.steps.add(step)
            if way.tier is Tier.CHOOSER:
                learn_weight(uow, model)
            uow.commit()

    def _routed(self, analysis: Analysis, way: Route) -> Step:
        return Step(
            step_id=self._clock.new_id(),
            incident_id=analysis.incident_id,
            analysis_id=analysis.analysis_id,
            kind=StepKind.ROUTE,
            at=self._clock.now(),
            outcome=way.tier.value,
            answer=way.reason,
        )

    def _ask(self, task: WritingTask) -> Written:
        """The same question gets the same answer without asking: prompts hold no figures, so revisions often match."""
        key = hashlib.sha256(
            "\0".join((self._analyst.name, task.system, task.prompt, task.grammar)).encode()
        ).hexdigest()
        known = self._cache.get(key)
        if known is not None:
            return replace(known, latency_ms=0.0)
        written = self._analyst.write(task, self._deadline_s)
        if len(self._cache) >= _CACHED:
            del self._cache[next(iter(self._cache))]
        self._cache[key] = written
        return written

    def _settle(self, subject: _Subject, attempt: _Attempt) -> None:
        """Write down what came of it, for the newest revision if the draft holds for that one too."""
        incident_id = subject.incident.incident_id
        self._settled = dict([*self._settled.items(), (incident_id, self._clock.monotonic_ns())][-_CACHED:])
        with self._store.unit() as uow:
            for step in attempt.steps:
                uow.steps.add(step)
            analysis, outcome = uow.analyses.latest(incident_id), attempt.outcome
            if analysis is None:
                return
            if analysis.analysis_id != subject.analysis.analysis_id or analysis.revision != subject.analysis.revision:
                incident = uow.incidents.get(incident_id) or subject.incident
                about = brief(analysis, incident, self._catalogue)
                if about is None or not isinstance(outcome := check(attempt.written.text, about), Note):
                    log.info("note dropped, its analysis was superseded", incident=str(incident_id))
                    uow.commit()
                    return
            self._save(uow, analysis, attempt, outcome)
            uow.commit()

    def _save(
        self, uow: UnitOfWork, analysis: Analysis, attempt: _Attempt, outcome: Note | tuple[Violation, ...]
    ) -> None:
        model = attempt.written.model_sha256
        facts = {"model": model[:16], "latency_ms": round(attempt.latency_ms), "incident": str(analysis.incident_id)}
        if isinstance(outcome, Note):
            shown_as = "text" if qualification(uow, model).writing else "note"
            narrative = Narrative(
                source=LLM,
                text=outcome.text,
                citations=outcome.citations,
                shown_as=shown_as,
                model=model,
                latency_ms=attempt.latency_ms,
            )
            _count(uow, "accepted" if attempt.tries == 1 else "accepted_at_second_try")
            self._add_narrative(uow, analysis, narrative)
            log.info("note accepted", shown_as=shown_as, **facts)
            return
        rules = tuple(dict.fromkeys(violation.rule for violation in outcome))
        _count(uow, "refused", rules)
        keep_narrative(uow, analysis, _refused(rules, model, attempt.latency_ms))
        log.info("note refused, the template's text stands", rules=rules, **facts)

    def _count_failure(self, subject: _Subject, error: Transient) -> None:
        """Rest longer and longer; an analysis that failed twice keeps the template's text."""
        if self._failures == 0:
            log.warning(
                "language model went away, orders go out on rules", analyst=self._analyst.name, error=str(error)
            )
        self._on_condition(Condition.DEGRADED, f"orders go out on rules; {self._analyst.name}: {error}")
        rest_s = min(_REST_MOST_S, _REST_FIRST_S * 2.0**self._failures)
        self._rest_until_ns = self._clock.monotonic_ns() + int(rest_s * 1e9)
        self._failures = min(self._failures + 1, 32)
        analysis = subject.analysis
        tries = self._failed.pop(analysis.analysis_id, 0) + 1
        if tries < _TRIES:
            self._failed = dict([*self._failed.items(), (analysis.analysis_id, tries)][-_CACHED:])
            return
        with self._store.unit() as uow:
            newest = uow.analyses.latest(analysis.incident_id)
            if newest is not None and newest.analysis_id == analysis.analysis_id:
                keep_narrative(uow, newest, _refused((UNAVAILABLE,), "", 0.0))
                _count(uow, UNAVAILABLE)
                uow.commit()

    def _returned(self, attempt: _Attempt) -> None:
        if self._failures:
            log.info("language model is back", analyst=self._analyst.name)
        outcome = "accepted" if isinstance(attempt.outcome, Note) else "refused by the checks"
        seconds = attempt.latency_ms / 1000
        self._on_condition(
            Condition.OK, f"{self._analyst.name}: the last note was {outcome}, written in {seconds:.1f} s"
        )
        self._failures = 0


def _has_note(order: WorkOrder, analysis: Analysis) -> bool:
    """Every note revises the order and tells the MES, so one that still names the suspect is left as it is."""
    written = bool(order.note) or order.text_source == LLM
    suspect = order.suspects[0].cause_id if order.suspects else None
    return written and analysis.first_suspect is not None and suspect == analysis.first_suspect.cause_id


def _refused(rules: tuple[str, ...], model: str, latency_ms: float) -> Narrative:
    return Narrative(source=LLM, text="", shown_as="note", model=model, latency_ms=latency_ms, rejected=rules)


def _count(uow: UnitOfWork, outcome: str, rules: tuple[str, ...] = ()) -> None:
    known = uow.facts.get(TALLY)
    tally: dict[str, Any] = dict(known) if isinstance(known, Mapping) else {}
    tally[outcome] = int(tally.get(outcome, 0)) + 1
    by_rule = dict(tally.get("rules", {}))
    for rule in rules:
        by_rule[rule] = int(by_rule.get(rule, 0)) + 1
    uow.facts.set(TALLY, tally | {"rules": by_rule})
