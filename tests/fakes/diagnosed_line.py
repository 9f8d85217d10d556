"""A responder over a real store in a temporary folder, fed with seeded records."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.adapters.store.database import Database
from edge_agent.config.catalogue import load_catalogue, load_priority_table
from edge_agent.contract.envelope import Sender
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.work_order import WorkOrder
from edge_agent.responding.responder import Responder
from edge_agent.responding.settings import Settings
from edge_agent.simulation.runs import CLASSES, Disturbance, Run, record
from tests.fakes.clock import START, FakeClock

FMEA = Path(__file__).parents[2] / "plant_config" / "fmea"
SENDER = Sender(
    agent="box-1", topic_root="e/s/a/L1/c/_inspect/v1/box-1", uri_base="http://box-1:8080", software_version="0"
)
SETTINGS = Settings(
    line_id="L1",
    stations=("aoi-1",),
    baseline_rate=dict.fromkeys(CLASSES, 0.003),
    measure_background=False,
    blind_share=0.0,
)


def pcb() -> Catalogue:
    """The shipped catalogue."""
    return load_catalogue(FMEA / "pcb.yaml")


@dataclass(slots=True)
class DiagnosedLine:
    """A line with everything behind the inspection."""

    folder: Path
    settings: Settings = SETTINGS
    catalogue: Catalogue = field(default_factory=pcb)
    clock: FakeClock = field(default_factory=FakeClock)
    said: list[tuple[str, object]] = field(default_factory=list)
    store: Database = field(init=False)

    def __post_init__(self) -> None:
        self.store = Database(f"sqlite:///{self.folder / 'agent.db'}", clock=self.clock)
        self.store.migrate()

    def responder(self) -> Responder:
        """A fresh responder over the same store, as after a restart."""
        return Responder(
            store=self.store,
            clock=self.clock,
            catalogue=self.catalogue,
            priority_table=load_priority_table(None),
            settings=self.settings,
            sender=SENDER,
            announce=lambda event, thing: self.said.append((event, thing)),
        )

    def write(self, run: Run, parts: slice = slice(None)) -> None:
        """Put a run's record into the store."""
        with self.store.unit(durable=False) as uow:
            uow.plant.add_samples(run.samples)
            for event in run.events:
                uow.plant.add_event(event)
            for inspection in run.inspections[parts]:
                uow.inspections.add(inspection)
            uow.commit()

    def respond(self, responder: Responder | None = None) -> None:
        """Let the responder catch up."""
        responder = responder or self.responder()
        while responder.step():
            pass

    def happened(self, *disturbances: Disturbance, seed: int = 1, parts: int = 200, rate: float = 0.005) -> Run:
        """A run with these disturbances, written and responded to."""
        run = record(seed, parts=parts, rate=rate, start=START, disturbances=disturbances)
        self.clock.set(run.inspections[-1].ended_at)
        self.write(run)
        self.respond()
        return run

    def orders(self) -> list[WorkOrder]:
        """All orders, newest first."""
        with self.store.reader() as uow:
            return uow.orders.list()

    def events(self) -> list[str]:
        """What was announced."""
        return [event for event, _ in self.said]


def defective(parts: Sequence[Inspection]) -> list[Inspection]:
    """The rejected ones."""
    return [one for one in parts if one.defects]
