"""What planner and technician do with an order: decided when it comes in, by a seed, told step by step.

They are people: they refuse some orders, ask back, come late, say things twice, and now and then write down the wrong
cause (the repair is right all the same: it is the label that is noisy, as in every plant).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from edge_agent.mes.letters import confirms
from edge_agent.simulation.mes.truth import Fault

REJECTS = 0.06
ASKS = 0.15
LATE = 0.15
TWICE = 0.20
WRONG = 0.10
KNOWS = 0.5
NOTHING_FOUND = "NONE"
REASONS = ("no maintenance window this shift, please contain", "equipment is not ours, ask the process engineer")
QUESTIONS = ("which lot is affected?", "is the line to be stopped for the check?", "who has the spare part?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing told to the box.

    Attributes:
        after_min: simulated minutes after the order came in.
        repairs: the work is done with this step.
        copies: how often it is sent.
    """

    event: str
    after_min: float
    reason: str = ""
    suspicion: str = ""
    actual: Mapping[str, Any] | None = None
    repairs: bool = False
    copies: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How the people are; probabilities from 0 to 1."""

    rejects: float = REJECTS
    asks: float = ASKS
    late: float = LATE
    twice: float = TWICE
    wrong: float = WRONG


@dataclass(frozen=True, slots=True)
class Technician:
    """Makes the plan for one order.

    Attributes:
        habits: all zero is the ideal technician.
    """

    seed: int
    habits: Habits = field(default_factory=Habits)

    def plan(self, order: Mapping[str, Any], nth: int, fault: Fault | None) -> list[Step]:
        """The steps, earliest first.

        Args:
            nth: how many orders came before; the first is never refused.
            fault: what is really broken; None: nothing.
        """
        random = Random(f"{self.seed}/{nth}")
        review_min = random.uniform(1, 4)
        if nth > 0 and random.random() < self.habits.rejects:
            return [Step(event="rejected", after_min=review_min, reason=random.choice(REASONS))]
        return self._work(random, order, fault, review_min)

    def _work(self, random: Random, order: Mapping[str, Any], fault: Fault | None, review_min: float) -> list[Step]:
        suspicion = self._suspicion(order, fault) if order.get("rankingHidden") else ""
        steps = [Step(event="accepted", after_min=review_min, suspicion=suspicion)]
        at = review_min + random.uniform(2, 8) * float(order.get("priority", 3))
        if random.random() < self.habits.asks:
            steps.append(Step(event="held", after_min=at, reason=random.choice(QUESTIONS)))
            at += random.uniform(3, 10)
        steps.append(Step(event="started", after_min=at))
        minutes = round(random.uniform(8, 45), 1)
        at += minutes
        steps.append(Step(event="completed", after_min=at, repairs=True))
        at += random.uniform(60, 240) if random.random() < self.habits.late else random.uniform(1, 6)
        copies = 2 if random.random() < self.habits.twice else 1
        actual = self._actual(random, order, fault, minutes)
        return [*steps, Step(event="closed", after_min=at, actual=actual, copies=copies)]

    def _suspicion(self, order: Mapping[str, Any], fault: Fault | None) -> str:
        """Before they see the ranking, half of the time they are right."""
        random = Random(f"{self.seed}/{order['jobOrderId']}/suspicion")
        choices = [str(one["causeCode"]) for one in order.get("causeChoices") or ()]
        if not choices or random.random() < KNOWS:
            return fault.cause_id if fault else NOTHING_FOUND
        return random.choice(choices)

    def _actual(
        self, random: Random, order: Mapping[str, Any], fault: Fault | None, minutes: float
    ) -> Mapping[str, Any]:
        cause, text = (fault.cause_id, fault.text) if fault else (NOTHING_FOUND, "no fault found")
        suspects = list(order.get("suspects", ()))
        if random.random() < self.habits.wrong:
            others = [suspect for suspect in suspects if suspect["causeCode"] != cause]
            if others:
                mistaken = random.choice(others)
                cause, text = mistaken["causeCode"], mistaken["name"]
        actions = [action for suspect in suspects if suspect["causeCode"] == cause for action in suspect["actions"]][:2]
        return {
            "causeCode": cause,
            "causeText": text,
            "confirms": confirms(order.get("expectedCause"), [suspect["causeCode"] for suspect in suspects], cause),
            "rcaId": order.get("rcaId"),
            "actions": [action["id"] for action in actions],
            "parts": [part for action in actions for part in action["parts"]],
            "minutes": minutes,
            "personnel": f"technician-{random.randint(1, 4)}",
        }
