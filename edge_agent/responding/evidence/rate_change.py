"""How much more often, and since when. For people: the incident itself is built on it."""

from edge_agent.domain.evidence import Evidence
from edge_agent.responding.evidence.window import Window, fact
from edge_agent.responding.words import clock_time, defect_name, share

TOOL = "rate.change@1"


def find(window: Window) -> list[Evidence]:
    """The rate since the onset against the normal one."""
    incident = window.incident
    names = ", ".join(defect_name(code) for code in incident.class_counts) or defect_name(incident.code)
    statement = (
        f"{names} on {incident.defective_parts} of {incident.parts} parts since {clock_time(incident.onset_from)} "
        f"({share(incident.rate)}, normally {share(incident.baseline_rate)})"
    )
    return [
        fact(
            window,
            tool=TOOL,
            token=None,
            statement=statement,
            present=True,
            strength=0.99,
            n=incident.parts,
            value=incident.rate,
            unit="share",
            baseline=incident.baseline_rate,
        )
    ]
