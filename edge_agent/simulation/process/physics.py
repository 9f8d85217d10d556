"""The line's equations: pure functions of temperatures, concentrations, pressures and speeds.

Positions are millimetres on the panel: x across the web, y along travel. Ratios are relative to the nominal set-point,
so that 1.0 always reads "as designed". Constants are of the order found in textbooks (Coombs, *Printed Circuits
Handbook*, chapters on imaging and etching); they set how steep a response is, not which fault does what.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.special import erfc

Floats = npt.NDArray[np.float64]

GAS_CONSTANT = 8.314462618
"""J / (mol K), CODATA 2018."""
FARADAY = 96_485.33
"""C / mol, CODATA 2018."""
PANEL_MM = 320.0
COPPER_UM = 18.0
"""Half-ounce foil."""
ETCH_CHAMBER_M = 2.16
DEVELOP_CHAMBER_M = 1.6
ROLL_CIRCUMFERENCE_MM = 190.0
"""A common hot-roll laminator's roll."""
NOZZLE_X_MM: Floats = np.linspace(16.0, 304.0, 10)
NOZZLE_SIGMA_MM = 20.0


def kelvin(celsius: float) -> float:
    """Degrees Celsius to kelvin."""
    return celsius + 273.15


def arrhenius(celsius: float, *, nominal_c: float, activation_j_mol: float) -> float:
    """Rate of a thermally activated step relative to its rate at ``nominal_c``."""
    return math.exp(-activation_j_mol / GAS_CONSTANT * (1 / kelvin(celsius) - 1 / kelvin(nominal_c)))


def redox_mv(*, cupric_g_l: float, cuprous_g_l: float, celsius: float) -> float:
    """Oxidation-reduction potential of a cupric chloride etchant (Nernst), millivolts against Ag/AgCl."""
    ratio = max(cupric_g_l, 1.0) / max(cuprous_g_l, 0.05)
    return 404.0 + 1e3 * GAS_CONSTANT * kelvin(celsius) / FARADAY * math.log(ratio)


def etch_rate_ratio(*, celsius: float, cupric_g_l: float, cuprous_g_l: float, acid_n: float) -> float:
    """Etch rate of cupric chloride relative to 50 C, 133 g/l Cu(II), 2 g/l Cu(I), 2 N free acid.

    Temperature activates (30 kJ/mol: mixed control); cuprous ions block the surface; the density of a loaded bath
    slows diffusion; acid keeps the cuprous complex soluble.
    """
    thermal = arrhenius(celsius, nominal_c=50.0, activation_j_mol=30_000.0)
    blocked = (1 + 2.0 / 26.0) / (1 + cuprous_g_l / 26.0)
    diffusion = math.exp(-max(cupric_g_l - 133.0, -60.0) / 420.0)
    acid = math.pow(max(acid_n, 0.05) / 2.0, 0.12)
    return thermal * blocked * diffusion * acid


def spray_field(x_mm: Floats, *, opening: Floats, pressure_bar: float, nominal_bar: float) -> Floats:
    """Local impingement across the web relative to nominal; flow through an orifice goes with the root of pressure.

    Args:
        x_mm: (N,) positions across the web.
        opening: (10,) open share of each nozzle, 1 is clean.
    """
    footprint = np.exp(-(((x_mm[:, None] - NOZZLE_X_MM[None, :]) / NOZZLE_SIGMA_MM) ** 2) / 2)
    flow = math.sqrt(max(pressure_bar, 0.0) / nominal_bar)
    return np.asarray(flow * (footprint @ opening) / footprint.sum(axis=1), dtype=np.float64)


def over_etch(*, rate_ratio: float, spray: Floats, dwell_min: float, foil_ratio: float) -> Floats:
    """Etched depth over foil thickness, minus one, for each local spray ratio. As designed: +0.15."""
    nominal_um_min = 1.15 * COPPER_UM / (ETCH_CHAMBER_M / 1.8)
    depth = nominal_um_min * rate_ratio * np.power(np.maximum(spray, 1e-3), 0.4) * dwell_min
    return np.asarray(depth / (COPPER_UM * foil_ratio) - 1.0, dtype=np.float64)


def normal_tail(z: Floats | float) -> Floats:
    """P(Z > z) of the standard normal distribution, element by element."""
    return np.asarray(0.5 * erfc(np.asarray(z, dtype=np.float64) / math.sqrt(2.0)), dtype=np.float64)


def bridged_gap(excess: Floats) -> Floats:
    """Probability that copper is left in one fine gap. Gaps etch 0 +- 3 % slower or faster than open copper."""
    return normal_tail((1.0 - 1.0 / np.maximum(1.0 + excess, 0.05)) / 0.03)


def eaten_line(excess: Floats, *, tolerance: float) -> Floats:
    """Probability that side etch eats one fine line beyond ``tolerance`` (relative depth); lines vary by 4 %."""
    return normal_tail(((1.0 + tolerance) / np.maximum(1.0 + excess, 0.05) - 1.0) / 0.04)


def polymerised(dose_mj_cm2: float) -> float:
    """Cross-linked share of the resist relative to 50 mJ/cm2 (first-order photopolymerisation)."""
    return (1 - math.exp(-max(dose_mj_cm2, 0.0) / 35.0)) / (1 - math.exp(-50.0 / 35.0))


def conformation(*, celsius: float, pressure_bar: Floats, speed_m_min: float) -> Floats:
    """How well the resist flowed into the surface in the nip, relative to 110 C, 3 bar, 1.5 m/min.

    Flow goes with pressure times time over viscosity; a saturating contact (Langmuir form).
    """
    thinning = arrhenius(celsius, nominal_c=110.0, activation_j_mol=60_000.0)
    flow = (pressure_bar / 3.0) * (1.5 / max(speed_m_min, 0.05)) * thinning
    return np.asarray(1.3 * flow / (flow + 0.3), dtype=np.float64)


def roll_pressure(x_mm: Floats, *, mean_bar: float) -> Floats:
    """Nip pressure across the web: the rolls bow, so a soft nip is softest in the middle."""
    bow = 0.06 + 0.9 * max(0.0, 1.0 - mean_bar / 3.0)
    middle = 1.0 - (2.0 * x_mm / PANEL_MM - 1.0) ** 2
    return np.asarray(mean_bar * (1.0 - bow * (middle - 2.0 / 3.0)), dtype=np.float64)


def clearing(*, celsius: float, carbonate_pct: float, loading: float, spray: Floats, speed_m_min: float) -> Floats:
    """Break point: share of the developer chamber until unexposed resist is gone. As designed: 0.5.

    Args:
        loading: dissolved resist relative to the level at which the bath is changed.
    """
    thermal = arrhenius(celsius, nominal_c=30.0, activation_j_mol=35_000.0)
    strength = (max(carbonate_pct, 0.02) / 1.0) ** 0.8 / (1 + 0.5 * loading) * 1.15
    rate = thermal * strength * np.power(np.maximum(spray, 1e-3), 0.6)
    return np.asarray(0.5 * (speed_m_min / 1.8) / rate, dtype=np.float64)


def scummed_gap(break_point: Floats) -> Floats:
    """Probability that resist scum is left in one fine gap; gaps clear 9 % earlier or later than the open panel."""
    return normal_tail((0.85 / np.maximum(break_point, 0.05) - 1.0) / 0.09)


def lifted_edge(adhesion: Floats) -> Floats:
    """Probability that the resist lets go at one critical edge: local adhesion varies by 10 %, the sprays need 0.6."""
    return normal_tail((adhesion - 0.6) / (0.1 * np.maximum(adhesion, 0.05)))


def contact_gap_um(vacuum_kpa: float) -> float:
    """Gap between phototool and resist: trapped air leaves with the vacuum. As designed (85 kPa): about 1 um."""
    return 18.0 * math.exp(-max(vacuum_kpa, 0.0) / 29.0)


def particles_on_panel(per_m3: float) -> float:
    """Expected dust particles that settle on one panel between lamination and exposure."""
    return 6e-7 * per_m3
