"""The challenges of all stations: from the configuration, in the store, on the health board, told to the plant."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from edge_agent.config.plant import ReportSection
from edge_agent.config.stations import ChallengeSection
from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender
from edge_agent.domain.challenge import (
    ChallengePart,
    ChallengeState,
    Plan,
    advanced,
    as_record,
    due_at,
    fact,
    following_daily,
    from_record,
    holding,
)
from edge_agent.domain.inspection import Evaluation
from edge_agent.domain.reason import Reason
from edge_agent.inspecting.challenge import ChallengeGate
from edge_agent.observability import metrics
from edge_agent.observability.health import Condition, Health
from edge_agent.ports import Clock, Store, UnitOfWork

log = structlog.get_logger(__name__)


def plan_of(section: ChallengeSection, reports: ReportSection) -> Plan:
    """The plan of a station's file."""
    by_clock = following_daily(reports.shift_ends, ZoneInfo(reports.timezone)) if section.every_h is None else None
    return Plan(
        parts=tuple(
            ChallengePart(
                part_id=one.part_id or f"challenge:{one.image.name if one.image else ''}",
                evaluation=Evaluation(one.evaluation),
                defects=dict(one.defects),
                image_path=str(one.image) if one.image else None,
                product_id=one.product or "",
            )
            for one in section.parts
        ),
        following=by_clock,
        every=timedelta(hours=section.every_h or 0),
        grace=timedelta(minutes=section.grace_min),
        within=timedelta(minutes=section.within_min),
    )


def load_gate(unit: UnitOfWork, station_id: str, plan: Plan, *, clock: Clock) -> ChallengeGate:
    """The gate as the store has it: a restart ends neither a challenge nor what it holds."""
    return ChallengeGate(plan, from_record(unit.facts.get(fact(station_id)), clock.now()), clock=clock)


class ChallengeWatch:
    """Called each second: what the challenge parts have come to, and what follows."""

    def __init__(
        self, gates: Mapping[str, ChallengeGate], *, store: Store, sender: Sender, health: Health, clock: Clock
    ) -> None:
        self._gates, self._store, self._sender = gates, store, sender
        self._health, self._clock = health, clock

    def look(self) -> None:
        """Bring store, gates and board up to date. Raises Transient: the store is away; gates go on by themselves."""
        for station_id, gate in self._gates.items():
            self._look_at(station_id, gate)

    def _look_at(self, station_id: str, gate: ChallengeGate) -> None:
        now = self._clock.now()
        with self._store.reader() as unit:
            record = unit.facts.get(fact(station_id))
            noted = self._noted(unit, station_id, gate.plan, now)
        if noted != record:
            with self._store.unit() as unit:  # read again: a person may have written meanwhile
                noted = self._noted(unit, station_id, gate.plan, now)
                self._write(unit, station_id, gate.plan, noted, now)
                unit.commit()
        state = from_record(noted, now)
        gate.adopt(state)
        self._tell(station_id, gate, state)

    def _noted(self, unit: UnitOfWork, station_id: str, plan: Plan, now: datetime) -> dict[str, Any]:
        """What should be stored now."""
        before = from_record(unit.facts.get(fact(station_id)), now)
        seen = unit.inspections.challenges(station_id, before.run.started_at) if before.run else []
        state, results = advanced(before, plan, seen, now)
        held = holding(state, plan, now)
        state = replace(state, told=held.code if held else "")
        shown = results or ((unit.facts.get(fact(station_id)) or {}).get("results", {}) if before.run is None else {})
        return {
            **as_record(state),
            "due_at": due_at(state, plan).isoformat(),
            "holding": held.text if held else "",
            "parts": [_described(part) for part in plan.parts],
            "results": dict(shown),
        }

    def _write(self, unit: UnitOfWork, station_id: str, plan: Plan, noted: dict[str, Any], now: datetime) -> None:
        before = from_record(unit.facts.get(fact(station_id)), now)
        state = from_record(noted, now)
        unit.facts.set(fact(station_id), noted)
        if before.run is not None and state.run is None:
            word = "failed" if state.failed else "passed" if state.passed_at != before.passed_at else "unfinished"
            self._audit(unit, f"challenge.{word}", f"challenge:{station_id}", state.outcome)
            log.warning("challenge over", station=station_id, outcome=state.outcome)
        if before.told != state.told:
            self._alarm(unit, station_id, holding(state, plan, now))

    def _alarm(self, unit: UnitOfWork, station_id: str, held: Reason | None) -> None:
        subject = f"alarm:challenge:{station_id}"
        if held is None:
            self._audit(unit, "alarm.ended", subject, "products are inspected again")
            return
        said = f"{station_id}: all parts are held: {held.text}"
        self._audit(unit, "alarm.raised", subject, said)
        unit.outbox.add(
            outbound.error(
                "inspection",
                topic=self._sender.topic_root,
                reason_code=held.code,
                detail=said,
                original=b"",
                sender=self._sender,
                clock=self._clock,
            )
        )
        log.warning("parts are held by the challenge", station=station_id, why=held.text)

    def _audit(self, unit: UnitOfWork, action: str, subject: str, detail: str) -> None:
        unit.audit.append(actor=self._sender.agent, action=action, subject=subject, detail=detail)

    def _tell(self, station_id: str, gate: ChallengeGate, state: ChallengeState) -> None:
        held = gate.held()
        metrics.CHALLENGE_HOLDS.labels(station_id).set(held is not None)
        due = f"due at {due_at(state, gate.plan):%Y-%m-%d %H:%M} UTC"
        running = f"; {state.run.by} shows challenge parts now" if state.run else ""
        condition = Condition.OK if held is None else Condition.DOWN
        detail = (held.text if held else due) + running
        self._health.report(f"challenge:{station_id}", condition, detail, at=self._clock.now())


def _described(part: ChallengePart) -> dict[str, Any]:
    return {
        "part_id": part.part_id,
        "evaluation": part.evaluation.value,
        "defects": dict(part.defects),
        "image": part.image_path is not None,
    }
