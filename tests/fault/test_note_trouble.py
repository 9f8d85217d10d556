"""A model in real trouble, in a real child process, beside an issued order: the order stays as it went out."""

from functools import partial
from pathlib import Path

import pytest

from edge_agent.adapters.analysts.local import Backend, LocalAnalyst
from edge_agent.adapters.store.database import Database
from edge_agent.config.plant import LocalAnalystOptions
from edge_agent.contract.envelope import Sender
from edge_agent.domain.work_order import OrderState
from edge_agent.responding.narrate import Narrator
from edge_agent.responding.order import add_narrative
from tests.fakes.clock import FakeClock
from tests.fakes.gguf import instruct_model
from tests.fakes.made import an_order
from tests.fakes.notes import a_catalogue, an_analysis_of, an_incident_of

pytestmark = pytest.mark.fault

TROUBLED = {"troubled": Backend(distribution="pytest", target="tests.fakes.analysts:TroubledBackend")}


@pytest.mark.parametrize(
    ("trouble", "rejected"),
    [
        ("hang", "unavailable"),
        ("die", "unavailable"),
        ("garbage", "V1.json"),
        ("parrot", "V9.repetition"),
        ("liar", "V4.number"),
    ],
)
def test_the_order_stays_as_it_went_out(tmp_path: Path, trouble: str, rejected: str) -> None:
    clock = FakeClock()
    store = Database(f"sqlite:///{tmp_path / 'state.db'}", clock=clock)
    store.migrate()
    incident = an_incident_of(clock)
    analysis = an_analysis_of(clock, incident)
    order = an_order(clock, incident_id=incident.incident_id, analysis_id=analysis.analysis_id, state=OrderState.ISSUED)
    with store.unit() as uow:
        uow.incidents.save(incident)
        uow.analyses.save(analysis)
        uow.orders.save(order)
        uow.commit()
    options = LocalAnalystOptions(kind="local", model=instruct_model(tmp_path / f"{trouble}.gguf"))
    analyst = LocalAnalyst(options, clock=clock, state_dir=tmp_path, backends=TROUBLED)
    sender = Sender(agent="box-1", topic_root="a/b/c", uri_base="http://box-1", software_version="0")
    narrator = Narrator(
        store,
        clock,
        analyst,
        a_catalogue(),
        deadline_s=2.0,
        add_narrative=partial(add_narrative, sender=sender, clock=clock),
    )
    for _ in range(3):
        narrator.step()
        clock.advance(20)
    analyst.close()
    with store.reader() as uow:
        assert uow.orders.history(order.order_id) == [order]
        assert uow.outbox.rows() == []
        found = uow.analyses.latest(incident.incident_id)
    assert found is not None
    template, note = found.narratives
    assert template == analysis.narratives[0]
    assert (note.text, rejected in note.rejected) == ("", True)
