"""How often evidence tools fire when there is nothing to find: defects come more often, at random places, at random."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from edge_agent.domain.cause import Catalogue
from edge_agent.domain.evidence import Polarity
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.responding.correlate import ONSET_AT, tallied
from edge_agent.responding.evidence import collect
from edge_agent.responding.evidence.window import Window, made_at
from edge_agent.simulation.runs import SIZE_PX, Disturbance, Run, record

START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
PARTS, ONSET, RAISED = 210, 140, 0.3
BASE_RATE = 0.005
FLOOR = 0.02


def measure(catalogue: Catalogue, runs: int, *, first_seed: int = 1) -> dict[str, tuple[int, int]]:
    """Token to (times fired, times looked for) over seeded runs without a cause, of the PCB catalogue's families.

    A finding that the tool itself calls confounded is not counted: the ranking lowers it by its own factor.
    """
    fired: Counter[str] = Counter()
    looked: Counter[str] = Counter()
    for seed in range(first_seed, first_seed + runs):
        family = "missing_copper" if seed % 2 else "extra_copper"
        for one in collect(window_of(_causeless(seed, catalogue.classes_of(family)), family, catalogue)):
            if one.token and one.token in catalogue.background and one.polarity is not Polarity.UNKNOWN:
                looked[one.token] += 1
                fired[one.token] += one.polarity is Polarity.PRESENT and not one.confounded_with
    return {token: (fired[token], looked[token]) for token in sorted(looked)}


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
