"""The shipped model writes beside a real order: on evidence from a record, through the child process, checked."""

import importlib.metadata
from functools import partial
from pathlib import Path

import pytest

from edge_agent.adapters.analysts.local import BACKENDS, LocalAnalyst
from edge_agent.adapters.clock import SystemClock
from edge_agent.config.plant import LocalAnalystOptions
from edge_agent.responding.narrate import LLM, Narrator
from edge_agent.responding.order import add_narrative
from edge_agent.simulation.runs import Disturbance
from tests.fakes.diagnosed_line import SENDER, DiagnosedLine

pytestmark = pytest.mark.integration

MODEL = Path(__file__).parents[2] / ".cache" / "models" / "smollm2-135m-instruct-q4.gguf"


def needed() -> None:
    if not MODEL.exists():
        pytest.skip(f"no model at {MODEL} (scripts/fetch_llm)")
    installed = {one.metadata["Name"] for one in importlib.metadata.distributions()}
    if not installed & {backend.distribution for backend in BACKENDS.values()}:
        pytest.skip("neither llama-cpp-python nor xllamacpp is installed")


def test_the_order_gets_a_checked_note_and_keeps_everything_else(tmp_path: Path) -> None:
    needed()
    line = DiagnosedLine(tmp_path)
    line.happened(
        Disturbance(at_part=100, rate=0.5, classes=("open", "mousebite"), signals={"lam_temp_c": -8.0}), parts=200
    )
    (before,) = line.orders()
    analyst = LocalAnalyst(LocalAnalystOptions(kind="local", model=MODEL), clock=SystemClock(), state_dir=tmp_path)
    narrator = Narrator(
        line.store,
        line.clock,
        analyst,
        line.catalogue,
        deadline_s=120,
        add_narrative=partial(add_narrative, sender=SENDER, clock=line.clock),
    )
    try:
        assert narrator.step() is True
    finally:
        analyst.close()
    (after,) = line.orders()
    with line.store.reader() as uow:
        analysis = uow.analyses.latest(before.incident_id)
    assert analysis is not None
    (note,) = [one for one in analysis.narratives if one.source == LLM]
    assert note.rejected == ()
    assert after.note == note.text
    assert set(note.citations) <= {one.evidence_id for one in analysis.evidence}
    assert after.revision == before.revision + 1
    kept = (
        "text",
        "text_source",
        "priority",
        "priority_reason",
        "suspects",
        "checks",
        "containment",
        "problem",
        "state",
    )
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
