"""A model that sees describes the defects of an incident in the taxonomy's words.

For people, beside the facts: what it says has no token, so it moves no cause; it is asked after the order went out, and
never about an evaluation or a disposition. An answer outside the lists is thrown away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import PurePosixPath
from uuid import UUID

import cv2
import numpy as np
import structlog

from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.defect import BoxXyxy
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.faults import Transient
from edge_agent.domain.incident import Incident
from edge_agent.domain.inspection import ImageRef, Inspection
from edge_agent.domain.step import Step, StepKind
from edge_agent.observability.health import Condition
from edge_agent.ports import Analyst, Clock, ImageStore, Store, UnitOfWork, WritingTask, Written
from edge_agent.responding.documents.pictures import main_defect, view_around
from edge_agent.responding.evidence.vision_description import STRENGTH, TOOL, statement
from edge_agent.responding.taxonomy import broken_rule, grammar, schema, sentence, words
from edge_agent.responding.words import clean

log = structlog.get_logger(__name__)

SYSTEM = """You look at a picture from an inspection camera: a cut-out around one place on a manufactured part.
Say what you see with the words of the lists only. If you cannot tell, say unclear. If nothing is wrong, the class is
nothing. The answer is JSON: {"class": ..., "texture": ..., "shape": ..., "where": ...}"""
MAX_TOKENS = 80
SIDE_PX = 384
"""Cut-outs are scaled to this square, near what small models that see work with."""
_LOOKED_AT = 10
_MAX_AGE = timedelta(minutes=30)
_REST_FIRST_S, _REST_MOST_S = 5.0, 300.0

OnCondition = Callable[[Condition, str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A cut-out that can be shown.

    Attributes:
        jpeg: the picture.
        place: which one of the incident, from 1.
    """

    inspection_id: UUID
    part_id: str
    jpeg: bytes
    place: int


class Describer:
    """Describes the pictures of one incident per step, the newest that has none.

    Args:
        crops: pictures of an incident at most.
        deadline_s: for each call of the model.
        is_stopping: the agent stops: a call that is cut short then is no failure of the model's.
    """

    def __init__(
        self,
        *,
        store: Store,
        images: ImageStore,
        clock: Clock,
        model: Analyst,
        catalogue: Catalogue,
        crops: int,
        deadline_s: float,
        on_condition: OnCondition = lambda condition, detail: None,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store, self._images, self._clock, self._model = store, images, clock, model
        self._crops, self._deadline_s = crops, deadline_s
        self._on_condition, self._is_stopping = on_condition, is_stopping
        self._words = words(catalogue.severity)
        self._done: dict[UUID, None] = {}
        self._failures = 0
        self._rest_until_ns = 0
        on_condition(Condition.OK, f"{model.name}: no picture has been described since the start")

    def step(self) -> bool:
        """Describe one incident's pictures; whether anything was done. Never raises for trouble of the model's."""
        if self._clock.monotonic_ns() < self._rest_until_ns:
            return False
        with self._store.reader() as unit:
            found = self._next(unit)
        if found is None:
            return False
        incident, analysis, parts = found
        sights = list(self._sights(parts, incident.code))
        try:
            steps = [self._described(analysis, sight) for sight in sights]
        except Transient as error:
            if not self._is_stopping():
                self._count_failure(error)
            return False
        self._settle(incident, steps)
        return True

    def task(self, sight: Sight) -> WritingTask:
        """What the model is asked about one picture. Nothing that the plant or the detector said enters it."""
        lists = "\n".join(f"{field}: {', '.join(choices)}" for field, choices in self._words.items())
        return WritingTask(
            system=SYSTEM,
            prompt=f"{lists}\nWhat is in the middle of this picture?",
            schema=schema(self._words),
            grammar=grammar(self._words),
            max_tokens=MAX_TOKENS,
            image=sight.jpeg,
        )

    def _next(self, unit: UnitOfWork) -> tuple[Incident, Analysis, Sequence[Inspection]] | None:
        for incident in unit.incidents.recent(_LOOKED_AT):
            analysis = unit.analyses.latest(incident.incident_id)
            is_known = incident.incident_id in self._done or analysis is None
            if is_known or analysis is None or analysis.made_at < self._clock.now() - _MAX_AGE:
                continue
            if any(one.kind is StepKind.DESCRIPTION for one in unit.steps.list(incident.incident_id)):
                self._remember(incident.incident_id)
                continue
            parts = [one for key in incident.inspection_ids if (one := unit.inspections.get(key)) is not None]
            return incident, analysis, parts
        return None

    def _sights(self, parts: Sequence[Inspection], code: str) -> list[Sight]:
        """The first parts whose picture is still there, cut out around the surest defect of the incident's class."""
        sights: list[Sight] = []
        for part in parts:
            ref = next((image for image in part.images if image.role == "frame"), None)
            defect = main_defect(part, code)
            jpeg = self._cut(ref, defect.xyxy_px) if ref and defect else None
            if jpeg is not None:
                sights.append(
                    Sight(
                        inspection_id=part.inspection_id,
                        part_id=part.shot.part_id,
                        jpeg=jpeg,
                        place=len(sights) + 1,
                    )
                )
            if len(sights) == self._crops:
                break
        return sights

    def _cut(self, ref: ImageRef, box: BoxXyxy) -> bytes | None:
        try:
            pixels = self._images.get(ref)
        except (OSError, ValueError):
            log.info("picture to describe is gone", file=PurePosixPath(ref.path).name)
            return None
        return cut_out(pixels, box)

    def _described(self, analysis: Analysis, sight: Sight) -> Step:
        written = self._model.write(self.task(sight), self._deadline_s)
        rule, said = broken_rule(written.text, self._words)
        return self._noted(analysis, sight, written, rule, sentence(said) if said else "")

    def _noted(self, analysis: Analysis, sight: Sight, written: Written, rule: str, said: str) -> Step:
        return Step(
            step_id=self._clock.new_id(),
            incident_id=analysis.incident_id,
            analysis_id=analysis.analysis_id,
            kind=StepKind.DESCRIPTION,
            at=self._clock.now(),
            turn=sight.place,
            model=written.model_sha256,
            prompt=f"picture {sight.place}, part {clean(sight.part_id)}",
            answer=written.text[:500],
            rules=(rule,) if rule else (),
            outcome="refused" if rule else "accepted",
            latency_ms=written.latency_ms,
            detail={
                "model": clean(written.model_name),
                "part": clean(sight.part_id),
                "inspection": str(sight.inspection_id),
                "said": said,
            },
        )

    def _settle(self, incident: Incident, steps: Sequence[Step]) -> None:
        with self._store.unit() as unit:
            for step in steps:
                unit.steps.add(step)
            newest = unit.analyses.latest(incident.incident_id)
            accepted = [step for step in steps if not step.rules]
            if newest is not None and accepted:
                unit.analyses.save(with_descriptions(newest, incident, accepted))
            unit.commit()
        self._remember(incident.incident_id)
        self._failures = 0
        refused = len(steps) - len(accepted)
        self._on_condition(
            Condition.OK, f"{self._model.name}: {len(accepted)} pictures described, {refused} answers thrown away"
        )
        log.info("pictures described", incident=str(incident.incident_id), accepted=len(accepted), refused=refused)

    def _remember(self, incident_id: UUID) -> None:
        self._done = dict([*self._done.items(), (incident_id, None)][-200:])

    def _count_failure(self, error: Transient) -> None:
        """Rest longer and longer; the order has been out for long."""
        rest_s = min(_REST_MOST_S, _REST_FIRST_S * 2.0**self._failures)
        self._rest_until_ns = self._clock.monotonic_ns() + int(rest_s * 1e9)
        self._failures = min(self._failures + 1, 32)
        self._on_condition(Condition.DEGRADED, f"pictures are not described; {self._model.name}: {error}")


def with_descriptions(analysis: Analysis, incident: Incident, steps: Sequence[Step]) -> Analysis:
    """The analysis with what was described as facts of its own; causes, decision and texts stay as they are."""
    numbers = [int(one.evidence_id[1:]) for one in analysis.evidence if one.evidence_id[1:].isdigit()]
    first = max(numbers, default=0) + 1
    found = tuple(
        Evidence(
            evidence_id=f"E{first + place}",
            tool=TOOL,
            token=None,
            statement=statement(step),
            polarity=Polarity.PRESENT,
            strength=STRENGTH,
            n=1,
            window_from=incident.onset_from,
            window_to=incident.updated_at,
            scope={"station": incident.station_id},
            provenance={"model": step.detail["model"], "inspection": step.detail["inspection"]},
        )
        for place, step in enumerate(steps)
    )
    return replace(analysis, evidence=(*analysis.evidence, *found))


def cut_out(pixels: np.ndarray, box: BoxXyxy) -> bytes | None:
    """A square around the box as JPEG; None where there is no such place."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = (round(edge) for edge in view_around(box, (width, height)))
    crop = pixels[max(top, 0) : bottom, max(left, 0) : right]
    if crop.size == 0:
        return None
    how = cv2.INTER_AREA if crop.shape[0] > SIDE_PX else cv2.INTER_LINEAR
    square = cv2.resize(crop, (SIDE_PX, SIDE_PX), interpolation=how)
    return bytes(cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
