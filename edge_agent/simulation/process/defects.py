"""From the state of the equipment to flaws in the copper of one panel.

Every mechanism is a function: the equipment, the panel's route and its artwork in, flaws out. A mechanism that acts
everywhere is evaluated at the artwork's own fine features, so a streak of weak etching makes shorts only where there
are gaps to short. Numbers of critical features per panel are ``LINES`` and ``GAPS``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edge_agent.simulation.process import physics as ph
from edge_agent.simulation.process.artwork import Artwork
from edge_agent.simulation.process.equipment import Equipment
from edge_agent.simulation.process.panel import Flaw
from edge_agent.simulation.process.physics import Floats

LINES = 24
GAPS = 60
EDGES = 90
MAX_FLAWS = 4
"""More are not drawn: the panel is scrap anyway."""
BACKGROUND = {
    "open": 0.0015,
    "short": 0.0012,
    "mousebite": 0.0018,
    "spur": 0.0010,
    "spurious_copper": 0.0010,
    "pin_hole": 0.0015,
}
"""Flaws per panel without any assignable cause."""

Mix = Mapping[str, float]
Intensity = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One panel on its way: what it meets.

    Attributes:
        route: strata that matter to the physics (side, phototool, frame, laminator, expo_unit, laminate_lot, rack).
        extra_dwell_min: additional minutes under the etch sprays (stops).
        foil_ratio: copper thickness over nominal.
        roll_phase_mm: position on the lamination roll's circumference at the panel's leading edge.
    """

    line: Equipment
    artwork: Artwork
    route: Mapping[str, str]
    extra_dwell_min: float
    foil_ratio: float
    roll_phase_mm: float
    rng: np.random.Generator


def flaws_of(panel: Pass) -> tuple[Flaw, ...]:
    """All flaws of one panel, at most ``MAX_FLAWS``."""
    found = [flaw for mechanism in MECHANISMS for flaw in mechanism(panel)]
    if len(found) > MAX_FLAWS:
        chosen = panel.rng.choice(len(found), MAX_FLAWS, replace=False)
        found = [found[int(index)] for index in np.sort(chosen)]
    return tuple(found)


def background(panel: Pass) -> Iterator[Flaw]:
    """Flaws without an assignable cause."""
    for code, rate in BACKGROUND.items():
        yield from _anywhere(panel, rate, {code: 1.0}, "background")


def etching(panel: Pass) -> Iterator[Flaw]:
    """Too little etching leaves copper in gaps; too much eats lines from their edges."""
    etcher = panel.line.etcher
    rate = ph.etch_rate_ratio(
        celsius=etcher.bath.celsius,
        cupric_g_l=etcher.cupric_g_l,
        cuprous_g_l=etcher.cuprous_g_l,
        acid_n=etcher.acid_n,
    )
    speed = etcher.speed_set_m_min * etcher.drive_gain
    dwell = ph.ETCH_CHAMBER_M / speed + panel.extra_dwell_min

    def excess(places: Floats) -> Floats:
        spray = _etch_spray(panel, places)
        return ph.over_etch(rate_ratio=rate, spray=spray, dwell_min=dwell, foil_ratio=panel.foil_ratio)

    def bridged(places: Floats) -> Floats:
        return ph.bridged_gap(excess(places))

    def nibbled(places: Floats) -> Floats:
        return ph.eaten_line(excess(places), tolerance=0.35)

    def severed(places: Floats) -> Floats:
        return ph.eaten_line(excess(places), tolerance=0.40)

    yield from _at_features(panel, GAPS, bridged, {"spurious_copper": 0.5, "short": 0.38, "spur": 0.12}, "under_etch")
    yield from _at_features(panel, LINES, nibbled, {"mousebite": 1.0}, "over_etch")
    yield from _at_features(panel, LINES, severed, {"open": 1.0}, "over_etch")


def _etch_spray(panel: Pass, places: Floats) -> Floats:
    """Local etch impingement. Liquid that stands in the middle of the top side shields it when the arms are still."""
    etcher = panel.line.etcher
    side = panel.route["side"]
    opening = etcher.opening[side]
    flow = float(opening.mean()) * np.sqrt(etcher.pump_bar / 2.2)
    field = ph.spray_field(places[:, 0], opening=opening, pressure_bar=etcher.pump_bar, nominal_bar=2.2)
    field /= max(flow, 1e-3) ** 0.25
    if side == "top":
        middle = 1.0 - ((places - ph.PANEL_MM / 2) / (ph.PANEL_MM / 2)) ** 2
        puddle = np.clip(middle.min(axis=1), 0.0, 1.0) ** 2
        field = field * (1.0 - 0.30 * (1.0 - etcher.oscillation) * puddle)
    return field


def developing(panel: Pass) -> Iterator[Flaw]:
    """Resist that is not washed out of a gap keeps the etchant away: copper stays."""
    developer = panel.line.developer

    def scummed(places: Floats) -> Floats:
        spray = ph.spray_field(
            places[:, 0], opening=developer.opening, pressure_bar=developer.pump_bar, nominal_bar=1.8
        )
        point = ph.clearing(
            celsius=developer.bath.celsius,
            carbonate_pct=developer.carbonate_pct,
            loading=developer.loading,
            spray=spray,
            speed_m_min=1.8,
        )
        return ph.scummed_gap(point)

    yield from _at_features(panel, GAPS, scummed, {"spurious_copper": 0.6, "short": 0.28, "spur": 0.12}, "scum")


def adhesion(panel: Pass) -> Iterator[Flaw]:
    """Resist that lets go at an edge lets the etchant under it."""
    imaging, room = panel.line.imaging, panel.line.room
    dose = 50.0 * imaging.lamp[panel.route["expo_unit"]]
    hardness = ph.polymerised(dose)
    surface = (imaging.preclean_bar / 2.0) ** 0.4 * imaging.brush**0.6
    ageing = (1.0 - 0.25 * imaging.resist_age[panel.route["laminator"]]) * (1.0 - 0.004 * max(0.0, room.rh_pct - 55.0))

    def lifted(places: Floats) -> Floats:
        nip = ph.roll_pressure(places[:, 0], mean_bar=imaging.nip_bar)
        grip = ph.conformation(celsius=imaging.nip_celsius, pressure_bar=nip, speed_m_min=imaging.nip_speed_m_min)
        return ph.lifted_edge(grip * hardness * surface * ageing)

    yield from _at_features(panel, EDGES, lifted, {"mousebite": 0.6, "open": 0.27, "pin_hole": 0.13}, "lift_off")


def dust(panel: Pass) -> Iterator[Flaw]:
    """A particle on the resist shades it: a hole in the image, wherever it fell."""
    rate = ph.particles_on_panel(panel.line.room.particles_m3)
    yield from _anywhere(panel, rate, {"pin_hole": 0.55, "open": 0.30, "mousebite": 0.15}, "dust")


def phototool(panel: Pass) -> Iterator[Flaw]:
    """What is wrong with the phototool is wrong on every panel it exposes, at the same place."""
    imaging, tool = panel.line.imaging, panel.route["phototool"]
    for x, y in imaging.opaque_spots.get(tool, ()):
        yield from _printed(panel, ("open", "pin_hole", "mousebite"), x, y, "phototool_dirt")
    for x, y in imaging.clear_scratches.get(tool, ()):
        yield from _printed(panel, ("short", "spurious_copper", "spur"), x, y, "phototool_scratch")


def contact(panel: Pass) -> Iterator[Flaw]:
    """Light creeps under a phototool that does not lie flat; air stays longest at the frame's edge."""
    gap = ph.contact_gap_um(panel.line.imaging.vacuum_kpa[panel.route["frame"]])

    def fringed(places: Floats) -> Floats:
        edge = np.max(np.abs(2.0 * places / ph.PANEL_MM - 1.0), axis=1)
        local = gap * (0.15 + 0.85 * edge**4)
        return ph.normal_tail((6.5 - local) / 1.6)

    yield from _at_features(panel, GAPS, fringed, {"short": 0.5, "spur": 0.5}, "off_contact")


def roll(panel: Pass) -> Iterator[Flaw]:
    """A nick in a lamination roll presses once each turn, always at the same place across the web."""
    nick = panel.line.imaging.roll_nick_mm.get(panel.route["laminator"])
    if nick is None:
        return
    first = (nick[1] - panel.roll_phase_mm) % ph.ROLL_CIRCUMFERENCE_MM
    for y in np.arange(first, ph.PANEL_MM, ph.ROLL_CIRCUMFERENCE_MM):
        if panel.rng.random() < 0.7:
            yield from _printed(panel, ("open", "mousebite"), nick[0], float(y), "roll_nick", jitter_mm=2.0)


def handling(panel: Pass) -> Iterator[Flaw]:
    """A burr drags over the resist: a line of damage in one direction."""
    if panel.rng.random() >= panel.line.material.burr.get(panel.route["rack"], 0.0):
        return
    x, y = panel.rng.uniform(60, ph.PANEL_MM - 60, 2)
    angle, length = panel.rng.normal(1.2, 0.2), panel.rng.uniform(50, 110)
    for along in np.linspace(-0.5, 0.5, int(panel.rng.integers(5, 9))):
        at = x + along * length * np.cos(angle), y + along * length * np.sin(angle)
        yield from _printed(panel, ("open", "mousebite"), float(at[0]), float(at[1]), "scratch", reach_mm=5.0)


def laminate(panel: Pass) -> Iterator[Flaw]:
    """Pits in the copper foil as it was delivered."""
    rate = panel.line.material.pits_per_panel.get(panel.route["laminate_lot"], 0.0)
    yield from _anywhere(panel, rate, {"pin_hole": 0.85, "mousebite": 0.15}, "foil_pit")


def sludge(panel: Pass) -> Iterator[Flaw]:
    """Flakes of resist and sludge that pass the filter settle and mask the copper under them."""
    rate = 0.9 * panel.line.etcher.filter_leak
    yield from _anywhere(panel, rate, {"spurious_copper": 0.85, "short": 0.15}, "sludge")


def stray(panel: Pass) -> Iterator[Flaw]:
    """What influences do that belong to no machine of the line."""
    for one in panel.line.strays.values():
        if one.stratum and panel.route.get(one.stratum[0]) != one.stratum[1]:
            continue
        if one.every > 1 and panel.rng.random() >= 1 / one.every:
            continue
        for _ in range(int(panel.rng.poisson(one.rate))):
            code = _pick(panel.rng, one.mix)
            if one.spots_mm:
                x, y = one.spots_mm[int(panel.rng.integers(len(one.spots_mm)))]
                yield from _printed(panel, (code,), x, y, one.name, reach_mm=60.0)
                continue
            places = panel.artwork.places_mm[code]
            if one.corner_mm:
                inside = places[np.hypot(places[:, 0], places[:, 1]) <= one.corner_mm]
                places = inside if len(inside) else places
            x, y = places[int(panel.rng.integers(len(places)))]
            yield _flaw(panel, code, float(x), float(y), one.name)


MECHANISMS: tuple[Callable[[Pass], Iterator[Flaw]], ...] = (
    background,
    etching,
    developing,
    adhesion,
    dust,
    phototool,
    contact,
    roll,
    handling,
    laminate,
    sludge,
    stray,
)


def _pick(rng: np.random.Generator, mix: Mix) -> str:
    codes = list(mix)
    return codes[int(rng.choice(len(codes), p=np.array([mix[code] for code in codes])))]


def _anywhere(panel: Pass, rate: float, mix: Mix, mechanism: str) -> Iterator[Flaw]:
    for _ in range(int(panel.rng.poisson(rate))):
        code = _pick(panel.rng, mix)
        places = panel.artwork.places_mm[code]
        x, y = places[int(panel.rng.integers(len(places)))]
        yield _flaw(panel, code, float(x), float(y), mechanism)


_SAMPLED = 64


def _at_features(panel: Pass, count: int, chance: Intensity, mix: Mix, mechanism: str) -> Iterator[Flaw]:
    """Flaws at the artwork's own features: ``count`` of them per panel fail with ``chance`` where they lie."""
    for code, share in mix.items():
        places = panel.artwork.places_mm[code]
        chosen = places[panel.rng.integers(len(places), size=min(_SAMPLED, len(places)))]
        chances = chance(chosen)
        for _ in range(min(int(panel.rng.poisson(count * share * float(chances.mean()))), MAX_FLAWS)):
            index = int(panel.rng.choice(len(chosen), p=chances / chances.sum()))
            yield _flaw(panel, code, float(chosen[index, 0]), float(chosen[index, 1]), mechanism)


_REACH_MM = 14.0


def _printed(
    panel: Pass,
    codes: tuple[str, ...],
    x: float,
    y: float,
    mechanism: str,
    *,
    jitter_mm: float = 0.0,
    reach_mm: float = _REACH_MM,
) -> Iterator[Flaw]:
    """A flaw at a given place, if the artwork has anything there that it could harm."""
    at = x + panel.rng.normal(0, 1) * jitter_mm, y + panel.rng.normal(0, 1) * jitter_mm
    struck = panel.artwork.struck(codes, *at, reach_mm)
    if struck is not None:
        yield _flaw(panel, *struck, mechanism)


def _flaw(panel: Pass, code: str, x: float, y: float, mechanism: str) -> Flaw:
    severity = float(panel.rng.beta(2.5, 2.0))
    return Flaw(code=code, x_mm=x, y_mm=y, severity=severity, mechanism=mechanism)
