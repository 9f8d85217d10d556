"""Which signals left the control plan's limits? The plant sets limits; none is invented here."""

from edge_agent.domain.evidence import Evidence
from edge_agent.domain.plant import Sample, Signal
from edge_agent.responding.evidence.window import Window, fact
from edge_agent.responding.words import number, share

TOOL = "telemetry.limit@1"
OUTSIDE, NORMAL = 0.2, 0.05
MIN_READINGS = 4


def find(window: Window) -> list[Evidence]:
    """The ``tel:`` token of each limit that is broken since the onset and was kept before."""
    facts: list[Evidence] = []
    for name, signal in sorted(window.signals.items()):
        series = [sample for sample in window.series.get(name, ()) if sample.value is not None]
        for sign, limit in (("+", signal.upper), ("-", signal.lower)):
            if limit is not None and (one := _broken(window, signal, series, sign, limit)):
                facts.append(one)
    return facts


def _broken(window: Window, signal: Signal, series: list[Sample], sign: str, limit: float) -> Evidence | None:
    outside = [(s.at, (s.value or 0.0) > limit if sign == "+" else (s.value or 0.0) < limit) for s in series]
    before = [bad for at, bad in outside if at < window.incident.onset_from]
    after = [bad for at, bad in outside if at >= window.onset_at]
    if len(after) < MIN_READINGS or sum(after) / len(after) < OUTSIDE:
        return None
    if before and sum(before) / len(before) > NORMAL:
        return None
    side = "above its upper" if sign == "+" else "below its lower"
    name = signal.label
    statement = (
        f"{name} is {side} limit of {number(limit)} {signal.unit} in {share(sum(after) / len(after))} of readings"
    )
    return fact(
        window,
        tool=TOOL,
        token=f"tel:{signal.name}{sign}",
        statement=statement,
        present=True,
        strength=0.97,
        n=len(after),
        value=limit,
        unit=signal.unit,
        provenance={"signal": signal.name},
    )
