"""How often evidence tools fire when there is nothing to find: defects come more often, at random places, at random."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from uuid import UUID

from edge_agent.domain.cause import Catalogue
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.responding.correlate import ONSET_AT, tallied
from edge_agent.responding.evidence import TOOLS, collect
from edge_agent.responding.evidence.window import Window, made_at
from edge_agent.simulation.runs import SIZE_PX, Disturbance, Run, record

START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
PARTS, ONSET, RAISED = 210, 140, 0.3
BASE_RATE = 0.005
FLOOR = 0.02
TRUE_HERE = ("class:", "sp:uniform", "tm:step")
"""What a run without a cause really shows: defects that come more often, everywhere, from one part on."""


def measure(catalogue: Catalogue, runs: int, *, first_seed: int = 1) -> dict[str, tuple[int, int]]:
    """Token to (times fired, times looked for) over seeded runs without a cause, of the PCB catalogue's families.

    A finding that the tool itself calls confounded is not counted: the ranking lowers it by its own factor.
    """
    fired: Counter[str] = Counter()
    looked: Counter[str] = Counter()
    for seed in range(first_seed, first_seed + runs):
        for one in collect(_calm_window(catalogue, seed)):
            if one.token and one.token in catalogue.background and one.polarity is not Polarity.UNKNOWN:
                looked[one.token] += 1
                fired[one.token] += one.polarity is Polarity.PRESENT and not one.confounded_with
    return {token: (fired[token], looked[token]) for token in sorted(looked)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRun:
    """What one tool did over the runs without a cause.

    Attributes:
        tokens: how often it looked for one.
        fired: how often it found one that it does not call confounded itself.
        runs, runs_fired: runs, and those in which it found at least one.
        slowest_ms: its longest run.
    """

    tool: str
    tokens: int
    fired: int
    runs: int
    runs_fired: int
    slowest_ms: float


def measure_tools(catalogue: Catalogue, runs: int, *, first_seed: int = 1) -> list[ToolRun]:
    """Each tool alone, over seeded runs without a cause; what is true of these runs is no error."""
    windows = [_calm_window(catalogue, seed) for seed in range(first_seed, first_seed + runs)]
    return [_tool_run(tool, windows) for tool in TOOLS]


def _calm_window(catalogue: Catalogue, seed: int) -> Window:
    family = "missing_copper" if seed % 2 else "extra_copper"
    return window_of(_causeless(seed, catalogue.classes_of(family)), family, catalogue)


def _tool_run(tool: Callable[[Window], list[Evidence]], windows: Sequence[Window]) -> ToolRun:
    tokens = fired = runs_fired = 0
    slowest = 0.0
    for window in windows:
        begun = perf_counter()
        found = [one for one in tool(window) if one.token and one.polarity is not Polarity.UNKNOWN]
        slowest = max(slowest, 1000 * (perf_counter() - begun))
        hits = [one for one in found if _is_hit(one)]
        tokens, fired, runs_fired = tokens + len(found), fired + len(hits), runs_fired + bool(hits)
    return ToolRun(
        tool=tool.__module__.rpartition(".")[2],
        tokens=tokens,
        fired=fired,
        runs=len(windows),
        runs_fired=runs_fired,
        slowest_ms=slowest,
    )


def _is_hit(one: Evidence) -> bool:
    return one.polarity is Polarity.PRESENT and not one.confounded_with and not (one.token or "").startswith(TRUE_HERE)


def rates(counts: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """False-trigger rates, never below one in fifty: a real line is dirtier than a simulated one."""
    return {token: max(FLOOR, round(hits / runs, 4)) for token, (hits, runs) in counts.items() if runs >= 20}


def _causeless(seed: int, codes: tuple[str, ...]) -> Run:
    chance = Disturbance(at_part=ONSET, rate=RAISED, classes=codes, per_part=1 + seed % 3 // 2)
    return record(seed, parts=PARTS, rate=BASE_RATE, start=START, disturbances=[chance])


def window_of(run: Run, family: str, catalogue: Catalogue) -> Window:
    """A run as the evidence tools see it, its onset at part ``ONSET``."""
    begun = made_at(run.inspections[ONSET])
    last = run.inspections[-1]
    codes = catalogue.classes_of(family)
    incident = Incident(
        incident_id=UUID(int=0),
        revision=0,
        key="",
        line_id="L",
        station_id=last.shot.station_id,
        code=codes[0],
        state=IncidentState.OPEN,
        opened_at=last.ended_at,
        updated_at=last.ended_at,
        onset_from=made_at(run.inspections[ONSET - 3]),
        onset_to=made_at(run.inspections[ONSET + 3]),
        class_counts={},
        baseline_rate=BASE_RATE,
        rate=RAISED,
        statistic=10.0,
        threshold=6.0,
        parts=0,
        defective_parts=0,
        attributes={"family": family, ONSET_AT: begun.isoformat()},
    )
    series = {
        name: tuple(sample for sample in run.samples if sample.signal == name)
        for name in sorted({sample.signal for sample in run.samples})
    }
    return Window(
        incident=tallied(incident, run.inspections[ONSET:], codes),
        codes=codes,
        all_codes=tuple(catalogue.severity),
        before=run.inspections[:ONSET],
        after=run.inspections[ONSET:],
        onset_at=begun,
        series=series,
        events=run.events,
        expected=frozenset(catalogue.background),
        base_rates=dict.fromkeys(catalogue.severity, BASE_RATE / 3),
        size_wh_px=(float(SIZE_PX), float(SIZE_PX)),
    )
