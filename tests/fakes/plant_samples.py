"""One of everything that is sent to the plant, the same in every run."""

from datetime import timedelta
from uuid import UUID

from edge_agent.contract.envelope import Sender
from edge_agent.domain.analysis import Analysis, Hypothesis, Narrative, Term
from edge_agent.domain.cause import Action, Check, PartNeed
from edge_agent.domain.defect import Defect, ModelRef
from edge_agent.domain.document import Document
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.inspection import Disposition, Evaluation, ImageRef, Inspection, Quality
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import RecipeRef
from edge_agent.domain.work_order import Containment, OrderState, Suspect, WorkOrder
from tests.fakes.clock import START

ROOT = "acme/north/etch/line-1/cell-2/_inspect/v1/box-1"
SENDER = Sender(agent="box-1", topic_root=ROOT, uri_base="http://box-1:8080/", software_version="0.1.0")


def uid(number: int) -> UUID:
    """A recognisable id."""
    return UUID(int=(0x0190_0000_0000_7000 << 64) | (0b10 << 62) | number)


IMAGE = ImageRef(role="overlay", path="2026/01/05/a.jpg", sha256="ab" * 32, size_bytes=12_345)
DEFECTS = (
    Defect(defect_id=uid(11), code="open", score=0.91, xyxy_px=(10.0, 20.0, 30.5, 44.25)),
    Defect(defect_id=uid(12), code="open", score=0.83, xyxy_px=(100.0, 20.0, 130.0, 44.0)),
    Defect(defect_id=uid(13), code="short", score=0.77, xyxy_px=(1.0, 2.0, 3.0, 4.0)),
)
SHOT = Shot(
    shot_id=uid(1),
    station_id="aoi-1",
    part_id="SN-0042 Ä/+#",
    product_id="board-a",
    trigger_id="t-42",
    triggered_at=START,
    triggered_ns=5,
    lot_id="L-7",
)
NOT_OK = Inspection(
    inspection_id=uid(1),
    shot=SHOT,
    evaluation=Evaluation.NOT_OK,
    disposition=Disposition.REJECT,
    reasons=(Reason(code="defect.limit", text="2 open, none is tolerated"),),
    defects=DEFECTS,
    score=0.91,
    started_at=START,
    ended_at=START + timedelta(milliseconds=120),
    recipe=RecipeRef(recipe_id="board-a", version=3, sha256="cd" * 32),
    model=ModelRef(name="board", version="1", sha256="ef" * 32),
    quality=Quality(usable=True, metrics={"match": 0.98765432, "focus_ratio": 1.25}),
    images=(IMAGE,),
    timings_ms={"total": 120.456},
)
NOT_INSPECTED = Inspection(
    inspection_id=uid(2),
    shot=SHOT,
    evaluation=Evaluation.NOT_INSPECTED,
    disposition=Disposition.HOLD,
    reasons=(Reason(code="camera.timeout", text="no frame within 500 ms"),),
    defects=(),
    score=0.0,
    started_at=START,
    ended_at=START + timedelta(seconds=1),
)
INCIDENT = Incident(
    incident_id=uid(3),
    revision=2,
    key="line-1/open",
    line_id="line-1",
    station_id="aoi-1",
    code="open",
    state=IncidentState.OPEN,
    opened_at=START,
    updated_at=START + timedelta(minutes=5),
    onset_from=START - timedelta(minutes=3),
    onset_to=START,
    class_counts={"open": 9},
    baseline_rate=0.004,
    rate=0.06,
    statistic=6.2,
    threshold=5.0,
    parts=150,
    defective_parts=9,
    part_ids=("SN-1", "SN-2"),
    inspection_ids=(uid(1),),
)
ANALYSIS = Analysis(
    analysis_id=uid(4),
    incident_id=uid(3),
    revision=2,
    made_at=START + timedelta(minutes=5),
    evidence=(
        Evidence(
            evidence_id="E1",
            tool="telemetry@1",
            token="tel:etch_temp+",
            statement="Etchant temperature rose by 3.1 °C.",
            polarity=Polarity.PRESENT,
            strength=0.97,
            n=120,
        ),
        Evidence(
            evidence_id="E2",
            tool="spatial@1",
            token="sp:repeat",
            statement="No repeating position.",
            polarity=Polarity.ABSENT,
            strength=0.9,
            n=9,
        ),
    ),
    hypotheses=(
        Hypothesis(
            cause_id="ETCH-1",
            name="etchant too hot",
            p=0.82,
            rank=1,
            grade="likely",
            terms=(Term(evidence_id="E1", delta=2.3), Term(evidence_id="E2", delta=0.4)),
        ),
        Hypothesis(cause_id="OTHER", name="not in the catalogue", p=0.18, rank=2, grade="possible"),
    ),
    unknown_score=0.12,
    decision="act",
    narratives=(Narrative(source="template", text="Opens rose on line-1.", citations=("E1",)),),
    engine={"catalogue": "pcb@1", "method": "weighted-evidence"},
)
ORDER = WorkOrder(
    order_id=uid(5),
    number="WO-0007",
    revision=2,
    key="line-1/etch/open",
    state=OrderState.ISSUED,
    incident_id=uid(3),
    analysis_id=uid(4),
    created_at=START,
    updated_at=START + timedelta(minutes=5),
    due_at=START + timedelta(hours=4),
    priority=2,
    priority_reason="severity 7, occurrence 6, detection 3: high",
    line_id="line-1",
    station_id="aoi-1",
    equipment="etcher-1",
    problem="9 of 150 parts have opens, normal is 0.4 %.",
    text="Check the etchant temperature first.",
    suspects=(
        Suspect(
            cause_id="ETCH-1",
            name="etchant too hot",
            grade="likely",
            speaks_for=("E1",),
            speaks_against=(),
            actions=(
                Action(
                    action_id="A-1",
                    text="Replace the thermostat",
                    minutes=25,
                    parts=(PartNeed(part_number="P-9", quantity=1),),
                    loto=True,
                ),
            ),
        ),
    ),
    open_set=True,
    checks=(Check(check_id="C-1", text="Read the bath thermometer", minutes=2, lr_pos=6, lr_neg=0.2),),
    containment=Containment(part_ids=("SN-1", "SN-2"), lot_ids=("L-7",), since=START),
    images=(IMAGE,),
    inspection_ids=(uid(1),),
)
DOCUMENT = Document(
    document_id=uid(6),
    kind="work-order",
    title="WO-0007",
    path="work-order/WO-0007-r2.pdf",
    sha256="12" * 32,
    size_bytes=54_321,
    made_at=START,
    subject_id=uid(5),
    revision=2,
)
