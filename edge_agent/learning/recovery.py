"""Did it help? The rate after the action against the rate before: the best label there is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from scipy import special

from edge_agent.domain.cause import NONE, Catalogue
from edge_agent.domain.counting import is_decided, shows
from edge_agent.domain.incident import Incident
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.verdict import ConfirmedCase

SIGNIFICANT = 0.02
RECOVERED_BELOW, UNCHANGED_ABOVE = 0.5, 0.3
"""Recovered: significantly below half the old rate. Failed: significantly above three tenths of it."""
GIVE_UP_PARTS = 1000
WEIGHTS, PASSED_WEIGHTS = (0.0, 0.3, 0.5, 0.7), (0.0, 0.5, 0.7, 1.0)
"""What a label is worth before a passed test, and after; between these in proportion."""
FAILED_FACTOR = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A recovery test under way.

    Attributes:
        since: parts made from then on count.
        rate: share of defective parts during the incident.
    """

    order_id: UUID
    station_id: str
    family: str
    since: datetime
    rate: float


def trial_of(case: ConfirmedCase, incident: Incident) -> Trial:
    """The test that a closed order's case has to pass."""
    return Trial(
        order_id=case.order_id,
        station_id=incident.station_id,
        family=incident.attributes.get("family", incident.code),
        since=case.confirmed_at,
        rate=incident.rate,
    )


def verdict(trial: Trial, defective: int, parts: int) -> bool | None:
    """True: the rate fell; False: it did not; None: too early to say."""
    if parts and special.bdtr(defective, parts, min(0.99, RECOVERED_BELOW * trial.rate)) < SIGNIFICANT:
        return True
    if defective >= 3:
        tail = special.bdtrc(defective - 1, parts, min(0.99, UNCHANGED_ABOVE * trial.rate))
        return False if tail < SIGNIFICANT else None
    return None


def tally(trial: Trial, inspections: list[Inspection], catalogue: Catalogue) -> tuple[int, int]:
    """Defective and judged parts that were made after the action."""
    codes = catalogue.classes_of(trial.family)
    made = [one for one in inspections if one.shot.triggered_at > trial.since]
    counted = [one for one in made if is_decided(one) or shows(one, codes)]
    return sum(shows(one, codes) for one in counted), len(counted)


def adjusted_weight(case: ConfirmedCase, recovered: bool) -> float:
    """The label's weight once the test has spoken. "No fault" earns nothing by a rate that fell by itself."""
    if not recovered:
        return round(case.weight * FAILED_FACTOR, 3)
    if case.cause_id == NONE:
        return case.weight
    return round(float(np.interp(case.weight, WEIGHTS, PASSED_WEIGHTS)), 3)


def as_record(trial: Trial) -> dict[str, Any]:
    """A trial as JSON."""
    return {
        "order_id": str(trial.order_id),
        "station_id": trial.station_id,
        "family": trial.family,
        "since": trial.since.isoformat(),
        "rate": trial.rate,
    }


def from_record(record: Mapping[str, Any]) -> Trial:
    """The reverse of `as_record`."""
    return Trial(
        order_id=UUID(record["order_id"]),
        station_id=str(record["station_id"]),
        family=str(record["family"]),
        since=datetime.fromisoformat(record["since"]),
        rate=float(record["rate"]),
    )
