"""Where on the part the defects are. Each test asks how often chance would do it, on a board that is not all copper."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edge_agent.domain.evidence import Evidence
from edge_agent.responding.evidence.chance import at_least, chi_square_tail
from edge_agent.responding.evidence.window import Floats, Marks, Window, fact

TOOL = "spatial@1"
SIGNIFICANT = 0.01
USABLE_AREA = 0.3
"""Share of the part where a defect of a class can be at all (its copper edges): positions repeat a little by design."""
SHUFFLES = 199
ON_THE_SPOT = 0.6
"""Of the defects within one and a half times the radius of a repeating place, the share within half of it."""

Mask = npt.NDArray[np.bool_]
Finding = tuple[bool | None, float, str]
"""Found (None: too few defects to say), strength, statement."""


def find(window: Window) -> list[Evidence]:
    """All spatial tokens; ``sp:uniform`` only where nothing else stands out."""
    marks = window.marks
    found: dict[str, Finding] = {name: test(window, marks) for name, test in _TESTS.items()}
    found["uniform"] = _uniform(window, marks, found)
    return [
        fact(
            window,
            tool=TOOL,
            token=f"sp:{name}",
            statement=statement,
            present=present,
            strength=strength,
            n=len(marks),
        )
        for name, (present, strength, statement) in found.items()
    ]


def patterns(window: Window, marks: Marks) -> set[str]:
    """The names of the patterns that some marks show."""
    return {name for name, test in _TESTS.items() if test(window, marks)[0]}


def _few(marks: Marks, what: str) -> Finding:
    return None, 0.0, f"{len(marks)} defects on {marks.parts} parts are too few to look for {what}"


def _repeat(window: Window, marks: Marks) -> Finding:
    if marks.parts < 3:
        return _few(marks, "a repeating place")
    width, height = window.size_wh_px
    radius = 0.02 * width
    near = _distances(marks.xy_px) <= radius
    companions = np.array([len(set(marks.part[row]) - {own}) for row, own in zip(near, marks.part, strict=True)])
    best = int(np.argmax(companions))
    count = int(companions[best])
    density = len(marks) / marks.parts * np.pi * radius**2 / (USABLE_AREA * width * height)
    density = max(density, _density_around(marks, best, radius) / marks.parts)
    chance = min(1.0, len(marks) * at_least(count, marks.parts - 1, 1 - float(np.exp(-density))))
    part_share = (count + 1) / marks.parts
    center = np.median(marks.xy_px[near[best]], axis=0)
    x, y = center
    present = count >= 2 and chance < SIGNIFICANT and part_share >= 0.2 and _is_a_place(marks, center, radius)
    if present:
        words = f"a defect at the same place (x {x:.0f}, y {y:.0f} px) on {count + 1} of {marks.parts} defective parts"
    else:
        words = f"no place has defects on more than {count + 1} of {marks.parts} defective parts"
    return present, 1 - chance if present else 0.9, words


def _density_around(marks: Marks, place: int, radius_px: float) -> float:
    """Defects to be expected in a circle from those in a ring around it: where all are crowded, two meet by chance."""
    away = np.linalg.norm(marks.xy_px - marks.xy_px[place], axis=1) / radius_px
    return float(((away > 2) & (away <= 6)).sum()) / 32.0


def _is_a_place(marks: Marks, center: Floats, radius_px: float) -> bool:
    """Do the defects here lie on one spot, not over a crowd that is as wide as the circle or wider?"""
    away = np.linalg.norm(marks.xy_px - center, axis=1)
    return int((away <= radius_px / 2).sum()) >= ON_THE_SPOT * int((away <= 1.5 * radius_px).sum())


def _streak(window: Window, marks: Marks) -> Finding:
    if len(marks) < 5 or marks.parts < 3:
        return _few(marks, "a streak")
    width, height = window.size_wh_px
    band = 0.06 * width
    x, y = marks.xy_px[:, 0], marks.xy_px[:, 1]
    inside = np.abs(x[:, None] - x[None, :]) <= band / 2
    best = int(np.argmax(inside.sum(axis=1)))
    members = inside[best]
    count, center = int(members.sum()), float(x[best])
    usual = max(0.06 / 0.7, _usual_share(window, lambda xy: np.abs(xy[:, 0] - center) <= band / 2))
    chance = min(1.0, (1 / 0.06) * 2 * at_least(count, len(marks), usual))
    spread = float(np.std(y[members])) / height
    tracks = len(set(marks.part[members]))
    present = chance < SIGNIFICANT and tracks >= 3 and spread > 0.12
    if present:
        words = f"{count} of {len(marks)} defects lie in one streak along the direction of travel, at x {center:.0f} px"
    else:
        words = f"no streak: at most {count} of {len(marks)} defects share a place across the web"
    return present, 1 - chance if present else 0.85, words


def _edge(window: Window, marks: Marks) -> Finding:
    if len(marks) < 6:
        return _few(marks, "the edge zone")
    size = np.array(window.size_wh_px)

    def outer(xy: Floats) -> Mask:
        found: Mask = np.any((xy < 0.1 * size) | (xy > 0.9 * size), axis=1)
        return found

    return _zone(window, outer(marks.xy_px), 0.36, 0.55, "near the edges", outer)


def _center(window: Window, marks: Marks) -> Finding:
    if len(marks) < 6:
        return _few(marks, "the centre line")
    width = window.size_wh_px[0]
    offset = np.abs(marks.xy_px[:, 0] - width / 2)
    near = offset < 0.125 * width
    middle = float(np.median(marks.xy_px[near, 0])) if near.any() else width / 2
    narrow = int((np.abs(marks.xy_px[near, 0] - middle) < 0.03 * width).sum())
    if near.sum() and narrow > 0.6 * near.sum():
        return False, 0.8, f"{narrow} of {int(near.sum())} defects near the centre are in one narrow streak, not a band"
    return _zone(
        window, near, 0.25, 0.5, "along the centre line", lambda xy: np.abs(xy[:, 0] - width / 2) < 0.125 * width
    )


def _side(window: Window, marks: Marks) -> Finding:
    if len(marks) < 8:
        return _few(marks, "one side")
    width = window.size_wh_px[0]
    left = marks.xy_px[:, 0] < width / 2
    more = left if 2 * left.sum() >= len(marks) else ~left

    def half(xy: Floats) -> Mask:
        found: Mask = (xy[:, 0] < width / 2) == (more is left)
        return found

    name = "on the left half" if more is left else "on the right half"
    present, strength, words = _zone(window, more, 0.55, 0.75, name, half)
    return present, strength, words


def _zone(
    window: Window,
    near: Mask,
    area: float,
    least: float,
    where: str,
    rule: Callable[[Floats], Mask],
) -> Finding:
    n, count = len(near), int(near.sum())
    usual = max(area, _usual_share(window, rule))
    chance = at_least(count, n, usual)
    present = chance < SIGNIFICANT and count / n >= least
    return present, 1 - chance if present else 0.85, f"{count} of {n} defects are {where} (by chance {usual * n:.0f})"


def _usual_share(window: Window, rule: Callable[[Floats], Mask]) -> float:
    """Share of earlier defects that satisfy a rule; 0 where there are too few to say."""
    before = window.marks_before
    return float(rule(before.xy_px).mean()) if len(before) >= 30 else 0.0


def _line(window: Window, marks: Marks) -> Finding:
    groups = [rows for rows in marks.by_part() if len(rows) >= 3]
    longish = marks.size_px.max(axis=1, initial=0) >= 0.06 * window.size_wh_px[0]
    thin = marks.size_px.max(axis=1, initial=0) >= 4 * np.maximum(marks.size_px.min(axis=1, initial=np.inf), 1)
    scratches = int((longish & thin).sum())
    if len(marks) < 5:
        return _few(marks, "lines")
    reach = 0.04 * window.size_wh_px[0]
    found = sum(_in_line(marks.xy_px[rows], reach) for rows in groups)
    by_chance = _shuffled(marks, lambda xy: sum(_in_line(xy[rows], reach) for rows in groups), found + scratches)
    present = found + scratches >= 2 and by_chance < SIGNIFICANT
    words = f"defects lie in a line on {found + scratches} of {marks.parts} defective parts"
    return present, 1 - by_chance if present else 0.8, words


def _in_line(xy: Floats, reach_px: float) -> bool:
    """Are these points of one part in a line: spread along it, and hardly across?"""
    centered = xy - xy.mean(axis=0)
    spread = np.linalg.svd(centered, compute_uv=False) / np.sqrt(len(xy))
    return bool(spread[0] >= reach_px and spread[1] <= 0.06 * spread[0])


def _cluster(window: Window, marks: Marks) -> Finding:
    groups = [rows for rows in marks.by_part() if len(rows) >= 2]
    if len(marks) < 8 or len(groups) < 2:
        return _few(marks, "clusters")
    near = 0.08 * window.size_wh_px[0]

    def crowded(xy: Floats) -> int:
        return sum(int(_nearest(xy[rows]) <= near) for rows in groups)

    found = crowded(marks.xy_px)
    by_chance = _shuffled(marks, crowded, found)
    present = found >= 2 and by_chance < SIGNIFICANT
    words = f"defects crowd together on {found} of {len(groups)} parts with more than one"
    return present, 1 - by_chance if present else 0.8, words


def _nearest(xy: Floats) -> float:
    """Median distance to the nearest neighbour within one part."""
    distances = _distances(xy)
    np.fill_diagonal(distances, np.inf)
    return float(np.median(distances.min(axis=1)))


def _pitch(window: Window, marks: Marks) -> Finding:
    width, height = window.size_wh_px
    gaps: list[float] = []
    for rows in marks.by_part():
        xy = marks.xy_px[rows]
        for first in range(len(rows)):
            aside = np.abs(xy[first + 1 :, 0] - xy[first, 0]) <= 0.03 * width
            gaps.extend(np.abs(xy[first + 1 :, 1] - xy[first, 1])[aside])
    usable = np.array([gap for gap in gaps if gap > 0.05 * height])
    if len(usable) < 4:
        return None, 0.0, f"{len(usable)} pairs of defects in line with the travel are too few to look for a pitch"
    tolerance = 0.01 * height
    best_chance, best_pitch, best_count = 1.0, 0.0, 0
    for pitch in usable:
        multiple = np.maximum(np.round(usable / pitch), 1)
        count = int((np.abs(usable - multiple * pitch) <= tolerance).sum())
        chance = at_least(count - 1, len(usable) - 1, min(1.0, 2 * tolerance / pitch))
        if chance < best_chance:
            best_chance, best_pitch, best_count = chance, float(pitch), count
    best_chance = min(1.0, best_chance * len(usable))
    present = best_chance < SIGNIFICANT and best_count >= 4
    words = f"{best_count} of {len(usable)} distances along the travel are multiples of {best_pitch:.0f} px"
    return present, 1 - best_chance if present else 0.8, words if present else f"no fixed pitch: at most {words}"


def _uniform(window: Window, marks: Marks, found: dict[str, Finding]) -> Finding:
    standing_out = [name for name in ("repeat", "streak", "edge", "center", "cluster", "line") if found[name][0]]
    if standing_out:
        return False, 0.9, f"not spread evenly: there is a {standing_out[0]} pattern"
    if len(marks) < 12:
        return _few(marks, "an even spread")
    cells = np.clip((3 * marks.xy_px / np.array(window.size_wh_px)).astype(int), 0, 2)
    counts = np.bincount(cells[:, 1] * 3 + cells[:, 0], minlength=9)
    expected = len(marks) / 9
    chance = chi_square_tail(float(((counts - expected) ** 2 / expected).sum()), 8)
    words = f"{len(marks)} defects are spread over the part, {counts.min()} to {counts.max()} in each ninth"
    return chance > 0.001, 0.8, words


def _shuffled(marks: Marks, statistic: Callable[[Floats], int], observed: int) -> float:
    """P(statistic >= observed) when the same positions are dealt to the parts at random (fixed seed).

    Stops as soon as it cannot be significant any more (Besag and Clifford, Biometrika 78, 1991).
    """
    if observed < 2:
        return 1.0
    random = np.random.default_rng(20)
    for done in range(SHUFFLES):
        if statistic(random.permutation(marks.xy_px)) >= observed:
            return 2 / (2 + done)
    return 1 / (1 + SHUFFLES)


def _distances(xy: Floats) -> Floats:
    result: Floats = np.linalg.norm(xy[:, None, :] - xy[None, :, :], axis=2)
    return result


_TESTS: dict[str, Callable[[Window, Marks], Finding]] = {
    "repeat": _repeat,
    "streak": _streak,
    "edge": _edge,
    "center": _center,
    "line": _line,
    "cluster": _cluster,
    "pitch": _pitch,
    "side": _side,
}
