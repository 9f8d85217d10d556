"""What a model that sees said of the defects' pictures: for people to read, without a token, so without any weight."""

from edge_agent.domain.evidence import Evidence
from edge_agent.domain.step import Step
from edge_agent.responding.evidence.window import Window, fact

TOOL = "vision.describe@1"
STRENGTH = 0.1
"""Shown as what it is worth; nothing is ranked by it."""


def find(window: Window) -> list[Evidence]:
    """One fact for each picture that was described in the taxonomy's words."""
    return [described(window, step) for step in window.descriptions]


def described(window: Window, step: Step) -> Evidence:
    """The fact of one accepted description."""
    return fact(
        window,
        tool=TOOL,
        token=None,
        statement=statement(step),
        present=True,
        strength=STRENGTH,
        n=1,
        provenance={"model": step.detail.get("model", ""), "inspection": step.detail.get("inspection", "")},
    )


def statement(step: Step) -> str:
    """``Picture 1 (part P-7): looks like open; rough, gap (described by model X, unchecked)``."""
    detail = step.detail
    where = f"Picture {step.turn} (part {detail.get('part', '?')})"
    return f"{where}: {detail.get('said', '')} (described by model {detail.get('model', '?')}, not checked by anybody)"
