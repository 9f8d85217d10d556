"""The challenge: known parts show that the inspection still sees what it must. Not passed in time: all parts are held.

Pure: what is stored, what was seen and the time give what holds now.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from edge_agent.domain.counting import counted_defects
from edge_agent.domain.inspection import Evaluation, Inspection
from edge_agent.domain.reason import Reason

FAILED, OVERDUE, NOT_STARTED = "challenge.failed", "challenge.overdue", "challenge.not_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengePart:
    """A part, or an image of one, whose evaluation is known.

    Attributes:
        part_id: as the trigger gives it; of an image a name of our own.
        defects: least number of counted defects by class.
        image_path: an image that is inspected in place of a part; it shows that model and recipe are right, not that
            the camera is.
        product_id: of an image, whose trigger nobody sends.
    """

    part_id: str
    evaluation: Evaluation
    defects: Mapping[str, int] = field(default_factory=dict)
    image_path: str | None = None
    product_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A station's challenge.

    Attributes:
        following: the first instant after this one at which a challenge is due by the clock; None: every ``every``.
        grace: so much later parts are held; a challenge that was passed so much earlier counts.
        within: a challenge that was started must be over by then.
    """

    parts: tuple[ChallengePart, ...]
    following: Callable[[datetime], datetime] | None
    every: timedelta
    grace: timedelta
    within: timedelta

    @property
    def part_ids(self) -> frozenset[str]:
        """Ids that are challenge parts and never products."""
        return frozenset(part.part_id for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A challenge that was started and is not over."""

    by: str
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeState:
    """What is known of a station's challenge.

    Attributes:
        since: when it was first configured.
        released_at: a person let the station go on without a challenge, until the next one is due.
        outcome: of the last one that is over, in a sentence.
        told: the reason for holding parts that was last told to the plant; empty when none holds.
    """

    since: datetime
    passed_at: datetime | None = None
    released_at: datetime | None = None
    run: Run | None = None
    failed: str = ""
    outcome: str = ""
    told: str = ""

    @property
    def settled_at(self) -> datetime:
        """When it was last passed, released, or began to be asked for."""
        return max(one for one in (self.since, self.passed_at, self.released_at) if one is not None)


def due_at(state: ChallengeState, plan: Plan) -> datetime:
    """When the next challenge is due, or was."""
    if plan.following is None:
        return state.settled_at + plan.every
    early = plan.grace if state.passed_at == state.settled_at else timedelta(0)
    return plan.following(state.settled_at + early)


def holding(state: ChallengeState, plan: Plan, now: datetime) -> Reason | None:
    """Why parts are held now; None when they are inspected."""
    if state.failed:
        return Reason(code=FAILED, text=state.failed)
    due = due_at(state, plan)
    if now > due + plan.grace:
        return Reason(code=OVERDUE, text=f"the challenge was due at {due:%Y-%m-%d %H:%M} UTC and was not passed")
    return None


def started(state: ChallengeState, by: str, now: datetime) -> ChallengeState:
    """An operator begins; one that is under way begins anew."""
    return replace(state, run=Run(by=by, started_at=now))


def released(state: ChallengeState, by: str, reason: str, now: datetime) -> ChallengeState:
    """A named person lets the station go on, until the next challenge is due."""
    return replace(state, released_at=now, failed="", run=None, outcome=f"released by {by}: {reason}")


def advanced(
    state: ChallengeState, plan: Plan, seen: Iterable[Inspection], now: datetime
) -> tuple[ChallengeState, Mapping[str, str]]:
    """What the challenge parts that were inspected have come to.

    The first look that gave an evaluation counts; one that was not inspected (no frame, too late) must be shown again.

    Args:
        seen: inspections of challenge parts, oldest first.

    Returns:
        The state, and by part what it came to while a challenge runs: empty when as expected, else what was wrong.
    """
    if state.run is None:
        return state, {}
    results: dict[str, str] = {}
    last = state.run.started_at
    expected = {part.part_id: part for part in plan.parts}
    for one in seen:
        part = expected.get(one.shot.part_id)
        if part is None or one.ended_at < state.run.started_at:
            continue
        if one.evaluation is Evaluation.NOT_INSPECTED and part.image_path is None:
            continue
        results.setdefault(part.part_id, differs(part, one))
        last = max(last, one.ended_at)
    wrong = [f"{part_id}: {text}" for part_id, text in results.items() if text]
    if wrong:
        failed = f"challenge of {state.run.by} failed: " + "; ".join(wrong)
        return replace(state, run=None, failed=failed, outcome=failed), results
    if len(results) == len(expected):
        outcome = f"passed by {state.run.by} with {len(results)} parts"
        return replace(state, run=None, failed="", passed_at=last, outcome=outcome), results
    if now > state.run.started_at + plan.within:
        missing = ", ".join(sorted(set(expected) - set(results)))
        outcome = f"challenge of {state.run.by} was not finished in time; not shown: {missing}"
        return replace(state, run=None, outcome=outcome), results
    return state, results


def differs(part: ChallengePart, seen: Inspection) -> str:
    """What is not as expected; empty when all is."""
    if seen.evaluation is not part.evaluation:
        return f"expected {part.evaluation}, got {seen.evaluation}"
    counts = Counter(defect.code for defect in counted_defects(seen))
    short = [f"{least} x {code}, found {counts[code]}" for code, least in part.defects.items() if counts[code] < least]
    return f"expected {', '.join(short)}" if short else ""


def following_daily(times: Iterable[str], zone: ZoneInfo) -> Callable[[datetime], datetime]:
    """The first of the given local times of day (``HH:MM``) after an instant."""
    clock = sorted(time.fromisoformat(text) for text in times)

    def after(at: datetime) -> datetime:
        day = at.astimezone(zone).date()
        candidates = (
            datetime.combine(day + timedelta(days=days), one, tzinfo=zone).astimezone(at.tzinfo)
            for days in (0, 1, 2)
            for one in clock
        )
        return next(one for one in candidates if one > at)

    return after


# --- as JSON --------------------------------------------------------------------------------------------------------


def fact(station_id: str) -> str:
    """Under which a station's state is stored."""
    return f"challenge:{station_id}"


def as_record(state: ChallengeState) -> dict[str, Any]:
    """The state as JSON."""
    run = state.run
    return {
        "since": state.since.isoformat(),
        "passed_at": _text(state.passed_at),
        "released_at": _text(state.released_at),
        "run": {"by": run.by, "started_at": run.started_at.isoformat()} if run else None,
        "failed": state.failed,
        "outcome": state.outcome,
        "told": state.told,
    }


def from_record(record: Mapping[str, Any] | None, now: datetime) -> ChallengeState:
    """The state from its JSON; a new one where there is none."""
    if not record:
        return ChallengeState(since=now)
    run = record["run"]
    return ChallengeState(
        since=datetime.fromisoformat(record["since"]),
        passed_at=_instant(record["passed_at"]),
        released_at=_instant(record["released_at"]),
        run=Run(by=run["by"], started_at=datetime.fromisoformat(run["started_at"])) if run else None,
        failed=str(record["failed"]),
        outcome=str(record["outcome"]),
        told=str(record["told"]),
    )


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
