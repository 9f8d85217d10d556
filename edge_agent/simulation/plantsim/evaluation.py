"""A pack of scenarios judged by every method, side by side."""

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean, median
from typing import TypeVar

from edge_agent.domain.cause import Catalogue
from edge_agent.domain.inference import SEED, prior
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.responding.analyse import Knowledge
from edge_agent.responding.given import known_from
from edge_agent.simulation.plantsim import methods
from edge_agent.simulation.plantsim.oracle import Oracle
from edge_agent.simulation.plantsim.recording import TAKT
from edge_agent.simulation.plantsim.scenario import draw
from edge_agent.simulation.plantsim.scoring import LISTED, Judged, figures, share
from edge_agent.simulation.plantsim.spoil import spoiled
from edge_agent.simulation.plantsim.witness import Case, calm_tokens, witness

POOL_SEED = 1_000_000
"""Added to a pack's seed: the scenarios that technicians answer are never those that are judged."""
CALM_RUNS = 40
PER_ANSWER = 1.6
"""Scenarios per confirmed case: a third of them is never answered."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """What to run.

    Attributes:
        learned: numbers of confirmed cases at which the learning curve is read.
        spoil: share of the catalogue's rows that are made wrong.
    """

    seed: int
    scenarios: int
    learned: tuple[int, ...] = (0, 50, 200)
    spoil: float = 0.15


PACKS: Mapping[str, Pack] = {
    "dev": Pack(seed=1, scenarios=300),
    "ci": Pack(seed=77, scenarios=60, learned=(0, 50)),
}


def evaluate(catalogue: Catalogue, pack: Pack, *, jobs: int = 1, oracle: Oracle | None = None) -> dict[str, object]:
    """The whole report of a pack."""
    started = time.process_time()
    most = max(pack.learned)
    pool_size = int(most * PER_ANSWER) + 8 if most else 0
    cases = _run(partial(_witnessed, pack.seed, catalogue), range(pack.scenarios), jobs)
    pool = _run(partial(_witnessed, pack.seed + POOL_SEED, catalogue), range(pool_size), jobs)
    calm = _run(partial(_calm, pack.seed + POOL_SEED, catalogue), range(CALM_RUNS), jobs)
    known = known_from(catalogue, _counted(calm), SEED)
    made_s = time.process_time() - started
    answered = methods.answers(pool, known, seed=pack.seed)
    judged = {"prior": methods.prior_only(cases, catalogue), "rules": methods.rules_only(cases, catalogue)}
    judged["catalogue"] = methods.hybrid(cases, known)
    curve: dict[int, object] = {}
    for count in pack.learned:
        confirmed = answered[:count]
        taught, fitted = methods.learned(confirmed, known) if count else (known, None)
        judged["hybrid"] = methods.hybrid(cases, taught, confirmed)
        if count:
            judged["feedback"] = methods.feedback_only(cases, catalogue, confirmed)
        curve[count] = {
            "confirmed": len(confirmed),
            "hybrid": figures(judged["hybrid"]),
            "feedback_only": figures(judged["feedback"]) if count else None,
            "gate": fitted.reason if fitted else "the catalogue alone",
            "activated": bool(fitted and fitted.activate),
        }
    if oracle:
        judged["oracle"] = oracle.judge(cases, catalogue)
    return {
        "pack": {
            "seed": pack.seed,
            "scenarios": pack.scenarios,
            "noticed": sum(case.last is not None for case in cases),
            "kinds": {kind: sum(c.scenario.kind == kind for c in cases) for kind in ("one", "two", "none", "other")},
            "catalogue": f"{catalogue.domain}/{catalogue.version}",
        },
        "methods": {name: figures(rows) for name, rows in judged.items()} | {"llm": None},
        "first_revision": figures(methods.hybrid(cases, known, first=True)),
        "learning_curve": curve,
        "spoiled": _spoiled(pack, cases, answered, catalogue, known),
        "causes": _by_cause(judged["hybrid"]),
        "evidence": oracle.evidence(judged["hybrid"], known) if oracle else None,
        "operations": _operations(cases, judged["catalogue"]),
        "guidance": _guidance(cases, judged["catalogue"], catalogue),
        "cost": {
            "simulating_s": round(made_s, 1),
            "ranking_ms_per_incident": round(1000 * _ranking_cost(cases, known), 2),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "cpu_s": round(time.process_time() - started, 1),
        },
    }


def _run(one: Callable[[int], T], numbers: Sequence[int], jobs: int) -> list[T]:
    if jobs <= 1:
        return [one(number) for number in numbers]
    with ProcessPoolExecutor(jobs) as workers:
        return list(workers.map(one, numbers, chunksize=4))


def _witnessed(seed: int, catalogue: Catalogue, number: int) -> Case:
    return witness(draw(seed, number), catalogue)


def _calm(seed: int, catalogue: Catalogue, number: int) -> dict[str, tuple[int, int]]:
    return calm_tokens(draw(seed, number), catalogue)


def _counted(calm: Sequence[Mapping[str, tuple[int, int]]]) -> dict[str, tuple[int, int]]:
    """What the line showed when nothing was wrong, as the agent itself measures it between incidents."""
    total: dict[str, tuple[int, int]] = {}
    for one in calm:
        for token, (fired, looked) in one.items():
            before = total.get(token, (0, 0))
            total[token] = before[0] + fired, before[1] + looked
    return total


def _spoiled(
    pack: Pack,
    cases: Sequence[Case],
    answered: Sequence[ConfirmedCase],
    catalogue: Catalogue,
    known: Knowledge,
) -> dict[str, object]:
    """The same with rows of the catalogue made wrong: how much is lost, and how much feedback gives back."""
    wrong, changes = spoiled(catalogue, pack.spoil, seed=pack.seed)
    start = replace(known, catalogue=wrong)
    taught, _ = methods.learned(answered, start) if answered else (start, None)
    return {
        "changed_rows": changes,
        "catalogue": figures(methods.hybrid(cases, start)),
        "hybrid": figures(methods.hybrid(cases, taught, answered)),
    }


def _by_cause(judged: Sequence[Judged]) -> dict[str, object]:
    faults = sorted({one.fault for one in judged if one.kind != "two"})
    return {
        fault: {
            "top1": share([one.right for one in judged if one.fault == fault]),
            "taken_for": sorted({one.order[0] for one in judged if one.fault == fault and not one.right}),
        }
        for fault in faults
    }


def _operations(cases: Sequence[Case], judged: Sequence[Judged]) -> dict[str, object]:
    calm = sum(case.calm_parts for case in cases)
    alarms = sum(case.false_alarms for case in cases)
    delays = [case.delay for case in cases if case.delay is not None and case.scenario.faults]
    seen = [case for case in cases if case.scenario.faults]
    return {
        "faults_noticed": share([case.last is not None for case in seen]),
        "false_alarms_per_1000_parts": round(1000 * alarms / calm, 4) if calm else None,
        "calm_parts": calm,
        "parts_to_alarm_median": median(delays) if delays else None,
        "minutes_to_alarm_median": round(median(delays) * TAKT.total_seconds() / 60, 1) if delays else None,
        "incidents_per_fault": round(mean(case.incidents for case in seen if case.last), 3) if seen else None,
    }


def _guidance(cases: Sequence[Case], judged: Sequence[Judged], catalogue: Catalogue) -> dict[str, float]:
    """Minutes of checking until the cause is found: by our order, by the alphabet, by what is usual."""
    truths = [case.truth for case in cases if case.last and case.scenario.kind in LISTED]
    ours = [one.minutes for one in judged if one.kind in LISTED and one.minutes is not None]
    alphabet = {cause.cause_id: -float(place) for place, cause in enumerate(catalogue.causes)}
    return {
        "ours": round(mean(ours), 1) if ours else 0.0,
        "prior": _mean_minutes(catalogue, prior(catalogue), truths),
        "alphabetical": _mean_minutes(catalogue, alphabet, truths),
    }


def _mean_minutes(catalogue: Catalogue, p: Mapping[str, float], truths: Sequence[frozenset[str]]) -> float:
    spent = [methods.minutes_to_cause(catalogue, (), p, truth) for truth in truths]
    return round(mean(one for one in spent if one is not None), 1) if spent else 0.0


def _ranking_cost(cases: Sequence[Case], known: Knowledge) -> float:
    some = [case for case in cases if case.last][:20]
    begun = time.process_time()
    methods.hybrid(some, known)
    return (time.process_time() - begun) / max(len(some), 1)
