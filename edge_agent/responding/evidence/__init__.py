"""Evidence tools: pure functions over one incident's window. Each has a false-trigger rate that is measured."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.responding.evidence import (
    baseline,
    class_mix,
    coincidence,
    counter_check,
    genealogy,
    inspection_health,
    rate_change,
    sensor_health,
    similar_cases,
    spatial,
    strata,
    telemetry_change,
    telemetry_corr,
    telemetry_limit,
    time_shape,
    vision_description,
)
from edge_agent.responding.evidence.window import Window

TOOLS: tuple[Callable[[Window], list[Evidence]], ...] = (
    rate_change.find,
    baseline.find,
    class_mix.find,
    spatial.find,
    strata.find,
    time_shape.find,
    coincidence.find,
    telemetry_change.find,
    telemetry_limit.find,
    sensor_health.find,
    inspection_health.find,
    telemetry_corr.find,
    genealogy.find,
    vision_description.find,
)
VERSION = "3"


def collect(window: Window, earlier: Sequence[Evidence] = ()) -> tuple[Evidence, ...]:
    """Run every tool and give each fact its id.

    Args:
        earlier: the evidence of the previous revision; the same fact keeps its id.
    """
    found = [one for tool in TOOLS for one in tool(window)]
    found = _distrust(found, sensor_health.silent_signals(window))
    found = counter_check.check(window, found)
    found.extend(similar_cases.find(window, found))
    return _numbered(found, earlier)


def _distrust(found: Iterable[Evidence], signals: frozenset[str]) -> list[Evidence]:
    """What a sensor says that is silent or stuck is unknown, never normal."""
    return [
        replace(one, polarity=Polarity.UNKNOWN, strength=0.0)
        if one.token and one.token.startswith("tel:") and one.token[4:-1] in signals
        else one
        for one in found
    ]


_ORDER = {Polarity.PRESENT: 0, Polarity.ABSENT: 1, Polarity.UNKNOWN: 2}


def _numbered(found: list[Evidence], earlier: Sequence[Evidence]) -> tuple[Evidence, ...]:
    known = {_identity(one): one.evidence_id for one in earlier}
    used = {int(one.evidence_id[1:]) for one in earlier if one.evidence_id[1:].isdigit()}
    following = max(used, default=0) + 1
    numbered: list[Evidence] = []
    for one in sorted(found, key=lambda one: _ORDER[one.polarity]):
        evidence_id = known.pop(_identity(one), None)
        if evidence_id is None:
            evidence_id, following = f"E{following}", following + 1
        numbered.append(replace(one, evidence_id=evidence_id))
    return tuple(numbered)


def _identity(one: Evidence) -> tuple[str, str]:
    """What makes a fact the same fact in the next revision."""
    subject = one.token or " ".join(one.statement.split(" ")[:3])
    return one.tool, subject
