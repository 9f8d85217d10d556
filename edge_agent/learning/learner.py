"""The learner: applies the plant's answers, tests whether the action helped, and refits the ranking's weights."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import structlog

from edge_agent.contract import inbound, outbound
from edge_agent.contract.envelope import Sender
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.faults import Transient
from edge_agent.domain.inference import (
    BACKGROUND,
    Weights,
    as_record,
    backgrounds,
    from_record,
    measured_background,
)
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.learning import recovery
from edge_agent.learning.reconcile import Outcome, reconcile
from edge_agent.learning.refit import Refit, refit
from edge_agent.ports import Clock, Store, UnitOfWork

log = structlog.get_logger(__name__)

TRIALS, WEIGHTS, HISTORY, STALE = "recovery:trials", "weights", "weights:history", "weights:stale"
RESPONSE = "/response"
BATCH = 100
TRIAL_EVERY = timedelta(seconds=5)
TRIAL_PARTS = recovery.GIVE_UP_PARTS
KEPT_VERSIONS = 20
FIT_REST = timedelta(minutes=5)
"""After a fit that failed: the present weights go on working."""

Announce = Callable[[str, object], None]
"""Told after the commit: ``order.<state>``, ``case.confirmed``, ``recovery.passed|failed``, ``weights.activated``."""


def _silent(event: str, thing: object) -> None: ...


class Learner:
    """Implements ``ports.Worker``."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        catalogue: Catalogue,
        sender: Sender,
        announce: Announce = _silent,
        fit: Callable[..., Refit] = refit,
    ) -> None:
        """Args: ``fit`` is `refit`, perhaps in another process (raises Transient)."""
        self._fit = fit
        self._store = store
        self._clock = clock
        self._catalogue = catalogue
        self._sender = sender
        self._announce = announce
        self._looked_at: datetime | None = None
        self._fit_rests_until_ns = 0

    def setup(self) -> None:
        """Nothing to open: everything is in the store."""

    def teardown(self) -> None:
        """Nothing to close."""

    def step(self) -> bool:
        """Apply waiting answers; else look after recovery tests; else refit when something was learned."""
        return self._answers() or self._trials() or self._refit()

    # --- answers ----------------------------------------------------------------------------------------------------

    def _answers(self) -> bool:
        with self._store.reader() as uow:
            rows = [row for row in uow.inbox.unprocessed(BATCH) if row[1].topic.endswith(RESPONSE)]
        for number, message in rows:
            said: list[tuple[str, object]] = []
            with self._store.unit(durable=True) as uow:
                outcome = self._answer(uow, message, said)
                uow.inbox.mark_processed(number, outcome=outcome)
                uow.commit()
            for event, thing in said:
                self._announce(event, thing)
        return bool(rows)

    def _answer(self, uow: UnitOfWork, message: InboundMessage, said: list[tuple[str, object]]) -> str:
        try:
            response = inbound.job_response(message, self._sender.codes)
        except inbound.InvalidMessage as error:
            log.warning("an answer could not be read", topic=message.topic, error=str(error))
            uow.outbox.add(
                outbound.error(
                    "inbound-invalid",
                    topic=message.topic,
                    reason_code=error.reason,
                    detail=error.detail,
                    original=message.body,
                    sender=self._sender,
                    clock=self._clock,
                )
            )
            return f"invalid: {error}"
        outcome = reconcile(uow, response, self._catalogue, sender=self._sender, clock=self._clock)
        self._follow_up(uow, outcome, said)
        log.info(
            "answer from the plant",
            order=str(response.order_id),
            event_name=response.event.value,
            status=outcome.status,
            detail=outcome.detail,
        )
        return f"{outcome.status}: {outcome.detail}" if outcome.detail else outcome.status

    def _follow_up(self, uow: UnitOfWork, outcome: Outcome, said: list[tuple[str, object]]) -> None:
        if outcome.order is not None:
            said.append((f"order.{outcome.order.state.value}", outcome.order))
        if outcome.case is not None:
            self._put_on_trial(uow, outcome.case)
            uow.facts.set(STALE, True)
            said.append(("case.confirmed", outcome.case))

    def _put_on_trial(self, uow: UnitOfWork, case: ConfirmedCase) -> None:
        incident = uow.incidents.get(case.incident_id)
        if incident is None or incident.rate <= 0:
            return
        trials: dict[str, Any] = uow.facts.get(TRIALS) or {}
        trials[str(case.order_id)] = recovery.as_record(recovery.trial_of(case, incident))
        uow.facts.set(TRIALS, trials)

    # --- recovery ---------------------------------------------------------------------------------------------------

    def _trials(self) -> bool:
        now = self._clock.now()
        if self._looked_at is not None and timedelta(0) <= now - self._looked_at < TRIAL_EVERY:
            return False
        self._looked_at = now
        with self._store.reader() as uow:
            trials = [recovery.from_record(one) for one in (uow.facts.get(TRIALS) or {}).values()]
            judged = [(trial, *self._judged(uow, trial, now)) for trial in trials]
        done = [(trial, recovered) for trial, recovered, over in judged if over]
        for trial, recovered in done:
            self._end_trial(trial, recovered)
        return bool(done)

    def _judged(self, uow: UnitOfWork, trial: recovery.Trial, now: datetime) -> tuple[bool | None, bool]:
        """The verdict so far, and whether the trial is over."""
        end = now + timedelta(seconds=1)
        made = uow.inspections.between(trial.since, end, station_id=trial.station_id, limit=TRIAL_PARTS)
        defective, parts = recovery.tally(trial, made, self._catalogue)
        recovered = recovery.verdict(trial, defective, parts)
        return recovered, recovered is not None or parts >= recovery.GIVE_UP_PARTS

    def _end_trial(self, trial: recovery.Trial, recovered: bool | None) -> None:
        with self._store.unit(durable=True) as uow:
            trials: dict[str, Any] = uow.facts.get(TRIALS) or {}
            trials.pop(str(trial.order_id), None)
            uow.facts.set(TRIALS, trials)
            case = next((one for one in uow.answers.cases() if one.order_id == trial.order_id), None)
            if case is not None and recovered is not None:
                case = replace(case, recovered=recovered, weight=recovery.adjusted_weight(case, recovered))
                uow.answers.save_case(case)
                uow.facts.set(STALE, True)
            uow.commit()
        if case is not None and recovered is not None:
            self._announce("recovery.passed" if recovered else "recovery.failed", case)

    # --- weights ----------------------------------------------------------------------------------------------------

    def _refit(self) -> bool:
        if self._clock.monotonic_ns() < self._fit_rests_until_ns:
            return False
        with self._store.reader() as uow:
            if not uow.facts.get(STALE):
                return False
            cases = uow.answers.cases()
            current = from_record(uow.facts.get(WEIGHTS))
            history: list[dict[str, Any]] = uow.facts.get(HISTORY) or []
            measured = measured_background(uow.facts.get(BACKGROUND), self._catalogue)
        used = set(history[-1]["orders"]) if history else set()
        unseen = [case for case in cases if str(case.order_id) not in used] if history else []
        try:
            fitted = self._fit(
                cases,
                self._catalogue,
                backgrounds(self._catalogue, measured),
                current,
                unseen=unseen,
                version=f"fit-{self._clock.now():%Y%m%dT%H%M%S}-{len(cases)}",
            )
        except Transient as error:
            log.warning("weights could not be fitted, trying again later", error=str(error))
            self._fit_rests_until_ns = self._clock.monotonic_ns() + int(FIT_REST.total_seconds() * 1e9)
            return False
        with self._store.unit(durable=True) as uow:
            uow.facts.set(STALE, False)
            if fitted.activate:
                self._activate(uow, fitted, [str(case.order_id) for case in cases], history)
            uow.commit()
        log.info("weights judged", cases=fitted.cases, activated=fitted.activate, reason=fitted.reason)
        if fitted.activate:
            self._announce("weights.activated", fitted)
        return True

    def _activate(self, uow: UnitOfWork, fitted: Refit, orders: list[str], history: list[dict[str, Any]]) -> None:
        record = as_record(fitted.weights)
        note_weights(uow, record, actor=self._sender.agent, detail=f"{fitted.cases} cases; {fitted.reason}")
        uow.facts.set(WEIGHTS, record)
        kept = {"weights": record, "orders": orders, "loss": fitted.loss, "seed_loss": fitted.seed_loss}
        uow.facts.set(HISTORY, [*history[-(KEPT_VERSIONS - 1) :], kept])


def roll_back(uow: UnitOfWork, *, actor: str = "terminal") -> Weights:
    """Use the weights before the present ones again; the seed when there are none. Commits nothing."""
    history: list[dict[str, Any]] = uow.facts.get(HISTORY) or []
    earlier = history[:-1]
    record = earlier[-1]["weights"] if earlier else None
    note_weights(uow, record, actor=actor, detail="rolled back")
    uow.facts.set(HISTORY, earlier)
    uow.facts.set(WEIGHTS, record)
    return from_record(record)


def note_weights(uow: UnitOfWork, record: Mapping[str, Any] | None, *, actor: str, detail: str) -> None:
    """Note in the audit log which weights are used from now on (None: the seed); belongs before they are set."""
    version = record["version"] if record else "seed"
    uow.audit.append(
        actor=actor,
        action="weights.activated",
        subject="weights",
        before=_digest(uow.facts.get(WEIGHTS)),
        after=_digest(record),
        detail=f"{version}: {detail}",
    )


def _digest(record: Mapping[str, Any] | None) -> str:
    return sha256(json.dumps(record, sort_keys=True).encode()).hexdigest() if record else ""
