"""Was it like that before, too? A pattern that earlier defects had as well did not begin with the trouble."""

from collections.abc import Sequence
from dataclasses import replace

from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.responding.evidence import spatial
from edge_agent.responding.evidence.window import Window

BEFORE = "before"
NO_SHAPE = {"sp:uniform"}
ENOUGH = 12
"""Earlier defects that are needed to say so."""


def check(window: Window, found: Sequence[Evidence]) -> list[Evidence]:
    """The facts, with those patterns marked as confounded that the defects before the onset show too."""
    shaped = [one for one in found if _is_pattern(one)]
    if not shaped or len(window.marks_before) < ENOUGH:
        return list(found)
    earlier = {f"sp:{name}" for name in spatial.patterns(window, window.marks_before)}
    return [
        replace(
            one,
            confounded_with=(*one.confounded_with, BEFORE),
            statement=f"{one.statement}; earlier defects show that too",
        )
        if _is_pattern(one) and one.token in earlier
        else one
        for one in found
    ]


def _is_pattern(one: Evidence) -> bool:
    token = one.token or ""
    return token.startswith("sp:") and token not in NO_SHAPE and one.polarity is Polarity.PRESENT
