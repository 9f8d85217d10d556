"""The limits that a change must keep: the diagnosis on scenarios with a known truth."""

from pathlib import Path

import pytest

from edge_agent.commands.evaluate_diagnosis import as_text, missed
from edge_agent.config.catalogue import load_catalogue
from edge_agent.simulation.plantsim.evaluation import Pack, evaluate
from edge_agent.simulation.plantsim.oracle import load as load_oracle

PCB = Path(__file__).parents[2] / "plant_config" / "fmea" / "pcb.yaml"


@pytest.mark.e2e
@pytest.mark.slow
def test_the_diagnosis_keeps_its_limits() -> None:
    catalogue = load_catalogue(PCB)
    report = evaluate(catalogue, Pack(seed=77, scenarios=40, learned=(0,)), oracle=load_oracle(catalogue.domain))
    assert missed(report) == []
    text = "\n".join(as_text(report | {"missed_limits": []}))
    assert "oracle" in text
