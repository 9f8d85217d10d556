#!/usr/bin/env python3
"""How often is the first suspect the true cause? Faults of the simulated process, straight into the responder.

    scripts/evaluate_diagnosis.py [--faults NAME ...] [--seeds 3] [--parts 200] [--calm 8]

No images: flaws become defects with a given recall. The process knows nothing of the catalogue, and the responder
nothing of the fault.
"""

import argparse
import logging
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import numpy as np
import structlog

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.store.database import Database
from edge_agent.config.catalogue import load_catalogue, load_priority_table
from edge_agent.contract.envelope import Sender
from edge_agent.domain.defect import Defect, ModelRef
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection, Quality
from edge_agent.domain.part import Shot
from edge_agent.domain.plant import PlantEvent, Sample
from edge_agent.domain.reason import Reason
from edge_agent.domain.work_order import WorkOrder
from edge_agent.responding.responder import Responder
from edge_agent.responding.settings import Settings
from edge_agent.simulation.line.products import PRODUCTS, PX_PER_MM, artwork
from edge_agent.simulation.process import FAULTS, Panel, Plant

START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
TAKT, READING_EVERY = timedelta(seconds=0.2), timedelta(seconds=0.4)
ONSET, RECALL = 60, 0.95
SETTINGS = Settings(
    line_id="L1", stations=("aoi-1",), default_rate=0.004, increase=4.0, false_alarms_per_1000=0.1, storm_keys=12
)
SENDER = Sender(agent="evaluation", topic_root="evaluation", uri_base="", software_version="0")
MODEL = ModelRef(name="none", version="0", sha256="0" * 64)


def seen(panel: Panel, number: int, at: datetime, random: np.random.Generator) -> Inspection:
    """What an inspection with this recall finds on a panel; a bad image cannot be judged."""
    shift = (float(random.uniform(-3, 3)), float(random.uniform(-3, 3)))
    boxes = [
        (flaw.code, flaw.x_mm * PX_PER_MM + shift[0], flaw.y_mm * PX_PER_MM + shift[1])
        for flaw in panel.flaws
        if random.random() < RECALL
    ]
    defects = tuple(
        Defect(defect_id=UUID(int=number * 1000 + n), code=code, score=0.9, xyxy_px=(x - 8, y - 8, x + 8, y + 8))
        for n, (code, x, y) in enumerate(boxes)
    )
    bad_image = panel.defocus_px > 1.0 or not 0.8 < panel.illumination < 1.2
    evaluation = Evaluation.NOT_DECIDABLE if bad_image else Evaluation.NOT_OK if defects else Evaluation.OK
    disposition = {Evaluation.OK: Disposition.ACCEPT, Evaluation.NOT_OK: Disposition.REJECT}
    identity = UUID(int=(1 << 100) + number)
    metrics = {
        "focus_ratio": float(random.normal(1, 0.02) / (1 + panel.defocus_px)),
        "brightness_p95": float(200 * panel.illumination + random.normal(0, 1)),
        "match": float(random.normal(0.95, 0.005)),
    }
    return Inspection(
        inspection_id=identity,
        shot=Shot(
            shot_id=identity,
            station_id="aoi-1",
            part_id=f"P{number}",
            product_id=panel.product_id,
            trigger_id=str(number),
            triggered_at=at,
            triggered_ns=0,
            lot_id=panel.lot_id,
            strata=dict(panel.strata),
        ),
        evaluation=evaluation,
        disposition=disposition.get(evaluation, Disposition.HOLD),
        reasons=() if evaluation is Evaluation.OK else (Reason(code="evaluation", text="simulated"),),
        defects=() if bad_image else defects,
        score=0.9 if evaluation is Evaluation.NOT_OK else 0.0,
        started_at=at,
        ended_at=at + timedelta(milliseconds=60),
        model=MODEL,
        quality=Quality(usable=not bad_image, metrics=metrics, shift_xy_px=shift),
    )


def work(store: Database, fault: str | None, seed: int, parts: int) -> None:
    """Make the panels and write what the plant and the camera say of them."""
    plant, random = Plant(tuple(artwork(product) for product in PRODUCTS), seed), np.random.default_rng(seed)
    at, read_at, noted = START, START - 20 * READING_EVERY, 0
    with store.unit(durable=False) as uow:
        while read_at < START:  # the baths are read before production starts
            uow.plant.add_samples([Sample(signal=s, value=float(v), at=read_at) for s, v in plant.readings().items()])
            read_at += READING_EVERY
        for number in range(parts):
            if number == ONSET and fault:
                plant.start_fault(FAULTS[fault])
            panel = plant.make()
            if at >= read_at:
                read_at = at + READING_EVERY
                uow.plant.add_samples([Sample(signal=s, value=float(v), at=at) for s, v in plant.readings().items()])
            for notice in plant.notices():
                noted += 1
                uow.plant.add_event(
                    PlantEvent(event_id=UUID(int=noted), kind=notice.kind, at=at, subject=notice.subject)
                )
            uow.inspections.add(seen(panel, number, at, random))
            at += TAKT
        uow.commit()


def diagnosed(fault: str | None, seed: int, parts: int, catalogue: Path) -> list[list[WorkOrder]]:
    """The orders that came of it, each with its history."""
    with tempfile.TemporaryDirectory() as folder:
        clock = SystemClock()
        store = Database(f"sqlite:///{folder}/agent.db", clock=clock)
        store.migrate()
        work(store, fault, seed, parts)
        responder = Responder(
            store=store,
            clock=clock,
            catalogue=load_catalogue(catalogue),
            priority_table=load_priority_table(None),
            settings=SETTINGS,
            sender=SENDER,
        )
        while responder.step():
            pass
        with store.reader() as uow:
            found = [uow.orders.history(order.order_id) for order in uow.orders.list()]
        store.close()
    return found


def first_suspects(orders: list[WorkOrder]) -> list[str]:
    """The first suspect of each."""
    return [order.suspects[0].cause_id for order in orders if order.suspects]


def main() -> None:
    """Evaluate and print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--faults", nargs="*", default=sorted(FAULTS))
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--parts", type=int, default=200)
    options.add_argument("--calm", type=int, default=8, help="runs of 500 parts without a fault")
    options.add_argument("--catalogue", type=Path, default=Path("plant_config/fmea/pcb.yaml"))
    chosen = options.parse_args()
    runs = ordered = at_first = at_last = 0
    for fault in chosen.faults:
        truth = FAULTS[fault].cause_id
        for seed in range(1, chosen.seeds + 1):
            histories = diagnosed(fault, seed, chosen.parts, chosen.catalogue)
            early = truth in first_suspects([history[0] for history in histories])
            late = truth in first_suspects([history[-1] for history in histories])
            runs, ordered, at_first, at_last = runs + 1, ordered + bool(histories), at_first + early, at_last + late
            suspects = [first_suspects([order])[0] for history in histories for order in history[-1:]]
            print(f"{fault:26s} seed {seed}  truth {truth:5s} suspects {suspects}  {'right' if late else 'WRONG'}")
    false = sum(len(diagnosed(None, 100 + seed, 500, chosen.catalogue)) for seed in range(chosen.calm))
    print(f"{runs} runs: {ordered} ordered; first suspect right in {at_first} first and {at_last} last revisions")
    print(f"{false} orders in {chosen.calm} runs of 500 parts without a fault")


if __name__ == "__main__":
    main()
