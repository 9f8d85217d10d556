"""A shadow model beside the live one: it sees the same parts, after they were answered, when there is time for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from edge_agent.domain.defect import ModelRef
from edge_agent.domain.faults import ConfigError, PartFault, Transient
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection, Ruling
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import Recipe
from edge_agent.domain.shadow import ShadowLook
from edge_agent.inspecting.decide import decide
from edge_agent.inspecting.inspector import Look
from edge_agent.inspecting.judges import in_its_place
from edge_agent.observability import metrics
from edge_agent.observability.health import Condition, Health
from edge_agent.ports import Clock, SecondDetector, SecondSight, Store, UnitOfWork
from edge_agent.runtime.channel import Channel, Ledger

log = structlog.get_logger(__name__)

_WAIT_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The model that looks, and in whose place.

    Attributes:
        word: the model of the recipes in whose place it is imagined.
        recipe: a recipe in use as it would be with this model.
    """

    ref: ModelRef
    word: str
    detector: SecondDetector
    recipe: Callable[[Recipe], Recipe]


class Shadow:
    """One station's shadow: `offer` is called by the line, `step` by a thread of its own.

    Args:
        queue: parts that may wait; one more drops the oldest.
        line: the station's shots: while one waits, nothing is begun here.
    """

    def __init__(
        self, *, station_id: str, queue: int, line: Channel[Shot], store: Store, health: Health, clock: Clock
    ) -> None:
        self._station_id = station_id
        self._queue: Channel[tuple[Candidate, Look]] = Channel(queue, when_full="drop")
        self._line = line
        self._store = store
        self._health = health
        self._clock = clock
        self._candidate: Candidate | None = None
        self._dropped_before = 0
        self._late = 0
        self.unusable = False
        """The last candidate could not be used."""

    @property
    def candidate(self) -> Candidate | None:
        """Who looks; None when nobody does."""
        return self._candidate

    @property
    def ledger(self) -> Ledger:
        """Where the parts of this process went."""
        return self._queue.ledger

    @property
    def dropped(self) -> int:
        """Parts that the present candidate did not see for want of time, those of earlier processes among them."""
        return self._queue.ledger.dropped + self._late + self._dropped_before

    def choose(self, candidate: Candidate | None) -> None:
        """From now on this one looks; the one before is ended."""
        before, self._candidate = self._candidate, candidate
        self.unusable = False
        if before is not None:
            before.detector.close()
        self._queue.drain()
        remembered = self._remembered(candidate) if candidate else 0
        self._late = 0
        self._dropped_before = remembered - self._queue.ledger.dropped

    def offer(self, look: Look) -> None:
        """A part that was answered. Returns at once, whatever the shadow does; drops are counted."""
        candidate = self._candidate
        if candidate is None or not _was_judged(look) or look.recipe is None or look.recipe.model != candidate.word:
            return
        self._queue.offer((candidate, look))
        metrics.SHADOW_DROPPED.labels(self._station_id).set(self.dropped)

    def step(self) -> bool:
        """Look at one part, unless the line has one to be inspected. Raises Transient: it could not be stored."""
        if not self._line.await_empty(_WAIT_S):
            return False
        taken = self._queue.take(_WAIT_S)
        if taken is None or taken[0] is not self._candidate:
            return False
        look = self._looked(*taken)
        if look is not None:
            self._keep(look)
        return look is not None

    def close(self) -> None:
        """End the process that looks; a look under way is given up."""
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            candidate.detector.close()

    # --- looking ----------------------------------------------------------------------------------------------------

    def _looked(self, candidate: Candidate, look: Look) -> ShadowLook | None:
        """None: the model cannot be used, was not ready in time, or was taken away during the look."""
        begun = self._clock.monotonic_ns()
        try:
            seen = _second_sight(candidate, look)
            ruling = _ruling(candidate, look, seen)
            self._report(Condition.OK, f"{_name(candidate.ref)} looks beside the live model")
        except ConfigError as error:
            self._report(Condition.DEGRADED, str(error))
            self.unusable = True
            self.close()
            return None
        except Transient as error:  # too little of the processor is no fault of the model's
            if self._candidate is candidate:
                self._late += 1
                self._report(Condition.DEGRADED, str(error))
            return None
        except PartFault as fault:
            if self._candidate is not candidate:
                return None
            seen, ruling = None, _failed(fault)
        spent_ms = (self._clock.monotonic_ns() - begun) / 1e6
        return _beside(candidate, look.inspection, ruling, seen, spent_ms)

    def _keep(self, look: ShadowLook) -> None:
        with self._store.unit(durable=False) as unit:
            unit.shadow_looks.add(look)
            unit.facts.set(_fact(self._station_id), {"of": _key(look.shadow), "dropped": self.dropped})
            unit.commit()
        failed = look.evaluation is Evaluation.NOT_INSPECTED
        outcome = "failed" if failed else "agrees" if look.agrees else "differs"
        metrics.SHADOW_LOOKS.labels(self._station_id, outcome).inc()
        metrics.SHADOW_MS.labels(self._station_id).observe(look.inference_ms)
        log.debug("shadow looked", station=self._station_id, inspection=str(look.inspection_id), outcome=outcome)

    def _remembered(self, candidate: Candidate) -> int:
        with self._store.reader() as unit:
            return dropped(unit, self._station_id, candidate.ref)

    def _report(self, condition: Condition, detail: str) -> None:
        self._health.report(f"shadow:{self._station_id}", condition, detail, at=self._clock.now())


def dropped(unit: UnitOfWork, station_id: str, ref: ModelRef) -> int:
    """Parts that this model did not see for want of time, as last noted."""
    noted: dict[str, Any] = unit.facts.get(_fact(station_id)) or {}
    return int(noted["dropped"]) if noted.get("of") == _key(ref) else 0


def _was_judged(look: Look) -> bool:
    """Did the live model say something of it? What the gate refused or nobody saw, a shadow need not see."""
    inspection = look.inspection
    seen = look.frame is not None and inspection.model is not None and inspection.quality is not None
    return seen and inspection.evaluation is not Evaluation.NOT_INSPECTED


def _second_sight(candidate: Candidate, look: Look) -> SecondSight:
    assert look.frame is not None  # `offer` takes no other
    quality = look.inspection.quality
    golden = look.reference.as_seen(quality) if look.reference and quality else None
    return candidate.detector.look(look.frame, golden, quality.shift_xy_px if quality else None)


def _ruling(candidate: Candidate, look: Look, seen: SecondSight) -> Ruling:
    assert look.recipe is not None  # `offer` takes no other
    recipe, quality = candidate.recipe(look.recipe), look.inspection.quality
    own = decide(seen.sighting, recipe, quality.shift_xy_px if quality else None)
    return in_its_place(own, look.inspection.opinions, recipe) if recipe.judges else own


def _failed(fault: PartFault) -> Ruling:
    return Ruling(
        evaluation=Evaluation.NOT_INSPECTED,
        disposition=Disposition.HOLD,
        reasons=(Reason(code=fault.code, text=fault.text),),
        score=0.0,
    )


def _beside(
    candidate: Candidate, live: Inspection, ruling: Ruling, seen: SecondSight | None, spent_ms: float
) -> ShadowLook:
    assert live.model is not None  # `offer` takes no other
    return ShadowLook(
        inspection_id=live.inspection_id,
        station_id=live.shot.station_id,
        at=live.ended_at,
        live=live.model,
        live_evaluation=live.evaluation,
        live_ms=live.duration_ms,
        live_inference_ms=live.timings_ms.get("detect", 0.0),
        shadow=candidate.ref,
        evaluation=ruling.evaluation,
        score=ruling.score,
        reasons=ruling.reasons,
        inference_ms=seen.sighting.inference_ms if seen else spent_ms,
        processor_ms=seen.processor_ms if seen else spent_ms,
    )


def _name(ref: ModelRef) -> str:
    return f"{ref.name}/{ref.version}"


def _key(ref: ModelRef) -> str:
    return f"{_name(ref)} {ref.sha256}"


def _fact(station_id: str) -> str:
    return f"shadow-dropped:{station_id}"
