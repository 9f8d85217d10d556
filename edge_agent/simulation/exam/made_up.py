"""Catalogues of causes that do not exist, so that reading is asked for and not knowledge of real ones."""

import random

from edge_agent.domain import token as tokens
from edge_agent.domain.cause import Catalogue, Cause, Signature, TokenExpectation

_STATES = [
    "Worn",
    "Loose",
    "Clogged",
    "Bent",
    "Cold",
    "Hot",
    "Dirty",
    "Cracked",
    "Misaligned",
    "Leaking",
    "Dry",
    "Slipping",
    "Dull",
    "Blocked",
    "Unbalanced",
    "Aged",
    "Wet",
    "Overloaded",
    "Warped",
    "Burnt",
]
_THINGS = [
    "belt",
    "roller",
    "nozzle",
    "pump",
    "oven",
    "blade",
    "gripper",
    "valve",
    "bearing",
    "mould",
    "spindle",
    "chuck",
    "lens",
    "heater",
    "fan",
    "filter",
    "guide",
    "hopper",
    "press",
    "tank",
    "coil",
    "wheel",
    "clamp",
    "feeder",
    "die",
    "cutter",
    "stamp",
    "lamp",
    "mirror",
    "hose",
]
_QUANTITIES = [
    "temp",
    "pressure",
    "speed",
    "flow",
    "current",
    "torque",
    "level",
    "voltage",
    "humidity",
    "force",
    "gap",
    "vibration",
    "load",
    "stroke",
    "dose",
    "tension",
    "purity",
    "power_kw",
    "density",
    "angle",
]
_ATTRIBUTES = [
    "lane",
    "cavity",
    "head",
    "nest",
    "tray",
    "spool",
    "batch",
    "mould_half",
    "crew",
    "tool_holder",
    "station_arm",
    "gripper_id",
    "pallet",
]
_CLASSES = ("dent", "crack", "stain", "burr", "void", "scratch", "chip", "warp")
_CAUSES = 12


def made_up(series: str, number: int) -> Catalogue:
    """Catalogue ``number`` of a series."""
    dice = random.Random(f"{series}:catalogue:{number}")
    classes = tuple(dice.sample(_CLASSES, 3))
    signals = [f"{thing}_{dice.choice(_QUANTITIES)}" for thing in dice.sample(_THINGS, 10)]
    pool = [f"tel:{name}{sign}" for name in signals for sign in "+-"]
    pool += [f"strat:{name}" for name in dice.sample(_ATTRIBUTES, 5)]
    pool += [f"sp:{name}" for name in tokens.SPATIAL] + [f"tm:{name}" for name in tokens.TIMES]
    names = dice.sample([f"{state} {thing}" for state in _STATES for thing in _THINGS], _CAUSES)
    return Catalogue(
        domain="made_up",
        version=str(number),
        causes=tuple(_cause(place, name, classes, pool, dice) for place, name in enumerate(names, 1)),
        severity=dict.fromkeys(classes, 6),
        background=dict.fromkeys(pool, 0.02) | {"sp:uniform": 0.9},
        families={"all": classes},
    )


def _cause(place: int, name: str, classes: tuple[str, ...], pool: list[str], dice: random.Random) -> Cause:
    return Cause(
        cause_id=f"X{place:02}",
        name=name,
        category_6m="Machine",
        process_step="making",
        occurrence=dice.randint(3, 6),
        detection=5,
        classes=dict.fromkeys(dice.sample(classes, dice.randint(1, 3)), 0.5),
        signatures=tuple(_signature(pool, dice) for _ in range(dice.choice((1, 1, 2)))),
    )


def _signature(pool: list[str], dice: random.Random) -> Signature:
    drawn = dice.sample(pool, 7)
    required, either, excluded = dice.randint(1, 2), dice.randint(0, 3), dice.randint(0, 2)
    return Signature(
        all_of=tuple(TokenExpectation(token=one, p=0.8) for one in drawn[:required]),
        any_of=tuple(TokenExpectation(token=one, p=0.5) for one in drawn[required : required + either]),
        none_of=tuple(TokenExpectation(token=one, p=0.04) for one in drawn[5 : 5 + excluded]),
    )
