#!/usr/bin/env python3
"""Measure how often each evidence token fires when nothing is wrong, and write it beside the catalogue.

    scripts/measure_background.py [--runs 300] [--catalogue plant_config/fmea/pcb.yaml] [--dry] [--tools]

The runs are seeded: the same version of the tools gives the same file. On a plant's own line the agent goes on
measuring.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from edge_agent.config.catalogue import load_catalogue
from edge_agent.domain.cause import Catalogue
from edge_agent.simulation.false_triggers import measure, measure_tools, rates

HEAD = """\
# False-trigger rate of each evidence token: made by scripts/measure_background.py, not by hand.
# Defects come more often at random places and times; signals wander; events happen for no reason.
"""


def main() -> None:
    """Measure, print, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--runs", type=int, default=300)
    options.add_argument("--catalogue", type=Path, default=Path("plant_config/fmea/pcb.yaml"))
    options.add_argument("--dry", action="store_true", help="print only")
    options.add_argument("--tools", action="store_true", help="print each tool's rate and time instead; write nothing")
    chosen = options.parse_args()
    if chosen.tools:
        for line in tool_lines(load_catalogue(chosen.catalogue), chosen.runs):
            print(line)
        return
    counts = measure(load_catalogue(chosen.catalogue), chosen.runs)
    measured = rates(counts)
    for token, (fired, looked) in counts.items():
        print(f"{token:28s} fired {fired:4d} of {looked:4d}  -> {measured.get(token, float('nan')):.4f}")
    if not chosen.dry:
        lines = [HEAD + f"measured: {chosen.runs} seeded runs", "background:"]
        lines += [f'  "{token}": {rate}' for token, rate in measured.items()]
        target = chosen.catalogue.with_name(f"{chosen.catalogue.stem}_background.yaml")
        target.write_text("\n".join(lines) + "\n")
        print(f"wrote {target}")


def tool_lines(catalogue: Catalogue, runs: int) -> Iterator[str]:
    """A table of the tools."""
    yield f"{'tool':20s}{'looked for':>12s}{'fired':>8s}{'rate':>9s}{'runs with any':>15s}{'slowest ms':>12s}"
    for one in measure_tools(catalogue, runs):
        rate = f"{one.fired / one.tokens:.4f}" if one.tokens else "-"
        some = f"{one.runs_fired} of {one.runs}"
        yield f"{one.tool:20s}{one.tokens:12d}{one.fired:8d}{rate:>9s}{some:>15s}{one.slowest_ms:12.0f}"


if __name__ == "__main__":
    main()
