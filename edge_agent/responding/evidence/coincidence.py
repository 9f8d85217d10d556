"""What happened on the line shortly before it began?"""

from datetime import timedelta
from math import exp

from edge_agent.domain.evidence import Evidence
from edge_agent.domain.plant import PlantEvent
from edge_agent.domain.token import TIMES
from edge_agent.responding.evidence.window import Window, fact, made_at
from edge_agent.responding.words import clean, clock_time

TOOL = "time.coincidence@1"
LOOKBACK_PARTS = 15
"""How many parts before the onset an event may lie: the way from the process to the camera, and a margin."""
LIKELY_CHANCE = 0.3
"""An event that is in any such window this often proves nothing."""
SHAPES = {"step", "drift", "pulse", "periodic"}
ALIASES = {"shift": "shift_change", "filter": "filter_change"}


def find(window: Window) -> list[Evidence]:
    """One ``tm:`` token per kind of event the catalogue or the line knows."""
    kinds = {token[3:] for token in window.expected if token.startswith("tm:")} - SHAPES
    heard = {_kind(event) for event in window.events}
    return [_of_kind(window, kind) for kind in sorted(kinds | (heard & set(TIMES)) - SHAPES)]


def _kind(event: PlantEvent) -> str:
    return ALIASES.get(event.kind, event.kind)


def _of_kind(window: Window, kind: str) -> Evidence:
    lookback = LOOKBACK_PARTS * window.takt
    start, end = window.incident.onset_from - lookback, window.incident.onset_to
    mine = [event for event in window.events if _kind(event) == kind]
    inside = [event for event in mine if start <= event.at <= end]
    chance = _chance(window, len(mine) - len(inside), end - start)
    words = kind.replace("_", " ")
    if not window.events:
        return _told(window, kind, None, f"the line reported no events, so a {words} is not known", 0.0, 0)
    if not inside:
        return _told(window, kind, False, f"no {words} shortly before it began", 0.9, len(mine))
    last = inside[-1]
    subject = f" ({clean(last.subject, 40)})" if last.subject else ""
    statement = f"{words}{subject} at {clock_time(last.at)}, shortly before it began"
    present = True if chance < LIKELY_CHANCE else None
    if present is None:
        statement += ", but that happens often here"
    return _told(window, kind, present, statement, 1 - chance, len(mine))


def _chance(window: Window, elsewhere: int, length: timedelta) -> float:
    """P(at least one such event in a window of this length), from the rest of the record."""
    parts = (*window.before, *window.after)
    span = (made_at(parts[-1]) - made_at(parts[0])) - length if parts else timedelta(0)
    if span <= timedelta(0):
        return 0.2
    return 1 - exp(-(elsewhere + 0.2) * (length / span))


def _told(window: Window, kind: str, present: bool | None, statement: str, strength: float, n: int) -> Evidence:
    return fact(
        window, tool=TOOL, token=f"tm:{kind}", statement=statement, present=present, strength=min(strength, 0.95), n=n
    )
