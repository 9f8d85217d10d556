"""The frame's journey: acquire > gate > detect > decide. Read this first."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_agent.domain.challenge import ChallengePart
from edge_agent.domain.defect import Sighting
from edge_agent.domain.faults import PartFault
from edge_agent.domain.frame import Frame
from edge_agent.domain.inspection import Inspection, Quality
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import Recipe
from edge_agent.inspecting.decide import decide
from edge_agent.inspecting.gate import Reference, gate
from edge_agent.inspecting.golden import Goldens
from edge_agent.inspecting.judges import Panel, Verdict, placed
from edge_agent.inspecting.outcome import Times, judged, not_decidable, not_inspected
from edge_agent.ports import Camera, Clock, Detector


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """An inspection together with the pixels and the recipe it was made from, for those who come after it."""

    inspection: Inspection
    frame: Frame | None = None
    reference: Reference | None = None
    recipe: Recipe | None = None


class Stopwatch:
    """Times the stages of one inspection."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_at = clock.now()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to the stage's milliseconds."""
        begun = self._clock.monotonic_ns()
        try:
            yield
        finally:
            spent = (self._clock.monotonic_ns() - begun) / 1e6
            self._stages[name] = self._stages.get(name, 0.0) + spent

    def since_trigger_ms(self, shot: Shot) -> float:
        """Milliseconds since the trigger; 0 for a shot of an earlier boot, whose monotonic clock was another."""
        return max(0.0, (self._clock.monotonic_ns() - shot.triggered_ns) / 1e6)

    def read(self, shot: Shot) -> Times:
        """All stages so far, and ``total`` since the trigger."""
        stages = self._stages | {"total": self.since_trigger_ms(shot)}
        return Times(started_at=self._started_at, ended_at=self._clock.now(), stages_ms=stages)


class Inspector:
    """Inspects the parts of one station.

    Args:
        recipes: by product id.
        detectors: by model name; warmed up. Those of all recipes in use are there.
        cycle_ms: trigger to disposition; a later answer is NOT_INSPECTED, whatever was seen.
        grab_timeout_s: how long one frame may take.
    """

    def __init__(
        self,
        *,
        camera: Camera,
        recipes: Mapping[str, Recipe],
        detectors: Mapping[str, Detector],
        goldens: Goldens,
        clock: Clock,
        cycle_ms: float,
        grab_timeout_s: float,
    ) -> None:
        self._camera = camera
        self._recipes = recipes
        self._detectors = detectors
        self._panel = Panel(detectors, clock)
        self._goldens = goldens
        self._clock = clock
        self._cycle_ms = cycle_ms
        self._grab_timeout_s = grab_timeout_s

    def inspect(self, shot: Shot) -> Look:
        """Look at one part.

        A fault of this part becomes NOT_INSPECTED and HOLD. Transient (the camera is gone) passes to the caller,
        which answers for the shot and reconnects.
        """
        watch = Stopwatch(self._clock)
        recipe = self._recipes.get(shot.product_id)
        try:
            if recipe is None:
                raise PartFault("recipe.missing", f"no recipe for product {shot.product_id!r}")
            if watch.since_trigger_ms(shot) > self._cycle_ms:
                raise PartFault("cycle.late", f"waited longer than the cycle of {self._cycle_ms:g} ms")
            with watch.stage("acquire"):
                frame = self._camera.grab(shot, self._grab_timeout_s)
        except PartFault as fault:
            return Look(inspection=not_inspected(shot, _reason(fault), watch.read(shot), recipe=recipe))
        return self._judge(shot, frame, recipe, watch)

    def judge(self, shot: Shot, frame: Frame, recipe: Recipe) -> Look:
        """The journey from a frame onwards, for callers that already have the frame (`edge-agent inspect`)."""
        return self._judge(shot, frame, recipe, Stopwatch(self._clock))

    def examine(self, part: ChallengePart, station_id: str) -> Look:
        """Inspect the image of a challenge part as if the camera had given it."""
        shot = Shot(
            shot_id=self._clock.new_id(),
            station_id=station_id,
            part_id=part.part_id,
            product_id=part.product_id,
            trigger_id=part.part_id,
            triggered_at=self._clock.now(),
            triggered_ns=self._clock.monotonic_ns(),
            challenge=True,
        )
        watch, recipe = Stopwatch(self._clock), self._recipes.get(part.product_id)
        try:
            if recipe is None:
                raise PartFault("recipe.missing", f"no recipe for product {part.product_id!r}")
            pixels = self._goldens.read(Path(part.image_path or ""))
        except PartFault as fault:
            return Look(inspection=not_inspected(shot, _reason(fault), watch.read(shot), recipe=recipe))
        frame = Frame(
            frame_id=self._clock.new_id(),
            camera_id="challenge",
            pixels=pixels,
            captured_at=shot.triggered_at,
            source=str(part.image_path),
        )
        return self._judge(shot, frame, recipe, watch)

    def refuse(self, shot: Shot, reason: Reason) -> Look:
        """The answer for a shot that is not inspected at all."""
        watch = Stopwatch(self._clock)
        recipe = self._recipes.get(shot.product_id)
        return Look(inspection=not_inspected(shot, reason, watch.read(shot), recipe=recipe))

    def _judge(self, shot: Shot, frame: Frame, recipe: Recipe, watch: Stopwatch) -> Look:
        reference: Reference | None = None
        try:
            reference = self._goldens.reference(recipe.golden, frame)
            with watch.stage("gate"):
                quality = gate(frame.pixels, reference, recipe.image)
            if not quality.usable:
                inspection = not_decidable(shot, recipe, quality, watch.read(shot))
                return Look(inspection=inspection, frame=frame, reference=reference, recipe=recipe)
            with watch.stage("detect"):
                sighting = self._detect(frame, recipe, reference, quality)
        except PartFault as fault:
            inspection = not_inspected(shot, _reason(fault), watch.read(shot), recipe=recipe)
            return Look(inspection=inspection, frame=frame, reference=reference)
        with watch.stage("decide"):
            found = Verdict(sighting=sighting, ruling=decide(sighting, recipe, quality.shift_xy_px))
        if recipe.judges:
            try:
                with watch.stage("judges"):
                    found = self._panel.judge(frame, recipe, reference, quality, found)
            except PartFault as fault:
                inspection = not_inspected(shot, _reason(fault), watch.read(shot), recipe=recipe, sighting=sighting)
                return Look(inspection=inspection, frame=frame, reference=reference)
        inspection = self._answer(shot, recipe, quality, found, watch)
        return Look(inspection=inspection, frame=frame, reference=reference, recipe=recipe)

    def _detect(self, frame: Frame, recipe: Recipe, reference: Reference | None, quality: Quality) -> Sighting:
        golden = reference.as_seen(quality) if reference else None
        sighting = self._detectors[recipe.looks_with].detect(frame, golden, quality.shift_xy_px)
        return placed(sighting, recipe, quality)

    def _answer(self, shot: Shot, recipe: Recipe, quality: Quality, found: Verdict, watch: Stopwatch) -> Inspection:
        times = watch.read(shot)
        if times.stages_ms["total"] > self._cycle_ms:
            text = f"answered after {times.stages_ms['total']:.0f} ms, the cycle is {self._cycle_ms:g} ms"
            reason = Reason(code="cycle.late", text=text)
            return not_inspected(shot, reason, times, recipe=recipe, sighting=found.sighting)
        return judged(shot, recipe, quality, found.sighting, found.ruling, times, found.opinions)


def _reason(fault: PartFault) -> Reason:
    return Reason(code=fault.code, text=fault.text)
