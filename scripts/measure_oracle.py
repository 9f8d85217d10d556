#!/usr/bin/env python3
"""Teach the oracle of `edge-agent evaluate diagnosis` with many simulated incidents and their true labels.

    scripts/measure_oracle.py --seeds 1 4242 --scenarios 200 [--jobs 2]

The seeds are spent then: evaluate with others.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

from edge_agent.config.catalogue import load_catalogue
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.inference import SEED, as_record
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.learning.refit import refit
from edge_agent.responding.given import known_from
from edge_agent.simulation.plantsim.recording import START
from edge_agent.simulation.plantsim.scenario import draw
from edge_agent.simulation.plantsim.witness import Case, signs, witness

TARGET = Path("edge_agent/simulation/plantsim")


def labelled(cases: Sequence[Case]) -> list[ConfirmedCase]:
    """Every cause of every noticed scenario, the labels of one scenario sharing its weight."""
    found: list[ConfirmedCase] = []
    for number, case in enumerate(case for case in cases if case.last):
        for cause in sorted(case.truth):
            assert case.last is not None
            identity = UUID(int=len(found) + 1)
            found.append(
                ConfirmedCase(
                    incident_id=identity,
                    order_id=identity,
                    cause_id=cause,
                    code="",
                    line_id="",
                    tokens=dict(signs(case.last)),
                    weight=1 / len(case.truth),
                    confirmed_at=START + timedelta(minutes=number),
                    first_suspect=None,
                )
            )
    return found


def learn(cases: Sequence[Case], catalogue: Catalogue, seeds: Sequence[int]) -> dict[str, object]:
    """The oracle's file."""
    known = known_from(catalogue, None, SEED)
    labels = labelled(cases)
    fitted = refit(labels, catalogue, known.background, version=f"oracle-{len(labels)}")
    shown: dict[str, dict[str, Counter[bool]]] = defaultdict(lambda: defaultdict(Counter))
    for case in cases:
        if case.last:
            for fault in case.scenario.faults or ("chance",):
                for token, sign in signs(case.last).items():
                    shown[fault][token][sign > 0] += 1
    return {
        "incidents": len(labels),
        "seeds": list(seeds),
        "weights": as_record(fitted.weights),
        "background": dict(known.background),
        "shown": {
            fault: {token: [counts[True], counts.total()] for token, counts in sorted(row.items()) if counts[True]}
            for fault, row in sorted(shown.items())
        },
    }


def one(catalogue: Catalogue, place: tuple[int, int]) -> Case:
    """The case of one scenario."""
    return witness(draw(*place), catalogue)


def main() -> None:
    """Simulate, learn and write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 4242])
    options.add_argument("--scenarios", type=int, default=200)
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--catalogue", type=Path, default=Path("plant_config/fmea/pcb.yaml"))
    chosen = options.parse_args()
    catalogue = load_catalogue(chosen.catalogue)
    places = [(seed, number) for seed in chosen.seeds for number in range(chosen.scenarios)]
    with ProcessPoolExecutor(chosen.jobs) as workers:
        cases = list(workers.map(partial(one, catalogue), places, chunksize=4))
    target = TARGET / f"oracle_{catalogue.domain}.json"
    target.write_text(json.dumps(learn(cases, catalogue, chosen.seeds), separators=(",", ":")) + "\n")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
