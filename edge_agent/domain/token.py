"""Evidence tokens: the closed vocabulary between the tools that look and the catalogue that expects.

``sp:`` where on the part, ``tm:`` when, ``strat:`` worse on one of them than on the others, ``tel:`` a signal rose
(``+``) or fell (``-``), ``insp:`` the inspection itself, ``mix:`` the mix of classes, ``class:`` a defect class.
"""

SPATIAL = ("repeat", "streak", "edge", "center", "line", "pitch", "cluster", "uniform", "side")
TIMES = (
    "step",
    "drift",
    "pulse",
    "periodic",
    "maintenance",
    "lot_change",
    "tool_change",
    "shift_change",
    "startup",
    "line_stop",
    "cleaning",
    "filter_change",
)
INSPECTION = ("focus", "brightness", "match", "shift", "undecidable", "appearance", "scores")
MIX = ("broad",)

_CLOSED = {"sp": SPATIAL, "tm": TIMES, "insp": INSPECTION, "mix": MIX}
_SPATIAL_PHRASES = {
    "repeat": "the same place on several parts",
    "streak": "a streak along the direction of travel",
    "edge": "near the edges of the part",
    "center": "on the centre line of the part",
    "line": "lines of defects on single parts",
    "pitch": "a fixed distance between defects",
    "cluster": "clusters on single parts",
    "uniform": "spread evenly over the part",
    "side": "on one half of the part",
}
_INSPECTION_PHRASES = {
    "undecidable": "images could not be judged",
    "appearance": "images look different",
    "scores": "scores of good parts changed",
}
_TIME_PHRASES = {
    "step": "began in a step",
    "drift": "grew slowly",
    "pulse": "a short pulse",
    "periodic": "came back at a fixed interval",
}


def well_formed(token: str) -> bool:
    """Can some tool produce this token?"""
    prefix, _, name = token.partition(":")
    if prefix in _CLOSED:
        return name in _CLOSED[prefix]
    if prefix == "tel":
        return len(name) > 1 and name[-1] in "+-"
    return prefix in {"strat", "class"} and bool(name)


def signal_of(token: str) -> str | None:
    """The process signal of a ``tel:`` token."""
    return token[4:-1] if token.startswith("tel:") else None


def phrase(token: str) -> str:
    """The token in plant language, without numbers."""
    prefix, _, name = token.partition(":")
    match prefix:
        case "sp":
            return _SPATIAL_PHRASES.get(name, name)
        case "tm":
            return _TIME_PHRASES.get(name, f"after a {name.replace('_', ' ')}")
        case "tel":
            return f"{name[:-1]} {'rose' if name[-1] == '+' else 'fell'}"
        case "strat":
            return f"one {name.replace('_', ' ')} worse than the others"
        case "insp":
            return _INSPECTION_PHRASES.get(name, f"image {name} changed")
        case "mix":
            return "all classes at once"
        case _:
            return f"{name.replace('_', ' ')} more often than normal"
