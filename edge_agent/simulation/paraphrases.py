"""What a plant's people say of the same findings, in other words than the agent's: for measuring how cases are found.

Written before anything was measured with it, and nothing was tuned on it. The words of `edge_agent.domain.token` are
avoided where a person would not use them.
"""

import random
from collections.abc import Collection, Mapping

CLASSES: Mapping[str, tuple[str, ...]] = {
    "open": ("broken traces", "interrupted conductors"),
    "short": ("tracks joined together", "copper bridging between conductors"),
    "mousebite": ("nibbled line edges", "notches in the traces"),
    "spur": ("copper whiskers sticking out", "little protrusions on the lines"),
    "spurious_copper": ("leftover metal islands", "unetched copper where none belongs"),
    "pin_hole": ("tiny voids in the plane", "small holes through the metal"),
    "not_decidable": ("the camera cannot tell", "pictures nobody can judge"),
}
PLACES: Mapping[str, tuple[str, ...]] = {
    "repeat": ("always at one spot", "identical position each panel"),
    "streak": ("in a stripe along the conveyor", "a band the way the boards run"),
    "edge": ("round the border", "at the rim of the panel"),
    "center": ("in the middle", "down the centre of the panel"),
    "line": ("like a scratch", "in a row as if dragged"),
    "pitch": ("every so many millimetres, like a roller mark", "repeating at one spacing"),
    "cluster": ("in a clump", "bunched together on a board"),
    "uniform": ("all over the place", "scattered everywhere"),
    "side": ("only on the left half", "one side is bad, the other fine"),
}
TIMES: Mapping[str, tuple[str, ...]] = {
    "step": ("all of a sudden", "from one panel to the next"),
    "drift": ("creeping up for hours", "bit by bit worse"),
    "pulse": ("for a few minutes only", "just a handful and then gone"),
    "periodic": ("comes and goes regularly", "on and off in a rhythm"),
    "maintenance": ("since the fitters were in", "right after the service job"),
    "lot_change": ("with the new batch", "since other material came in"),
    "tool_change": ("since the tool was swapped", "after they put in a new one"),
    "shift_change": ("since the crew changed", "when the night people took over"),
    "startup": ("first panels in the morning", "right after switching on"),
    "line_stop": ("after the line had stood", "following a standstill"),
    "cleaning": ("since they cleaned", "after the wash-down"),
    "filter_change": ("with the new filter", "after swapping the filters"),
}
NAMES: Mapping[str, tuple[str, ...]] = {
    "etch_temp": ("the etching bath", "how warm the etcher is"),
    "etch_speed": ("the etcher's belt", "how fast boards go through the etcher"),
    "etch_cu": ("dissolved metal in the etchant", "copper loading of the bath"),
    "etch_orp": ("the redox reading", "oxidising power of the etchant"),
    "etch_acid": ("free acid", "acidity of the bath"),
    "etch_spray": ("etcher nozzle force", "jets of the etching chamber"),
    "dev_temp": ("developer warmth", "heat of the developing bath"),
    "dev_conc": ("developer strength", "carbonate in the developer"),
    "dev_spray": ("developer jets", "nozzle force when developing"),
    "rinse_spray": ("the wash jets", "rinsing force"),
    "expo_energy": ("the light dose", "lamp output at the exposer"),
    "expo_vacuum": ("suction of the printing frame", "the draw-down of the frame"),
    "lam_temp": ("heat of the laminating rolls", "hot roll"),
    "lam_press": ("nip force of the laminator", "squeeze of the rolls"),
    "lam_speed": ("how fast it laminates", "pace of the laminator"),
    "preclean_press": ("brush force before lamination", "scrubber load"),
    "room_particles": ("dust in the clean room", "airborne dirt"),
    "room_rh": ("humidity", "moisture in the air"),
    "filter_dp": ("air filter resistance", "drop over the air filter"),
}
MOVES: Mapping[str, tuple[str, ...]] = {
    "+": ("went up", "is higher than it should be"),
    "-": ("dropped", "is lower than it should be"),
}
STRATA: Mapping[str, tuple[str, ...]] = {
    "phototool": ("only with one film", "one artwork"),
    "frame": ("just one printing frame", "one frame is the culprit"),
    "laminator": ("one of the two laminating machines",),
    "expo_unit": ("a single exposing machine",),
    "side": ("top only", "underside only"),
    "rack": ("boards from one carrier",),
    "laminate_lot": ("one delivery of base material", "boards of one supplier batch"),
    "resist_lot": ("one roll of film resist", "a batch of dry film"),
    "shift": ("one crew",),
}


def paraphrase(tokens: Collection[str], draw: random.Random) -> str:
    """What the tokens say, in other words and an order of its own, with one finding left out where there are many."""
    kept = [one for one in tokens if one.startswith("class:")]
    others = [one for one in tokens if not one.startswith("class:")]
    if len(others) > 3:
        others.remove(draw.choice(others))
    said = [_said(one, draw) for one in (*kept, *others)]
    draw.shuffle(said)
    return ", ".join(said)


def _said(token: str, draw: random.Random) -> str:
    prefix, _, name = token.partition(":")
    if prefix == "tel":
        stem = next((stem for stem in NAMES if name.startswith(stem)), None)
        what = draw.choice(NAMES[stem]) if stem else name[:-1].replace("_", " ")
        return f"{what} {draw.choice(MOVES[name[-1]])}"
    table = {"class": CLASSES, "sp": PLACES, "tm": TIMES, "strat": STRATA}.get(prefix, {})
    return draw.choice(table.get(name, (name.replace("_", " "),)))
